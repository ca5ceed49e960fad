//! Which devices were changed, and when: what was remembered of one that was
//! looked up before that, or then, is worthless.
//!
//! The record of changes is followed, so that whoever changes a device, in
//! whichever process and by whichever method, need not think of it. Devices
//! share a fixed number of places: one that shares another's change is looked
//! up again without need, and nothing ever has to be forgotten.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chassis::store::{Store, event};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// How old the last look at the record may be. A look is made every 400
/// milliseconds at least; so a change is known everywhere within a second, or
/// nothing is remembered.
const FRESH: Duration = Duration::from_millis(1000);
/// How long to wait after a look that failed.
const RETRY: Duration = Duration::from_millis(200);
/// Places; a power of two.
const PLACES: usize = 1 << 16;

/// What is known of changes. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Changes(Arc<Inner>);

struct Inner {
    /// When a device of each place was last changed, in microseconds since
    /// 1970 by the clock of the database.
    places: Box<[AtomicI64]>,
    /// The same of what may concern all devices.
    all: AtomicI64,
    looked: Mutex<Option<Instant>>,
}

/// What a change concerns.
#[derive(Debug, PartialEq, Eq)]
enum Concerns {
    One(Uuid),
    All,
    None,
}

impl Changes {
    /// Follows the record of changes from now on.
    pub(crate) fn follow(store: &Store) -> Self {
        let places = (0..PLACES).map(|_| AtomicI64::new(i64::MIN));
        let changes = Self(Arc::new(Inner {
            places: places.collect(),
            all: AtomicI64::new(i64::MIN),
            looked: Mutex::default(),
        }));
        tokio::spawn(changes.clone().run(store.clone()));
        changes
    }

    /// Whether what was looked up at a moment is so still.
    pub(crate) fn is_unchanged(&self, device: Uuid, looked_up: DateTime<Utc>) -> bool {
        let inner = &*self.0;
        let changed = inner.place(device).load(Ordering::Acquire);
        let changed = changed.max(inner.all.load(Ordering::Acquire));
        inner.is_fresh() && changed < looked_up.timestamp_micros()
    }

    async fn run(self, store: Store) {
        let mut record = store.tail_from_now::<event::Entity>();
        let mut restarts = None;
        loop {
            match record.next().await {
                Ok(rows) => {
                    let time = record.time();
                    // What was there before the first look is not told.
                    if restarts.replace(record.restarts()) != Some(record.restarts()) {
                        self.note(&Concerns::All, time);
                    }
                    for row in &rows {
                        self.note(&concerns(&row.resource), time);
                    }
                    *self.0.looked() = Some(Instant::now());
                }
                Err(error) => {
                    tracing::warn!(%error, "can't read what was changed; devices are looked up each time");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn note(&self, what: &Concerns, time: DateTime<Utc>) {
        let place = match what {
            Concerns::One(device) => self.0.place(*device),
            Concerns::All => &self.0.all,
            Concerns::None => return,
        };
        place.fetch_max(time.timestamp_micros(), Ordering::AcqRel);
    }
}

impl Inner {
    fn place(&self, device: Uuid) -> &AtomicI64 {
        // Ids may be chosen: all their bits count.
        let (high, low) = device.as_u64_pair();
        let mixed = (high ^ low.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let at = usize::try_from(mixed >> 48).unwrap_or_default() % PLACES;
        &self.places[at]
    }

    fn is_fresh(&self) -> bool {
        self.looked().is_some_and(|at| at.elapsed() < FRESH)
    }

    fn looked(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose answers a change of a resource makes worthless.
fn concerns(resource: &str) -> Concerns {
    let mut parts = resource.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("devices"), Some(id), None | Some("credentials")) => {
            id.parse().map_or(Concerns::All, Concerns::One)
        }
        (Some("deviceAuthorities"), ..) => Concerns::All,
        _ => Concerns::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_the_device_that_it_names() {
        let id = Uuid::from_u128(7);
        assert_eq!(concerns(&format!("devices/{id}")), Concerns::One(id));
        let credential = format!("devices/{id}/credentials/{id}");
        assert_eq!(concerns(&credential), Concerns::One(id));
        assert_eq!(
            concerns(&format!("devices/{id}/commands/{id}")),
            Concerns::None
        );
        // Purged by the service itself.
        assert_eq!(concerns("devices/-"), Concerns::All);
        assert_eq!(concerns(&format!("deviceAuthorities/{id}")), Concerns::All);
        assert_eq!(concerns(&format!("tags/{id}")), Concerns::None);
    }
}
