//! Which devices were changed, and when: what was remembered of one that was
//! looked up before that, or then, is worthless.
//!
//! The record of changes is followed, so that whoever changes a device, in
//! whichever process and by whichever method, need not think of it. Devices
//! share a fixed number of places: one that shares another's change is looked
//! up again without need, and nothing ever has to be forgotten.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chassis::caller::TenantId;
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
    hasher: RandomState,
    /// When a device of each place was last changed, in microseconds since
    /// 1970 by the clock of the database.
    places: Box<[AtomicI64]>,
    /// The same of what may concern all devices of all tenants.
    all: AtomicI64,
    looked: Mutex<Option<Instant>>,
}

/// What a change concerns, of its tenant.
#[derive(Debug, PartialEq, Eq)]
enum Concerns {
    One(Uuid),
    All,
    None,
}

/// Stands for all devices of a tenant. A change of one that was given this id
/// concerns all of its tenant, and no other's.
const EVERY: Uuid = Uuid::nil();

impl Changes {
    /// Follows the record of changes from now on.
    pub(crate) fn follow(store: &Store) -> Self {
        let places = (0..PLACES).map(|_| AtomicI64::new(i64::MIN));
        let changes = Self(Arc::new(Inner {
            hasher: RandomState::new(),
            places: places.collect(),
            all: AtomicI64::new(i64::MIN),
            looked: Mutex::default(),
        }));
        tokio::spawn(changes.clone().run(store.clone()));
        changes
    }

    /// Whether what was looked up at a moment is so still.
    pub(crate) fn is_unchanged(
        &self,
        tenant: TenantId,
        device: Uuid,
        looked_up: DateTime<Utc>,
    ) -> bool {
        let inner = &*self.0;
        let places = [device, EVERY].map(|id| inner.place(tenant.0, id));
        let mut changed = places.into_iter().chain([&inner.all]);
        let looked_up = looked_up.timestamp_micros();
        inner.is_fresh() && changed.all(|time| time.load(Ordering::Acquire) < looked_up)
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
                        note(&self.0.all, time);
                    }
                    for row in &rows {
                        let tenant = row.tenant_id.unwrap_or_default();
                        match concerns(&row.resource) {
                            Concerns::One(device) => note(self.0.place(tenant, device), time),
                            Concerns::All => note(self.0.place(tenant, EVERY), time),
                            Concerns::None => (),
                        }
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
}

fn note(place: &AtomicI64, time: DateTime<Utc>) {
    place.fetch_max(time.timestamp_micros(), Ordering::AcqRel);
}

impl Inner {
    fn place(&self, tenant: Uuid, device: Uuid) -> &AtomicI64 {
        // Ids may be chosen: nobody knows which ones share a place.
        let hash = self.hasher.hash_one((tenant, device));
        let at = usize::try_from(hash % PLACES as u64).unwrap_or_default();
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
