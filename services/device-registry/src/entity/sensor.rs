//! What devices measure with.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "sensors")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) device_id: Uuid,
    pub(crate) code: String,
    pub(crate) description: String,
    pub(crate) external_id: Option<String>,
    pub(crate) brand: String,
    pub(crate) fallback: bool,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub(crate) attributes: Option<Json>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
