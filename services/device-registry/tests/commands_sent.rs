//! What may be sent to whom, and how it is found and taken back.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;
mod told;

use std::collections::HashSet;

use futures::future::join_all;
use harness::Registry;
use prost_types::value::Kind;
use proto::registry::command_parameter::Type;
use proto::registry::command_service_client::CommandServiceClient;
use proto::registry::device_command::State;
use proto::registry::device_transfer_service_client::DeviceTransferServiceClient;
use proto::registry::*;
use told::*;
use tonic::Code;
use uuid::Uuid;

on_both_databases!(
    a_command_of_the_catalogue_is_held_to_what_it_takes,
    the_same_request_sends_once_also_at_the_same_time,
    the_same_request_to_many_begins_and_is_recorded_once,
    a_device_that_is_not_in_use_is_told_nothing,
    commands_are_listed_by_whatever_is_asked_for,
    everything_that_a_device_was_told_is_taken_back,
    a_batch_of_more_commands_than_are_taken_back_at_once_is_taken_back_as_a_whole,
    another_tenant_reaches_no_command,
);

async fn a_command_of_the_catalogue_is_held_to_what_it_takes(registry: Registry) {
    let device = device(&registry, "pump").await;
    let angle = CommandParameter {
        name: "angle".to_owned(),
        r#type: Type::Number.into(),
        required: true,
        max: Some(90.0),
        ..Default::default()
    };
    let request = registry.request(CreateCommandRequest {
        command: Some(Command {
            name: "turn".to_owned(),
            parameters: vec![angle],
            default_ttl: Some(seconds(5)),
            default_max_attempts: 2,
            ..Default::default()
        }),
        ..Default::default()
    });
    let mut catalogue = CommandServiceClient::new(registry.peer());
    let turn = catalogue
        .create_command(request)
        .await
        .unwrap()
        .into_inner();
    let named = |command: &str, angle: f64| SendCommandRequest {
        device_id: device.clone(),
        command: command.to_owned(),
        parameters: Some(object(&[("angle", Kind::NumberValue(angle))])),
        ..Default::default()
    };
    for command in [turn.name.as_str(), turn.id.as_str()] {
        let sent = send(&registry, named(command, 30.0)).await.unwrap();
        assert_eq!((&sent.name, &sent.command_id), (&turn.name, &turn.id));
        assert_eq!(sent.max_attempts, 2);
        let lives = sent.expire_time.unwrap().seconds - sent.create_time.unwrap().seconds;
        assert!((5..=6).contains(&lives), "{lives}");
    }
    let refused = send(&registry, named("turn", 91.0)).await.unwrap_err();
    assert_eq!(fields(&refused), ["parameters.angle"]);
    let refused = send(&registry, named("other", 1.0)).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let mut both = named("turn", 1.0);
    both.name = "turn".to_owned();
    let refused = send(&registry, both).await.unwrap_err();
    assert_eq!(fields(&refused), ["name"]);
    let refused = send(&registry, free(&device, "")).await.unwrap_err();
    assert_eq!(fields(&refused), ["command"]);
}

async fn the_same_request_sends_once_also_at_the_same_time(registry: Registry) {
    let device = device(&registry, "pump").await;
    let request = SendCommandRequest {
        request_id: Uuid::from_u128(7).to_string(),
        ..free(&device, "turn")
    };
    let sent = join_all((0..6).map(|_| send(&registry, request.clone()))).await;
    let ids: HashSet<_> = sent.into_iter().map(|sent| sent.unwrap().id).collect();
    assert_eq!(ids.len(), 1);
    let id = ids.iter().next().unwrap();
    let told: HashSet<_> = registry
        .recorded("deviceCommands")
        .await
        .into_iter()
        .collect();
    assert_eq!(told, HashSet::from([format!("deviceCommands/{id}")]));
    assert_eq!(pull(&registry, &device, 0).await.len(), 1);
    let other = SendCommandRequest {
        name: "other".to_owned(),
        ..request
    };
    let refused = send(&registry, other).await.unwrap_err();
    assert_eq!(fields(&refused), ["request_id"]);
}

async fn the_same_request_to_many_begins_and_is_recorded_once(registry: Registry) {
    let request = SendCommandsRequest {
        device_ids: vec![device(&registry, "pump").await],
        name: "turn".to_owned(),
        request_id: Uuid::from_u128(7).to_string(),
        ..Default::default()
    };
    let begin = async || {
        let request = registry.request(request.clone());
        let begun = client(&registry).send_commands(request).await;
        begun.unwrap().into_inner().id
    };
    let id = begin().await;
    assert_eq!(begin().await, id);
    let told: HashSet<_> = registry
        .recorded("commandBatches")
        .await
        .into_iter()
        .collect();
    assert_eq!(told, HashSet::from([format!("commandBatches/{id}")]));
}

