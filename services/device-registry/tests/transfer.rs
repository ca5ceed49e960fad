//! Many devices at once: what becomes of each, and of all.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

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

on_both_databases!(
    new_devices_are_created_with_all_that_they_have,
    each_device_is_refused_by_itself_with_all_that_is_wrong,
    a_device_that_there_is_is_changed_by_what_matches,
    what_is_twice_in_an_import_is_refused_the_second_time,
    all_or_none_keeps_none_if_one_is_refused,
    what_is_only_validated_leaves_no_trace,
    an_import_goes_on_where_it_was_left_and_does_nothing_twice,
    a_limit_is_filled_and_not_passed,
    tags_may_be_given_by_name,
    an_export_has_all_devices_in_order_and_goes_on_behind_any,
    two_imports_of_the_same_devices_make_each_once,
    options_that_contradict_each_other_are_refused,
);

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

async fn new_devices_are_created_with_all_that_they_have(registry: Registry) {
    let tag = registry.tag("red").await.unwrap();
    let site = registry.site("here").await.unwrap().id;
    let whole = |i: u32| Device {
        external_id: format!("e{i}"),
        code: format!("code-{i}"),
        description: "what it is".to_owned(),
        tag_ids: vec![tag.clone()],
        labels: [
            ("a".to_owned(), i.to_string()),
            ("b".to_owned(), "2".to_owned()),
        ]
        .into(),
        site_id: site.clone(),
        location: Some(Location {
            latitude: Some(1.0),
            ..Default::default()
        }),
        ..serial(&format!("s{i}"))
    };
    // More than are written in one transaction, or in one statement.
    let devices: Vec<_> = (0..1203).map(whole).collect();
    let (rows, summary) = import(&registry, by(MatchBy::Unspecified), devices.clone()).await;
    assert!(outcomes(&rows).iter().all(|outcome| *outcome == Created));
    assert_eq!((summary.created_count, summary.next_index), (1203, 1203));
    assert!(summary.kept);
    for at in [0, 499, 500, 1202] {
        let device = registry.get(&rows[at].device_id).await.unwrap();
        let made = &devices[at];
        assert_eq!(device.labels, made.labels);
        assert_eq!(device.tag_ids, made.tag_ids);
        assert_eq!(device.location, made.location);
        assert_eq!(device.serial_number, made.serial_number);
        assert_eq!(device.etag, "1");
    }
    let labelled = ListDevicesRequest {
        filter: "labels.a = \"700\"".to_owned(),
        ..Default::default()
    };
    assert_eq!(registry.names(labelled).await, ["pump s700"]);
}

async fn each_device_is_refused_by_itself_with_all_that_is_wrong(registry: Registry) {
    let there = registry.create(serial("there")).await.unwrap();
    let nobody = Uuid::from_u128(99).to_string();
    let devices = vec![
        serial("a"),
        Device {
            display_name: String::new(),
            code: "no code".to_owned(),
            tag_ids: vec![nobody.clone()],
            ..serial("b")
        },
        serial("there"),
        Device {
            id: there.id.clone(),
            ..serial("c")
        },
        Device {
            site_id: nobody.clone(),
            ..serial("d")
        },
        Device {
            id: nobody,
            ..serial("e")
        },
        Device {
            state: device::State::Decommissioned.into(),
            ..serial("f")
        },
    ];
    let (rows, summary) = import(&registry, by(MatchBy::Unspecified), devices).await;
    let want = [
        Created, Refused, Refused, Refused, Refused, Created, Refused,
    ];
    assert_eq!(outcomes(&rows), want);
    for field in ["device.display_name", "device.code", "device.tag_ids[0]"] {
        assert!(why(&rows[1]).contains(field), "{}", why(&rows[1]));
    }
    let violations = rows[1].error.as_ref().unwrap();
    assert_eq!(violations.code, Code::InvalidArgument as i32);
    assert_eq!(violations.details.len(), 2, "a reason, and the fields");
    assert_eq!(
        why(&rows[2]),
        "device.serial_number is taken by another one"
    );
    assert_eq!(why(&rows[3]), "device.id is taken by another one");
    assert!(why(&rows[4]).contains("device.site_id"));
    assert!(why(&rows[6]).contains("device.state"));
    assert_eq!((summary.created_count, summary.refused_count), (2, 5));
    assert!(summary.kept);
    assert_eq!(count(&registry).await, 3);
}

