//! How often secrets are used, and from where: counted in memory and written
//! together now and then, never in the path of a request. What a crash takes
//! is some seconds of counting.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::store::Store;
use chassis::{Clock, Result, context};
use chrono::{DateTime, Utc};

use crate::rotation::Holder;
use crate::vault::Hash;

mod pending;
#[cfg(test)]
mod tests;
mod write;

use pending::{Pending, Place, Uses};

/// How long nothing is written when all is, or the database can't.
const FLUSH: Duration = Duration::from_secs(2);
/// How long others get their turn between two of our transactions.
const PAUSE: Duration = Duration::from_millis(20);
/// How many origins of one secret are kept.
pub(crate) const ORIGINS: u64 = 32;
/// How many of them are told apart; the last one is all others.
const APART: usize = 31;
/// How many origins, and how many holders, are written in one transaction:
/// those of the last secret may be some more.
const CHUNK: usize = 50;
/// The longest user agent that is kept, in characters.
const AGENT: usize = 200;
/// How many origins are held in memory until they are written; what is beyond
/// is counted without its origin.
const HELD: usize = 50_000;

/// Counts uses. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Usage {
    store: Store,
    clock: Clock,
    pending: Arc<Mutex<Pending>>,
}

/// One secret, used from one network by one kind of client.
pub(crate) struct Origin {
    /// The generation's number.
    pub(crate) generation: i64,
    pub(crate) network: String,
    pub(crate) user_agent: String,
}

/// How often, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) count: i64,
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
}

impl Counted {
    fn add(&mut self, more: Self) {
        self.count = self.count.saturating_add(more.count);
        self.first = self.first.min(more.first);
        self.last = self.last.max(more.last);
    }
}

/// A hash that is made in our way with the newest pepper.
#[derive(Clone)]
struct Rehash {
    hash: Hash,
    /// By what the secret is found, if it is one that has to be.
    lookup: Option<Vec<u8>>,
}

impl Usage {
    /// Writes what is counted from now on.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        let usage = Self::unwritten(store, clock);
        tokio::spawn(usage.clone().write());
        usage
    }

    fn unwritten(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            pending: Arc::default(),
        }
    }

    /// Counts one use.
    pub(crate) fn note(&self, generation: i64, source: Option<IpAddr>, user_agent: &str) {
        let now = self.clock.now();
        let origin = Origin {
            generation,
            network: source.map(context::network).unwrap_or_default(),
            user_agent: user_agent.to_owned(),
        };
        let once = Counted {
            count: 1,
            first: now,
            last: now,
        };
        self.add(origin, once);
    }

    /// Counts uses that were counted elsewhere.
    pub(crate) fn add(&self, origin: Origin, more: Counted) {
        let place = Place::new(&origin.network, &origin.user_agent);
        self.pending().add(origin.generation, place, more);
    }

    /// Replaces a hash, and by what it is found where that is given.
    pub(crate) fn rehash(&self, generation: i64, hash: Hash, lookup: Option<Vec<u8>>) {
        self.pending().rehash(generation, Rehash { hash, lookup });
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes some secrets after others, and begins anew after the last. What
    /// can't be written has its turn again when all others had theirs.
    async fn write(self) {
        let mut last = None;
        loop {
            let (done, pause);
            (last, done) = self.flush(last).await;
            pause = match (&done, last) {
                (Ok(()), Some(_)) => PAUSE,
                _ => FLUSH,
            };
            if let Err(error) = done {
                tracing::warn!(%error, "can't write how keys were used; trying again");
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes what is counted of some secrets after this one; answers which was
    /// the last. Keys and clients have a transaction of their own: whoever
    /// changes one locks it before its secrets, and we would do so after them.
    async fn flush(&self, after: Option<i64>) -> (Option<i64>, Result<()>) {
        let chunk = self.pending().take(after);
        let last = chunk.last_key_value().map(|(generation, _)| *generation);
        let written = match chunk.is_empty() {
            true => Ok(()),
            false => self.write_uses(chunk).await,
        };
        let holders = self.pending().take_holders();
        let told = match holders.is_empty() {
            true => Ok(()),
            false => self.write_holders(holders).await,
        };
        (last, written.and(told))
    }

    async fn write_uses(&self, chunk: BTreeMap<i64, Uses>) -> Result<()> {
        let written = self
            .store
            .change_global("count how keys are used", None, async |tx| {
                write::uses(tx, &chunk).await
            })
            .await;
        let mut pending = self.pending();
        match written {
            Ok(holders) => {
                pending.put_holders(holders);
                Ok(())
            }
            Err(error) => {
                pending.put_back(chunk);
                Err(error)
            }
        }
    }

    async fn write_holders(&self, holders: BTreeMap<Holder, DateTime<Utc>>) -> Result<()> {
        let written = self
            .store
            .change_global("note when keys were last used", None, async |tx| {
                write::holders(tx, &holders).await
            })
            .await;
        if written.is_err() {
            self.pending().put_holders(holders);
        }
        written
    }
}