async fn a_device_that_is_not_in_use_is_told_nothing(registry: Registry) {
    let id = device(&registry, "pump").await;
    send(&registry, free(&id, "before")).await.unwrap();
    let to = async |state: device::State| {
        let device = Device {
            id: id.clone(),
            state: state.into(),
            ..Default::default()
        };
        registry.update(device, &["state"]).await.unwrap();
    };
    to(device::State::Disabled).await;
    let refused = send(&registry, free(&id, "meanwhile")).await.unwrap_err();
    assert_eq!(reason(&refused), "DEVICE_NOT_IN_USE");
    assert!(pull(&registry, &id, 0).await.is_empty());
    to(device::State::Active).await;
    assert_eq!(names(&pull(&registry, &id, 0).await), ["before"]);
    let request = registry.request(DeleteDeviceRequest {
        id: id.clone(),
        ..Default::default()
    });
    registry.devices().delete_device(request).await.unwrap();
    let refused = send(&registry, free(&id, "after")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn commands_are_listed_by_whatever_is_asked_for(registry: Registry) {
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    for (device, name) in [(&a, "one"), (&b, "two"), (&a, "two"), (&a, "three")] {
        send(&registry, free(device, name)).await.unwrap();
    }
    let all = ListDeviceCommandsRequest::default();
    let request = ListDeviceCommandsRequest {
        device_id: a.clone(),
        count_total: true,
        page_size: 2,
        ..all.clone()
    };
    let first = list(&registry, request.clone()).await;
    assert_eq!(
        (names(&first.device_commands), first.total_size),
        (vec!["one", "two"], 3)
    );
    let next = ListDeviceCommandsRequest {
        page_token: first.next_page_token,
        ..request.clone()
    };
    assert_eq!(
        names(&list(&registry, next).await.device_commands),
        ["three"]
    );
    let newest = ListDeviceCommandsRequest {
        order_by: "create_time desc".to_owned(),
        ..request
    };
    let first = list(&registry, newest.clone()).await;
    assert_eq!(names(&first.device_commands), ["three", "two"]);
    let next = ListDeviceCommandsRequest {
        page_token: first.next_page_token,
        ..newest
    };
    assert_eq!(names(&list(&registry, next).await.device_commands), ["one"]);
    let two = ListDeviceCommandsRequest {
        name: "two".to_owned(),
        ..all.clone()
    };
    assert_eq!(list(&registry, two).await.device_commands.len(), 2);
    let times = list(&registry, all.clone()).await.device_commands;
    let between = ListDeviceCommandsRequest {
        from_time: times[1].create_time,
        until_time: times[3].create_time,
        ..all
    };
    let between = list(&registry, between).await.device_commands;
    assert_eq!(names(&between), ["two", "two"]);
}

async fn everything_that_a_device_was_told_is_taken_back(registry: Registry) {
    let (a, b) = (device(&registry, "a").await, device(&registry, "b").await);
    for device in [&a, &a, &a, &b] {
        send(&registry, free(device, "turn")).await.unwrap();
    }
    let done = &pull(&registry, &a, 1).await[0];
    acknowledge(&registry, &done.id).await.unwrap();
    let request = registry.request(CancelDeviceCommandsRequest {
        device_id: a.clone(),
    });
    let cancelled = client(&registry).cancel_device_commands(request).await;
    assert_eq!(cancelled.unwrap().into_inner().cancelled_count, 2);
    assert_eq!(get(&registry, &done.id).await.state(), State::Acknowledged);
    assert!(pull(&registry, &a, 0).await.is_empty());
    assert_eq!(pull(&registry, &b, 0).await.len(), 1);
}

/// So many devices of one name.
async fn pumps(registry: &Registry, count: usize) {
    let pump = ImportDevicesRequest {
        device: Some(Device {
            display_name: "pump".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = registry.request(tokio_stream::iter(vec![pump; count]));
    let mut client = DeviceTransferServiceClient::new(registry.peer());
    let mut told = client.import_devices(request).await.unwrap().into_inner();
    while told.message().await.unwrap().is_some() {}
}

async fn a_batch_of_more_commands_than_are_taken_back_at_once_is_taken_back_as_a_whole(
    registry: Registry,
) {
    // Two transactions: a thousand, and the rest.
    let count = 1003;
    pumps(&registry, count).await;
    let request = registry.request(SendCommandsRequest {
        filter: "display_name = \"pump\"".to_owned(),
        name: "restart".to_owned(),
        ..Default::default()
    });
    let begun = client(&registry).send_commands(request).await.unwrap();
    let id = begun.into_inner().id;
    eventually("the batch is queued", || async {
        let request = registry.request(GetCommandBatchRequest { id: id.clone() });
        let got = client(&registry).get_command_batch(request).await.unwrap();
        got.into_inner().state() == command_batch::State::Done
    })
    .await;
    // The second time nothing is left to be done.
    for _ in 0..2 {
        let request = registry.request(CancelCommandBatchRequest { id: id.clone() });
        let cancelled = client(&registry).cancel_command_batch(request).await;
        let cancelled = cancelled.unwrap().into_inner();
        assert_eq!(cancelled.state(), command_batch::State::Cancelled);
        let counts = CommandCounts {
            cancelled: i64::try_from(count).unwrap(),
            ..Default::default()
        };
        assert_eq!(cancelled.counts, Some(counts));
    }
}

async fn another_tenant_reaches_no_command(registry: Registry) {
    let device = device(&registry, "pump").await;
    let id = send(&registry, free(&device, "turn")).await.unwrap().id;
    let other = registry.for_another_tenant();
    let refused = [
        send(&other, free(&device, "turn")).await,
        acknowledge(&other, &id).await,
        fail(&other, &id).await,
        cancel(&other, &id).await,
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().code(), Code::NotFound);
    }
    let request = other.request(PullCommandsRequest {
        filter: "display_name = \"pump\"".to_owned(),
        ..Default::default()
    });
    let pulled = client(&other).pull_commands(request).await.unwrap();
    assert!(pulled.into_inner().device_commands.is_empty());
    let all = list(&other, ListDeviceCommandsRequest::default()).await;
    assert!(all.device_commands.is_empty());
}
