//! What devices prove themselves by.
use sea_orm::entity::prelude::*;

/// A row: a secret, a certificate or an authority.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_credentials")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) device_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) display_name: String,
    pub(crate) description: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub(crate) labels: Json,
    /// SHA-256 of the secret, which is too random to be guessed from it.
    pub(crate) secret_hash: Option<Vec<u8>>,
    /// SHA-256 of the certificate's DER.
    pub(crate) certificate_sha256: Option<Vec<u8>>,
    pub(crate) authority_id: Option<Uuid>,
    pub(crate) not_before: Option<DateTimeUtc>,
    pub(crate) not_after: Option<DateTimeUtc>,
    pub(crate) disabled: bool,
    /// Written before the first use is answered: who claims decides by it.
    pub(crate) first_use_time: Option<DateTimeUtc>,
    pub(crate) last_use_time: Option<DateTimeUtc>,
    /// The claim key that made it, if one did.
    pub(crate) claim_key_id: Option<Uuid>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
