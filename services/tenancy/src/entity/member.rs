//! Who is a member of which tenant, and in which role.

use sea_orm::entity::prelude::*;

use crate::roles::Role;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "members")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub number: i64,
    pub tenant_id: Uuid,
    pub user_id: Uuid,
    pub role: Role,
    pub create_time: DateTimeUtc,
    pub update_time: DateTimeUtc,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
