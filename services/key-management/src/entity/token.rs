//! Tokens that were issued by name.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "tokens")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) client_id: Uuid,
    /// Seconds.
    pub(crate) ttl: i32,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) expire_time: DateTimeUtc,
    pub(crate) revoke_time: Option<DateTimeUtc>,
    /// As a token's scope; empty: all of the client's.
    pub(crate) permissions: String,
    /// The secret that it was issued for, or renewed with; it is renewed while
    /// that works.
    pub(crate) generation: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
