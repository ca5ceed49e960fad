//! What becomes of each device.

use super::*;

crate::on_both_databases!(
    new_devices_are_created_with_all_that_they_have,
    each_device_is_refused_by_itself_with_all_that_is_wrong,
    a_device_that_there_is_is_changed_by_what_matches,
    what_is_twice_in_an_import_is_refused_the_second_time,
    tags_may_be_given_by_name,
    a_name_that_no_database_keeps_is_refused_by_itself,
    a_tag_that_no_database_could_name_is_refused_by_itself,
);

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
        let id = registry.create(made).await.unwrap().id;
        let seen = RecordSightingsRequest {
            device: Some(record_sightings_request::Device::Id(id.clone())),
            seen_time: None,
        };
        let seen = registry.request(tokio_stream::iter([seen]));
        registry.devices().record_sightings(seen).await.unwrap();
        let made = registry.get(&id).await.unwrap();
        assert!(made.last_seen_time.is_some());
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
        // What no import says stays as it is.
        let made_of = |device: &Device| (device.number, device.create_time, device.last_seen_time);
        assert_eq!(made_of(&device), made_of(&made));
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

async fn a_name_that_no_database_keeps_is_refused_by_itself(registry: Registry) {
    for match_by in [
        MatchBy::Unspecified,
        MatchBy::SerialNumber,
        MatchBy::ExternalId,
    ] {
        let good = |i: u32| Device {
            external_id: format!("e {match_by:?}{i}"),
            ..serial(&format!("{match_by:?}{i}"))
        };
        let nul = || "a\0b".to_owned();
        let devices = vec![
            good(1),
            Device {
                serial_number: nul(),
                ..good(2)
            },
            Device {
                external_id: nul(),
                ..good(3)
            },
            Device {
                code: nul(),
                ..good(4)
            },
            good(5),
        ];
        let (rows, _) = import(&registry, by(match_by), devices).await;
        let want = [Created, Refused, Refused, Refused, Created];
        assert_eq!(outcomes(&rows), want);
        let fields = ["device.serial_number", "device.external_id", "device.code"];
        for (row, field) in rows[1..4].iter().zip(fields) {
            assert!(why(row).contains(field), "{}", why(row));
        }
    }
}

async fn a_tag_that_no_database_could_name_is_refused_by_itself(registry: Registry) {
    registry.tag("red").await.unwrap();
    let options = ImportDevicesRequest {
        tags_by_name: true,
        ..by(MatchBy::SerialNumber)
    };
    let tagged = |name: &str, tag: &str| Device {
        tag_ids: vec![tag.to_owned()],
        ..serial(name)
    };
    let devices = vec![tagged("a", "red"), tagged("b", "re\0d"), tagged("c", "red")];
    let (rows, _) = import(&registry, options, devices).await;
    assert_eq!(outcomes(&rows), [Created, Refused, Created]);
    let refused = why(&rows[1]);
    assert!(refused.contains("device.tag_ids[0]"), "{refused}");
}
