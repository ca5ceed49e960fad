//! What becomes of all of an import, and of an export.

use super::*;

crate::on_both_databases!(
    all_or_none_keeps_none_if_one_is_refused,
    what_is_only_validated_leaves_no_trace,
    an_import_goes_on_where_it_was_left_and_does_nothing_twice,
    a_limit_is_filled_and_not_passed,
    an_export_has_all_devices_in_order_and_goes_on_behind_any,
    two_imports_of_the_same_devices_make_each_once,
    options_that_contradict_each_other_are_refused,
);

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