async fn a_device_that_there_is_is_changed_by_what_matches(registry: Registry) {
    for (key, match_by) in [
        ("s", MatchBy::SerialNumber),
        ("e", MatchBy::ExternalId),
        ("i", MatchBy::Id),
    ] {
        let made = Device {
            external_id: format!("ext {key}"),
            labels: [("old".to_owned(), "1".to_owned())].into(),
            ..serial(&format!("serial {key}"))
        };
        let made = registry.create(made).await.unwrap();
        let named = |name: &str| Device {
            display_name: name.to_owned(),
            serial_number: made.serial_number.clone(),
            external_id: made.external_id.clone(),
            id: made.id.clone(),
            ..Default::default()
        };
        let (rows, _) = import(&registry, by(match_by), vec![named("new")]).await;
        assert_eq!(outcomes(&rows), [Updated]);
        assert_eq!(rows[0].device_id, made.id);
        let (rows, _) = import(&registry, by(match_by), vec![named("new")]).await;
        assert_eq!(outcomes(&rows), [Unchanged]);
        let device = registry.get(&made.id).await.unwrap();
        assert_eq!(
            (device.display_name.as_str(), device.etag.as_str()),
            ("new", "2")
        );
        assert_eq!(device.labels, made.labels);
        // Only what the mask names, also where that is nothing.
        let masked = ImportDevicesRequest {
            update_mask: Some(FieldMask {
                paths: vec!["labels".to_owned()],
            }),
            ..by(match_by)
        };
        let (rows, _) = import(&registry, masked, vec![named("ignored")]).await;
        assert_eq!(outcomes(&rows), [Updated]);
        let device = registry.get(&made.id).await.unwrap();
        assert_eq!(device.display_name, "new");
        assert!(device.labels.is_empty());
        // What somebody else has changed since.
        let stale = Device {
            etag: made.etag.clone(),
            ..named("stale")
        };
        let (rows, _) = import(&registry, by(match_by), vec![stale]).await;
        assert_eq!(outcomes(&rows), [Refused]);
    }
    let (rows, _) = import(&registry, by(MatchBy::ExternalId), vec![serial("no other")]).await;
    assert!(why(&rows[0]).contains("device.external_id"));
}

async fn what_is_twice_in_an_import_is_refused_the_second_time(registry: Registry) {
    for match_by in [MatchBy::Unspecified, MatchBy::SerialNumber] {
        let mut devices: Vec<_> = (0..600)
            .map(|i| serial(&format!("{match_by:?}{i}")))
            .collect();
        devices.insert(5, serial(&format!("{match_by:?}3")));
        devices.push(serial(&format!("{match_by:?}3")));
        let (rows, summary) = import(&registry, by(match_by), devices).await;
        assert_eq!((summary.created_count, summary.refused_count), (600, 2));
        assert_eq!(rows[5].outcome(), Refused);
        assert_eq!(rows[601].outcome(), Refused);
    }
}

async fn all_or_none_keeps_none_if_one_is_refused(registry: Registry) {
    let atomic = ImportDevicesRequest {
        atomic: true,
        ..by(MatchBy::SerialNumber)
    };
    let mut devices: Vec<_> = (0..700).map(|i| serial(&format!("s{i}"))).collect();
    devices[650].display_name.clear();
    let (rows, summary) = import(&registry, atomic.clone(), devices.clone()).await;
    assert_eq!((rows[0].outcome(), rows[650].outcome()), (NotDone, Refused));
    assert_eq!((summary.not_done_count, summary.refused_count), (699, 1));
    assert!(!summary.kept);
    assert_eq!(count(&registry).await, 0);
    devices[650].display_name = "right".to_owned();
    let (_, summary) = import(&registry, atomic.clone(), devices).await;
    assert_eq!(summary.created_count, 700);
    assert!(summary.kept);
    assert_eq!(count(&registry).await, 700);
    let many = (0..10_001).map(|i| serial(&format!("m{i}"))).collect();
    let refused = events(&registry, atomic, many).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(count(&registry).await, 700);
}

