//! Whoever presents wrong secrets of a device is slowed down: by the name that
//! he uses, in this process's memory alone. What is remembered to be good is
//! answered all the same, so that nobody locks a device out that is at work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many may be wrong at once.
const BURST: u32 = 10;
/// How long until one more may be.
const INTERVAL: Duration = Duration::from_secs(6);
/// How many names are remembered; of more, the latest count.
const REMEMBERED: u64 = 100_000;

/// Counts what was wrong (GCRA). Cheap to clone; clones share.
#[derive(Clone)]
pub(super) struct Failures(moka::sync::Cache<[u8; 32], Arc<Mutex<Instant>>>);

impl Failures {
    pub(super) fn new() -> Self {
        let names = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_idle(INTERVAL * BURST);
        Self(names.build())
    }

    /// Whether too much of a name was wrong.
    pub(super) fn too_many(&self, name: &[u8; 32], now: Instant) -> bool {
        let full = self.0.get(name);
        full.is_some_and(|full| {
            let full = full.lock().unwrap_or_else(PoisonError::into_inner);
            full.saturating_duration_since(now) > INTERVAL * (BURST - 1)
        })
    }

    /// Something was wrong.
    pub(super) fn count(&self, name: [u8; 32], now: Instant) {
        let full = self.0.get_with(name, || Arc::new(Mutex::new(now)));
        let mut full = full.lock().unwrap_or_else(PoisonError::into_inner);
        *full = (*full).max(now) + INTERVAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_may_be_wrong_at_once_and_then_one_after_the_other() {
        let (failures, now) = (Failures::new(), Instant::now());
        let (one, other) = ([1; 32], [2; 32]);
        for _ in 0..BURST {
            assert!(!failures.too_many(&one, now));
            failures.count(one, now);
        }
        assert!(failures.too_many(&one, now));
        assert!(!failures.too_many(&other, now));
        assert!(!failures.too_many(&one, now + INTERVAL));
        failures.count(one, now + INTERVAL);
        assert!(failures.too_many(&one, now + INTERVAL));
    }
}
