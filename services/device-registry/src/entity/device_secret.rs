//! What devices prove themselves by.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "device_secrets")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) device_id: Uuid,
    /// SHA-256 of the secret, which is too random to be guessed from it.
    pub(crate) hash: Vec<u8>,
    pub(crate) create_time: DateTimeUtc,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