async fn what_is_only_validated_leaves_no_trace(registry: Registry) {
    limit(&registry, 602).await;
    let there = registry.create(serial("there")).await.unwrap();
    let dry = ImportDevicesRequest {
        validate_only: true,
        ..by(MatchBy::SerialNumber)
    };
    let mut devices: Vec<_> = (0..600).map(|i| serial(&format!("s{i}"))).collect();
    devices.push(Device {
        description: "other".to_owned(),
        ..serial("there")
    });
    devices.extend([serial("s1"), serial("last"), serial("too many")]);
    let (rows, summary) = import(&registry, dry, devices).await;
    assert_eq!((summary.created_count, summary.updated_count), (601, 1));
    assert_eq!(outcomes(&rows[601..]), [Refused, Created, Refused]);
    assert!(why(&rows[603]).contains("602 devices"));
    assert!(!summary.kept);
    assert_eq!(count(&registry).await, 1);
    assert_eq!(registry.get(&there.id).await.unwrap(), there);
}

async fn an_import_goes_on_where_it_was_left_and_does_nothing_twice(registry: Registry) {
    let options = ImportDevicesRequest {
        import_id: Uuid::from_u128(7).to_string(),
        ..by(MatchBy::Unspecified)
    };
    let mut devices: Vec<_> = (0..600).map(|i| serial(&format!("s{i}"))).collect();
    // The last one is refused; that is done, too.
    devices.push(Device::default());
    let (_, summary) = import(&registry, options.clone(), devices.clone()).await;
    assert_eq!((summary.created_count, summary.refused_count), (600, 1));
    // All of it again, and more.
    devices.push(serial("more"));
    let (rows, summary) = import(&registry, options.clone(), devices.clone()).await;
    assert_eq!(summary.done_before_count, 601);
    assert_eq!(outcomes(&rows[599..]), [DoneBefore, DoneBefore, Created]);
    let Some(Event::Begun(begun)) = events(&registry, options.clone(), devices)
        .await
        .unwrap()
        .into_iter()
        .next()
    else {
        panic!("it begins");
    };
    assert_eq!(begun.next_index, 602);
    // From where it was left.
    let on = ImportDevicesRequest {
        first_index: 602,
        ..options.clone()
    };
    let (rows, _) = import(&registry, on, vec![serial("next")]).await;
    assert_eq!(outcomes(&rows), [Created]);
    let far = ImportDevicesRequest {
        first_index: 1000,
        ..options.clone()
    };
    let refused = events(&registry, far, vec![serial("far")])
        .await
        .unwrap_err();
    assert!(refused.message().contains("603"), "{refused}");
    assert_eq!(count(&registry).await, 602);
    // Another tenant's import of the same id is another one.
    let registry = registry.for_another_tenant();
    let (rows, _) = import(&registry, options, vec![serial("s1")]).await;
    assert_eq!(outcomes(&rows), [Created]);
}

async fn a_limit_is_filled_and_not_passed(registry: Registry) {
    limit(&registry, 700).await;
    let devices: Vec<_> = (0..2000).map(|i| serial(&format!("s{i}"))).collect();
    let (rows, summary) = import(&registry, by(MatchBy::SerialNumber), devices.clone()).await;
    assert_eq!((summary.created_count, summary.refused_count), (700, 1300));
    assert_eq!(
        (rows[699].outcome(), rows[700].outcome()),
        (Created, Refused)
    );
    let error = rows[700].error.as_ref().unwrap();
    assert_eq!(error.code, Code::ResourceExhausted as i32);
    // What there is can still be changed.
    let (_, summary) = import(&registry, by(MatchBy::SerialNumber), devices).await;
    assert_eq!(
        (summary.unchanged_count, summary.refused_count),
        (700, 1300)
    );
}

