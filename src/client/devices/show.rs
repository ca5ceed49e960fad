//! What is shown of a device.

use std::collections::BTreeMap;

use clap::ValueEnum;
use prost_types::{Struct, value::Kind};
use proto::registry::{Device, Location};
use serde_json::{Value, json};

use crate::client::out::{self, Show};

/// What a list can show of a device.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Column {
    Id,
    Number,
    Name,
    Serial,
    External,
    Code,
    State,
    Description,
    Tags,
    Labels,
    Site,
    Seen,
    Created,
    Updated,
    Deleted,
    Purged,
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Id => "ID",
            Self::Number => "NUMBER",
            Self::Name => "NAME",
            Self::Serial => "SERIAL NUMBER",
            Self::External => "EXTERNAL ID",
            Self::Code => "CODE",
            Self::State => "STATE",
            Self::Description => "DESCRIPTION",
            Self::Tags => "TAGS",
            Self::Labels => "LABELS",
            Self::Site => "SITE",
            Self::Seen => "LAST SEEN",
            Self::Created => "CREATED",
            Self::Updated => "UPDATED",
            Self::Deleted => "DELETED",
            Self::Purged => "PURGED",
        }
    }

    pub(super) fn of(self, device: &Device) -> String {
        match self {
            Self::Id => device.id.clone(),
            Self::Number => device.number.to_string(),
            Self::Name => device.display_name.clone(),
            Self::Serial => device.serial_number.clone(),
            Self::External => device.external_id.clone(),
            Self::Code => device.code.clone(),
            Self::State => out::state(device.state().as_str_name()),
            Self::Description => device.description.clone(),
            Self::Tags => device.tag_ids.join(" "),
            Self::Labels => out::labels(&device.labels),
            Self::Site => device.site_id.clone(),
            Self::Seen => out::time(device.last_seen_time.as_ref()),
            Self::Created => out::time(device.create_time.as_ref()),
            Self::Updated => out::time(device.update_time.as_ref()),
            Self::Deleted => out::time(device.delete_time.as_ref()),
            Self::Purged => out::time(device.purge_time.as_ref()),
        }
    }
}

/// What a device shows of itself, if nobody asks for more.
pub(super) const USUAL: [Column; 7] = [
    Column::Id,
    Column::Name,
    Column::Serial,
    Column::External,
    Column::Code,
    Column::State,
    Column::Seen,
];

impl Show for Device {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "SERIAL NUMBER",
        "EXTERNAL ID",
        "CODE",
        "STATE",
        "LAST SEEN",
    ];

    fn cells(&self) -> Vec<String> {
        USUAL.iter().map(|column| column.of(self)).collect()
    }

    fn more(&self) -> Vec<(&'static str, String)> {
        vec![
            ("NUMBER", self.number.to_string()),
            ("DESCRIPTION", self.description.clone()),
            ("TAGS", self.tag_ids.join(" ")),
            ("LABELS", out::labels(&self.labels)),
            ("SITE", self.site_id.clone()),
            ("CREATED", out::time(self.create_time.as_ref())),
            ("UPDATED", out::time(self.update_time.as_ref())),
            ("DELETED", out::time(self.delete_time.as_ref())),
            ("PURGED", out::time(self.purge_time.as_ref())),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "displayName": self.display_name,
            "serialNumber": self.serial_number,
            "externalId": self.external_id,
            "code": self.code,
            "description": self.description,
            "tagIds": self.tag_ids,
            "labels": self.labels.iter().collect::<BTreeMap<_, _>>(),
            "attributes": self.attributes.as_ref().map(struct_json),
            "siteId": self.site_id,
            "location": self.location.as_ref().map(location_json),
            "state": self.state().as_str_name(),
            "lastSeenTime": out::json_time(self.last_seen_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "deleteTime": out::json_time(self.delete_time.as_ref()),
            "purgeTime": out::json_time(self.purge_time.as_ref()),
            "etag": self.etag,
        })
    }
}

fn location_json(location: &Location) -> Value {
    json!({
        "latitude": location.latitude,
        "longitude": location.longitude,
        "altitude": location.altitude,
        "description": location.description,
    })
}

pub(in crate::client) fn struct_json(object: &Struct) -> Value {
    object
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), value_json(value)))
        .collect()
}

fn value_json(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::NumberValue(value)) => number_json(*value),
        Some(Kind::StringValue(value)) => json!(value),
        Some(Kind::StructValue(value)) => struct_json(value),
        Some(Kind::ListValue(list)) => list.values.iter().map(value_json).collect(),
    }
}

/// Whole numbers are printed without a fraction, as they were most likely written.
fn number_json(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        json!(number as i64)
    } else {
        json!(number)
    }
}
