//! Devices between SensorBucket's form and Muster's.

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{FieldMask, Value};
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::registry::{
    CreateDeviceRequest, Device, ListDevicesRequest, Location, UpdateDeviceRequest,
};
use serde_json::Value as Json;
use tonic::Status;

use super::around::Around;
use super::paging::Cursor;
use super::{NO_DEVICE, sensors, state};
use crate::domain::Domain;

pub(super) fn shown(device: Device, tenant: i64) -> dialect::Device {
    let state = state::shown(device.state());
    let place = device.location.unwrap_or_default();
    let code = match device.code.as_str() {
        "" => device.display_name,
        _ => device.code,
    };
    dialect::Device {
        id: device.number,
        code,
        description: device.description,
        tenant_id: tenant,
        sensors: Vec::new(),
        properties: Some(device.attributes.unwrap_or_default()),
        latitude: place.latitude,
        longitude: place.longitude,
        altitude: place.altitude,
        state,
        location_description: place.description,
        created_at: device.create_time,
    }
}

/// What a list asks of the registry; filters that it can't serve are refused.
pub(super) async fn filter(
    domain: &Domain,
    wanted: &dialect::ListDevicesRequest,
    at: &Cursor,
) -> Result<ListDevicesRequest> {
    let mut clauses = clauses(wanted)?;
    if !wanted.sensor.is_empty() {
        let sensors = sensors::with_numbers(domain, &wanted.sensor).await?;
        let mut devices: Vec<_> = sensors.into_iter().map(|s| s.device_id).collect();
        devices.sort();
        devices.dedup();
        let devices = devices.iter().map(|id| format!("id = \"{id}\""));
        clauses.push(any(devices));
    }
    Ok(ListDevicesRequest {
        page_size: at.limit(),
        page_token: at.token.clone(),
        code: wanted.code.clone(),
        filter: clauses.join(" AND "),
        ..Default::default()
    })
}

/// What is asked of devices themselves, in the registry's language.
fn clauses(wanted: &dialect::ListDevicesRequest) -> Result<Vec<String>> {
    if !wanted.sensor_group.is_empty() {
        let text = "devices can't be filtered by it here";
        return Err(Error::invalid("sensor_group", text));
    }
    if wanted.id.iter().any(|number| *number <= 0) {
        return Err(Error::invalid("id", "must be higher than 0"));
    }
    let mut clauses = Vec::new();
    if !wanted.id.is_empty() {
        clauses.push(any(wanted.id.iter().map(|n| format!("number = {n}"))));
    }
    // As documented, the circle comes before the box.
    let around = Around::read(wanted)?;
    clauses.extend(around.iter().flat_map(Around::clauses));
    for (name, comparison, degrees) in [
        ("north", "latitude <=", wanted.north),
        ("south", "latitude >=", wanted.south),
        ("east", "longitude <=", wanted.east),
        ("west", "longitude >=", wanted.west),
    ] {
        match degrees {
            Some(degrees) if !degrees.is_finite() => {
                return Err(Error::invalid(name, "must be a finite number"));
            }
            Some(degrees) if around.is_none() => {
                clauses.push(format!("location.{comparison} {degrees}"));
            }
            _ => {}
        }
    }
    if let Some(properties) = &wanted.properties {
        let properties = serde_json::from_str(properties).ok();
        let served = properties.is_some_and(|json: Json| held("attributes", &json, &mut clauses));
        if !served {
            let text = "must be a JSON object of texts, numbers, true, false and such objects";
            return Err(Error::invalid("properties", text));
        }
    }
    Ok(clauses)
}

/// One of these; nothing is never true.
fn any(clauses: impl Iterator<Item = String>) -> String {
    let clauses: Vec<_> = clauses.collect();
    match clauses.is_empty() {
        true => "number < 0".to_owned(),
        false => format!("({})", clauses.join(" OR ")),
    }
}

/// What must be so for an object to hold another one; false if that can't be
/// said.
fn held(path: &str, json: &Json, clauses: &mut Vec<String>) -> bool {
    let Json::Object(members) = json else {
        return false;
    };
    members.iter().all(|(key, value)| {
        let path = format!("{path}.{}", quoted(key));
        match value {
            Json::Object(_) => held(&path, value, clauses),
            Json::String(text) => {
                clauses.push(format!("{path} = {}", quoted(text)));
                true
            }
            Json::Number(_) | Json::Bool(_) => {
                clauses.push(format!("{path} = {value}"));
                true
            }
            Json::Null | Json::Array(_) => false,
        }
    })
}

/// A text in the registry's language of filters.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        if matches!(c, '"' | '\\' | '*') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted + "\""
}

/// The device with a number.
pub(super) async fn find(domain: &Domain, number: i64) -> Result<Device> {
    let missing = || Error::from(Status::not_found(NO_DEVICE));
    // As a filter, 0 would mean any.
    if number <= 0 {
        return Err(missing());
    }
    let list = ListDevicesRequest {
        page_size: 1,
        number,
        ..Default::default()
    };
    let page = domain.devices().list_devices(domain.request(list)).await?;
    page.into_inner()
        .devices
        .into_iter()
        .next()
        .ok_or_else(missing)
}

pub(super) fn creation(wanted: dialect::CreateDeviceRequest) -> Result<CreateDeviceRequest> {
    check_code(&wanted.code)?;
    let place = Location {
        latitude: wanted.latitude,
        longitude: wanted.longitude,
        altitude: wanted.altitude,
        description: wanted.location_description,
    };
    check(&place)?;
    let device = Device {
        display_name: wanted.code.clone(),
        code: wanted.code,
        description: wanted.description,
        attributes: wanted.properties,
        location: (place != Location::default()).then_some(place),
        state: state::read(wanted.state)?.into(),
        ..Default::default()
    };
    Ok(CreateDeviceRequest {
        device: Some(device),
        ..Default::default()
    })
}

