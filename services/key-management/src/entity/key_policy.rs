//! What the keys of a tenant may be.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "key_policies")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) tenant_id: Uuid,
    /// Seconds.
    pub(crate) max_life: Option<i64>,
    pub(crate) expiry_required: bool,
    /// As a token's scope; empty: whatever the creator holds.
    pub(crate) allowed_permissions: String,
    /// Seconds.
    pub(crate) max_overlap: Option<i64>,
    /// The contract's LeakAction.
    pub(crate) leak_action: i32,
    pub(crate) update_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
