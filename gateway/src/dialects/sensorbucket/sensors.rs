//! Sensors between SensorBucket's form and Muster's.

use std::collections::HashMap;

use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::registry::{
    BatchGetDevicesRequest, CreateSensorRequest, DeleteSensorRequest, Device, ListSensorsRequest,
    Sensor, UpdateSensorRequest,
};
use tonic::Status;

use super::paging::Cursor;
use super::{NO_SENSOR, count, devices};
use crate::domain::Domain;

/// A sensor of the device with a number.
pub(super) fn shown(sensor: Sensor, device: i64, tenant: i64) -> dialect::Sensor {
    dialect::Sensor {
        id: sensor.number,
        code: sensor.code,
        description: sensor.description,
        device_id: device,
        brand: sensor.brand,
        external_id: sensor.external_id,
        is_fallback: sensor.fallback,
        properties: Some(sensor.attributes.unwrap_or_default()),
        tenant_id: tenant,
        created_at: sensor.create_time,
        archive_time: None,
        feature_of_interest_id: None,
    }
}

/// Devices, each with its sensors, which are asked for all at once.
pub(super) async fn with_devices(
    domain: &Domain,
    devices: Vec<Device>,
    tenant: i64,
) -> Result<Vec<dialect::Device>> {
    let ids = devices.iter().map(|device| device.id.clone()).collect();
    let mut sensors = HashMap::<_, Vec<_>>::new();
    for sensor in all_of(domain, ids).await? {
        let of = sensors.entry(sensor.device_id.clone()).or_default();
        of.push(sensor);
    }
    let shown = devices.into_iter().map(|device| {
        let (number, id) = (device.number, device.id.clone());
        let of = sensors.remove(&id).unwrap_or_default().into_iter();
        dialect::Device {
            sensors: of.map(|sensor| shown(sensor, number, tenant)).collect(),
            ..devices::shown(device, tenant)
        }
    });
    Ok(shown.collect())
}

/// All sensors of some devices.
async fn all_of(domain: &Domain, device_ids: Vec<String>) -> Result<Vec<Sensor>> {
    let mut sensors = Vec::new();
    if device_ids.is_empty() {
        return Ok(sensors);
    }
    let mut page_token = String::new();
    loop {
        let list = ListSensorsRequest {
            page_size: 1000,
            page_token,
            device_ids: device_ids.clone(),
            ..Default::default()
        };
        let page = domain.sensors().list_sensors(domain.request(list)).await?;
        let page = page.into_inner();
        sensors.extend(page.sensors);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(sensors);
        }
    }
}

/// One page of the sensors of a device, or of all.
pub(super) async fn page(
    domain: &Domain,
    tenant: i64,
    device: Option<Device>,
    mut at: Cursor,
    base: &str,
    list: &str,
) -> Result<dialect::ListSensorsResponse> {
    let wanted = ListSensorsRequest {
        page_size: at.limit(),
        page_token: at.token.clone(),
        device_ids: device.iter().map(|device| device.id.clone()).collect(),
        ..Default::default()
    };
    let wanted = domain.request(wanted);
    let page = domain.sensors().list_sensors(wanted).await?.into_inner();
    at.token = page.next_page_token;
    let more = !at.token.is_empty();
    at.tenants = more.then_some(tenant).into_iter().collect();
    let numbers = numbers(domain, &page.sensors).await?;
    let data = page.sensors.into_iter().map(|sensor| {
        let device = numbers.get(&sensor.device_id).copied();
        shown(sensor, device.unwrap_or_default(), tenant)
    });
    let data: Vec<_> = data.collect();
    Ok(dialect::ListSensorsResponse {
        message: "Listed sensors".into(),
        links: Some(at.links(base, list)),
        page_size: count(&data),
        total_count: 0,
        data,
    })
}

