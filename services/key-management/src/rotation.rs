//! Generations: the secrets of a key or client, of which two may work at a
//! time, so that a new one can be brought to wherever the old one is used
//! while one can watch that happen.

use chassis::revocation::Revocable;
use chassis::store::{ReadTx, WriteTx};
use chassis::time::timestamp;
use chassis::{Error, Result};
use chrono::TimeDelta;
use proto::keys::{Generation, Rotation, Use};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect, Select,
};

use crate::entity::generation::{ActiveModel, Column, Entity, Model, Scheme};
use crate::entity::{key_policy, origin};
use crate::revocations::Revoker;
use crate::usage::ORIGINS;
use crate::vault::Hash;

/// How long an old secret goes on working if the request does not say.
const OVERLAP: TimeDelta = TimeDelta::hours(24);
/// How long it may at most, if the tenant has no policy.
const LONGEST: TimeDelta = TimeDelta::days(365);
/// How many generations are shown.
const SHOWN: u64 = 8;

/// What has secrets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Key(Uuid),
    Client(Uuid),
}

/// A secret, as it is kept.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) scheme: Scheme,
    pub(crate) hash: Hash,
    /// By what it is found, of a foreign key.
    pub(crate) lookup: Option<Vec<u8>>,
}

impl From<Hash> for Kept {
    fn from(hash: Hash) -> Self {
        Self {
            scheme: Scheme::Hmac,
            hash,
            lookup: None,
        }
    }
}

impl Holder {
    fn generations(self) -> Select<Entity> {
        let own = match self {
            Self::Key(id) => Column::KeyId.eq(id),
            Self::Client(id) => Column::ClientId.eq(id),
        };
        Entity::find().filter(own).order_by_desc(Column::Generation)
    }

    fn row(self, generation: i32, kept: Kept, now: DateTimeUtc) -> ActiveModel {
        let (key, client) = match self {
            Self::Key(id) => (Some(id), None),
            Self::Client(id) => (None, Some(id)),
        };
        ActiveModel {
            key_id: Set(key),
            client_id: Set(client),
            generation: Set(generation),
            scheme: Set(kept.scheme),
            pepper: Set(kept.hash.pepper),
            hash: Set(kept.hash.bytes),
            lookup: Set(kept.lookup),
            create_time: Set(now),
            use_count: Set(0),
            ..Default::default()
        }
    }

    /// Gives a new holder its first secret.
    pub(crate) async fn begin(self, tx: &WriteTx, kept: Kept, now: DateTimeUtc) -> Result<()> {
        tx.insert(self.row(1, kept, now)).await.map(drop)
    }

    /// Adds a secret, and lets the one before end when `overlap` is over. The
    /// caller has locked the holder's row.
    pub(crate) async fn rotate(
        self,
        tx: &WriteTx,
        revoker: &Revoker,
        kept: Kept,
        overlap: TimeDelta,
        now: DateTimeUtc,
    ) -> Result<()> {
        let rows = tx.all(self.generations().limit(2)).await?;
        if rows.iter().any(|row| is_overlapping(row, now)) {
            return Err(Error::precondition(
                "ROTATION_RUNNING",
                "the secret before the present one still works: finish that rotation first",
            ));
        }
        let newest = rows.into_iter().next();
        let generation = newest.as_ref().map_or(1, |row| row.generation + 1);
        if let Some(newest) = newest {
            // What is remembered of the old secret does not know of its end.
            revoker.write(tx, &Revocable::Secret(newest.number)).await?;
            tx.update(ActiveModel {
                end_time: Set(Some(now + overlap)),
                ..newest.into_active_model()
            })
            .await?;
        }
        tx.insert(self.row(generation, kept, now)).await.map(drop)
    }

    /// Moves the end of the overlap. The caller has locked the holder's row.
    pub(crate) async fn end_overlap(
        self,
        tx: &WriteTx,
        revoker: &Revoker,
        end: DateTimeUtc,
        now: DateTimeUtc,
    ) -> Result<()> {
        let rows = tx.all(self.generations().limit(2)).await?;
        let old = rows.into_iter().find(|row| is_overlapping(row, now));
        let old = old.ok_or_else(|| {
            Error::precondition(
                "NO_ROTATION_RUNNING",
                "there is no older secret that still works",
            )
        })?;
        revoker.write(tx, &Revocable::Secret(old.number)).await?;
        tx.update(ActiveModel {
            end_time: Set(Some(end)),
            ..old.into_active_model()
        })
        .await
        .map(drop)
    }

    /// When the newest secret was made.
    pub(crate) async fn replaced(self, tx: &ReadTx) -> Result<Option<DateTimeUtc>> {
        let newest = tx.all(self.generations().limit(1)).await?;
        Ok(newest.into_iter().next().map(|row| row.create_time))
    }

    /// The secret that was made last.
    pub(crate) async fn newest(self, tx: &ReadTx) -> Result<Option<Model>> {
        tx.one(self.generations()).await
    }

    /// The secrets, and how they are used.
    pub(crate) async fn rotation(self, tx: &ReadTx, now: DateTimeUtc) -> Result<Rotation> {
        let rows = tx.all(self.generations().limit(SHOWN)).await?;
        let mut generations = Vec::with_capacity(rows.len());
        for row in &rows {
            let uses = origin::Entity::find()
                .filter(origin::Column::Generation.eq(row.number))
                .order_by_desc(origin::Column::LastTime)
                .limit(ORIGINS);
            let uses = tx.all(uses).await?.into_iter().map(|origin| Use {
                network: origin.network,
                user_agent: origin.user_agent,
                first_time: Some(timestamp(origin.first_time)),
                last_time: Some(timestamp(origin.last_time)),
                count: origin.count,
            });
            generations.push(Generation {
                number: row.generation,
                create_time: Some(timestamp(row.create_time)),
                end_time: row.end_time.map(timestamp),
                live: row.end_time.is_none_or(|end| end > now),
                last_use_time: row.last_use_time.map(timestamp),
                use_count: row.use_count,
                uses: uses.collect(),
            });
        }
        Ok(Rotation {
            running: rows.iter().any(|row| is_overlapping(row, now)),
            generations,
        })
    }
}

fn is_overlapping(row: &Model, now: DateTimeUtc) -> bool {
    row.end_time.is_some_and(|end| end > now)
}

/// How long an old secret may go on beside a new one.
pub(crate) fn longest(policy: Option<&key_policy::Model>) -> TimeDelta {
    policy
        .and_then(|policy| policy.max_overlap)
        .map_or(LONGEST, TimeDelta::seconds)
}

/// How long the old secret may go on, as wanted and as the policy allows.
pub(crate) fn overlap(
    wanted: Option<&prost_types::Duration>,
    policy: Option<&key_policy::Model>,
    field: &str,
) -> Result<TimeDelta> {
    let longest = longest(policy);
    let Some(wanted) = wanted else {
        return Ok(OVERLAP.min(longest));
    };
    let wanted = TimeDelta::seconds(wanted.seconds);
    match wanted <= longest {
        true => Ok(wanted),
        false => Err(Error::invalid(
            field,
            format!(
                "is longer than the tenant's policy allows: at most {} seconds",
                longest.num_seconds()
            ),
        )),
    }
}
