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
use crate::entity::device_quota::{ActiveModel, Column, Entity};

/// Counts devices that were just inserted, and refuses them if they are too
/// many. `default` is the limit of a tenant that has none of its own.
pub(crate) async fn take(tx: &WriteTx, devices: i64, default: Option<i64>) -> Result<()> {
    let free = Condition::any().add(Column::DeviceLimit.is_null()).add(
        Expr::col(Column::DeviceCount)
            .add(devices)
            .lte(Expr::col(Column::DeviceLimit)),
    );
    let count = Entity::update_many()
        .col_expr(
            Column::DeviceCount,
            Expr::col(Column::DeviceCount).add(devices),
        )
        .filter(free);
    if tx.update_many(count).await? > 0 {
        return Ok(());
    }
    let limit = match tx.one(Entity::find()).await? {
        Some(row) => row.device_limit,
        None if default.is_none() => return Ok(()),
        None => {
            let there = tx.count(device::Entity::find()).await?.cast_signed();
            if Some(there) <= default {
                let row = ActiveModel {
                    device_limit: Set(default),
                    device_count: Set(there),
                    ..Default::default()
                };
                return match tx.insert(row).await {
                    // Somebody else began to count at the same time.
                    Err(Error::Constraint(_)) => Err(Error::Contention),
                    done => done.map(drop),
                };
            }
            default
        }
    };
    Err(exhausted(limit.unwrap_or_default()))
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) left: i64,
    pub(crate) limit: i64,
}

/// How many more devices the tenant may have as of now; nothing: any number.
pub(crate) async fn room(tx: &ReadTx, default: Option<i64>) -> Result<Option<Room>> {
    let (limit, there) = match (tx.one(Entity::find()).await?, default) {
        (Some(row), _) => (row.device_limit, row.device_count),
        (None, None) => (None, 0),
        (None, default) => {
            let there = tx.count(device::Entity::find()).await?;
            (default, there.cast_signed())
        }
    };
    Ok(limit.map(|limit| Room {
        left: Ord::max(limit - there, 0),
        limit,
    }))
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
