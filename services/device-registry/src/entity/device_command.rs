//! What devices are told.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_commands")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) device_id: Uuid,
    pub(crate) batch_id: Option<Uuid>,
    pub(crate) command_id: Option<Uuid>,
    pub(crate) name: String,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub(crate) parameters: Option<Json>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) sender: String,
    pub(crate) receiver: String,
    pub(crate) not_before: Option<DateTimeUtc>,
    pub(crate) expire_time: DateTimeUtc,
    pub(crate) max_attempts: i32,
    pub(crate) attempt_count: i32,
    pub(crate) state: i16,
    pub(crate) deliver_time: Option<DateTimeUtc>,
    pub(crate) next_time: Option<DateTimeUtc>,
    pub(crate) end_time: DateTimeUtc,
    pub(crate) end_state: i16,
    pub(crate) keep_from: Option<DateTimeUtc>,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub(crate) result: Option<Json>,
    pub(crate) error: Option<String>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
