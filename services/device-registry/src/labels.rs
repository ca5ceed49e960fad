//! Labels, a row each beside the device, so that an index finds them.

use chassis::Result;
use chassis::store::WriteTx;
use proto::registry::Device;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::entity::device_label::{ActiveModel, Column, Entity};

/// Puts the labels of a new device beside it.
pub(crate) async fn put(tx: &WriteTx, id: Uuid, device: &Device) -> Result<()> {
    tx.insert_many(rows(id, device).collect()).await
}

/// Puts other labels beside a device than there were.
pub(crate) async fn replace(tx: &WriteTx, id: Uuid, device: &Device) -> Result<()> {
    tx.delete(Entity::delete_many().filter(Column::DeviceId.eq(id)))
        .await?;
    put(tx, id, device).await
}

/// The rows of a device's labels.
pub(crate) fn rows(id: Uuid, device: &Device) -> impl Iterator<Item = ActiveModel> {
    device.labels.iter().map(move |(key, value)| ActiveModel {
        device_id: Set(id),
        key: Set(key.clone()),
        value: Set(value.clone()),
        ..Default::default()
    })
}
