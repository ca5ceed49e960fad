//! Revocations: written in the transaction of the change that caused them,
//! told to every verifier as soon as it has committed, by whichever replica.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use chassis::revocation::{MAX_TOKEN_LIFE, Revocable};
use chassis::store::{GlobalTx, Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Clock, Result};
use chrono::{DateTime, Utc};
use proto::keys::{Revocation, WatchRevocationsResponse};
use sea_orm::prelude::Uuid;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use crate::entity::revocation::{ActiveModel, Column, Entity, Model};

#[cfg(test)]
mod tests;

/// How often a quiet stream says that it is alive; a fraction of the bound
/// after which verifiers refuse.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How old the last look at the log may be for the stream to call itself alive.
const FRESH: Duration = Duration::from_secs(2);
/// How long to wait after a look at the log that failed.
const RETRY: Duration = Duration::from_millis(200);
/// Revocations that a slow reader may be behind before it is told all anew.
const BACKLOG: usize = 1024;
/// How often what no living token can need is deleted.
const PURGE: Duration = Duration::from_secs(180);
/// How many of these are deleted in one transaction.
const PURGED: u64 = 500;
/// How long others get their turn between two of them.
const PAUSE: Duration = Duration::from_millis(20);
/// Revocations in one message: some hundred kilobytes.
const BATCH: usize = 4096;

/// Revokes, and tells. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Revoker {
    store: Store,
    clock: Clock,
    known: Arc<RwLock<Known>>,
    told: broadcast::Sender<Told>,
}

/// A revocation as it is told.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) subject: String,
    /// The tenant whose thing it is, where that is known.
    pub(crate) tenant: Option<Uuid>,
    pub(crate) revoke_time: DateTime<Utc>,
    pub(crate) forget_time: DateTime<Utc>,
}

