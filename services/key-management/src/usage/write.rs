//! How what was counted is written: always in the order of the generations,
//! so that two processes which write at once wait in one direction only.

use std::collections::{HashMap, HashSet};

use chassis::Result;
use chassis::store::GlobalTx;
use sea_orm::prelude::Uuid;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder,
    TryInsert,
};

use super::pending::{Place, Uses};
use super::{APART, BTreeMap, Counted, DateTime, Holder, Rehash, Utc};
use crate::entity::generation::{self, Scheme};
use crate::entity::{api_client, api_key, origin};

/// The row that an insertion did not make because there is one.
const EXCLUDED: &str = "excluded";

/// Writes what was counted of some secrets; answers when their keys and
/// clients were last used.
pub(super) async fn uses(
    tx: &GlobalTx,
    chunk: &BTreeMap<i64, Uses>,
) -> Result<Vec<(Holder, DateTime<Utc>)>> {
    use generation::Column::Number;
    let rows = generation::Entity::find()
        .filter(Number.is_in(chunk.keys().copied()))
        .order_by_asc(Number);
    let rows = tx.all(rows).await?;
    let mut taken = taken(tx, chunk).await?;
    let (mut written, mut holders) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        let Some(uses) = chunk.get(&row.number) else {
            continue;
        };
        if !secret(tx, row, uses, &mut taken).await? {
            // Deleted in the meantime.
            continue;
        }
        let holder = row.key_id.map(Holder::Key);
        let holder = holder.or(row.client_id.map(Holder::Client));
        holders.extend(holder.zip(uses.total().map(|total| total.last)));
        written.push((row, uses));
    }
    places(tx, &written).await?;
    Ok(holders)
}

/// By what secrets of a tenant are found already, of what shall be written.
type Taken = HashSet<(Uuid, Vec<u8>)>;

async fn taken(tx: &GlobalTx, chunk: &BTreeMap<i64, Uses>) -> Result<Taken> {
    let hashes = chunk.values().filter_map(|uses| uses.hash.as_ref());
    let lookups: Vec<_> = hashes.filter_map(|hash| hash.lookup.clone()).collect();
    if lookups.is_empty() {
        return Ok(Taken::new());
    }
    let rows = generation::Entity::find().filter(generation::Column::Lookup.is_in(lookups));
    let rows = tx.all(rows).await?.into_iter();
    let taken = rows.filter_map(|row| Some((row.tenant_id, row.lookup?)));
    Ok(taken.collect())
}

/// Writes what belongs to the row of the secret itself, and so locks it;
/// answers whether it is there.
async fn secret(
    tx: &GlobalTx,
    row: &generation::Model,
    uses: &Uses,
    taken: &mut Taken,
) -> Result<bool> {
    use generation::Column as G;
    let mut query = generation::Entity::update_many().filter(G::Number.eq(row.number));
    if let Some(total) = uses.total() {
        let last = Expr::value(total.last);
        query = query
            .col_expr(G::UseCount, Expr::col(G::UseCount).add(total.count))
            .col_expr(
                G::LastUseTime,
                Expr::case(before(G::LastUseTime, total.last), last)
                    .finally(Expr::col(G::LastUseTime))
                    .into(),
            );
    }
    if let Some(Rehash { hash, lookup }) = &uses.hash {
        query = query
            .col_expr(G::Scheme, Expr::value(Scheme::Hmac))
            .col_expr(G::Pepper, Expr::value(hash.pepper))
            .col_expr(G::Hash, Expr::value(hash.bytes.clone()));
        // The old one finds the secret as well.
        let lookup = lookup.as_ref();
        if let Some(new) = lookup.filter(|new| taken.insert((row.tenant_id, new.to_vec()))) {
            query = query.col_expr(G::Lookup, Expr::value(new.clone()));
        }
    }
    Ok(tx.update_many(query).await? > 0)
}

