//! Commands as they flow: by streams, and to many devices at once.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;
mod told;

use std::time::Duration;

use chrono::TimeDelta;
use harness::Registry;
use proto::registry::device_command::State;
use proto::registry::*;
use told::*;
use tonic::{Code, Streaming};

on_both_databases!(
    a_stream_brings_what_waits_and_what_comes,
    what_a_broken_stream_brought_comes_again,
    two_streams_of_one_device_share_its_commands,
    a_gateway_receives_for_its_devices_only,
    a_command_goes_to_all_devices_of_a_filter,
    a_batch_for_named_devices_is_all_or_nothing,
    a_batch_that_is_taken_back_tells_no_more_devices,
    a_filter_that_no_column_knows_is_refused,
);

async fn receive(
    registry: &Registry,
    request: ReceiveCommandsRequest,
) -> Streaming<ReceiveCommandsResponse> {
    let request = registry.request(request);
    let stream = client(registry).receive_commands(request).await;
    let mut stream = stream.unwrap().into_inner();
    // It says at once that it is alive.
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.device_command, None);
    stream
}

fn of(device: &str) -> ReceiveCommandsRequest {
    ReceiveCommandsRequest {
        device_id: device.to_owned(),
        acknowledge_timeout: Some(seconds(600)),
        ..Default::default()
    }
}

/// The next command; not a sign of life.
async fn next(stream: &mut Streaming<ReceiveCommandsResponse>) -> DeviceCommand {
    let next = async {
        loop {
            let said = stream.message().await.unwrap().unwrap();
            if let Some(command) = said.device_command {
                return command;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), next)
        .await
        .unwrap()
}

async fn a_stream_brings_what_waits_and_what_comes(registry: Registry) {
    let device = device(&registry, "pump").await;
    send(&registry, free(&device, "waited")).await.unwrap();
    let mut stream = receive(&registry, of(&device)).await;
    let waited = next(&mut stream).await;
    assert_eq!(
        (waited.name.as_str(), waited.state()),
        ("waited", State::Delivered)
    );
    for name in ["a", "b", "c"] {
        send(&registry, free(&device, name)).await.unwrap();
        let command = next(&mut stream).await;
        assert_eq!(command.name, name);
        acknowledge(&registry, &command.id).await.unwrap();
    }
    acknowledge(&registry, &waited.id).await.unwrap();
    let nobody = of("0198c5a2-7d1e-7bd0-9a3c-000000000001");
    let nobody = registry.request(nobody);
    let refused = client(&registry).receive_commands(nobody).await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
}

async fn what_a_broken_stream_brought_comes_again(registry: Registry) {
    let device = device(&registry, "pump").await;
    let id = send(&registry, free(&device, "turn")).await.unwrap().id;
    let mut stream = receive(&registry, of(&device)).await;
    assert_eq!(next(&mut stream).await.attempt_count, 1);
    drop(stream);
    registry.clock.advance(TimeDelta::seconds(601));
    let mut stream = receive(&registry, of(&device)).await;
    let again = next(&mut stream).await;
    assert_eq!((again.id, again.attempt_count), (id, 2));
}

async fn two_streams_of_one_device_share_its_commands(registry: Registry) {
    let device = device(&registry, "pump").await;
    let mut one = receive(&registry, of(&device)).await;
    let mut two = receive(&registry, of(&device)).await;
    let (mut ids, mut got) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        ids.push(send(&registry, free(&device, "turn")).await.unwrap().id);
    }
    while got.len() < ids.len() {
        let command = tokio::select! {
            command = next(&mut one) => command,
            command = next(&mut two) => command,
        };
        assert_eq!(command.attempt_count, 1);
        got.push(command.id);
    }
    got.sort();
    ids.sort();
    assert_eq!(got, ids);
}

async fn labelled(registry: &Registry, name: &str, region: &str) -> String {
    let device = Device {
        display_name: name.to_owned(),
        labels: [("region".to_owned(), region.to_owned())].into(),
        ..Default::default()
    };
    registry.create(device).await.unwrap().id
}

async fn a_gateway_receives_for_its_devices_only(registry: Registry) {
    let (a, b) = (
        labelled(&registry, "a", "eu").await,
        labelled(&registry, "b", "us").await,
    );
    let filter = ReceiveCommandsRequest {
        filter: "labels.region = \"eu\"".to_owned(),
        ..Default::default()
    };
    let mut eu = receive(&registry, filter).await;
    send(&registry, free(&b, "us")).await.unwrap();
    send(&registry, free(&a, "eu")).await.unwrap();
    assert_eq!(next(&mut eu).await.name, "eu");
    // A device that comes to the gateway later is one of its devices.
    let c = labelled(&registry, "c", "eu").await;
    send(&registry, free(&c, "new")).await.unwrap();
    assert_eq!(next(&mut eu).await.name, "new");
    let named = ReceiveCommandsRequest {
        device_ids: vec![a.clone(), b.clone()],
        ..Default::default()
    };
    let mut both = receive(&registry, named).await;
    assert_eq!(next(&mut both).await.name, "us");
}

