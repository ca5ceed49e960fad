//! What the transcoder is measured with, and beside.

pub mod handler;
pub mod service;

/// The contract: prost's types with pbjson's JSON, and tonic's service.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod fleet {
    tonic::include_proto!("fleet.v1");
    include!(concat!(env!("OUT_DIR"), "/fleet.v1.serde.rs"));
}

use fleet::{Device, Devices, Location, State};
use pbjson_types::Timestamp;

/// The descriptors, with the options that say what is where in HTTP.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/fleet.bin"));

/// A device with all of its fields; `n` makes it differ from others.
pub fn device(n: u32) -> Device {
    let seconds = 1_760_000_000 + i64::from(n) * 86_461;
    Device {
        id: format!("0198c5a2-7d1e-7bd0-9a3c-{n:012x}"),
        display_name: format!("greenhouse-{n:03}"),
        serial_number: format!("{}", 2_112_345_678 + u64::from(n)),
        description: "Žďár, on the north wall".to_owned(),
        state: State::Active.into(),
        enabled: true,
        uptime_millis: 8_640_123_456 + i64::from(n),
        battery_percent: 40 + (n % 60) as i32,
        temperature: f64::from(n % 400).mul_add(0.1, -3.7),
        location: Some(Location {
            latitude: 49.562_7 + f64::from(n) / 1e4,
            longitude: 15.939_1 - f64::from(n) / 1e4,
        }),
        tags: vec!["outdoor".to_owned(), "lora".to_owned()],
        labels: [("region".to_owned(), "eu-west".to_owned())].into(),
        create_time: Some(Timestamp { seconds, nanos: 0 }),
        update_time: Some(Timestamp {
            seconds: seconds + 3_600,
            nanos: 123_000_000,
        }),
        etag: format!("{:016x}", u64::from(n) * 0x9e37_79b9_7f4a_7c15),
    }
}

/// A hundred devices.
pub fn devices() -> Devices {
    Devices {
        devices: (0..100).map(device).collect(),
    }
}
