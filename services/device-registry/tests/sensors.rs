//! Sensors of devices.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use harness::Registry;
use proto::registry::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;

on_both_databases!(
    a_sensor_lives_and_dies_with_its_device,
    a_sensors_names_are_its_own_on_its_device,
);

/// The field that a refusal names as taken.
fn taken(status: &Status) -> String {
    assert_eq!(status.code(), Code::AlreadyExists, "{status:?}");
    let details = status.get_error_details();
    details.error_info().unwrap().metadata["field"].clone()
}

async fn device(registry: &Registry) -> String {
    let device = Device {
        display_name: "pump".to_owned(),
        ..Default::default()
    };
    registry.create(device).await.unwrap().id
}

async fn sensor_of(registry: &Registry, device: &str, sensor: Sensor) -> Result<Sensor, Status> {
    let request = registry.request(CreateSensorRequest {
        sensor: Some(Sensor {
            device_id: device.to_owned(),
            ..sensor
        }),
        ..Default::default()
    });
    Ok(registry
        .sensors()
        .create_sensor(request)
        .await?
        .into_inner())
}

fn coded(code: &str) -> Sensor {
    Sensor {
        code: code.to_owned(),
        ..Default::default()
    }
}

async fn sensors(registry: &Registry, devices: &[&str]) -> Vec<String> {
    let request = registry.request(ListSensorsRequest {
        device_ids: devices.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    });
    let found = registry.sensors().list_sensors(request).await.unwrap();
    let sensors = found.into_inner().sensors.into_iter();
    sensors.map(|sensor| sensor.code).collect()
}

async fn a_sensor_lives_and_dies_with_its_device(registry: Registry) {
    let pump = device(&registry).await;
    let tank = device(&registry).await;
    let level = sensor_of(&registry, &tank, coded("level")).await.unwrap();
    sensor_of(&registry, &pump, coded("speed")).await.unwrap();
    assert_eq!(sensors(&registry, &[]).await, ["level", "speed"]);
    assert_eq!(sensors(&registry, &[&pump]).await, ["speed"]);

    let request = registry.request(UpdateSensorRequest {
        sensor: Some(Sensor {
            id: level.id.clone(),
            brand: "Acme".to_owned(),
            etag: "1".to_owned(),
            ..Default::default()
        }),
        update_mask: None,
    });
    let changed = registry.sensors().update_sensor(request).await.unwrap();
    let changed = changed.into_inner();
    assert_eq!(
        (changed.brand.as_str(), changed.code.as_str()),
        ("Acme", "level")
    );

    let request = registry.request(DeleteDeviceRequest {
        id: tank.clone(),
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
    assert_eq!(sensors(&registry, &[]).await, ["speed"]);
    let refused = sensor_of(&registry, &tank, coded("late"))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let request = registry.request(DeleteDeviceRequest {
        id: tank,
        purge: true,
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
    let get = registry.request(GetSensorRequest { id: level.id });
    let refused = registry.sensors().get_sensor(get).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn a_sensors_names_are_its_own_on_its_device(registry: Registry) {
    let pump = device(&registry).await;
    let tank = device(&registry).await;
    let first = Sensor {
        external_id: "ch-0".to_owned(),
        fallback: true,
        ..coded("level")
    };
    sensor_of(&registry, &tank, first.clone()).await.unwrap();
    sensor_of(&registry, &pump, first.clone()).await.unwrap();
    for (sensor, field) in [
        (coded("level"), "sensor.code"),
        (
            Sensor {
                external_id: "ch-0".to_owned(),
                ..coded("other")
            },
            "sensor.external_id",
        ),
        (
            Sensor {
                fallback: true,
                ..coded("third")
            },
            "sensor.fallback",
        ),
    ] {
        let refused = sensor_of(&registry, &tank, sensor).await.unwrap_err();
        assert_eq!(taken(&refused), field);
    }
    sensor_of(&registry, &tank, coded("fourth")).await.unwrap();
    sensor_of(&registry, &tank, coded("fifth")).await.unwrap();
}
