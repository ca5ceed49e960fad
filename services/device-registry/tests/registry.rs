//! The whole service, called through its stack, on SQLite and on PostgreSQL.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use harness::Registry;
use prost_types::{Struct, Value, value::Kind};
use proto::registry::command_service_client::CommandServiceClient;
use proto::registry::device::State;
use proto::registry::site_service_client::SiteServiceClient;
use proto::registry::tag_service_client::TagServiceClient;
use proto::registry::*;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use uuid::Uuid;

on_both_databases!(
    a_device_comes_back_as_it_was_created,
    a_chosen_id_is_kept_and_taken_only_once,
    what_must_be_unique_is_so_unless_empty,
    every_reference_to_nothing_is_told_and_nothing_is_kept,
    an_update_changes_what_it_names_and_refuses_stale_etags,
    an_update_is_held_to_the_rules_of_the_contract,
    lists_are_filtered_paged_and_counted,
    a_deleted_tag_comes_off_and_a_deleted_device_is_gone,
    a_site_in_use_can_not_be_deleted,
    commands_are_found_changed_and_named_once,
    another_tenant_sees_nothing_and_may_use_the_same_names,
);

fn named(name: &str) -> Device {
    Device {
        display_name: name.to_owned(),
        ..Default::default()
    }
}

/// The fields that an error complains of, or that are taken.
fn fields(status: &Status) -> Vec<String> {
    let details = status.get_error_details();
    let taken = details.error_info().and_then(|i| i.metadata.get("field"));
    let invalid = details.bad_request().map(|b| b.field_violations.clone());
    let invalid = invalid.unwrap_or_default().into_iter().map(|v| v.field);
    invalid.chain(taken.cloned()).collect()
}

async fn a_device_comes_back_as_it_was_created(registry: Registry) {
    let (b, a) = (
        registry.tag("b").await.unwrap(),
        registry.tag("a").await.unwrap(),
    );
    let three = Value {
        kind: Some(Kind::NumberValue(3.0)),
    };
    let wanted = Device {
        serial_number: "sn".to_owned(),
        external_id: "ext".to_owned(),
        code: "pump-1".to_owned(),
        description: "in the cellar".to_owned(),
        tag_ids: vec![a, b],
        labels: [("k".to_owned(), "v".to_owned())].into(),
        attributes: Some(Struct {
            fields: [("n".to_owned(), three)].into(),
        }),
        site_id: registry.site("plant").await.unwrap().id,
        location: Some(Location {
            latitude: Some(50.5),
            ..Default::default()
        }),
        ..named("pump")
    };
    let created = registry.create(wanted.clone()).await.unwrap();
    assert_eq!(registry.get(&created.id).await.unwrap(), created);
    assert_eq!((created.number, created.etag.as_str()), (1, "1"));
    let expected = Device {
        id: created.id.clone(),
        number: 1,
        state: State::Active.into(),
        create_time: created.create_time,
        update_time: created.update_time,
        etag: "1".to_owned(),
        ..wanted
    };
    assert_eq!(created, expected);
}

async fn a_chosen_id_is_kept_and_taken_only_once(registry: Registry) {
    let id = Uuid::from_u128(42).to_string();
    let request = || {
        registry.request(CreateDeviceRequest {
            device: Some(named("pump")),
            device_id: id.clone(),
            secret: "0123456789abcdef".to_owned(),
            ..Default::default()
        })
    };
    let created = registry.devices().create_device(request()).await.unwrap();
    assert_eq!(created.into_inner().id, id);
    let refused = registry
        .devices()
        .create_device(request())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(fields(&refused), ["device_id"]);
}

async fn what_must_be_unique_is_so_unless_empty(registry: Registry) {
    let device = Device {
        code: "c1".to_owned(),
        serial_number: "s1".to_owned(),
        ..named("a")
    };
    registry.create(device).await.unwrap();
    let b = registry.create(named("b")).await.unwrap();
    registry.create(named("c")).await.unwrap();
    let code = Device {
        code: "c1".to_owned(),
        ..named("d")
    };
    let refused = registry.create(code.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), fields(&refused)),
        (Code::AlreadyExists, vec!["device.code".to_owned()])
    );
    let refused = registry
        .update(Device { id: b.id, ..code }, &["code"])
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["device.code"]);
    registry.tag("t").await.unwrap();
    assert_eq!(
        fields(&registry.tag("t").await.unwrap_err()),
        ["tag.display_name"]
    );
}

