//! What is on its way to webhooks, and what became of it.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "webhook_deliveries")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) webhook_id: Uuid,
    pub(crate) event_id: Uuid,
    pub(crate) event_type: String,
    pub(crate) resource: String,
    pub(crate) body: String,
    pub(crate) state: i16,
    pub(crate) attempts: i64,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) due_time: Option<DateTimeUtc>,
    pub(crate) last_attempt_time: Option<DateTimeUtc>,
    pub(crate) status_code: Option<i32>,
    pub(crate) error: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
