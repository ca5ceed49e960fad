//! The fields of a device that filters may name.

use chassis::filter::{Kind, Schema};

/// A field, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Id,
    Number,
    DisplayName,
    SerialNumber,
    ExternalId,
    Code,
    Description,
    /// The keys of the labels.
    Labels,
    /// The label of a key.
    Label(String),
    /// A value inside the attributes; all of them if the path is empty.
    Attribute(Vec<String>),
    /// The names of the tags.
    Tags,
    TagIds,
    SiteId,
    Latitude,
    Longitude,
    Altitude,
    Place,
    State,
    LastSeenTime,
    CreateTime,
    UpdateTime,
    DeleteTime,
    PurgeTime,
}

/// As in the contract.
const STATES: &[(&str, i32)] = &[
    ("STATE_ACTIVE", 1),
    ("STATE_DISABLED", 2),
    ("STATE_PROVISIONED", 3),
    ("STATE_DECOMMISSIONED", 4),
];

/// What filters of devices may name.
pub(crate) struct Devices;

impl Schema for Devices {
    type Field = Field;

    fn find(&self, path: &[&str]) -> Option<(Field, Kind)> {
        Some(match path {
            ["id"] => (Field::Id, Kind::Id),
            ["number"] => (Field::Number, Kind::Integer),
            ["display_name"] => (Field::DisplayName, Kind::Text),
            ["serial_number"] => (Field::SerialNumber, Kind::Text),
            ["external_id"] => (Field::ExternalId, Kind::Text),
            ["code"] => (Field::Code, Kind::Text),
            ["description"] => (Field::Description, Kind::Text),
            ["labels"] => (Field::Labels, Kind::Map),
            // A key may hold dots.
            ["labels", key @ ..] => (Field::Label(key.join(".")), Kind::Text),
            ["attributes"] => (Field::Attribute(Vec::new()), Kind::Map),
            ["attributes", path @ ..] => {
                let path = path.iter().map(|name| (*name).to_owned());
                (Field::Attribute(path.collect()), Kind::Json)
            }
            ["tags"] => (Field::Tags, Kind::Names),
            ["tag_ids"] => (Field::TagIds, Kind::Ids),
            ["site_id"] => (Field::SiteId, Kind::Id),
            ["location", "latitude"] => (Field::Latitude, Kind::Number),
            ["location", "longitude"] => (Field::Longitude, Kind::Number),
            ["location", "altitude"] => (Field::Altitude, Kind::Number),
            ["location", "description"] => (Field::Place, Kind::Text),
            ["state"] => (Field::State, Kind::Enum(STATES)),
            ["last_seen_time"] => (Field::LastSeenTime, Kind::Time),
            ["create_time"] => (Field::CreateTime, Kind::Time),
            ["update_time"] => (Field::UpdateTime, Kind::Time),
            ["delete_time"] => (Field::DeleteTime, Kind::Time),
            ["purge_time"] => (Field::PurgeTime, Kind::Time),
            _ => return None,
        })
    }

    fn names(&self) -> &'static str {
        "id, number, display_name, serial_number, external_id, code, description, labels, labels.KEY, \
         attributes.KEY, tags, tag_ids, site_id, location.latitude, location.longitude, \
         location.altitude, location.description, state, last_seen_time, create_time, update_time, \
         delete_time and purge_time"
    }

    fn texts(&self) -> Vec<Field> {
        vec![
            Field::DisplayName,
            Field::SerialNumber,
            Field::ExternalId,
            Field::Code,
        ]
    }
}
