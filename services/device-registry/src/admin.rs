//! What an operator does with the database itself.

use chassis::Result;
use chassis::caller::TenantId;
use chassis::store::{Record, Store};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::entity::device;
use crate::entity::device_quota::{ActiveModel, Column, Entity};
use crate::quota::ANY_NUMBER;

/// Sets how many devices a tenant may have, whatever the default is; nothing
/// means any number. Answers how many it has.
pub async fn set_device_limit(store: &Store, tenant: TenantId, limit: Option<i64>) -> Result<i64> {
    let record = Record::by_service("operator", tenant.0, ("deviceQuota", tenant.0));
    let set = async |tx: &chassis::store::GlobalTx| {
        // Whoever inserts a device counts it after that: so all that are not
        // counted yet are committed now, or see the new limit.
        tx.lock_out_writers::<device::Entity>().await?;
        let of = device::Entity::find().filter(device::Column::TenantId.eq(tenant.0));
        let count = tx.count(of).await?.cast_signed();
        let row = ActiveModel {
            tenant_id: Set(tenant.0),
            device_limit: Set(Some(limit.unwrap_or(ANY_NUMBER))),
            device_count: Set(count),
            ..Default::default()
        };
        let there = OnConflict::column(Column::TenantId)
            .update_columns([Column::DeviceLimit, Column::DeviceCount])
            .to_owned();
        tx.upsert(Entity::insert(row).on_conflict(there)).await?;
        Ok(count)
    };
    store
        .change_global("limit the devices of a tenant", record, set)
        .await
}