async fn every_reference_to_nothing_is_told_and_nothing_is_kept(registry: Registry) {
    let tag = registry.tag("t").await.unwrap();
    let device = Device {
        tag_ids: vec![
            Uuid::from_u128(8).to_string(),
            tag,
            Uuid::from_u128(9).to_string(),
        ],
        site_id: Uuid::from_u128(7).to_string(),
        ..named("pump")
    };
    let refused = registry.create(device).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        fields(&refused),
        ["device.tag_ids[0]", "device.tag_ids[2]", "device.site_id"]
    );
    assert!(
        registry
            .names(ListDevicesRequest::default())
            .await
            .is_empty()
    );
}

async fn an_update_changes_what_it_names_and_refuses_stale_etags(registry: Registry) {
    let (a, b) = (
        registry.tag("a").await.unwrap(),
        registry.tag("b").await.unwrap(),
    );
    let device = Device {
        tag_ids: vec![a.clone()],
        code: "c1".to_owned(),
        ..named("old")
    };
    let created = registry.create(device).await.unwrap();
    let wanted = Device {
        id: created.id.clone(),
        etag: created.etag.clone(),
        tag_ids: vec![b.clone(), a.clone()],
        ..named("new")
    };
    let updated = registry
        .update(wanted.clone(), &["display_name", "tag_ids", "code"])
        .await
        .unwrap();
    assert_eq!(registry.get(&created.id).await.unwrap(), updated);
    assert_eq!(
        (
            updated.display_name.as_str(),
            updated.code.as_str(),
            updated.etag.as_str()
        ),
        ("new", "", "2")
    );
    assert_eq!(updated.tag_ids, [b, a]);
    assert_eq!(
        (updated.number, updated.create_time),
        (created.number, created.create_time)
    );
    let refused = registry
        .update(wanted, &["display_name"])
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
}

async fn an_update_is_held_to_the_rules_of_the_contract(registry: Registry) {
    let created = registry.create(named("old")).await.unwrap();
    let refused = registry
        .update(
            Device {
                id: created.id,
                ..Default::default()
            },
            &["*"],
        )
        .await
        .unwrap_err();
    assert_eq!(fields(&refused), ["device.display_name"]);
    let refused = registry.update(named("x"), &["*"]).await.unwrap_err();
    assert_eq!(fields(&refused), ["device.id"]);
}

async fn lists_are_filtered_paged_and_counted(registry: Registry) {
    let (x, y) = (
        registry.tag("x").await.unwrap(),
        registry.tag("y").await.unwrap(),
    );
    for (name, tags) in [
        ("0", vec![]),
        ("1", vec![&x]),
        ("2", vec![&y, &x]),
        ("3", vec![&y]),
    ] {
        let tag_ids = tags.into_iter().cloned().collect();
        registry
            .create(Device {
                tag_ids,
                ..named(name)
            })
            .await
            .unwrap();
    }
    let of = |tag_ids: &[&String], any_tag| ListDevicesRequest {
        tag_ids: tag_ids.iter().map(|tag| (*tag).clone()).collect(),
        any_tag,
        ..Default::default()
    };
    assert_eq!(registry.names(of(&[&x], false)).await, ["1", "2"]);
    assert_eq!(registry.names(of(&[&x, &y], false)).await, ["2"]);
    assert_eq!(registry.names(of(&[&x, &y], true)).await, ["1", "2", "3"]);
    let two = ListDevicesRequest {
        page_size: 2,
        count_total: true,
        ..Default::default()
    };
    let first = registry.list(two.clone()).await.unwrap();
    assert_eq!((first.devices.len(), first.total_size), (2, 4));
    let rest = ListDevicesRequest {
        page_token: first.next_page_token,
        ..two.clone()
    };
    let rest = registry.list(rest).await.unwrap();
    assert_eq!(rest.devices[0].tag_ids, [y, x]);
    assert_eq!((rest.devices.len(), rest.next_page_token.as_str()), (2, ""));
    assert_eq!(
        registry.names(ListDevicesRequest { skip: 3, ..two }).await,
        ["3"]
    );
    let named = ListDevicesRequest {
        display_name: "3".to_owned(),
        number: 4,
        state: 1,
        ..Default::default()
    };
    assert_eq!(registry.names(named).await, ["3"]);
}