/// Adds to the origins of secrets, whose rows are locked: no other process
/// finds room for an origin at the same time.
async fn places(tx: &GlobalTx, written: &[(&generation::Model, &Uses)]) -> Result<()> {
    use origin::Column as O;
    let used = || written.iter().filter(|(_, uses)| !uses.places.is_empty());
    let known = origin::Entity::find()
        .filter(O::TenantId.is_in(used().map(|(row, _)| row.tenant_id)))
        .filter(O::Generation.is_in(used().map(|(row, _)| row.number)));
    let mut known_of: HashMap<i64, HashSet<Place>> = HashMap::new();
    for row in tx.all(known).await? {
        let place = Place {
            network: row.network,
            user_agent: row.user_agent,
        };
        known_of.entry(row.generation).or_default().insert(place);
    }
    let mut rows = Vec::new();
    for (row, uses) in used() {
        let known = known_of.remove(&row.number).unwrap_or_default();
        for (place, counted) in apart(known, uses) {
            rows.push(origin::ActiveModel {
                tenant_id: Set(row.tenant_id),
                generation: Set(row.number),
                network: Set(place.network),
                user_agent: Set(place.user_agent),
                first_time: Set(counted.first),
                last_time: Set(counted.last),
                count: Set(counted.count),
                ..Default::default()
            });
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    tx.upsert(TryInsert::many(rows).on_conflict(sum())).await
}

/// The uses by origins that are known or for which there is room; all others
/// together.
fn apart(mut known: HashSet<Place>, uses: &Uses) -> BTreeMap<Place, Counted> {
    let others = Place::default();
    known.remove(&others);
    let mut apart = BTreeMap::new();
    for (place, counted) in &uses.places {
        let place = match known.contains(place) || known.len() < APART {
            true => place.clone(),
            false => others.clone(),
        };
        if place != others {
            known.insert(place.clone());
        }
        apart
            .entry(place)
            .and_modify(|sum: &mut Counted| sum.add(*counted))
            .or_insert(*counted);
    }
    apart
}

/// What becomes of an origin that there is already.
fn sum() -> OnConflict {
    use origin::Column as O;
    let old = |column: O| Expr::col((origin::Entity, column));
    let new = |column: O| Expr::col((EXCLUDED, column));
    let first = Expr::case(new(O::FirstTime).lt(old(O::FirstTime)), new(O::FirstTime));
    let last = Expr::case(new(O::LastTime).gt(old(O::LastTime)), new(O::LastTime));
    OnConflict::columns([O::TenantId, O::Generation, O::Network, O::UserAgent])
        .value(O::Count, old(O::Count).add(new(O::Count)))
        .value(O::FirstTime, first.finally(old(O::FirstTime)))
        .value(O::LastTime, last.finally(old(O::LastTime)))
        .to_owned()
}

/// Notes when keys and clients were last used.
pub(super) async fn holders(
    tx: &GlobalTx,
    holders: &BTreeMap<Holder, DateTime<Utc>>,
) -> Result<()> {
    use api_client::Column as C;
    use api_key::Column as K;
    for (holder, last) in holders {
        match *holder {
            Holder::Key(id) => {
                let query = api_key::Entity::update_many()
                    .col_expr(K::LastUseTime, Expr::value(*last))
                    .filter(K::Id.eq(id))
                    .filter(before(K::LastUseTime, *last));
                tx.update_many(query).await?;
            }
            Holder::Client(id) => {
                let query = api_client::Entity::update_many()
                    .col_expr(C::LastUseTime, Expr::value(*last))
                    .filter(C::Id.eq(id))
                    .filter(before(C::LastUseTime, *last));
                tx.update_many(query).await?;
            }
        }
    }
    Ok(())
}

fn before<C: ColumnTrait>(column: C, moment: DateTime<Utc>) -> Condition {
    Condition::any()
        .add(column.is_null())
        .add(column.lt(moment))
}
