//! A device as a row and as a message.

use std::collections::HashMap;

use chassis::Result;
use chassis::time::timestamp;
use proto::registry::{Device, Location};
use sea_orm::ActiveValue::Set;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::entity::device::{ActiveModel, Model};
use crate::{attributes, etag, ids};
use chassis::mask::{Field, Fields, field};

/// A part of the location, which only a mask changes alone.
macro_rules! location_field {
    ($name:ident) => {
        Field {
            path: concat!("location.", stringify!($name)),
            is_set: |_| false,
            copy: |to, from| {
                let from = from.location.clone().unwrap_or_default();
                to.location.get_or_insert_default().$name = from.$name;
            },
        }
    };
}

/// What updates may change.
pub(crate) const FIELDS: Fields<Device> = Fields {
    message: "device",
    input: &[
        field!(display_name),
        field!(serial_number),
        field!(external_id),
        field!(code),
        field!(description),
        field!(tag_ids),
        field!(labels),
        field!(attributes),
        field!(site_id),
        field!(location),
        location_field!(latitude),
        location_field!(longitude),
        location_field!(altitude),
        location_field!(description),
        field!(state),
    ],
    output: &[
        "id",
        "number",
        "last_seen_time",
        "create_time",
        "update_time",
        "etag",
        "delete_time",
        "purge_time",
    ],
};

/// The columns that the creator of a device, or who changes it, sets.
pub(crate) fn columns(device: &Device) -> Result<ActiveModel> {
    let location = device.location.clone().unwrap_or_default();
    Ok(ActiveModel {
        display_name: Set(device.display_name.clone()),
        serial_number: Set(unless_empty(&device.serial_number)),
        external_id: Set(unless_empty(&device.external_id)),
        code: Set(unless_empty(&device.code)),
        description: Set(device.description.clone()),
        labels: Set(labels_to_json(device)),
        attributes: Set(attributes::column(
            "device.attributes",
            device.attributes.as_ref(),
        )?),
        site_id: Set(ids::parse_optional("device.site_id", &device.site_id)?),
        latitude: Set(location.latitude),
        longitude: Set(location.longitude),
        altitude: Set(location.altitude),
        location_description: Set(unless_empty(&location.description)),
        state: Set(device.state() as i16),
        ..ActiveModel::default()
    })
}

/// Empty is stored as nothing, because only nothing may be there twice.
fn unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn labels_to_json(device: &Device) -> Json {
    let labels = device.labels.iter();
    labels
        .map(|(key, value)| (key.clone(), Json::from(value.as_str())))
        .collect()
}

/// A device as the contract has it.
pub(crate) fn message(row: Model, tag_ids: &[Uuid]) -> Device {
    Device {
        id: row.id.to_string(),
        number: row.number,
        tag_ids: tag_ids.iter().map(Uuid::to_string).collect(),
        labels: labels_from_json(&row.labels),
        attributes: row.attributes.as_ref().map(attributes::from_json),
        site_id: row.site_id.map(|id| id.to_string()).unwrap_or_default(),
        location: location(&row),
        state: row.state.into(),
        last_seen_time: row.last_seen_time.map(timestamp),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
        delete_time: row.delete_time.map(timestamp),
        purge_time: row.purge_time.map(timestamp),
        display_name: row.display_name,
        serial_number: row.serial_number.unwrap_or_default(),
        external_id: row.external_id.unwrap_or_default(),
        code: row.code.unwrap_or_default(),
        description: row.description,
    }
}

fn labels_from_json(labels: &Json) -> HashMap<String, String> {
    let labels = labels.as_object().into_iter().flatten();
    labels
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// A location of which nothing is known is none.
fn location(row: &Model) -> Option<Location> {
    let location = Location {
        latitude: row.latitude,
        longitude: row.longitude,
        altitude: row.altitude,
        description: row.location_description.clone().unwrap_or_default(),
    };
    (location != Location::default()).then_some(location)
}

#[cfg(test)]
mod tests {
    use prost_types::FieldMask;

    use super::*;

    fn located(latitude: f64, description: &str) -> Device {
        Device {
            display_name: "pump".to_owned(),
            location: Some(Location {
                latitude: Some(latitude),
                description: description.to_owned(),
                ..Location::default()
            }),
            ..Device::default()
        }
    }

    #[test]
    fn a_mask_can_name_a_part_of_the_location() {
        let mask = FieldMask {
            paths: vec!["location.latitude".to_owned()],
        };
        let wanted = located(2.0, "ignored");
        let merged = FIELDS
            .merge(Some(&mask), &wanted, located(1.0, "roof"))
            .unwrap();
        assert_eq!(merged, located(2.0, "roof"));
    }

    #[test]
    fn what_is_empty_is_stored_as_nothing() {
        let columns = columns(&Device::default()).unwrap();
        assert_eq!(columns.serial_number, Set(None));
        assert_eq!(columns.site_id, Set(None));
    }
}
