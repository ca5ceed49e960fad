//! What devices can be told.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "commands")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) display_name: String,
    pub(crate) name: String,
    pub(crate) description: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
