//! Things in the field.
use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "devices")]
pub(crate) struct Model {
    #[sea_orm(primary_key)]
    pub(crate) number: i64,
    pub(crate) id: Uuid,
    pub(crate) tenant_id: Uuid,
    pub(crate) create_time: DateTimeUtc,
    pub(crate) update_time: DateTimeUtc,
    pub(crate) revision: i64,
    pub(crate) display_name: String,
    pub(crate) serial_number: Option<String>,
    pub(crate) external_id: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) description: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub(crate) labels: Json,
    #[sea_orm(column_type = "JsonBinary", nullable)]
    pub(crate) attributes: Option<Json>,
    pub(crate) site_id: Option<Uuid>,
    pub(crate) latitude: Option<f64>,
    pub(crate) longitude: Option<f64>,
    pub(crate) altitude: Option<f64>,
    pub(crate) location_description: Option<String>,
    pub(crate) state: i16,
    pub(crate) last_seen_time: Option<DateTimeUtc>,
    pub(crate) delete_time: Option<DateTimeUtc>,
    pub(crate) purge_time: Option<DateTimeUtc>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
