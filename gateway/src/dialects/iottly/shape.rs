//! Ids and shapes between the dialect and the domain.

use chassis::{Error, Result};
use prost_types::value::Kind;
use proto::muster::dialect::iottly::v1::{Board, Device, License};
use proto::registry;
use uuid::Uuid;

/// A tenant's number as a project's id.
pub(super) fn project_id(number: i64) -> String {
    format!("{number:024x}")
}

/// The number that a project's id stands for.
pub(super) fn project_number(id: &str) -> Result<i128> {
    let number = hex(id, 24).and_then(|digits| i128::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| Error::invalid("project id", "must be 24 hexadecimal digits"))
}

/// The device whose licence has this token.
pub(super) fn license(token: &str) -> Result<Uuid> {
    let id = hex(token, 32).and_then(|digits| digits.parse().ok());
    id.ok_or_else(|| Error::invalid("license id", "must be 32 hexadecimal digits"))
}

/// The device that a path names.
pub(super) fn device_id(id: &str) -> Result<Uuid> {
    id.parse()
        .map_err(|_| Error::invalid("device id", "must be a UUID"))
}

/// A text, if it is that many hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (text.len() == digits && is_hex).then_some(text)
}

/// A device as the dialect shows it.
pub(super) fn device(device: registry::Device) -> Device {
    Device {
        macaddress: macaddress(&device),
        operatingstatus: operating_status(&device).into(),
        token: token(&device),
        agent_version: attribute(&device, "agent_version").unwrap_or_default(),
        name: device.display_name,
        id: device.id,
    }
}

/// A device as the licence it has, by the licence's token.
pub(super) fn licensed(device: registry::Device) -> (String, License) {
    let token = token(&device);
    let board = Board {
        macaddress: macaddress(&device),
        operatingstatus: operating_status(&device).into(),
        id: device.id,
        name: device.display_name,
    };
    let license = License {
        status: "paired".into(),
        board: Some(board),
    };
    (token, license)
}

fn token(device: &registry::Device) -> String {
    device.id.replace('-', "")
}

fn macaddress(device: &registry::Device) -> String {
    let label = device.labels.get("macaddress").cloned();
    label
        .or_else(|| attribute(device, "macaddress"))
        .unwrap_or_else(|| device.serial_number.clone())
}

fn attribute(device: &registry::Device, name: &str) -> Option<String> {
    let value = device.attributes.as_ref()?.fields.get(name)?;
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    }
}

fn operating_status(device: &registry::Device) -> &'static str {
    let active = device.state == registry::device::State::Active as i32;
    if active && device.last_seen_time.is_some() {
        "connected"
    } else {
        "disconnected"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashMap;

    use prost_types::{Struct, Timestamp, Value};

    use super::*;

    #[test]
    fn a_projects_id_reads_back_as_the_number() {
        for number in [0, 1, 255, i64::MAX] {
            let id = project_id(number);
            assert_eq!(id.len(), 24);
            assert_eq!(project_number(&id).unwrap(), number.into());
        }
        assert_eq!(project_id(255), "0000000000000000000000ff");
        for id in [
            "",
            "ff",
            "+00000000000000000000001",
            "00000000000000000000000g",
        ] {
            assert!(project_number(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_licences_token_names_its_device() {
        let id = "9af78306-384e-4dbc-9d63-af21cc5496a8";
        let (token, license) = licensed(registry::Device {
            id: id.into(),
            ..Default::default()
        });
        assert_eq!(token, "9af78306384e4dbc9d63af21cc5496a8");
        assert_eq!(super::license(&token).unwrap().to_string(), id);
        assert_eq!(license.board.unwrap().id, id);
        assert!(super::license(id).is_err());
    }

    #[test]
    fn an_address_is_a_label_or_an_attribute_or_the_serial_number() {
        let text = Value {
            kind: Some(Kind::StringValue("attribute".into())),
        };
        let mut some = registry::Device {
            serial_number: "serial".into(),
            ..Default::default()
        };
        assert_eq!(device(some.clone()).macaddress, "serial");
        some.attributes = Some(Struct {
            fields: [("macaddress".to_owned(), text)].into(),
        });
        assert_eq!(device(some.clone()).macaddress, "attribute");
        some.labels = HashMap::from([("macaddress".into(), "label".into())]);
        assert_eq!(device(some).macaddress, "label");
    }

    #[test]
    fn a_device_is_connected_if_it_is_in_use_and_has_been_heard_of() {
        let heard = Some(Timestamp::default());
        for (state, last_seen_time, shown) in [
            (registry::device::State::Active, heard, "connected"),
            (registry::device::State::Active, None, "disconnected"),
            (registry::device::State::Disabled, heard, "disconnected"),
        ] {
            let some = registry::Device {
                state: state.into(),
                last_seen_time,
                ..Default::default()
            };
            assert_eq!(device(some).operatingstatus, shown);
        }
    }
}
