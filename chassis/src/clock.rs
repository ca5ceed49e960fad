//! Time and new ids, as a parameter.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::{NoContext, Timestamp, Uuid};

/// Tells the time and makes ids. Cheap to clone.
#[derive(Clone, Default)]
pub struct Clock {
    /// How far a test has moved the clock, in milliseconds.
    shift: Arc<AtomicI64>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.shift.load(Ordering::Relaxed))
    }

    /// A time of another clock, moved as a test has moved this one.
    pub(crate) fn shifted(&self, time: DateTime<Utc>) -> DateTime<Utc> {
        time + TimeDelta::milliseconds(self.shift.load(Ordering::Relaxed))
    }

    /// A new UUIDv7 (RFC 9562).
    pub fn new_id(&self) -> Uuid {
        let now = self.now();
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        Uuid::new_v7(Timestamp::from_unix(
            NoContext,
            seconds,
            now.timestamp_subsec_nanos(),
        ))
    }

    /// Moves this clock and all its clones; for tests of what expires.
    pub fn advance(&self, by: TimeDelta) {
        self.shift
            .fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}