/// What this process has read of the log.
#[derive(Default)]
struct Known {
    /// By subject and tenant, as they were told: the id of what is gone may be
    /// another tenant's next.
    living: HashMap<(String, Option<Uuid>), Told>,
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
        tokio::spawn(revoker.clone().keep_short());
        revoker
    }

    /// Revokes a subject in a transaction of its own.
    pub(crate) async fn revoke(&self, subject: String) -> Result<()> {
        let tenant = tenant_of(&subject);
        let row = self.row(subject, tenant);
        // The change that causes it has a record; this is its consequence.
        self.store
            .change_global("revocations are told to every service", None, async |tx| {
                tx.insert(row).await
            })
            .await?;
        Ok(())
    }

    /// Revokes a subject in the transaction of the change that causes it.
    pub(crate) async fn write(&self, tx: &WriteTx, subject: &Revocable) -> Result<()> {
        let tenant = Some(tx.tenant().0);
        let row = self.row(subject.to_string(), tenant);
        tx.append(row).await.map(drop)
    }

    /// The same in a transaction across tenants.
    pub(crate) async fn write_global(
        &self,
        tx: &GlobalTx,
        subject: &Revocable,
        tenant: Uuid,
    ) -> Result<()> {
        let row = self.row(subject.to_string(), Some(tenant));
        tx.insert(row).await.map(drop)
    }

    /// Tells every verifier what appears in the log, whichever process wrote it.
    async fn follow(self) {
        let mut log = self.store.tail::<Entity>();
        loop {
            match log.next().await {
                Ok(rows) => self.take(&rows, log.time()),
                Err(error) => {
                    tracing::warn!(%error, "can't read the log of revocations");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Deletes what no living token can need: it would pile up for ever, and
    /// every process reads it all when it starts.
    async fn keep_short(self) {
        let mut pause = PURGE;
        loop {
            tokio::time::sleep(pause).await;
            pause = match self.purge().await {
                Ok(PURGED) => PAUSE,
                Ok(_) => PURGE,
                Err(error) => {
                    tracing::warn!(%error, "can't delete old revocations");
                    PURGE
                }
            };
        }
    }

    /// Deletes some; answers how many there were.
    async fn purge(&self) -> Result<u64> {
        self.store
            .change_global("delete revocations of what has ended", None, async |tx| {
                let old = Entity::find()
                    .filter(Column::ForgetTime.lt(tx.begin_time()))
                    .order_by_asc(Column::ForgetTime)
                    .limit(PURGED);
                let old = tx.all(old).await?;
                let numbers = old.iter().map(|row| row.number);
                let those = Entity::delete_many().filter(Column::Number.is_in(numbers));
                tx.delete(those).await?;
                Ok(old.len() as u64)
            })
            .await
    }

    /// Takes rows in and tells them. The moment that counts is when the first
    /// process read it: until its commit, somebody may have looked the
    /// credential up and found it good. All moments are of the clock of the
    /// database, as those of the lookups are.
    fn take(&self, rows: &[Model], now: DateTime<Utc>) {
        let mut known = self.known();
        known.looked = Some(Instant::now());
        if rows.is_empty() {
            return;
        }
        known.living.retain(|_, told| told.forget_time > now);
        let mut first = Vec::new();
        for row in rows {
            if row.told_time.is_none() {
                first.push(row.number);
            }
            let told = Told {
                subject: row.subject.clone(),
                tenant: row.tenant,
                revoke_time: row.told_time.unwrap_or(now),
                forget_time: row.forget_time,
            };
            // Of one subject, the latest says all; the log may give a row again.
            match known.living.entry((row.subject.clone(), row.tenant)) {
                Entry::Occupied(known) if known.get().revoke_time >= told.revoke_time => continue,
                Entry::Occupied(mut known) => drop(known.insert(told.clone())),
                Entry::Vacant(new) => drop(new.insert(told.clone())),
            }
            metrics::counter!("muster_revocations_told_total").increment(1);
            // Nobody listening is no fault: whoever comes is told all.
            let _ = self.told.send(told);
        }
        if !first.is_empty() {
            tokio::spawn(self.clone().note(first, now));
        }
    }

    /// Notes when rows were told, for processes that start later. Should it
    /// fail, they take the moment at which they start.
    async fn note(self, rows: Vec<i64>, told: DateTime<Utc>) {
        let note = Entity::update_many()
            .col_expr(Column::ToldTime, Expr::value(told))
            .filter(Column::Number.is_in(rows))
            .filter(Column::ToldTime.is_null());
        let done = self
            .store
            .change_global("note when revocations were told", None, async |tx| {
                tx.update_many(note).await
            })
            .await;
        if let Err(error) = done {
            tracing::warn!(%error, "can't note when revocations were told");
        }
    }

    fn known(&self) -> std::sync::RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, subject: String, tenant: Option<Uuid>) -> ActiveModel {
        let now = self.clock.now();
        ActiveModel {
            subject: Set(subject),
            revoke_time: Set(now),
            forget_time: Set(now + MAX_TOKEN_LIFE),
            tenant: Set(tenant),
            ..Default::default()
        }
    }

    /// Sends what is revoked, then what will be, until the reader goes away:
    /// each batch as `answer` makes one, and whether it is the last of all that
    /// was known; an empty one as a heartbeat. Says nothing while the log can't
    /// be read: verifiers must notice.
    pub(crate) async fn watch<T>(
        self,
        to: mpsc::Sender<Result<T, Status>>,
        answer: impl Fn(Vec<Told>, bool) -> T,
    ) {
        while !self.is_fresh() {
            tokio::time::sleep(RETRY).await;
            if to.is_closed() {
                return;
            }
        }
        let (mut told, mut all) = self.all();
        loop {
            // What is known at once may be more than one message can hold.
            while all.len() > BATCH {
                let some = all.split_off(all.len() - BATCH);
                if to.send(Ok(answer(some, false))).await.is_err() {
                    return;
                }
            }
            if to.send(Ok(answer(all, true))).await.is_err() {
                return;
            }
            all = loop {
                if to.is_closed() {
                    return;
                }
                match tokio::time::timeout(HEARTBEAT, told.recv()).await {
                    Ok(Ok(revocation)) => break vec![revocation],
                    Ok(Err(broadcast::error::RecvError::Lagged(_))) => {
                        let anew;
                        (told, anew) = self.all();
                        break anew;
                    }
                    Ok(Err(broadcast::error::RecvError::Closed)) => return,
                    Err(_) if self.is_fresh() => break Vec::new(),
                    Err(_) => {}
                }
            };
        }
    }

    /// All that is known, and what will be from then on.
    fn all(&self) -> (broadcast::Receiver<Told>, Vec<Told>) {
        let known = self.known();
        (
            self.told.subscribe(),
            known.living.values().cloned().collect(),
        )
    }

    fn is_fresh(&self) -> bool {
        self.known().looked.is_some_and(|at| at.elapsed() < FRESH)
    }
}

/// A batch as the services of the installation are told it.
pub(crate) fn response(batch: Vec<Told>, synchronised: bool) -> WatchRevocationsResponse {
    let revocations = batch.into_iter().map(|told| Revocation {
        subject: told.subject,
        revoke_time: Some(timestamp(told.revoke_time)),
        forget_time: Some(timestamp(told.forget_time)),
    });
    WatchRevocationsResponse {
        revocations: revocations.collect(),
        synchronised,
    }
}

/// The tenant that a subject's text names.
fn tenant_of(subject: &str) -> Option<Uuid> {
    let (kind, rest) = subject.split_once(':')?;
    match kind {
        "tenant" => rest.parse().ok(),
        "member" => rest.split_once('/')?.0.parse().ok(),
        _ => None,
    }
}
