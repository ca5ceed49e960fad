//! Who waits for which device, and is woken when there is something new for
//! it, in whichever process that was written.
//!
//! One reader a process follows the log of calls; a receiver is woken only for
//! its own devices, so that thousands may wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::Result;
use chassis::store::{Store, WriteTx};
use sea_orm::ActiveValue::Set;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::entity::command_call;

/// How long to wait after a look at the log that failed.
const RETRY: Duration = Duration::from_millis(200);

/// The receivers of this process. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub(crate) struct Calls(Arc<Inner>);

/// A device of a tenant, or all of them.
pub(crate) type Called = (Uuid, Option<Uuid>);

/// By what is called: who waits, by a number of his own.
type Waiting = HashMap<Called, HashMap<u64, Arc<Notify>>>;

#[derive(Default)]
struct Inner {
    next: AtomicU64,
    waiting: Mutex<Waiting>,
}

/// Somebody who waits. He does so no longer when this is dropped.
pub(crate) struct Listener {
    calls: Calls,
    keys: Vec<Called>,
    seat: u64,
    woken: Arc<Notify>,
}

impl Calls {
    /// Follows the log for as long as the process lives.
    pub(crate) fn follow(store: &Store) -> Self {
        let calls = Self::default();
        tokio::spawn(calls.clone().run(store.clone()));
        calls
    }

    async fn run(self, store: Store) {
        let mut log = store.tail::<command_call::Entity>();
        loop {
            match log.next().await {
                Ok(rows) => {
                    for row in rows {
                        self.wake((row.tenant_id, Some(row.device_id)));
                        self.wake((row.tenant_id, None));
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "can't look who is called");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Waits for devices, or for all of a tenant.
    pub(crate) fn listen(&self, keys: Vec<Called>) -> Listener {
        let seat = self.0.next.fetch_add(1, Ordering::Relaxed);
        let woken = Arc::new(Notify::new());
        let mut waiting = self.waiting();
        for key in &keys {
            let here = waiting.entry(*key).or_default();
            here.insert(seat, woken.clone());
        }
        drop(waiting);
        Listener {
            calls: self.clone(),
            keys,
            seat,
            woken,
        }
    }

    fn wake(&self, key: Called) {
        if let Some(here) = self.waiting().get(&key) {
            here.values().for_each(|woken| woken.notify_one());
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Waits until something was called since the last time.
    pub(crate) async fn called(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut waiting = self.calls.waiting();
        for key in &self.keys {
            if let Some(here) = waiting.get_mut(key) {
                here.remove(&self.seat);
                if here.is_empty() {
                    waiting.remove(key);
                }
            }
        }
    }
}

/// Calls whoever waits for a device, once the change is committed.
pub(crate) async fn call(tx: &WriteTx, device: Uuid) -> Result<()> {
    let row = command_call::ActiveModel {
        device_id: Set(device),
        create_time: Set(tx.begin_time()),
        ..Default::default()
    };
    tx.insert(row).await.map(drop)
}
