//! What must no longer be accepted.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "revocations")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) subject: String,
    pub(crate) revoke_time: DateTimeUtc,
    pub(crate) forget_time: DateTimeUtc,
    pub(crate) transaction: i64,
    /// When it was first told, which is after its commit.
    pub(crate) told_time: Option<DateTimeUtc>,
    /// The tenant whose thing it is, where that is known.
    pub(crate) tenant: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
