//! The one follower of a process: reads the record of changes once for all
//! streams, and each changed device once for all streams of its tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::store::{GlobalTx, Position, Store, event, in_one_order};
use chassis::{Error, Result};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::{broadcast, watch};
use uuid::Uuid;

use super::view::{Changed, ids, of_devices, together};
use crate::entity::{device, device_tag};

/// Changes that are read at a time. If there are more, streams read for themselves.
const BATCH: u64 = 1000;
/// Batches that a stream may be behind before it reads the record by itself.
const BACKLOG: usize = 32;
/// How long to wait after a look at the record that failed.
const RETRY: Duration = Duration::from_millis(300);

/// Tells streams what was read. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    store: Store,
    known: Mutex<Known>,
    /// Whether the place in the record is known.
    begun: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    /// How far is read and told.
    position: Option<Position>,
    streams: HashMap<Uuid, broadcast::Sender<Arc<Batch>>>,
}

/// Some changes of one tenant's devices.
pub(crate) struct Batch {
    /// Nothing if the stream is to read them by itself.
    pub(crate) changed: Option<Vec<Changed>>,
    /// How far the record was told before this.
    pub(crate) from: Position,
    /// How far the record is told with this.
    pub(crate) position: Position,
}

/// What a stream hears from a position on.
pub(crate) struct Ear {
    hub: Hub,
    told: broadcast::Receiver<Arc<Batch>>,
}

impl Hub {
    /// Follows the record for as long as the process lives.
    pub(crate) fn new(store: Store) -> Self {
        let hub = Self(Arc::new(Inner {
            store,
            known: Mutex::default(),
            begun: watch::Sender::new(false),
        }));
        tokio::spawn(hub.clone().follow());
        hub
    }

    /// Everything that is told of a tenant's devices after the position.
    pub(crate) async fn join(&self, tenant: Uuid) -> (Ear, Position) {
        loop {
            // The sender is as old as the hub.
            let _ = self.0.begun.subscribe().wait_for(|begun| *begun).await;
            let mut known = self.known();
            let Some(position) = known.position.clone() else {
                continue;
            };
            let told = known
                .streams
                .entry(tenant)
                .or_insert_with(|| broadcast::channel(BACKLOG).0)
                .subscribe();
            let hub = self.clone();
            return (Ear { hub, told }, position);
        }
    }

    async fn follow(self) {
        let mut wakes = self.0.store.wakes();
        loop {
            match self.read().await {
                Ok(()) => wakes.next().await,
                Err(error) => {
                    if let Error::Precondition { .. } = error {
                        self.forget();
                    }
                    tracing::warn!(%error, "can't read the record of changes");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Another server has taken over: streams end, and begin anew.
    fn forget(&self) {
        *self.known() = Known::default();
        self.0.begun.send_replace(false);
    }

    /// Reads what is new, and tells it.
    async fn read(&self) -> Result<()> {
        let tx = self
            .0
            .store
            .global("follow what becomes of devices")
            .await?;
        let position = self.known().position.clone();
        let Some(position) = position else {
            let position = tx.position::<event::Entity>().await?;
            self.known().position = Some(position);
            self.0.begun.send_replace(true);
            return Ok(());
        };
        let found = tx.appeared(of_devices(), position.into(), BATCH).await?;
        // The same snapshot: as far as was looked.
        let position = tx.position::<event::Entity>().await?;
        let mut tenants = BTreeMap::<_, Vec<_>>::new();
        for row in found.rows {
            if let Some(tenant) = row.tenant_id {
                tenants.entry(tenant).or_default().push(row);
            }
        }
        let watched: Vec<_> = self.known().streams.keys().copied().collect();
        let mut told = HashMap::new();
        for tenant in watched {
            let changed = match tenants.remove(&tenant) {
                // A flood, which each stream reads as fast as its reader can.
                _ if !found.all => None,
                Some(events) => Some(load(&tx, tenant, ids(&events)).await?),
                None => continue,
            };
            told.insert(tenant, changed);
        }
        let unread = tenants.into_keys().map(|tenant| (tenant, None));
        told.extend(unread.collect::<Vec<_>>());
        self.tell(told, found.all, position);
        Ok(())
    }

    /// Tells what was read. Streams that began meanwhile read it themselves;
    /// if it was too much, all do.
    fn tell(&self, mut told: HashMap<Uuid, Option<Vec<Changed>>>, all: bool, position: Position) {
        let mut known = self.known();
        let Some(from) = known.position.clone() else {
            return;
        };
        for (tenant, stream) in &known.streams {
            let changed = match told.remove(tenant) {
                Some(changed) => changed,
                None if all => continue,
                None => None,
            };
            let batch = Batch {
                changed,
                from: from.clone(),
                position: position.clone(),
            };
            // Without a receiver it is forgotten below.
            let _ = stream.send(Arc::new(batch));
        }
        known.position = Some(position);
        known
            .streams
            .retain(|_, stream| stream.receiver_count() > 0);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ear {
    /// What is told next. Fails when the stream was too slow to hear all.
    pub(crate) async fn next(&mut self) -> Result<Arc<Batch>, broadcast::error::RecvError> {
        self.told.recv().await
    }

    /// How far the record is told, if everything before was heard.
    pub(crate) fn position(&mut self) -> Option<Position> {
        let known = self.hub.known();
        match self.told.is_empty() {
            true => known.position.clone(),
            false => None,
        }
    }
}

async fn load(tx: &GlobalTx, tenant: Uuid, ids: Vec<Uuid>) -> Result<Vec<Changed>> {
    let query = device::Entity::find()
        .filter(device::Column::TenantId.eq(tenant))
        .filter(device::Column::Id.is_in(ids.iter().copied()));
    let rows = tx.all(query).await?;
    let query = device_tag::Entity::find()
        .filter(device_tag::Column::TenantId.eq(tenant))
        .filter(device_tag::Column::DeviceId.is_in(ids.iter().copied()));
    let mut tags = HashMap::<_, Vec<_>>::new();
    for row in tx.all(in_one_order(query)).await? {
        tags.entry(row.device_id).or_default().push(row.tag_id);
    }
    Ok(together(ids, rows, tags))
}
