//! What key management must be told of a change that was made elsewhere.
//!
//! It is written in the change's own transaction, told right after the commit,
//! and told again by whichever process of the service finds it untold, so that
//! neither a key management that is away nor a process that is killed between
//! the commit and the call leaves a token alive. It may be told twice.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::{RevokeRequest, SetTenantStateRequest};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, Condition, DatabaseTransaction, EntityTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::caller::TenantId;
use crate::error::Result;
use crate::metrics;
use crate::peer::{Peers, ServiceName};
use crate::revocation::Revocable;
use crate::service_identity::ServiceIdentity;
use crate::store::{GlobalTx, Store, WriteTx};

/// How long an answer may wait for key management to be told.
const PATIENCE: Duration = Duration::from_secs(5);
/// How old a letter is that whoever wrote it has not delivered, and will not.
const LATE: TimeDelta = TimeDelta::seconds(2);
/// How often late letters are looked for.
const SWEEP: Duration = Duration::from_secs(1);
/// How many of them are read at a time.
const BATCH: u64 = 1000;
/// How many are told before it is kept that they were.
const CHUNK: usize = 100;
/// For how long a letter is put off that was refused, in seconds.
const LONGEST_PAUSE: i64 = 60;

/// Delivers the letters of a service. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    store: Store,
    peers: Peers,
    identity: ServiceIdentity,
}

/// What is to be told. Lost without harm: it is found again.
#[must_use = "deliver it after the commit"]
#[derive(Clone, Debug)]
pub struct Letter(letter::Model);

/// A transaction that a letter can be written in.
pub struct Tx<'a> {
    connection: &'a DatabaseTransaction,
    begin_time: DateTime<Utc>,
}

impl<'a> From<&'a WriteTx> for Tx<'a> {
    fn from(tx: &'a WriteTx) -> Self {
        Self {
            connection: tx.connection(),
            begin_time: tx.begin_time(),
        }
    }
}

impl<'a> From<&'a GlobalTx> for Tx<'a> {
    fn from(tx: &'a GlobalTx) -> Self {
        Self {
            connection: tx.connection(),
            begin_time: tx.begin_time(),
        }
    }
}

impl Outbox {
    /// The outbox of a service's store, whose late letters are delivered from
    /// now on.
    pub fn new(store: Store, peers: Peers, identity: ServiceIdentity) -> Self {
        let outbox = Self {
            store,
            peers,
            identity,
        };
        tokio::spawn(outbox.clone().sweep());
        outbox
    }

