//! Revocations: written in the transaction of the change that caused them,
//! told to every verifier as soon as it has committed.

use std::time::Duration;

use chassis::revocation::{MAX_TOKEN_LIFE, Revocable};
use chassis::store::{Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Clock, Result};
use proto::keys::{Revocation, WatchRevocationsResponse};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use tokio::sync::{broadcast, mpsc};
use tonic::Status;

use crate::entity::revocation::{ActiveModel, Column, Entity, Model};

/// How often a quiet stream says that it is alive; a fraction of the bound
/// after which verifiers refuse.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Revocations that a slow reader may be behind before it reads all anew.
const BACKLOG: usize = 1024;

/// Revokes, and tells. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Revoker {
    store: Store,
    clock: Clock,
    told: broadcast::Sender<Revocation>,
}

/// A revocation that is written, but not yet told: its transaction has still
/// to commit.
#[must_use = "verifiers must be told once the transaction has committed"]
pub(crate) struct Written(Revocation);

impl Revoker {
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self {
            store,
            clock,
            told: broadcast::channel(BACKLOG).0,
        }
    }

    /// Revokes a subject in a transaction of its own, and tells.
    pub(crate) async fn revoke(&self, subject: String) -> Result<()> {
        let row = self.row(subject);
        let now = self.clock.now();
        let written = self
            .store
            .change_global("revocations are told to every service", async |tx| {
                // What no living token can need would pile up for ever.
                let old = Entity::delete_many().filter(Column::ForgetTime.lt(now));
                tx.delete(old).await?;
                tx.insert(row).await
            })
            .await?;
        self.tell(Written(shown(&written)));
        Ok(())
    }

    /// Revokes a subject in the transaction of the change that causes it.
    pub(crate) async fn write(&self, tx: &WriteTx, subject: &Revocable) -> Result<Written> {
        Ok(Written(shown(
            &tx.append(self.row(subject.to_string())).await?,
        )))
    }

    /// Tells every verifier. The moment that counts is now: until the commit,
    /// somebody may have looked the credential up and found it good.
    pub(crate) fn tell(&self, written: Written) {
        let revoke_time = Some(timestamp(self.clock.now()));
        // Nobody listening is no fault: whoever comes reads the table first.
        let _ = self.told.send(Revocation {
            revoke_time,
            ..written.0
        });
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
    pub(crate) async fn watch(self, to: mpsc::Sender<Result<WatchRevocationsResponse, Status>>) {
        let mut told = self.told.subscribe();
        let mut answer = self.snapshot().await;
        loop {
            let failed = answer.is_err();
            if to.send(answer.map_err(Status::from)).await.is_err() || failed {
                return;
            }
            answer = match tokio::time::timeout(HEARTBEAT, told.recv()).await {
                Ok(Ok(revocation)) => Ok(response(vec![revocation])),
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => self.snapshot().await,
                Ok(Err(broadcast::error::RecvError::Closed)) => return,
                Err(_) => Ok(response(vec![])),
            };
        }
    }

    async fn snapshot(&self) -> Result<WatchRevocationsResponse> {
        let tx = self
            .store
            .global("revocations are told to every service")
            .await?;
        let living = Entity::find()
            .filter(Column::ForgetTime.gt(self.clock.now()))
            .order_by_asc(Column::Number);
        Ok(response(tx.all(living).await?.iter().map(shown).collect()))
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
