//! What many devices are told at once.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "command_batches")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) command_id: Option<Uuid>,
    pub(crate) name: String,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub(crate) parameters: Option<Json>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) sender: String,
    pub(crate) not_before: Option<DateTimeUtc>,
    pub(crate) expire_time: DateTimeUtc,
    pub(crate) max_attempts: i32,
    pub(crate) state: i16,
    pub(crate) filter: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub(crate) device_ids: Json,
    pub(crate) device_count: i64,
    pub(crate) queued_count: i64,
    pub(crate) skipped_count: i64,
    pub(crate) after_number: Option<i64>,
    pub(crate) last_number: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