    /// Writes that a subject's tokens are to be revoked.
    pub async fn revoke<'a>(tx: impl Into<Tx<'a>>, subject: &Revocable) -> Result<Letter> {
        let row = letter::ActiveModel {
            subject: Set(subject.to_string()),
            ..Default::default()
        };
        write(tx.into(), row).await
    }

    /// Writes that a tenant is suspended or not; `revision` grows with each change.
    pub async fn set_tenant_state<'a>(
        tx: impl Into<Tx<'a>>,
        tenant: Uuid,
        suspended: bool,
        revision: i64,
    ) -> Result<Letter> {
        let row = letter::ActiveModel {
            subject: Set(Revocable::Tenant(tenant).to_string()),
            tenant: Set(Some(tenant)),
            suspended: Set(Some(suspended)),
            revision: Set(Some(revision)),
            ..Default::default()
        };
        write(tx.into(), row).await
    }

    /// Delivers what a change has written, after its commit. What can't be
    /// delivered now is later: the change is made, and can't be made again.
    pub async fn deliver(&self, letters: impl IntoIterator<Item = Letter>) {
        let letters: Vec<_> = letters.into_iter().map(|letter| letter.0).collect();
        if letters.is_empty() {
            return;
        }
        let outbox = self.clone();
        // On its own, so that it goes on when the caller has waited enough.
        let telling = tokio::spawn(async move {
            if let Err(error) = outbox.tell(letters).await {
                tracing::warn!(%error, "key management can't be told of a change yet");
            }
        });
        if tokio::time::timeout(PATIENCE, telling).await.is_err() {
            tracing::warn!("key management does not answer; it is told of a change later");
        }
    }

    /// Delivers what nobody else has, for as long as the process lives.
    async fn sweep(self) {
        let mut well = true;
        loop {
            let swept = self.sweep_once().await;
            if let Err(error) = &swept
                && well
            {
                tracing::warn!(%error, "what key management must be told is still to be told");
            }
            if swept.is_ok() && !well {
                tracing::info!("key management was told of all changes");
            }
            well = swept.is_ok();
            tokio::time::sleep(SWEEP).await;
        }
    }

    /// Tells all late letters. Those that are refused are put off, so that the
    /// next page holds others.
    async fn sweep_once(&self) -> Result<()> {
        loop {
            let late = self.late().await?;
            if late.is_empty() {
                return Ok(());
            }
            self.tell(late).await?;
        }
    }

    async fn late(&self) -> Result<Vec<letter::Model>> {
        let tx = self.store.global("find letters that are late").await?;
        let now = tx.begin_time();
        let oldest = letter::Entity::find().order_by_asc(letter::Column::CreateTime);
        let age = tx.one(oldest.limit(1)).await?;
        let age = age.map_or(TimeDelta::zero(), |letter| now - letter.create_time);
        metrics::oldest_letter(self.identity.name(), age);
        let due = letter::Column::DueTime;
        let query = letter::Entity::find()
            .filter(letter::Column::CreateTime.lt(now - LATE))
            .filter(Condition::any().add(due.is_null()).add(due.lt(now)))
            .order_by_asc(letter::Column::Number)
            .limit(BATCH);
        tx.all(query).await
    }

    /// Tells one after the other, and keeps what became of them.
    async fn tell(&self, letters: Vec<letter::Model>) -> Result<()> {
        for chunk in letters.chunks(CHUNK) {
            let (mut told, mut refused) = (Vec::new(), Vec::new());
            let mut away: Result<()> = Ok(());
            for letter in chunk {
                match self.tell_one(letter).await {
                    Ok(()) => told.push(letter.number),
                    Err(error) if is_away(&error) => {
                        away = Err(error.into());
                        break;
                    }
                    // What is refused for itself must not keep back the others.
                    Err(error) => {
                        note(letter, &error);
                        refused.push((letter.number, letter.attempts));
                    }
                }
            }
            self.keep(told, refused).await?;
            away?;
        }
        Ok(())
    }

    async fn tell_one(&self, letter: &letter::Model) -> Result<(), Status> {
        let mut keys = CredentialServiceClient::new(self.peers.get(ServiceName::KeyManagement));
        let state = letter.tenant.zip(letter.suspended).zip(letter.revision);
        let Some(((tenant, suspended), revision)) = state else {
            let request = RevokeRequest {
                subject: letter.subject.clone(),
            };
            return keys.revoke(self.identity.request(request)?).await.map(drop);
        };
        let request = SetTenantStateRequest {
            suspended,
            revision,
        };
        let request = self.identity.request_for(TenantId(tenant), &[], request)?;
        keys.set_tenant_state(request).await.map(drop)
    }

    /// Forgets what was told, and puts off what was refused.
    async fn keep(&self, told: Vec<i64>, refused: Vec<(i64, i64)>) -> Result<()> {
        if told.is_empty() && refused.is_empty() {
            return Ok(());
        }
        let why = "keep what became of letters";
        // The change that wrote it has a record; this is its consequence.
        let keep = self.store.change_global(why, None, async |tx| {
            let number = letter::Column::Number;
            tx.delete(letter::Entity::delete_many().filter(number.is_in(told)))
                .await?;
            for (refused, attempts) in refused {
                let due = tx.begin_time() + pause(attempts);
                let put_off = letter::Entity::update_many()
                    .col_expr(letter::Column::Attempts, Expr::value(attempts + 1))
                    .col_expr(letter::Column::DueTime, Expr::value(due))
                    .filter(number.eq(refused));
                tx.update_many(put_off).await?;
            }
            Ok(())
        });
        keep.await
    }
}

async fn write(tx: Tx<'_>, row: letter::ActiveModel) -> Result<Letter> {
    let row = letter::ActiveModel {
        create_time: Set(tx.begin_time),
        attempts: Set(0),
        ..row
    };
    Ok(Letter(row.insert(tx.connection).await?))
}

/// Whether the next letter would fare no better.
fn is_away(refusal: &Status) -> bool {
    matches!(
        refusal.code(),
        Code::Unavailable
            | Code::DeadlineExceeded
            | Code::Unauthenticated
            | Code::ResourceExhausted
    )
}

/// How long to wait after another refusal: 2 s, 4 s, and so on.
fn pause(attempts: i64) -> TimeDelta {
    let doubled = u32::try_from(attempts + 1)
        .ok()
        .and_then(|power| 2_i64.checked_pow(power));
    TimeDelta::seconds(doubled.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE))
}

/// Says once that a letter is refused, without what is in it.
fn note(letter: &letter::Model, refusal: &Status) {
    if letter.attempts == 0 {
        let kind = letter.subject.split(':').next().unwrap_or_default();
        let (number, code) = (letter.number, refusal.code());
        tracing::warn!(
            number,
            kind,
            ?code,
            "key management refuses what it is told"
        );
    }
}

/// The table, which services have that tell key management of changes.
mod letter {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "outbox")]
    pub(super) struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        /// As in `RevokeRequest`.
        pub subject: String,
        /// The tenant whose state is told; nothing if the subject is revoked.
        pub tenant: Option<Uuid>,
        pub suspended: Option<bool>,
        pub revision: Option<i64>,
        pub create_time: DateTimeUtc,
        /// How often it was refused.
        pub attempts: i64,
        /// Until when it is put off.
        pub due_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub(super) enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}
