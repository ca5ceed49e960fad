//! API keys; their secrets are generations.

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
    pub(crate) create_time: DateTimeUtc,
    pub(crate) expire_time: Option<DateTimeUtc>,
    pub(crate) revoke_time: Option<DateTimeUtc>,
    /// The user who owns it; none: the tenant.
    pub(crate) owner: Option<Uuid>,
    /// What the key is written with, before its environment.
    pub(crate) prefix: String,
    pub(crate) environment: String,
    /// Networks, separated by spaces.
    pub(crate) allowed_networks: String,
    pub(crate) disabled: bool,
    /// 0: the default.
    pub(crate) requests_per_minute: i32,
    pub(crate) revoke_reason: String,
    /// The contract's ForeignFormat.
    pub(crate) foreign_format: i32,
    pub(crate) last_use_time: Option<DateTimeUtc>,
    pub(crate) leak_time: Option<DateTimeUtc>,
    pub(crate) leak_source: String,
    pub(crate) update_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
