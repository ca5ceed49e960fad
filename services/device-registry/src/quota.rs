//! How many devices a tenant may have: counted exactly, also by requests that
//! create at the same time, and only where there is a limit.
//!
//! The count is a row that each creation changes after it has inserted: so a
//! limit that is set meanwhile, which waits for all that insert
//! ([`set_limit`]), is seen by whoever inserts after it.

use chassis::caller::TenantId;
use chassis::store::{GlobalTx, ReadTx, WriteTx};
use chassis::{Error, Result};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};

use crate::entity::device;
use crate::entity::device_quota::{ActiveModel, Column, Entity, Model};

/// The limit of a tenant that may have any number of devices, whatever the
/// default is; a row without a limit has none of its own.
pub(crate) const ANY_NUMBER: i64 = i64::MAX;

/// Counts devices that were just inserted, and refuses them if they are too
/// many. `default` is the limit of a tenant that has none of its own.
pub(crate) async fn take(tx: &WriteTx, devices: i64, default: Option<i64>) -> Result<()> {
    let count = Entity::update_many()
        .col_expr(
            Column::DeviceCount,
            Expr::col(Column::DeviceCount).add(devices),
        )
        .filter(fits(devices, default));
    if tx.update_many(count).await? > 0 {
        return Ok(());
    }
    match (tx.one(Entity::find()).await?, default) {
        (Some(row), _) => match row.device_limit.or(default) {
            Some(limit) if row.device_count + devices > limit => Err(exhausted(limit)),
            // Somebody else began to count, or made room, in between.
            _ => Err(Error::Contention),
        },
        (None, Some(limit)) => begin(tx, limit).await,
        (None, None) => Ok(()),
    }
}

/// Whether there is room for so many more, by the tenant's own limit or, as it
/// is now, the default.
fn fits(devices: i64, default: Option<i64>) -> Condition {
    let then = || Expr::col(Column::DeviceCount).add(devices);
    let none_of_its_own = Condition::all().add(Column::DeviceLimit.is_null());
    let by_default = match default {
        Some(limit) => none_of_its_own.add(then().lte(limit)),
        None => none_of_its_own,
    };
    Condition::any()
        .add(then().lte(Expr::col(Column::DeviceLimit)))
        .add(by_default)
}

/// Begins to count, with all devices that are there.
async fn begin(tx: &WriteTx, limit: i64) -> Result<()> {
    let there = count(tx, None).await?;
    if there > limit {
        return Err(exhausted(limit));
    }
    let row = ActiveModel {
        // The default may be another one tomorrow.
        device_limit: Set(None),
        device_count: Set(there),
        ..Default::default()
    };
    match tx.insert(row).await {
        // Somebody else began to count at the same time.
        Err(Error::Constraint(_)) => Err(Error::Contention),
        done => done.map(drop),
    }
}

/// How many devices there are.
async fn count(tx: &ReadTx, row: Option<&Model>) -> Result<i64> {
    match row {
        Some(row) => Ok(row.device_count),
        None => Ok(tx.count(device::Entity::find()).await?.cast_signed()),
    }
}

/// How many there may be; nothing: any number.
fn limit(row: Option<&Model>, default: Option<i64>) -> Option<i64> {
    let own = row.and_then(|row| row.device_limit);
    own.or(default).filter(|limit| *limit != ANY_NUMBER)
}

/// How many devices the tenant has, and may have; nothing: any number.
pub(crate) async fn told(tx: &ReadTx, default: Option<i64>) -> Result<(i64, Option<i64>)> {
    let row = tx.one(Entity::find()).await?;
    let there = count(tx, row.as_ref()).await?;
    Ok((there, limit(row.as_ref(), default)))
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) left: i64,
    pub(crate) limit: i64,
}

/// How many more devices the tenant may have as of now; nothing: any number.
pub(crate) async fn room(tx: &ReadTx, default: Option<i64>) -> Result<Option<Room>> {
    let row = tx.one(Entity::find()).await?;
    let Some(limit) = limit(row.as_ref(), default) else {
        return Ok(None);
    };
    let there = count(tx, row.as_ref()).await?;
    let left = Ord::max(limit - there, 0);
    Ok(Some(Room { left, limit }))
}

/// The refusal of one device too many.
pub(crate) fn exhausted(limit: i64) -> Error {
    Error::Exhausted {
        reason: "DEVICE_LIMIT",
        message: format!(
            "the tenant may have {limit} devices; delete some for good, or ask the operator for more"
        )
        .into(),
    }
}

/// Gives back what devices that are gone for good took.
pub(crate) async fn give_back(tx: &WriteTx, devices: i64) -> Result<()> {
    let count = Entity::update_many().col_expr(
        Column::DeviceCount,
        Expr::col(Column::DeviceCount).sub(devices),
    );
    tx.update_many(count).await.map(drop)
}

/// The same for a tenant of which the purge knows only the name.
pub(crate) async fn give_back_of(tx: &GlobalTx, tenant: TenantId, devices: i64) -> Result<()> {
    let count = Entity::update_many()
        .col_expr(
            Column::DeviceCount,
            Expr::col(Column::DeviceCount).sub(devices),
        )
        .filter(Column::TenantId.eq(tenant.0));
    tx.update_many(count).await.map(drop)
}
