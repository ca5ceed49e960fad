//! What tests of commands have in common.

#![allow(
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    reason = "helpers of tests"
)]

use std::time::Duration;

use chassis::peer::Peer;
use prost_types::{Struct, Value, value::Kind};
use proto::registry::device_command_service_client::DeviceCommandServiceClient;
use proto::registry::*;
use tonic::Status;
use tonic_types::StatusExt;

use crate::harness::Registry;

pub fn client(registry: &Registry) -> DeviceCommandServiceClient<Peer> {
    DeviceCommandServiceClient::new(registry.peer())
}

pub async fn device(registry: &Registry, name: &str) -> String {
    let device = Device {
        display_name: name.to_owned(),
        ..Default::default()
    };
    registry.create(device).await.unwrap().id
}

/// A command that is none of the catalogue.
pub fn free(device_id: &str, name: &str) -> SendCommandRequest {
    SendCommandRequest {
        device_id: device_id.to_owned(),
        name: name.to_owned(),
        ..Default::default()
    }
}

pub async fn send(
    registry: &Registry,
    request: SendCommandRequest,
) -> Result<DeviceCommand, Status> {
    let request = registry.request(request);
    let sent = client(registry).send_command(request).await?;
    Ok(sent.into_inner())
}

pub async fn get(registry: &Registry, id: &str) -> DeviceCommand {
    let request = registry.request(GetDeviceCommandRequest { id: id.to_owned() });
    let got = client(registry).get_device_command(request).await;
    got.unwrap().into_inner()
}

/// At most so many, each to be acknowledged within ten minutes: no machine is
/// so slow that this comes about by itself.
pub async fn pull(registry: &Registry, device_id: &str, most: i32) -> Vec<DeviceCommand> {
    let request = registry.request(PullCommandsRequest {
        device_id: device_id.to_owned(),
        acknowledge_timeout: Some(seconds(600)),
        max_commands: most,
        ..Default::default()
    });
    let pulled = client(registry).pull_commands(request).await;
    pulled.unwrap().into_inner().device_commands
}

pub async fn acknowledge(registry: &Registry, id: &str) -> Result<DeviceCommand, Status> {
    let request = registry.request(AcknowledgeCommandRequest {
        id: id.to_owned(),
        result: Some(object(&[("done", Kind::BoolValue(true))])),
    });
    let done = client(registry).acknowledge_command(request).await?;
    Ok(done.into_inner())
}

pub async fn fail(registry: &Registry, id: &str) -> Result<DeviceCommand, Status> {
    let request = registry.request(FailCommandRequest {
        id: id.to_owned(),
        error: "the valve is stuck".to_owned(),
        result: None,
    });
    Ok(client(registry).fail_command(request).await?.into_inner())
}

pub async fn cancel(registry: &Registry, id: &str) -> Result<DeviceCommand, Status> {
    let request = registry.request(CancelDeviceCommandRequest { id: id.to_owned() });
    let cancelled = client(registry).cancel_device_command(request).await?;
    Ok(cancelled.into_inner())
}

pub async fn list(
    registry: &Registry,
    request: ListDeviceCommandsRequest,
) -> ListDeviceCommandsResponse {
    let request = registry.request(request);
    let listed = client(registry).list_device_commands(request).await;
    listed.unwrap().into_inner()
}

pub fn object(fields: &[(&str, Kind)]) -> Struct {
    let fields = fields.iter().cloned().map(|(name, kind)| {
        let kind = Some(kind);
        (name.to_owned(), Value { kind })
    });
    Struct {
        fields: fields.collect(),
    }
}

pub fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub fn names(commands: &[DeviceCommand]) -> Vec<&str> {
    commands
        .iter()
        .map(|command| command.name.as_str())
        .collect()
}

/// The stable reason of a refusal.
pub fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| info.reason.clone());
    reason.unwrap_or_default()
}

/// The fields that a refusal names.
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let invalid = details.bad_request().map(|b| b.field_violations.clone());
    let invalid = invalid.unwrap_or_default().into_iter();
    invalid.map(|violation| violation.field).collect()
}

pub async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    // A busy machine may take its time.
    for _ in 0..1000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about within twenty seconds");
}
