//! How sites lie in each other. Every site has a row for each site in which it
//! lies, so that all that lies in one is found by an index.
//!
//! Whoever changes a tree locks its outermost site first: two moves that would
//! together make a circle come one after the other.

use std::collections::{BTreeSet, HashMap};

use chassis::caller::TenantId;
use chassis::store::{ReadTx, WriteTx, in_one_order};
use chassis::{Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};
use uuid::Uuid;

use crate::entity::site;
use crate::entity::site_ancestor::{ActiveModel, Column, Entity};

/// How many sites lie in each other at most.
const DEEPEST: usize = 10;
/// Rows that are written at a time: databases bound the values of a statement.
const CHUNK: usize = 500;

/// The sites in which each of some sites lies, from the outermost in.
pub(crate) async fn ancestors(
    tx: &ReadTx,
    sites: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Vec<Uuid>>> {
    let query = Entity::find()
        .filter(Column::SiteId.is_in(sites))
        .order_by_desc(Column::Distance);
    let mut ancestors = HashMap::<_, Vec<_>>::new();
    for row in tx.all(query).await? {
        ancestors
            .entry(row.site_id)
            .or_default()
            .push(row.ancestor_id);
    }
    Ok(ancestors)
}

/// The same of one site.
pub(crate) async fn ancestors_of(tx: &ReadTx, site: Uuid) -> Result<Vec<Uuid>> {
    let mut found = ancestors(tx, [site]).await?;
    Ok(found.remove(&site).unwrap_or_default())
}

/// The ids of sites that lie in one: directly, or at any depth. The store
/// confines a statement but not what is nested in it, so the tenant is named.
pub(crate) fn inside(tenant: TenantId, site: Uuid, directly: bool) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::SiteId)
        .filter(Column::TenantId.eq(tenant.0))
        .filter(Column::AncestorId.eq(site))
        .apply_if(directly.then_some(1), |query, one| {
            query.filter(Column::Distance.eq(one))
        })
        .into_query()
}

/// The ids of sites that lie in any.
pub(crate) fn anywhere(tenant: TenantId) -> SelectStatement {
    Entity::find()
        .select_only()
        .column(Column::SiteId)
        .filter(Column::TenantId.eq(tenant.0))
        .filter(Column::Distance.eq(1))
        .into_query()
}

/// Puts a new site, in which nothing lies yet, into another one. Answers in
/// which sites it lies.
pub(crate) async fn plant(tx: &WriteTx, site: Uuid, parent: Option<Uuid>) -> Result<Vec<Uuid>> {
    let Some(parent) = parent else {
        return Ok(Vec::new());
    };
    let around = around(tx, parent, &[parent]).await?;
    put(tx, &[(site, 0)], &around).await?;
    Ok(around)
}

/// Moves a site, with all that lies in it, into another one or out of all.
/// Answers in which sites it lies now.
pub(crate) async fn transplant(
    tx: &WriteTx,
    site: Uuid,
    parent: Option<Uuid>,
) -> Result<Vec<Uuid>> {
    let around = match parent {
        None => {
            lock(tx, &[site]).await?;
            Vec::new()
        }
        Some(parent) => around(tx, parent, &[site, parent]).await?,
    };
    if around.contains(&site) {
        return Err(Error::precondition(
            "SITE_CYCLE",
            "a site can't lie in itself, nor in one that lies in it",
        ));
    }
    let inner = tx.all(Entity::find().filter(Column::AncestorId.eq(site)));
    let inner = inner.await?.into_iter();
    let mut moved: Vec<_> = inner.map(|row| (row.site_id, row.distance)).collect();
    moved.push((site, 0));
    let old = ancestors_of(tx, site).await?;
    for chunk in moved.chunks(CHUNK) {
        let gone = Entity::delete_many()
            .filter(Column::SiteId.is_in(chunk.iter().map(|(id, _)| *id)))
            .filter(Column::AncestorId.is_in(old.iter().copied()));
        tx.delete(gone).await?;
    }
    put(tx, &moved, &around).await?;
    Ok(around)
}

/// A site and those in which it lies, from the outermost in, after the trees
/// of some sites were locked.
async fn around(tx: &WriteTx, parent: Uuid, trees: &[Uuid]) -> Result<Vec<Uuid>> {
    lock(tx, trees).await?;
    let query = site::Entity::find().filter(site::Column::Id.eq(parent));
    if tx.one(query).await?.is_none() {
        return Err(Error::invalid("site.parent_id", "there is no such site"));
    }
    let mut around = ancestors_of(tx, parent).await?;
    around.push(parent);
    Ok(around)
}

/// Locks the outermost sites around some.
async fn lock(tx: &WriteTx, sites: &[Uuid]) -> Result<()> {
    let roots = roots(tx, sites).await?;
    let query = site::Entity::find().filter(site::Column::Id.is_in(roots.iter().copied()));
    tx.all(in_one_order(query).lock_exclusive()).await?;
    match self::roots(tx, sites).await? == roots {
        true => Ok(()),
        // Somebody moved them while this waited.
        false => Err(Error::Contention),
    }
}

async fn roots(tx: &WriteTx, sites: &[Uuid]) -> Result<BTreeSet<Uuid>> {
    let found = ancestors(tx, sites.iter().copied()).await?;
    let root = |site: &Uuid| found.get(site).and_then(|around| around.first());
    let roots = sites.iter().map(|site| *root(site).unwrap_or(site));
    Ok(roots.collect())
}

/// Writes that some sites, each so far below the first one of them, lie in
/// all that is around that.
async fn put(tx: &WriteTx, sites: &[(Uuid, i32)], around: &[Uuid]) -> Result<()> {
    let deepest = sites.iter().map(|(_, distance)| *distance).max();
    let deepest = usize::try_from(deepest.unwrap_or_default()).unwrap_or_default();
    if around.len() + 1 + deepest > DEEPEST {
        return Err(Error::precondition(
            "SITE_DEPTH",
            format!("no more than {DEEPEST} sites may lie in each other"),
        ));
    }
    let mut rows = Vec::new();
    for (site, below) in sites {
        // The last one is directly around the first site.
        for (distance, ancestor) in (1..).zip(around.iter().rev()) {
            rows.push(ActiveModel {
                site_id: Set(*site),
                ancestor_id: Set(*ancestor),
                distance: Set(below + distance),
                ..Default::default()
            });
        }
    }
    while !rows.is_empty() {
        let rest = rows.split_off(CHUNK.min(rows.len()));
        tx.insert_many(rows).await?;
        rows = rest;
    }
    Ok(())
}
