//! Many devices at once: what becomes of each, and of all.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../harness/mod.rs"]
mod harness;
mod rows;
mod wholes;

use chassis::caller::TenantId;
use harness::Registry;
use muster_device_registry::admin;
use prost_types::FieldMask;
use proto::registry::device_transfer_service_client::DeviceTransferServiceClient;
use proto::registry::import_devices_request::MatchBy;
use proto::registry::import_devices_response::Event;
use proto::registry::imported_device::Outcome;
use proto::registry::*;
use tonic::{Code, Status};
use uuid::Uuid;

use Outcome::{Created, DoneBefore, NotDone, Refused, Unchanged, Updated};

fn serial(serial_number: &str) -> Device {
    Device {
        serial_number: serial_number.to_owned(),
        display_name: format!("pump {serial_number}"),
        ..Default::default()
    }
}

fn by(match_by: MatchBy) -> ImportDevicesRequest {
    ImportDevicesRequest {
        match_by: match_by.into(),
        ..Default::default()
    }
}

/// All events of an import.
async fn events(
    registry: &Registry,
    options: ImportDevicesRequest,
    devices: Vec<Device>,
) -> Result<Vec<Event>, Status> {
    let messages = devices.into_iter().map(move |device| ImportDevicesRequest {
        device: Some(device),
        ..options.clone()
    });
    let messages: Vec<_> = messages.collect();
    let request = registry.request(tokio_stream::iter(messages));
    let mut client = DeviceTransferServiceClient::new(registry.peer());
    let mut answers = client.import_devices(request).await?.into_inner();
    let mut events = Vec::new();
    while let Some(answer) = answers.message().await? {
        events.push(answer.event.unwrap());
    }
    Ok(events)
}

/// What became of each device, in order, and of all.
async fn import(
    registry: &Registry,
    options: ImportDevicesRequest,
    devices: Vec<Device>,
) -> (Vec<ImportedDevice>, ImportSummary) {
    let first = options.first_index;
    let mut events = events(registry, options, devices)
        .await
        .unwrap()
        .into_iter();
    assert!(matches!(events.next(), Some(Event::Begun(_))));
    let (mut rows, mut summary) = (Vec::new(), None);
    for event in events {
        assert!(summary.is_none(), "nothing comes after the summary");
        match event {
            Event::Row(row) => rows.push(row),
            Event::Summary(told) => summary = Some(told),
            Event::Begun(_) => panic!("it begins once"),
        }
    }
    let indexes: Vec<_> = rows.iter().map(|row| row.index).collect();
    let end = first + i64::try_from(rows.len()).unwrap();
    assert_eq!(indexes, (first..end).collect::<Vec<_>>());
    (rows, summary.unwrap())
}

fn outcomes(rows: &[ImportedDevice]) -> Vec<Outcome> {
    rows.iter().map(ImportedDevice::outcome).collect()
}

fn why(row: &ImportedDevice) -> &str {
    &row.error.as_ref().unwrap().message
}

async fn count(registry: &Registry) -> i64 {
    let all = ListDevicesRequest {
        count_total: true,
        show_deleted: true,
        ..Default::default()
    };
    registry.list(all).await.unwrap().total_size
}

async fn limit(registry: &Registry, limit: i64) {
    let tenant = TenantId(registry.tenant);
    admin::set_device_limit(&registry.store, tenant, Some(limit))
        .await
        .unwrap();
}

async fn export(registry: &Registry, request: ExportDevicesRequest) -> Vec<Device> {
    let request = registry.request(request);
    let mut client = DeviceTransferServiceClient::new(registry.peer());
    let mut answers = client.export_devices(request).await.unwrap().into_inner();
    let mut devices = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        devices.push(answer.device.unwrap());
    }
    devices
}
