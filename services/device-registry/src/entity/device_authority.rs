//! Who issues the certificates of devices.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_authorities")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) display_name: String,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    pub(crate) certificate_sha256: Vec<u8>,
    pub(crate) subject: String,
    pub(crate) not_after: DateTimeUtc,
    /// As in the contract.
    pub(crate) named_by: i16,
    /// As in the contract.
    pub(crate) names: i16,
    pub(crate) any_device: bool,
    pub(crate) disabled: bool,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
