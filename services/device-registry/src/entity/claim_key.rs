//! Keys by which new devices register themselves.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "claim_keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    /// SHA-256 of the secret, which has enough random bits of its own.
    pub(crate) secret_hash: Vec<u8>,
    pub(crate) max_uses: Option<i64>,
    pub(crate) use_count: i64,
    pub(crate) expire_time: Option<DateTimeUtc>,
    /// Separated by spaces.
    pub(crate) networks: String,
    /// What devices become, as protobuf.
    pub(crate) template: Vec<u8>,
    pub(crate) disabled: bool,
    pub(crate) last_use_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
