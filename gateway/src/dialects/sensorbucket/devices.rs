//! Devices between SensorBucket's form and Muster's.

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{FieldMask, Value};
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::registry::device::State;
use proto::registry::{
    CreateDeviceRequest, Device, ListDevicesRequest, Location, UpdateDeviceRequest,
};
use tonic::Status;

use super::NO_DEVICE;
use super::paging::Cursor;
use crate::domain::Domain;

pub(super) fn shown(device: Device, tenant: i64) -> dialect::Device {
    let state = match device.state() {
        State::Disabled => 2,
        _ => 1,
    };
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
pub(super) fn filter(
    wanted: &dialect::ListDevicesRequest,
    at: &Cursor,
) -> Result<ListDevicesRequest> {
    let unserved = [
        ("sensor", !wanted.sensor.is_empty()),
        ("properties", wanted.properties.is_some()),
        ("north", wanted.north.is_some()),
        ("west", wanted.west.is_some()),
        ("east", wanted.east.is_some()),
        ("south", wanted.south.is_some()),
        ("latitude", wanted.latitude.is_some()),
        ("longitude", wanted.longitude.is_some()),
        ("distance", wanted.distance.is_some()),
        ("sensor_group", !wanted.sensor_group.is_empty()),
    ];
    if let Some((name, _)) = unserved.into_iter().find(|(_, given)| *given) {
        return Err(Error::invalid(name, "devices can't be filtered by it here"));
    }
    let number = match wanted.id.as_slice() {
        [] => 0,
        [number] if *number > 0 => *number,
        [_] => return Err(Error::invalid("id", "must be higher than 0")),
        _ => return Err(Error::invalid("id", "only one can be asked for at once")),
    };
    Ok(ListDevicesRequest {
        page_size: at.limit(),
        page_token: at.token.clone(),
        number,
        code: wanted.code.clone(),
        ..Default::default()
    })
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
    if !is_code(&wanted.code) {
        return Err(Error::precondition(
            "INVALID_CODE",
            "code must have two or more letters, digits, hyphens and underscores, \
             and begin with a letter or digit",
        ));
    }
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
        state: state(wanted.state)?.into(),
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
    if let Some(wanted) = wanted.state {
        device.state = state(wanted)?.into();
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

fn state(number: i32) -> Result<State> {
    match number {
        0 | 1 => Ok(State::Active),
        2 => Ok(State::Disabled),
        _ => Err(Error::invalid("state", "must be 0, 1 or 2")),
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
            north: Some(1.0),
            ..Default::default()
        };
        let refusal = Status::from(filter(&wanted, &Cursor::start(0, vec![])).unwrap_err());
        assert!(refusal.message().starts_with("north: "));
    }
}
