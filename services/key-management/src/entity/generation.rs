//! The secrets of keys and clients, as hashes.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "generations")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) tenant_id: Uuid,
    pub(crate) key_id: Option<Uuid>,
    pub(crate) client_id: Option<Uuid>,
    /// Counts the secrets of one holder, from 1.
    pub(crate) generation: i32,
    /// How the hash was made.
    pub(crate) scheme: Scheme,
    /// Which pepper it was made with; 0 if with none.
    pub(crate) pepper: i32,
    pub(crate) hash: Vec<u8>,
    /// By which a foreign secret is found; it is keyed with the pepper as well.
    pub(crate) lookup: Option<Vec<u8>>,
    pub(crate) create_time: DateTimeUtc,
    /// When it stops working, if before its holder.
    pub(crate) end_time: Option<DateTimeUtc>,
    pub(crate) last_use_time: Option<DateTimeUtc>,
    pub(crate) use_count: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// How a hash was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(
    rs_type = "String",
    db_type = "String(StringLen::N(16))",
    rename_all = "snake_case"
)]
pub(crate) enum Scheme {
    /// HMAC-SHA-256 with a pepper.
    Hmac,
    /// HMAC-SHA-256 with a pepper, of the SHA-256 in hexadecimal digits that
    /// was all that was known of a foreign secret.
    HmacOfSha256,
    /// bcrypt, of a foreign secret that was not used yet.
    Bcrypt,
}
