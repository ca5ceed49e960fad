//! API keys.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) tenant_number: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    /// As a token's scope.
    pub(crate) permissions: String,
    pub(crate) metadata: Json,
    pub(crate) creator: String,
    /// Which pepper the hash was made with.
    pub(crate) pepper: i32,
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) expire_time: Option<DateTimeUtc>,
    pub(crate) revoke_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