async fn a_deleted_tag_comes_off_and_a_deleted_device_is_gone(registry: Registry) {
    let tag = registry.tag("t").await.unwrap();
    let device = registry
        .create(Device {
            tag_ids: vec![tag.clone()],
            ..named("pump")
        })
        .await
        .unwrap();
    let request = registry.request(DeleteTagRequest { id: tag });
    TagServiceClient::new(registry.peer())
        .delete_tag(request)
        .await
        .unwrap();
    assert!(registry.get(&device.id).await.unwrap().tag_ids.is_empty());
    let request = || {
        registry.request(DeleteDeviceRequest {
            id: device.id.clone(),
            ..Default::default()
        })
    };
    registry.devices().delete_device(request()).await.unwrap();
    let refused = registry
        .devices()
        .delete_device(request())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

async fn a_site_in_use_can_not_be_deleted(registry: Registry) {
    let site = registry.site("plant").await.unwrap();
    let device = registry
        .create(Device {
            site_id: site.id.clone(),
            ..named("pump")
        })
        .await
        .unwrap();
    let mut sites = SiteServiceClient::new(registry.peer());
    let request = || {
        registry.request(DeleteSiteRequest {
            id: site.id.clone(),
        })
    };
    let refused = sites.delete_site(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let reason = refused.get_details_error_info().map(|info| info.reason);
    assert_eq!(reason.as_deref(), Some("IN_USE"));
    registry
        .update(
            Device {
                id: device.id,
                ..Default::default()
            },
            &["site_id"],
        )
        .await
        .unwrap();
    sites.delete_site(request()).await.unwrap();
}

async fn commands_are_found_changed_and_named_once(registry: Registry) {
    let mut commands = CommandServiceClient::new(registry.peer());
    let command = Command {
        name: "turn_on".to_owned(),
        ..Default::default()
    };
    let request = || {
        registry.request(CreateCommandRequest {
            command: Some(command.clone()),
            ..Default::default()
        })
    };
    let created = commands
        .create_command(request())
        .await
        .unwrap()
        .into_inner();
    let refused = commands.create_command(request()).await.unwrap_err();
    assert_eq!(fields(&refused), ["command.name"]);
    let wanted = Command {
        id: created.id,
        description: "starts it".to_owned(),
        ..Default::default()
    };
    let request = registry.request(UpdateCommandRequest {
        command: Some(wanted),
        update_mask: None,
    });
    let updated = commands.update_command(request).await.unwrap().into_inner();
    assert_eq!(
        (updated.name.as_str(), updated.description.as_str()),
        ("turn_on", "starts it")
    );
    let request = registry.request(ListCommandsRequest::default());
    assert_eq!(
        commands
            .list_commands(request)
            .await
            .unwrap()
            .into_inner()
            .commands,
        [updated]
    );
}

async fn another_tenant_sees_nothing_and_may_use_the_same_names(registry: Registry) {
    let tag = registry.tag("t").await.unwrap();
    let device = Device {
        code: "c1".to_owned(),
        tag_ids: vec![tag.clone()],
        ..named("pump")
    };
    let device = registry.create(device).await.unwrap();
    let other = registry.for_another_tenant();
    assert_eq!(
        other.get(&device.id).await.unwrap_err().code(),
        Code::NotFound
    );
    let refused = other.update(device.clone(), &["*"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    let tagged = Device {
        tag_ids: vec![tag.clone()],
        ..named("mine")
    };
    assert_eq!(
        fields(&other.create(tagged).await.unwrap_err()),
        ["device.tag_ids[0]"]
    );
    other
        .create(Device {
            code: "c1".to_owned(),
            ..named("mine")
        })
        .await
        .unwrap();
    other.tag("t").await.unwrap();
    assert_eq!(other.names(ListDevicesRequest::default()).await, ["mine"]);
    let by_tag = ListDevicesRequest {
        tag_ids: vec![tag],
        ..Default::default()
    };
    assert!(other.names(by_tag).await.is_empty());
}