/// What changes of a device; everything else stays.
pub(super) fn update(
    mut device: Device,
    wanted: dialect::UpdateDeviceRequest,
) -> Result<UpdateDeviceRequest> {
    let mut paths = Vec::new();
    if let Some(description) = wanted.description {
        device.description = text(description)?;
        paths.push("description".to_owned());
    }
    if let Some(properties) = wanted.properties {
        device.attributes = Some(properties);
        paths.push("attributes".to_owned());
    }
    if let Some(number) = wanted.state
        && state::put(&mut device, number)?
    {
        paths.push("state".to_owned());
    }
    let before = device.location.clone().unwrap_or_default();
    let place = Location {
        latitude: wanted.latitude.or(before.latitude),
        longitude: wanted.longitude.or(before.longitude),
        altitude: wanted.altitude.or(before.altitude),
        description: wanted
            .location_description
            .unwrap_or_else(|| before.description.clone()),
    };
    check(&place)?;
    if place != before {
        device.location = Some(place);
        paths.push("location".to_owned());
    }
    if paths.is_empty() {
        // An empty mask would mean every field.
        paths.push("description".to_owned());
    }
    Ok(UpdateDeviceRequest {
        device: Some(device),
        update_mask: Some(FieldMask { paths }),
    })
}

fn text(value: Value) -> Result<String> {
    match value.kind {
        Some(Kind::StringValue(text)) => Ok(text),
        Some(Kind::NumberValue(number)) => Ok(number.to_string()),
        Some(Kind::NullValue(_)) | None => Ok(String::new()),
        Some(_) => Err(Error::invalid("description", "must be a text or a number")),
    }
}

fn check(place: &Location) -> Result<()> {
    let within = |degrees: Option<f64>, most: f64| degrees.is_none_or(|d| d.abs() <= most);
    if within(place.latitude, 90.0) && within(place.longitude, 180.0) {
        return Ok(());
    }
    Err(Error::precondition(
        "ERR_LOCATION_INVALID_COORDINATES",
        "latitude must be between -90 and 90, longitude between -180 and 180",
    ))
}

pub(super) fn check_code(code: &str) -> Result<()> {
    if is_code(code) {
        return Ok(());
    }
    Err(Error::precondition(
        "INVALID_CODE",
        "code must have two or more letters, digits, hyphens and underscores, \
         and begin with a letter or digit",
    ))
}

fn is_code(code: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (2..=200).contains(&code.len())
        && code.bytes().all(allowed)
        && code.as_bytes()[0].is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_what_the_documentation_says() {
        assert!(["a1", "A-b_c", "00"].iter().all(|code| is_code(code)));
        assert!(
            ["", "a", "-a", "a b", "aé", "_a"]
                .iter()
                .all(|code| !is_code(code))
        );
    }

    #[test]
    fn a_change_names_only_what_is_given() {
        let device = Device {
            location: Some(Location {
                latitude: Some(1.5),
                ..Default::default()
            }),
            ..Default::default()
        };
        let wanted = dialect::UpdateDeviceRequest {
            description: Some(Value {
                kind: Some(Kind::NumberValue(1.0)),
            }),
            longitude: Some(2.5),
            ..Default::default()
        };
        let update = update(device, wanted).unwrap();
        assert_eq!(
            update.update_mask.unwrap().paths,
            ["description", "location"]
        );
        let device = update.device.unwrap();
        assert_eq!(device.description, "1");
        let place = device.location.unwrap();
        assert_eq!((place.latitude, place.longitude), (Some(1.5), Some(2.5)));
    }

    #[test]
    fn places_off_the_globe_are_refused() {
        let wanted = dialect::CreateDeviceRequest {
            code: "d1".into(),
            latitude: Some(90.1),
            ..Default::default()
        };
        let refusal = Status::from(creation(wanted).unwrap_err());
        assert_eq!(refusal.code(), tonic::Code::FailedPrecondition);
    }

    #[test]
    fn filters_that_cannot_be_served_are_named() {
        let wanted = dialect::ListDevicesRequest {
            sensor_group: vec![1],
            ..Default::default()
        };
        let refusal = Status::from(clauses(&wanted).unwrap_err());
        assert!(refusal.message().starts_with("sensor_group: "));
        for properties in ["[]", "{\"a\": null}", "{"] {
            let wanted = dialect::ListDevicesRequest {
                properties: Some(properties.to_owned()),
                ..Default::default()
            };
            let refusal = Status::from(clauses(&wanted).unwrap_err());
            assert!(refusal.message().starts_with("properties: "));
        }
    }

    #[test]
    fn filters_are_said_in_the_registrys_language() {
        let wanted = dialect::ListDevicesRequest {
            id: vec![7, 8],
            north: Some(52.5),
            west: Some(-1.0),
            properties: Some(r#"{"floor": 3, "a \"b*": {"c": "x"}}"#.to_owned()),
            ..Default::default()
        };
        let mut clauses = clauses(&wanted).unwrap();
        // Fields of an object have no order.
        clauses[3..].sort();
        assert_eq!(
            clauses,
            [
                "(number = 7 OR number = 8)",
                "location.latitude <= 52.5",
                "location.longitude >= -1",
                r#"attributes."a \"b\*"."c" = "x""#,
                r#"attributes."floor" = 3"#,
            ]
        );
    }
}
