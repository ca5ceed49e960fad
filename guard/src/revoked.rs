//! What Muster has revoked, as its stream tells it.
//!
//! Every moment here is of the clock of Muster's database, and is compared
//! with no other; how long ago something was heard is measured by our own.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use prost_types::Timestamp;
use proto::keys::{Revoked as Told, WatchRevokedResponse};

use crate::ask::Answer;

/// SHA-256 of a subject.
pub(crate) type Subject = [u8; 32];

/// The revocations that still matter.
pub(crate) struct Revoked {
    state: RwLock<State>,
    bound: Duration,
}

#[derive(Default)]
struct State {
    entries: HashMap<Subject, Entry>,
    heard: Option<Instant>,
}

struct Entry {
    /// In microseconds since 1970.
    revoked: i64,
    forget: Instant,
}

impl Revoked {
    /// None yet; whether the stream may be silent for longer than `bound` is
    /// asked by [`Revoked::is_live`].
    pub(crate) fn new(bound: Duration) -> Self {
        Self {
            state: RwLock::default(),
            bound,
        }
    }

    pub(crate) fn bound(&self) -> Duration {
        self.bound
    }

    /// Takes in what the stream says.
    pub(crate) fn take(&self, told: &WatchRevokedResponse) {
        let now = Instant::now();
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (subject, new) in told.revoked.iter().filter_map(|told| entry(told, now)) {
            let known = state.entries.entry(subject).or_insert(Entry { ..new });
            known.revoked = known.revoked.max(new.revoked);
            known.forget = known.forget.max(new.forget);
        }
        if told.synchronised {
            state.heard = Some(now);
            state.entries.retain(|_, entry| entry.forget > now);
        }
    }

    /// Whether what was remembered may be used: the stream was heard within its bound.
    pub(crate) fn is_live(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.heard.is_some_and(|at| at.elapsed() < self.bound)
    }

    /// Whether anything was revoked that ends an answer: at the moment that
    /// the answer is of, or later. An answer that a revocation overtook on its
    /// way here is ended by it as well.
    pub(crate) fn ends(&self, answer: &Answer) -> bool {
        let Some(moment) = answer.moment else {
            return false;
        };
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        answer.revocables.iter().any(|subject| {
            let entry = state.entries.get(subject);
            entry.is_some_and(|entry| moment <= entry.revoked)
        })
    }
}

fn entry(told: &Told, now: Instant) -> Option<(Subject, Entry)> {
    let subject = told.subject_sha256.as_slice().try_into().ok()?;
    let revoked = micros(told.revoke_time.as_ref()?);
    let life = micros(told.forget_time.as_ref()?).saturating_sub(revoked);
    let life = Duration::from_micros(u64::try_from(life).unwrap_or_default());
    let forget = now.checked_add(life)?;
    Some((subject, Entry { revoked, forget }))
}

/// Microseconds since 1970: as exact as Muster's database is.
pub(crate) fn micros(time: &Timestamp) -> i64 {
    let seconds = time.seconds.saturating_mul(1_000_000);
    seconds.saturating_add(i64::from(time.nanos / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = [7; 32];
    const OTHER: Subject = [8; 32];

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn told(subject: Subject, revoked: i64, forget: i64) -> WatchRevokedResponse {
        WatchRevokedResponse {
            revoked: vec![Told {
                subject_sha256: subject.to_vec(),
                revoke_time: at(revoked),
                forget_time: at(forget),
            }],
            synchronised: true,
        }
    }

    fn answer(moment: i64) -> Answer {
        Answer {
            moment: Some(moment * 1_000_000),
            revocables: vec![OTHER, SUBJECT],
            ..Answer::default()
        }
    }

    fn known() -> Revoked {
        Revoked::new(Duration::from_secs(3600))
    }

    #[test]
    fn an_answer_ends_with_what_it_depends_on_also_if_it_comes_after_the_revocation() {
        let revoked = known();
        assert!(!revoked.ends(&answer(100)));
        revoked.take(&told(SUBJECT, 100, 4000));
        assert!(revoked.ends(&answer(99)));
        assert!(revoked.ends(&answer(100)), "of the same moment");
        assert!(!revoked.ends(&answer(101)), "was looked up anew");
    }

    #[test]
    fn the_latest_revocation_of_a_subject_counts_in_whatever_order_they_come() {
        let revoked = known();
        revoked.take(&told(SUBJECT, 200, 4000));
        revoked.take(&told(SUBJECT, 100, 4000));
        assert!(revoked.ends(&answer(150)));
    }

    #[test]
    fn what_nothing_can_need_any_more_is_forgotten() {
        let revoked = known();
        revoked.take(&told(SUBJECT, 100, 100));
        assert!(!revoked.ends(&answer(99)));
    }

    #[test]
    fn nothing_is_live_before_all_was_told_nor_beyond_the_bound() {
        let revoked = known();
        assert!(!revoked.is_live());
        let part = WatchRevokedResponse {
            synchronised: false,
            ..told(SUBJECT, 100, 4000)
        };
        revoked.take(&part);
        assert!(!revoked.is_live());
        revoked.take(&told(SUBJECT, 100, 4000));
        assert!(revoked.is_live());
        let strict = Revoked::new(Duration::ZERO);
        strict.take(&told(SUBJECT, 100, 4000));
        assert!(!strict.is_live());
    }
}
