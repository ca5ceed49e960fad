//! API clients; their secrets are generations.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_clients")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) tenant_number: i64,
    pub(crate) client_key: String,
    pub(crate) display_name: String,
    /// As a token's scope.
    pub(crate) permissions: String,
    pub(crate) metadata: Json,
    pub(crate) creator: String,
    pub(crate) disabled: bool,
    /// Seconds.
    pub(crate) token_ttl: i32,
    pub(crate) create_time: DateTimeUtc,
    /// The user who owns it; none: the tenant.
    pub(crate) owner: Option<Uuid>,
    /// Whether its first secret is one of another system.
    pub(crate) is_foreign: bool,
    pub(crate) last_use_time: Option<DateTimeUtc>,
    pub(crate) update_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
