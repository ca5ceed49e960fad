//! From where and by what a secret is used.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "uses")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) tenant_id: Uuid,
    /// The generation's number.
    pub(crate) generation: i64,
    pub(crate) network: String,
    pub(crate) user_agent: String,
    pub(crate) first_time: DateTimeUtc,
    pub(crate) last_time: DateTimeUtc,
    pub(crate) count: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