async fn tags_may_be_given_by_name(registry: Registry) {
    let red = registry.tag("red").await.unwrap();
    let blue = registry.tag("blue").await.unwrap();
    let options = ImportDevicesRequest {
        tags_by_name: true,
        ..by(MatchBy::SerialNumber)
    };
    let tagged = |name: &str, tags: &[&str]| Device {
        tag_ids: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        ..serial(name)
    };
    let devices = vec![
        tagged("a", &["blue", "red"]),
        tagged("b", &["green", "red"]),
    ];
    let (rows, _) = import(&registry, options.clone(), devices).await;
    assert_eq!(outcomes(&rows), [Created, Refused]);
    assert!(
        why(&rows[1]).contains("device.tag_ids[0]"),
        "{}",
        why(&rows[1])
    );
    let device = registry.get(&rows[0].device_id).await.unwrap();
    assert_eq!(device.tag_ids, [blue, red.clone()]);
    let (rows, _) = import(&registry, options, vec![tagged("a", &["red"])]).await;
    assert_eq!(outcomes(&rows), [Updated]);
    assert_eq!(
        registry.get(&rows[0].device_id).await.unwrap().tag_ids,
        [red]
    );
}

async fn an_export_has_all_devices_in_order_and_goes_on_behind_any(registry: Registry) {
    let devices: Vec<_> = (0..1100)
        .map(|i| Device {
            labels: [("odd".to_owned(), (i % 2).to_string())].into(),
            ..serial(&format!("s{i:04}"))
        })
        .collect();
    import(&registry, by(MatchBy::Unspecified), devices).await;
    let all = export(&registry, ExportDevicesRequest::default()).await;
    assert_eq!(all.len(), 1100);
    assert!(all.is_sorted_by_key(|device| device.number));
    assert_eq!(all[3], registry.get(&all[3].id).await.unwrap());
    let request = ExportDevicesRequest {
        after_number: all[700].number,
        filter: "labels.odd = \"1\" OR serial_number = \"s0001\"".to_owned(),
        read_mask: Some(FieldMask {
            paths: vec!["serial_number".to_owned()],
        }),
        ..Default::default()
    };
    let some = export(&registry, request).await;
    assert_eq!(some.len(), 200);
    assert_eq!(some[0].serial_number, "s0701");
    assert_eq!(some[0].display_name, "");
    let wrong = registry.request(ExportDevicesRequest {
        filter: "nope = 1".to_owned(),
        ..Default::default()
    });
    let mut client = DeviceTransferServiceClient::new(registry.peer());
    let refused = client.export_devices(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let registry = registry.for_another_tenant();
    assert!(
        export(&registry, ExportDevicesRequest::default())
            .await
            .is_empty()
    );
}

async fn two_imports_of_the_same_devices_make_each_once(registry: Registry) {
    let devices: Vec<_> = (0..1500).map(|i| serial(&format!("s{i}"))).collect();
    let one = import(&registry, by(MatchBy::Unspecified), devices.clone());
    let other = import(&registry, by(MatchBy::Unspecified), devices);
    let ((_, one), (_, other)) = tokio::join!(one, other);
    assert_eq!(one.created_count + other.created_count, 1500);
    assert_eq!(one.refused_count + other.refused_count, 1500);
    assert_eq!(count(&registry).await, 1500);
}

async fn options_that_contradict_each_other_are_refused(registry: Registry) {
    let id = Uuid::from_u128(1).to_string();
    for (options, field) in [
        (
            ImportDevicesRequest {
                import_id: id.clone(),
                atomic: true,
                ..Default::default()
            },
            "import_id",
        ),
        (
            ImportDevicesRequest {
                update_mask: Some(FieldMask {
                    paths: vec!["nope".to_owned()],
                }),
                ..Default::default()
            },
            "update_mask",
        ),
        (
            ImportDevicesRequest {
                import_id: "no id".to_owned(),
                ..Default::default()
            },
            "[0].import_id",
        ),
    ] {
        let refused = events(&registry, options, vec![serial("x")])
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{refused}");
    }
    assert_eq!(count(&registry).await, 0);
    let (_, summary) = import(&registry, ImportDevicesRequest::default(), Vec::new()).await;
    assert_eq!(summary.next_index, 0);
}
