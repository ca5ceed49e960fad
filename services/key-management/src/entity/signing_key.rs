//! Keys that tokens are signed with; the private half wrapped by the master key.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) create_time: DateTimeUtc,
    /// The public half, without `kid`, `alg` and `use` (RFC 7517).
    pub(crate) jwk: Option<Json>,
    /// From when on it signs.
    pub(crate) activate_time: Option<DateTimeUtc>,
    /// When it was revoked: what it signed is refused.
    pub(crate) revoke_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
