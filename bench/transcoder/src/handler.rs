//! The same service written by hand: axum, serde, and types made for them.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::fleet;

#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    id: String,
    display_name: String,
    serial_number: String,
    description: String,
    state: DeviceState,
    enabled: bool,
    #[serde(with = "text")]
    uptime_millis: i64,
    battery_percent: i32,
    temperature: f64,
    location: Option<Location>,
    tags: Vec<String>,
    labels: HashMap<String, String>,
    create_time: Option<DateTime<Utc>>,
    update_time: Option<DateTime<Utc>>,
    etag: String,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum DeviceState {
    #[serde(rename = "STATE_UNSPECIFIED")]
    Unspecified,
    #[serde(rename = "STATE_ACTIVE")]
    Active,
    #[serde(rename = "STATE_LOST")]
    Lost,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Location {
    latitude: f64,
    longitude: f64,
}

#[derive(Clone, Serialize, Deserialize)]
struct Devices {
    devices: Vec<Device>,
}

#[derive(Serialize)]
struct Imported {
    count: usize,
}

/// 64-bit integers are strings in the JSON of protobuf.
mod text {
    use serde::de::Error;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let text: &str = serde::Deserialize::deserialize(from)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl From<&fleet::Device> for Device {
    fn from(device: &fleet::Device) -> Self {
        let device = device.clone();
        let time = |time: Option<pbjson_types::Timestamp>| {
            time.and_then(|time| DateTime::from_timestamp(time.seconds, time.nanos as u32))
        };
        Self {
            state: match device.state() {
                fleet::State::Unspecified => DeviceState::Unspecified,
                fleet::State::Active => DeviceState::Active,
                fleet::State::Lost => DeviceState::Lost,
            },
            id: device.id,
            display_name: device.display_name,
            serial_number: device.serial_number,
            description: device.description,
            enabled: device.enabled,
            uptime_millis: device.uptime_millis,
            battery_percent: device.battery_percent,
            temperature: device.temperature,
            location: device.location.map(|location| Location {
                latitude: location.latitude,
                longitude: location.longitude,
            }),
            tags: device.tags,
            labels: device.labels,
            create_time: time(device.create_time),
            update_time: time(device.update_time),
            etag: device.etag,
        }
    }
}

async fn echo(Json(device): Json<Device>) -> Json<Device> {
    Json(device)
}

async fn list(State(devices): State<Arc<Devices>>) -> Json<Devices> {
    Json(Devices::clone(&devices))
}

async fn import(Json(devices): Json<Devices>) -> Json<Imported> {
    Json(Imported {
        count: devices.devices.len(),
    })
}

/// The three paths of the contract.
pub fn router() -> Router {
    let devices = crate::devices().devices;
    let devices = devices.iter().map(Device::from).collect();
    Router::new()
        .route("/v1/devices:echo", post(echo))
        .route("/v1/devices", get(list))
        .route("/v1/devices:import", post(import))
        .layer(DefaultBodyLimit::max(4 << 20))
        .with_state(Arc::new(Devices { devices }))
}
