//! Whether a filter is true of a device, without the database.

use std::cmp::Ordering;

use chassis::filter::{Comparator, Filter, Value};
use sea_orm::prelude::DateTimeUtc as Time;
use serde_json::Value as Json;
use uuid::Uuid;

use super::fields::Field;
use crate::entity::device::Model;

/// Whether a filter is true of a device with these tags. Names of tags were
/// replaced by their ids.
pub(crate) fn matches(filter: &Filter<Field>, device: &Model, tags: &[Uuid]) -> bool {
    filter.evaluate(&|field, comparator, value| is_true(device, tags, field, comparator, value))
}

fn is_true(
    device: &Model,
    tags: &[Uuid],
    field: &Field,
    comparator: Comparator,
    value: &Value,
) -> bool {
    let texts = |text: &Option<String>| text_is(text.as_deref().unwrap_or_default(), value);
    match field {
        Field::Id => *value == Value::Anything || *value == Value::Id(device.id),
        Field::Number => compared(
            comparator,
            value,
            Some(device.number),
            |value| match value {
                Value::Integer(number) => Some(*number),
                _ => None,
            },
        ),
        Field::DisplayName => text_is(&device.display_name, value),
        Field::SerialNumber => texts(&device.serial_number),
        Field::ExternalId => texts(&device.external_id),
        Field::Code => texts(&device.code),
        Field::Description => text_is(&device.description, value),
        Field::Place => texts(&device.location_description),
        Field::Labels => match value {
            Value::Text(key) => device.labels.get(key).is_some(),
            _ => device
                .labels
                .as_object()
                .is_some_and(|labels| !labels.is_empty()),
        },
        Field::Label(key) => match device.labels.get(key).and_then(Json::as_str) {
            Some(_) if *value == Value::Anything => true,
            Some(label) => text_is(label, value),
            None => false,
        },
        Field::Attribute(path) => {
            let root = device.attributes.as_ref();
            let found = root.and_then(|root| path.iter().try_fold(root, |at, key| at.get(key)));
            found.is_some_and(|found| json_is(found, comparator, value))
        }
        Field::Tags | Field::TagIds => match value {
            Value::Id(tag) => tags.contains(tag),
            _ => !tags.is_empty(),
        },
        Field::SiteId => match (device.site_id, value) {
            (Some(site), Value::Id(id)) => site == *id,
            (site, _) => site.is_some(),
        },
        Field::Latitude => number_is(device.latitude, comparator, value),
        Field::Longitude => number_is(device.longitude, comparator, value),
        Field::Altitude => number_is(device.altitude, comparator, value),
        Field::State => match value {
            Value::Enum(state) => i32::from(device.state) == *state,
            _ => true,
        },
        Field::LastSeenTime => time_is(device.last_seen_time, comparator, value),
        Field::CreateTime => time_is(Some(device.create_time), comparator, value),
        Field::UpdateTime => time_is(Some(device.update_time), comparator, value),
        Field::DeleteTime => time_is(device.delete_time, comparator, value),
        Field::PurgeTime => time_is(device.purge_time, comparator, value),
    }
}

/// No text is the empty text.
fn text_is(text: &str, value: &Value) -> bool {
    match value {
        Value::Text(wanted) => text == wanted,
        Value::Prefix(prefix) => text.starts_with(prefix.as_str()),
        _ => !text.is_empty(),
    }
}

fn number_is(number: Option<f64>, comparator: Comparator, value: &Value) -> bool {
    compared(comparator, value, number, |value| match value {
        Value::Number(number) => Some(*number),
        _ => None,
    })
}

fn time_is(time: Option<Time>, comparator: Comparator, value: &Value) -> bool {
    compared(comparator, value, time, |value| match value {
        Value::Time(time) => Some(*time),
        _ => None,
    })
}

/// Nothing is neither more nor less than anything, nor the same.
fn compared<T: PartialOrd>(
    comparator: Comparator,
    value: &Value,
    found: Option<T>,
    read: impl Fn(&Value) -> Option<T>,
) -> bool {
    match (found, read(value)) {
        (Some(found), Some(wanted)) => found
            .partial_cmp(&wanted)
            .is_some_and(|ordering| fits(comparator, ordering)),
        (found, _) => *value == Value::Anything && found.is_some(),
    }
}

fn fits(comparator: Comparator, ordering: Ordering) -> bool {
    match comparator {
        Comparator::Less => ordering.is_lt(),
        Comparator::LessOrEqual => ordering.is_le(),
        Comparator::Greater => ordering.is_gt(),
        Comparator::GreaterOrEqual => ordering.is_ge(),
        Comparator::NotEqual => ordering.is_ne(),
        Comparator::Equal | Comparator::Has => ordering.is_eq(),
    }
}

/// A list has a value if one of its elements is it, an object has a key.
fn json_is(found: &Json, comparator: Comparator, value: &Value) -> bool {
    match (found, value) {
        (_, Value::Anything) => !found.is_null(),
        (Json::Array(elements), _) if comparator == Comparator::Has => elements
            .iter()
            .any(|element| json_is(element, Comparator::Equal, value)),
        (Json::Object(members), Value::Text(key)) if comparator == Comparator::Has => {
            members.contains_key(key)
        }
        (Json::String(text), Value::Text(_) | Value::Prefix(_)) => text_is(text, value),
        (Json::Bool(found), Value::Bool(wanted)) => found == wanted,
        (Json::Null, Value::Null) => true,
        (Json::Number(_), Value::Number(_)) => number_is(found.as_f64(), comparator, value),
        _ => false,
    }
}
