//! Revocations: written in the transaction of the change that caused them,
//! told to every verifier as soon as it has committed, by whichever replica.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chassis::revocation::{MAX_TOKEN_LIFE, Revocable};
use chassis::store::{Store, WriteTx};
use chassis::time::{date_time, timestamp};
use chassis::{Clock, Result};
use chrono::{DateTime, Utc};
use proto::keys::{Revocation, WatchRevocationsResponse};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use crate::entity::revocation::{ActiveModel, Column, Entity, Model};

/// How often a quiet stream says that it is alive; a fraction of the bound
/// after which verifiers refuse.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How old the last look at the log may be for the stream to call itself alive.
const FRESH: Duration = Duration::from_secs(2);
/// How long to wait after a look at the log that failed.
const RETRY: Duration = Duration::from_millis(200);
/// Revocations that a slow reader may be behind before it is told all anew.
const BACKLOG: usize = 1024;

/// Revokes, and tells. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Revoker {
    store: Store,
    clock: Clock,
    known: Arc<RwLock<Known>>,
    told: broadcast::Sender<Revocation>,
}

/// What this process has read of the log.
#[derive(Default)]
struct Known {
    /// By subject and the time in the log, as they were told.
    living: HashMap<(String, DateTime<Utc>), Revocation>,
    /// When the log was last looked at.
    looked: Option<Instant>,
}

impl Revoker {
    /// Follows the log from now on.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        let revoker = Self {
            store,
            clock,
            known: Arc::default(),
            told: broadcast::channel(BACKLOG).0,
        };
        tokio::spawn(revoker.clone().follow());
        revoker
    }

    /// Revokes a subject in a transaction of its own.
    pub(crate) async fn revoke(&self, subject: String) -> Result<()> {
        let row = self.row(subject);
        let now = self.clock.now();
        // The change that causes it has a record; this is its consequence.
        self.store
            .change_global("revocations are told to every service", None, async |tx| {
                // What no living token can need would pile up for ever.
                let old = Entity::delete_many().filter(Column::ForgetTime.lt(now));
                tx.delete(old).await?;
                tx.insert(row).await
            })
            .await?;
        Ok(())
    }

    /// Revokes a subject in the transaction of the change that causes it.
    pub(crate) async fn write(&self, tx: &WriteTx, subject: &Revocable) -> Result<()> {
        tx.append(self.row(subject.to_string())).await.map(drop)
    }

    /// Tells every verifier what appears in the log, whichever process wrote it.
    async fn follow(self) {
        let mut log = self.store.tail::<Entity>();
        let mut first = true;
        loop {
            match log.next().await {
                Ok(rows) => {
                    self.take(&rows, first);
                    first = false;
                }
                Err(error) => {
                    tracing::warn!(%error, "can't read the log of revocations");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Takes rows in and tells them. The moment that counts for a new one is
    /// now: until its commit, somebody may have looked the credential up and
    /// found it good.
    fn take(&self, rows: &[Model], first: bool) {
        let now = self.clock.now();
        let mut known = self.known();
        known.looked = Some(Instant::now());
        if rows.is_empty() {
            return;
        }
        known.living.retain(|_, told| {
            let forget = told.forget_time.as_ref().and_then(date_time);
            forget.is_some_and(|forget| forget > now)
        });
        for row in rows {
            // The log may give a row again; its moment is then the old one.
            let Entry::Vacant(new) = known.living.entry((row.subject.clone(), row.revoke_time))
            else {
                continue;
            };
            let mut revocation = shown(row);
            if !first {
                revocation.revoke_time = Some(timestamp(now));
            }
            new.insert(revocation.clone());
            // Nobody listening is no fault: whoever comes is told all.
            let _ = self.told.send(revocation);
        }
    }

    fn known(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, subject: String) -> ActiveModel {
        let now = self.clock.now();
        ActiveModel {
            subject: Set(subject),
            revoke_time: Set(now),
            forget_time: Set(now + MAX_TOKEN_LIFE),
            ..Default::default()
        }
    }

    /// Sends what is revoked, then what will be, until the reader goes away.
    /// Says nothing while the log can't be read: verifiers must notice.
    pub(crate) async fn watch(self, to: mpsc::Sender<Result<WatchRevocationsResponse, Status>>) {
        while !self.is_fresh() {
            tokio::time::sleep(RETRY).await;
            if to.is_closed() {
                return;
            }
        }
        let (mut told, all) = self.all();
        let mut answer = Some(all);
        loop {
            if let Some(answer) = answer
                && to.send(Ok(answer)).await.is_err()
            {
                return;
            }
            if to.is_closed() {
                return;
            }
            answer = match tokio::time::timeout(HEARTBEAT, told.recv()).await {
                Ok(Ok(revocation)) => Some(response(vec![revocation])),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                    let all;
                    (told, all) = self.all();
                    Some(all)
                }
                Ok(Err(broadcast::error::RecvError::Closed)) => return,
                Err(_) => self.is_fresh().then(|| response(vec![])),
            };
        }
    }

    /// All that is known, and what will be from then on.
    fn all(&self) -> (broadcast::Receiver<Revocation>, WatchRevocationsResponse) {
        let known = self.known();
        (
            self.told.subscribe(),
            response(known.living.values().cloned().collect()),
        )
    }

    fn is_fresh(&self) -> bool {
        self.known().looked.is_some_and(|at| at.elapsed() < FRESH)
    }
}

fn response(revocations: Vec<Revocation>) -> WatchRevocationsResponse {
    WatchRevocationsResponse {
        revocations,
        synchronised: true,
    }
}

fn shown(row: &Model) -> Revocation {
    Revocation {
        subject: row.subject.clone(),
        revoke_time: Some(timestamp(row.revoke_time)),
        forget_time: Some(timestamp(row.forget_time)),
    }
}