async fn batch(registry: &Registry, id: &str) -> CommandBatch {
    let request = registry.request(GetCommandBatchRequest { id: id.to_owned() });
    let got = client(registry).get_command_batch(request).await;
    got.unwrap().into_inner()
}

async fn done(registry: &Registry, id: &str) -> CommandBatch {
    eventually("the batch is done", || async {
        batch(registry, id).await.state() == command_batch::State::Done
    })
    .await;
    batch(registry, id).await
}

async fn a_command_goes_to_all_devices_of_a_filter(registry: Registry) {
    let retired = registry.tag("retired").await.unwrap();
    let mut ids = Vec::new();
    for i in 0..12 {
        ids.push(labelled(&registry, &format!("d{i}"), ["eu", "us"][i % 2]).await);
    }
    let change = |id: &str| Device {
        id: id.to_owned(),
        ..Default::default()
    };
    let tagged = Device {
        tag_ids: vec![retired],
        ..change(&ids[0])
    };
    registry.update(tagged, &["tag_ids"]).await.unwrap();
    let disabled = Device {
        state: device::State::Disabled.into(),
        ..change(&ids[2])
    };
    registry.update(disabled, &["state"]).await.unwrap();
    let request = SendCommandsRequest {
        filter: "labels.region = \"eu\" AND NOT tags:\"retired\"".to_owned(),
        name: "restart".to_owned(),
        request_id: "0198c5a2-7d1e-7bd0-9a3c-000000000002".to_owned(),
        ..Default::default()
    };
    let begin = async || {
        let request = registry.request(request.clone());
        let begun = client(&registry).send_commands(request).await;
        begun.unwrap().into_inner()
    };
    let begun = begin().await;
    assert_eq!(begun.device_count, 5);
    assert_eq!(begin().await.id, begun.id);
    let told = done(&registry, &begun.id).await;
    assert_eq!((told.queued_count, told.skipped_count), (4, 1));
    for id in [&ids[4], &ids[6], &ids[8], &ids[10]] {
        let got = pull(&registry, id, 0).await;
        assert_eq!(
            (got.len(), got[0].batch_id.as_str()),
            (1, begun.id.as_str())
        );
    }
    let one = list(
        &registry,
        ListDeviceCommandsRequest {
            batch_id: begun.id.clone(),
            ..Default::default()
        },
    );
    let one = &one.await.device_commands[0];
    acknowledge(&registry, &one.id).await.unwrap();
    let counts = batch(&registry, &begun.id).await.counts.unwrap();
    assert_eq!((counts.delivered, counts.acknowledged), (3, 1));
    let request = registry.request(ListCommandBatchesRequest::default());
    let all = client(&registry).list_command_batches(request).await;
    assert_eq!(all.unwrap().into_inner().command_batches.len(), 1);
}

async fn a_batch_for_named_devices_is_all_or_nothing(registry: Registry) {
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    let request = |ids: &[&str]| {
        registry.request(SendCommandsRequest {
            device_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            name: "restart".to_owned(),
            ..Default::default()
        })
    };
    let nobody = "0198c5a2-7d1e-7bd0-9a3c-000000000001";
    let refused = client(&registry)
        .send_commands(request(&[&a, nobody]))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    assert!(pull(&registry, &a, 0).await.is_empty());
    let begun = client(&registry).send_commands(request(&[&a, &b])).await;
    let told = done(&registry, &begun.unwrap().into_inner().id).await;
    assert_eq!(told.queued_count, 2);
}

async fn a_batch_that_is_taken_back_tells_no_more_devices(registry: Registry) {
    let a = device(&registry, "a").await;
    let request = registry.request(SendCommandsRequest {
        device_ids: vec![a.clone()],
        name: "restart".to_owned(),
        ..Default::default()
    });
    let begun = client(&registry).send_commands(request).await.unwrap();
    let id = begun.into_inner().id;
    done(&registry, &id).await;
    let request = registry.request(CancelCommandBatchRequest { id: id.clone() });
    let cancelled = client(&registry).cancel_command_batch(request).await;
    let cancelled = cancelled.unwrap().into_inner();
    assert_eq!(cancelled.state(), command_batch::State::Cancelled);
    assert_eq!(cancelled.counts.unwrap().cancelled, 1);
    assert!(pull(&registry, &a, 0).await.is_empty());
}

async fn a_filter_that_no_column_knows_is_refused(registry: Registry) {
    let request = registry.request(SendCommandsRequest {
        filter: "attributes.x = 1".to_owned(),
        name: "restart".to_owned(),
        ..Default::default()
    });
    let refused = client(&registry).send_commands(request).await.unwrap_err();
    assert_eq!(fields(&refused), ["filter"]);
}
