//! The domain's shapes to the dialect's.

use prost_types::Timestamp;
use proto::muster::dialect::yombo::v1::{Command, Device};
use proto::registry;
use uuid::Uuid;

use super::{Sites, base62};

/// What Yombo, written in Python, shows where there is no text.
const NONE: &str = "None";

/// The UUID that a request names in base 62 or as it is.
pub(super) fn uuid(id: &str) -> Option<Uuid> {
    base62::decode(id).or_else(|| id.parse().ok())
}

/// A domain's id in base 62.
fn short(id: &str) -> String {
    id.parse().map(base62::encode).unwrap_or_default()
}

fn seconds(time: Option<Timestamp>) -> i64 {
    time.unwrap_or_default().seconds
}

/// A command as the dialect shows it.
pub(super) fn command(command: registry::Command) -> Command {
    Command {
        command_id: short(&command.id),
        always_load: "0".into(),
        voice_cmd: NONE.into(),
        cmd: command.name.clone(),
        label: or(command.display_name, &command.name),
        machine_label: command.name,
        description: command.description,
        public: 0,
        status: 1,
        created_at: seconds(command.create_time),
        updated_at: seconds(command.update_time),
    }
}

/// A device of a gateway as the dialect shows it.
pub(super) fn device(gateway: Uuid, device: registry::Device, sites: &Sites) -> Device {
    let none = || NONE.to_owned();
    let site = sites.get(&device.site_id);
    let device_id = short(&device.id);
    Device {
        gateway_id: base62::encode(gateway),
        area: none(),
        location: site.cloned().unwrap_or_else(none),
        area_id: none(),
        location_id: or(short(&device.site_id), NONE),
        area_label: device.display_name.clone(),
        full_label: match site {
            Some(site) => format!("{site} {}", device.display_name),
            None => device.display_name.clone(),
        },
        device_type_id: none(),
        device_type_label: none(),
        machine_label: or(device.code, &device_id),
        label: device.display_name,
        notes: none(),
        description: device.description,
        statistic_label: none(),
        statistic_type: none(),
        statistic_bucket_size: none(),
        statistic_lifetime: none(),
        pin_code: "********".into(),
        intent_text: none(),
        created_at: seconds(device.create_time),
        updated_at: seconds(device.update_time),
        device_serial: Some(device.serial_number).filter(|text| !text.is_empty()),
        device_platform: "device".into(),
        device_features: Some(Default::default()),
        device_variables: Some(Default::default()),
        device_variable_fields: Some(Default::default()),
        enabled_status: i32::from(device.state == registry::device::State::Active as i32),
        device_id,
        ..Default::default()
    }
}

/// A text, or another one where there is none.
fn or(text: String, other: &str) -> String {
    if text.is_empty() {
        other.to_owned()
    } else {
        text
    }
}
