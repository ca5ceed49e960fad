//! How often secrets are used, and from where: counted in memory and written
//! together now and then, never in the path of a request. What a crash takes
//! is some seconds of counting.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::store::{GlobalTx, Store};
use chassis::{Clock, Result, context};
use chrono::{DateTime, Utc};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QuerySelect};

use crate::entity::generation::Scheme;
use crate::entity::{api_client, api_key, generation, origin};
use crate::vault::Hash;

/// How often what was counted is written.
const FLUSH: Duration = Duration::from_secs(2);
/// How many origins of one secret are told apart; more are counted together.
pub(crate) const ORIGINS: u64 = 32;
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

#[derive(Default)]
struct Pending {
    uses: HashMap<Origin, Counted>,
    hashes: HashMap<i64, Hash>,
}

/// One secret, used from one network by one kind of client.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Origin {
    /// The generation's number.
    pub(crate) generation: i64,
    pub(crate) network: String,
    pub(crate) user_agent: String,
}

/// How often, and when.
#[derive(Clone, Copy)]
pub(crate) struct Counted {
    pub(crate) count: i64,
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
}

impl Usage {
    /// Writes what is counted from now on.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        let usage = Self {
            store,
            clock,
            pending: Arc::default(),
        };
        tokio::spawn(usage.clone().write());
        usage
    }

    /// Counts one use.
    pub(crate) fn note(&self, generation: i64, source: Option<IpAddr>, user_agent: &str) {
        let now = self.clock.now();
        let origin = Origin {
            generation,
            network: source.map(context::network).unwrap_or_default(),
            user_agent: user_agent.chars().take(AGENT).collect(),
        };
        let once = Counted {
            count: 1,
            first: now,
            last: now,
        };
        self.add(origin, once);
    }

    /// Counts uses that were counted elsewhere.
    pub(crate) fn add(&self, mut origin: Origin, more: Counted) {
        let mut pending = self.pending();
        if pending.uses.len() >= HELD && !pending.uses.contains_key(&origin) {
            origin.network.clear();
            origin.user_agent.clear();
        }
        let entry = pending.uses.entry(origin);
        let counted = entry.or_insert(Counted { count: 0, ..more });
        counted.count += more.count;
        counted.first = counted.first.min(more.first);
        counted.last = counted.last.max(more.last);
    }

    /// Replaces a hash by one that is made in our way with the newest pepper.
    pub(crate) fn rehash(&self, generation: i64, hash: Hash) {
        self.pending().hashes.insert(generation, hash);
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(self) {
        loop {
            tokio::time::sleep(FLUSH).await;
            let Pending { uses, hashes } = std::mem::take(&mut *self.pending());
            if uses.is_empty() && hashes.is_empty() {
                continue;
            }
            if let Err(error) = self.flush(&uses, &hashes).await {
                tracing::warn!(%error, "can't write how keys were used; trying again");
                for (origin, counted) in uses {
                    self.add(origin, counted);
                }
                let mut pending = self.pending();
                for (generation, hash) in hashes {
                    pending.hashes.entry(generation).or_insert(hash);
                }
            }
        }
    }

    /// In the order of the generations, so that two processes which write at
    /// once wait for each other in one direction only.
    async fn flush(
        &self,
        uses: &HashMap<Origin, Counted>,
        hashes: &HashMap<i64, Hash>,
    ) -> Result<()> {
        let mut uses: Vec<_> = uses.iter().collect();
        uses.sort_by_key(|(origin, _)| origin.generation);
        let mut hashes: Vec<_> = hashes.iter().collect();
        hashes.sort_by_key(|(generation, _)| **generation);
        let why = "count how keys are used";
        self.store
            .change_global(why, None, async |tx| {
                for (generation, hash) in &hashes {
                    let query = generation::Entity::update_many()
                        .col_expr(generation::Column::Scheme, Expr::value(Scheme::Hmac))
                        .col_expr(generation::Column::Pepper, Expr::value(hash.pepper))
                        .col_expr(generation::Column::Hash, Expr::value(hash.bytes.clone()))
                        .filter(generation::Column::Number.eq(**generation));
                    tx.update_many(query).await?;
                }
                for (origin, counted) in &uses {
                    count(tx, origin, counted).await?;
                }
                Ok(())
            })
            .await
    }
}

async fn count(tx: &GlobalTx, origin: &Origin, counted: &Counted) -> Result<()> {
    use generation::Column as G;
    use sea_orm::ExprTrait;
    let row = generation::Entity::find().filter(G::Number.eq(origin.generation));
    let Some(row) = tx.one(row).await? else {
        // Deleted in the meantime.
        return Ok(());
    };
    let last = counted.last;
    let query = generation::Entity::update_many()
        .col_expr(G::UseCount, Expr::col(G::UseCount).add(counted.count))
        .col_expr(G::LastUseTime, later(row.last_use_time, last))
        .filter(G::Number.eq(origin.generation));
    tx.update_many(query).await?;
    if let Some(key) = row.key_id {
        use api_key::Column as K;
        let query = api_key::Entity::update_many()
            .col_expr(K::LastUseTime, Expr::value(last))
            .filter(K::Id.eq(key))
            .filter(before(K::LastUseTime, last));
        tx.update_many(query).await?;
    }
    if let Some(client) = row.client_id {
        use api_client::Column as C;
        let query = api_client::Entity::update_many()
            .col_expr(C::LastUseTime, Expr::value(last))
            .filter(C::Id.eq(client))
            .filter(before(C::LastUseTime, last));
        tx.update_many(query).await?;
    }
    use origin::Column as O;
    let known = origin::Entity::find()
        .filter(O::TenantId.eq(row.tenant_id))
        .filter(O::Generation.eq(origin.generation))
        .limit(ORIGINS);
    let known = tx.all(known).await?;
    let is_known = known
        .iter()
        .any(|o| o.network == origin.network && o.user_agent == origin.user_agent);
    let apart = is_known || known.len() < usize::try_from(ORIGINS).unwrap_or(usize::MAX) - 1;
    let text = |text: &str| match apart {
        true => text.to_owned(),
        false => String::new(),
    };
    let fresh = origin::ActiveModel {
        tenant_id: Set(row.tenant_id),
        generation: Set(origin.generation),
        network: Set(text(&origin.network)),
        user_agent: Set(text(&origin.user_agent)),
        first_time: Set(counted.first),
        last_time: Set(last),
        count: Set(counted.count),
        ..Default::default()
    };
    let there = OnConflict::columns([O::TenantId, O::Generation, O::Network, O::UserAgent])
        .value(
            O::Count,
            Expr::col((origin::Entity, O::Count)).add(counted.count),
        )
        .value(O::LastTime, last)
        .to_owned();
    tx.upsert(origin::Entity::insert(fresh).on_conflict(there))
        .await
}

fn later(known: Option<DateTime<Utc>>, last: DateTime<Utc>) -> Expr {
    Expr::value(known.map_or(last, |known| known.max(last)))
}

fn before<C: ColumnTrait>(column: C, moment: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(column.is_null())
        .add(column.lt(moment))
}
