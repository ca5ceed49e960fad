//! Tenants below tenants: whoever is suspended takes along all that are below.

use chassis::Error;
use chassis::outbox::{Letter, Outbox};
use chassis::store::{GlobalTx, in_one_order};
use sea_orm::prelude::DateTimeUtc;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select, UpdateMany};
use uuid::Uuid;

use crate::entity::tenant;

/// How many tenants may be above one, so that a walk along them is short.
const DEPTH: usize = 32;
/// Of how many tenants what is below them is read at a time.
const CHUNK: usize = 500;

/// Refuses to make a tenant below one that is suspended, or too deep.
pub(crate) async fn may_grow(tx: &GlobalTx, above: Uuid) -> Result<(), Error> {
    // Locked, so that nobody suspends it while it gets another one below it.
    let row = locked(tx, above).await?;
    if row.is_refused() {
        return Err(suspended());
    }
    let (mut next, mut depth) = (row.parent, 1);
    while let Some(id) = next {
        depth += 1;
        if depth > DEPTH {
            return Err(Error::precondition(
                "TENANTS_TOO_DEEP",
                "at most 32 tenants may be above one another",
            ));
        }
        next = parent(tx, id).await?;
    }
    Ok(())
}

/// Suspends or resumes a tenant below another one. Answers its row, and what
/// key management must be told of it and of the tenants below it.
pub(crate) async fn set_state(
    tx: &GlobalTx,
    above: Uuid,
    id: Uuid,
    state: tenant::State,
    now: DateTimeUtc,
) -> Result<(tenant::Model, Vec<Letter>), Error> {
    is_below(tx, above, id).await?;
    let row = locked(tx, id).await?;
    if row.state == state {
        return Ok((row, Vec::new()));
    }
    let changed = tenant::Model {
        state,
        ..row.clone()
    };
    let mut letters = Vec::new();
    if write(tx, &row, changed, now, &mut letters).await? {
        spread(tx, id, state == tenant::State::Suspended, now, &mut letters).await?;
    }
    // As it is kept: the database's times are coarser.
    Ok((locked(tx, id).await?, letters))
}

pub(crate) fn suspended() -> Error {
    Error::precondition("TENANT_SUSPENDED", "the tenant is suspended")
}

/// Tells all tenants below one whether a tenant above them is suspended, level
/// by level: below one that is locked, nobody makes another one.
async fn spread(
    tx: &GlobalTx,
    top: Uuid,
    suspended_above: bool,
    now: DateTimeUtc,
    letters: &mut Vec<Letter>,
) -> Result<(), Error> {
    let mut level = vec![top];
    while !level.is_empty() {
        let mut next = Vec::new();
        for parents in level.chunks(CHUNK) {
            for row in tx.all(below(parents)).await? {
                let changed = tenant::Model {
                    suspended_above,
                    ..row.clone()
                };
                // Below one that is suspended itself, nothing changes.
                if write(tx, &row, changed, now, letters).await? {
                    next.push(row.tenant_id);
                }
            }
        }
        level = next;
    }
    Ok(())
}

/// Writes a tenant's state; answers whether it is refused now and was not
/// before, or the other way round, which is then to be told.
async fn write(
    tx: &GlobalTx,
    before: &tenant::Model,
    row: tenant::Model,
    now: DateTimeUtc,
    letters: &mut Vec<Letter>,
) -> Result<bool, Error> {
    let refused = row.is_refused();
    let turned = refused != before.is_refused();
    let row = tenant::Model {
        revision: row.revision + i64::from(turned),
        update_time: now,
        ..row
    };
    tx.update_many(changed(&row)).await?;
    if turned {
        let letter = Outbox::set_tenant_state(tx, row.tenant_id, refused, row.revision);
        letters.push(letter.await?);
    }
    Ok(turned)
}

/// Finds only what is below the tenant of whoever asks.
async fn is_below(tx: &GlobalTx, above: Uuid, id: Uuid) -> Result<(), Error> {
    let mut next = parent(tx, id).await?;
    while let Some(found) = next {
        if found == above {
            return Ok(());
        }
        next = parent(tx, found).await?;
    }
    Err(missing(id))
}

async fn parent(tx: &GlobalTx, id: Uuid) -> Result<Option<Uuid>, Error> {
    Ok(tx.one(of(id)).await?.and_then(|row| row.parent))
}

async fn locked(tx: &GlobalTx, id: Uuid) -> Result<tenant::Model, Error> {
    let row = tx.one(of(id).lock_exclusive()).await?;
    row.ok_or_else(|| missing(id))
}

fn of(id: Uuid) -> Select<tenant::Entity> {
    tenant::Entity::find().filter(tenant::Column::TenantId.eq(id))
}

fn below(parents: &[Uuid]) -> Select<tenant::Entity> {
    let parent = tenant::Column::Parent.is_in(parents.iter().copied());
    in_one_order(tenant::Entity::find().filter(parent)).lock_exclusive()
}

fn changed(row: &tenant::Model) -> UpdateMany<tenant::Entity> {
    tenant::Entity::update_many()
        .col_expr(tenant::Column::State, Expr::value(row.state))
        .col_expr(
            tenant::Column::SuspendedAbove,
            Expr::value(row.suspended_above),
        )
        .col_expr(tenant::Column::Revision, Expr::value(row.revision))
        .col_expr(tenant::Column::UpdateTime, Expr::value(row.update_time))
        .filter(tenant::Column::Number.eq(row.number))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("tenant", id)
}
