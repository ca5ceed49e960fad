//! When a rotation that is watched needs no more watching.

use std::time::{Duration, Instant};

use chassis::time::date_time;
use chrono::{DateTime, Utc};
use proto::keys::{Generation, Rotation};

use super::{clock, old};

/// What was last seen of a rotation. How long it is quiet is measured here
/// alone: the times of its uses are of another clock.
pub(super) struct Watched {
    pub(super) seen: Rotation,
    /// When that was asked for.
    asked: Instant,
    /// When its old secret was first seen as it is now.
    since: Instant,
}

impl Watched {
    pub(super) fn new(seen: Rotation, asked: Instant) -> Self {
        Self {
            seen,
            asked,
            since: asked,
        }
    }

    pub(super) fn take(&mut self, now: Rotation, asked: Instant) {
        let uses = |old: &Generation| (old.number, old.use_count, old.last_use_time);
        if old(&now).map(uses) != old(&self.seen).map(uses) {
            self.since = asked;
        }
        self.seen = now;
        self.asked = asked;
    }

    pub(super) fn conclusion(&self, quiet: Duration) -> Option<Conclusion> {
        let Some(old) = old(&self.seen).filter(|_| self.seen.running) else {
            return Some(Conclusion::Over);
        };
        let last = old.last_use_time.as_ref().and_then(date_time);
        let is_quiet = self.asked.saturating_duration_since(self.since) >= quiet;
        is_quiet.then_some(Conclusion::Quiet(old.number, last))
    }
}

/// Why nothing is left to watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Conclusion {
    /// No old secret works.
    Over,
    /// This one works, and nobody uses it.
    Quiet(i32, Option<DateTime<Utc>>),
}

impl Conclusion {
    pub(super) fn sentence(&self, finish: &str) -> String {
        match self {
            Self::Over => "No old secret works any more.".to_owned(),
            Self::Quiet(number, last) => {
                let used = match last {
                    Some(last) => format!("was last used at {}", clock(*last)),
                    None => "was never used".to_owned(),
                };
                format!("Generation {number} {used}. To end it now, run: {finish}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{old, rotation};
    use super::*;

    const QUIET: Duration = Duration::from_secs(60);

    #[test]
    fn a_rotation_is_quiet_once_its_old_secret_was_not_seen_to_be_used_for_so_long() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        // Long ago by the clock of whoever noted it: that may be any time here.
        let mut watched = Watched::new(rotation(old(3, 1000)), begun);
        assert_eq!(watched.conclusion(QUIET), None);
        watched.take(rotation(old(4, 1059)), at(59));
        assert_eq!(watched.conclusion(QUIET), None);
        watched.take(rotation(old(4, 1059)), at(118));
        assert_eq!(watched.conclusion(QUIET), None);
        watched.take(rotation(old(4, 1059)), at(119));
        let last = DateTime::from_timestamp(1059, 0);
        assert_eq!(watched.conclusion(QUIET), Some(Conclusion::Quiet(1, last)));
    }

    #[test]
    fn what_is_over_need_not_be_watched() {
        let ended = Generation {
            live: false,
            ..old(3, 1000)
        };
        let watched = Watched::new(rotation(ended), Instant::now());
        assert_eq!(watched.conclusion(QUIET), Some(Conclusion::Over));
    }
}