/// The numbers of the sensors' devices, by their ids.
async fn numbers(domain: &Domain, sensors: &[Sensor]) -> Result<HashMap<String, i64>> {
    let mut ids: Vec<_> = sensors.iter().map(|s| s.device_id.clone()).collect();
    ids.sort();
    ids.dedup();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let mask = FieldMask {
        paths: vec!["id".into(), "number".into()],
    };
    let get = BatchGetDevicesRequest {
        ids,
        read_mask: Some(mask),
    };
    let get = domain.request(get);
    let found = domain.devices().batch_get_devices(get).await?;
    let devices = found.into_inner().devices.into_iter();
    Ok(devices.map(|device| (device.id, device.number)).collect())
}

/// The device with a number, and its sensor with a code.
pub(super) async fn of_device(
    domain: &Domain,
    number: i64,
    code: &str,
) -> Result<(Device, Sensor)> {
    let device = devices::find(domain, number).await?;
    let list = ListSensorsRequest {
        page_size: 1,
        device_ids: vec![device.id.clone()],
        code: code.to_owned(),
        ..Default::default()
    };
    let found = domain.sensors().list_sensors(domain.request(list)).await?;
    let sensor = found.into_inner().sensors.into_iter().next();
    Ok((device, sensor.ok_or_else(missing)?))
}

/// The sensors with some numbers.
pub(super) async fn with_numbers(domain: &Domain, numbers: &[i64]) -> Result<Vec<Sensor>> {
    let list = ListSensorsRequest {
        page_size: 1000,
        numbers: numbers.to_vec(),
        ..Default::default()
    };
    let found = domain.sensors().list_sensors(domain.request(list)).await?;
    Ok(found.into_inner().sensors)
}

/// The sensor with a number.
pub(super) async fn by_number(
    domain: &Domain,
    number: i64,
    tenant: i64,
) -> Result<dialect::Sensor> {
    let found = with_numbers(domain, &[number]).await?;
    let numbers = numbers(domain, &found).await?;
    let sensor = found.into_iter().next().ok_or_else(missing)?;
    let device = numbers.get(&sensor.device_id).copied();
    Ok(shown(sensor, device.unwrap_or_default(), tenant))
}

pub(super) async fn create(
    domain: &Domain,
    wanted: dialect::CreateDeviceSensorRequest,
) -> Result<()> {
    devices::check_code(&wanted.code)?;
    let device = devices::find(domain, wanted.device_id).await?;
    let create = CreateSensorRequest {
        sensor: Some(Sensor {
            device_id: device.id,
            code: wanted.code,
            description: wanted.description,
            external_id: wanted.external_id,
            brand: wanted.brand,
            fallback: wanted.is_fallback,
            attributes: wanted.properties,
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = domain.request(create);
    domain.sensors().create_sensor(create).await?;
    Ok(())
}

/// Changes what is given; everything else stays.
pub(super) async fn update(
    domain: &Domain,
    wanted: dialect::UpdateDeviceSensorRequest,
) -> Result<()> {
    let (_, mut sensor) = of_device(domain, wanted.device_id, &wanted.sensor_code).await?;
    let mut paths = Vec::new();
    for (path, field, given) in [
        ("description", &mut sensor.description, wanted.description),
        ("brand", &mut sensor.brand, wanted.brand),
        ("external_id", &mut sensor.external_id, wanted.external_id),
    ] {
        if let Some(text) = given {
            *field = text;
            paths.push(path.to_owned());
        }
    }
    if let Some(fallback) = wanted.is_fallback {
        sensor.fallback = fallback;
        paths.push("fallback".to_owned());
    }
    if let Some(properties) = wanted.properties {
        sensor.attributes = Some(properties);
        paths.push("attributes".to_owned());
    }
    if paths.is_empty() {
        // An empty mask would mean every field.
        paths.push("description".to_owned());
    }
    let update = UpdateSensorRequest {
        sensor: Some(sensor),
        update_mask: Some(FieldMask { paths }),
    };
    let update = domain.request(update);
    domain.sensors().update_sensor(update).await?;
    Ok(())
}

pub(super) async fn delete(domain: &Domain, device: i64, code: &str) -> Result<()> {
    let (_, sensor) = of_device(domain, device, code).await?;
    let delete = domain.request(DeleteSensorRequest { id: sensor.id });
    domain.sensors().delete_sensor(delete).await?;
    Ok(())
}

fn missing() -> Error {
    Status::not_found(NO_SENSOR).into()
}
