//! A device field by field, for requests that want one of them.

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::muster::dialect::yombo::v1::Device;

/// The field that is wanted, or all if none is named; `None` if there is no
/// such field.
pub(super) fn pick(device: Device, item: &str) -> Option<Value> {
    let mut fields = fields(device).into_iter();
    if !item.is_empty() {
        return fields.find(|(name, _)| *name == item).map(|(_, v)| v);
    }
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Some(value(Kind::StructValue(Struct {
        fields: fields.collect(),
    })))
}

fn fields(device: Device) -> Vec<(&'static str, Value)> {
    vec![
        ("gateway_id", text(device.gateway_id)),
        ("area", text(device.area)),
        ("location", text(device.location)),
        ("area_id", text(device.area_id)),
        ("location_id", text(device.location_id)),
        ("area_label", text(device.area_label)),
        ("full_label", text(device.full_label)),
        ("device_id", text(device.device_id)),
        ("device_type_id", text(device.device_type_id)),
        ("device_type_label", text(device.device_type_label)),
        ("machine_label", text(device.machine_label)),
        ("label", text(device.label)),
        ("notes", text(device.notes)),
        ("description", text(device.description)),
        ("statistic_label", text(device.statistic_label)),
        ("statistic_type", text(device.statistic_type)),
        ("statistic_bucket_size", text(device.statistic_bucket_size)),
        ("statistic_lifetime", text(device.statistic_lifetime)),
        ("pin_code", text(device.pin_code)),
        ("pin_required", number(device.pin_required)),
        ("pin_timeout", or_null(device.pin_timeout, number)),
        ("intent_allow", or_null(device.intent_allow, number)),
        ("intent_text", text(device.intent_text)),
        ("created_at", seconds(device.created_at)),
        ("updated_at", seconds(device.updated_at)),
        ("device_commands", texts(device.device_commands)),
        ("status_current", or_null(device.status_current, object)),
        ("status_previous", or_null(device.status_previous, object)),
        ("controllable", number(device.controllable)),
        ("allow_direct_control", number(device.allow_direct_control)),
        ("device_serial", or_null(device.device_serial, text)),
        ("device_mfg", or_null(device.device_mfg, text)),
        ("device_model", or_null(device.device_model, text)),
        ("device_platform", text(device.device_platform)),
        (
            "device_sub_platform",
            or_null(device.device_sub_platform, text),
        ),
        ("device_features", or_null(device.device_features, object)),
        ("device_variables", or_null(device.device_variables, object)),
        (
            "device_variable_fields",
            or_null(device.device_variable_fields, object),
        ),
        (
            "energy_tracker_device",
            or_null(device.energy_tracker_device, text),
        ),
        (
            "energy_tracker_source",
            or_null(device.energy_tracker_source, text),
        ),
        ("energy_type", or_null(device.energy_type, text)),
        ("energy_map", or_null(device.energy_map, object)),
        ("enabled_status", number(device.enabled_status)),
    ]
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn text(text: String) -> Value {
    value(Kind::StringValue(text))
}

fn texts(list: Vec<String>) -> Value {
    value(Kind::ListValue(ListValue {
        values: list.into_iter().map(text).collect(),
    }))
}

fn number(number: i32) -> Value {
    value(Kind::NumberValue(number.into()))
}

fn seconds(number: i64) -> Value {
    value(Kind::NumberValue(number as f64))
}

fn object(object: Struct) -> Value {
    value(Kind::StructValue(object))
}

fn or_null<T>(given: Option<T>, show: fn(T) -> Value) -> Value {
    given.map_or_else(|| value(Kind::NullValue(0)), show)
}
