//! Which sites lie in which, at any depth.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "site_ancestors")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) tenant_id: Uuid,
    pub(crate) site_id: Uuid,
    pub(crate) ancestor_id: Uuid,
    /// How far out it is; 1 is directly around the site.
    pub(crate) distance: i32,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
