//! The ways in which a list of devices is asked for.

use proto::registry::ListDevicesRequest;

/// The shapes of lists: what is asked for, and in which order.
pub(super) fn shapes() -> Vec<ListDevicesRequest> {
    let mut shapes = Vec::new();
    for filter in [
        "",
        "number = 77",
        "number > 50000",
        "id = \"00000000-0000-0000-0000-00000000004d\"",
        "display_name = \"Pump 77\"",
        "display_name = \"Pump 77*\"",
        "display_name = \"nothing*\"",
        "serial_number = \"SN-77\"",
        "serial_number = \"SN-77*\"",
        "external_id = \"EX-77\"",
        "external_id = \"EX-77*\"",
        "code = \"c-77\"",
        "code = \"c-77*\"",
        "SN-7712",
        "labels.region = \"eu\"",
        "labels.rack = \"r77\"",
        "labels.rack = \"r7*\"",
        "labels.nothing = \"x\"",
        "labels:rack",
        "tags:rare",
        "tags:common",
        "tags:nothing",
        "tags:rare OR labels.rack = \"r77\"",
        "(tags:rare OR tags:nothing) OR labels.rack = \"r77\"",
        "tag_ids:\"00000000-0000-0000-0001-000000000002\"",
        "site_id = \"00000000-0000-0000-0002-000000000002\"",
        "state = DISABLED",
        "state = ACTIVE",
        "last_seen_time:*",
        "last_seen_time > \"2025-01-01T00:00:00Z\"",
        "create_time > \"2025-12-31T00:00:00Z\"",
        "update_time > \"2025-12-31T00:00:00Z\"",
        "update_time < \"2000-01-01T00:00:00Z\"",
        "labels.region = \"eu\" AND NOT tags:rare AND update_time > \"2025-12-31T00:00:00Z\"",
        "serial_number = \"SN-77*\" OR labels.rack = \"r77\"",
    ] {
        shapes.push(ListDevicesRequest {
            filter: filter.to_owned(),
            ..Default::default()
        });
    }
    for order in [
        "number",
        "create_time",
        "update_time",
        "last_seen_time",
        "display_name",
        "serial_number",
        "external_id",
        "state",
    ] {
        for order_by in [order.to_owned(), format!("{order} desc")] {
            shapes.push(ListDevicesRequest {
                order_by,
                ..Default::default()
            });
        }
    }
    shapes.push(ListDevicesRequest {
        order_by: "update_time desc".to_owned(),
        filter: "serial_number = \"SN-77*\"".to_owned(),
        ..Default::default()
    });
    for shape in [
        ListDevicesRequest {
            display_name: "Pump 77".to_owned(),
            ..Default::default()
        },
        ListDevicesRequest {
            serial_number: "SN-77".to_owned(),
            ..Default::default()
        },
        ListDevicesRequest {
            site_id: "00000000-0000-0000-0002-000000000002".to_owned(),
            ..Default::default()
        },
        ListDevicesRequest {
            tag_ids: vec![
                "00000000-0000-0000-0001-000000000001".to_owned(),
                "00000000-0000-0000-0001-000000000002".to_owned(),
            ],
            ..Default::default()
        },
        ListDevicesRequest {
            tag_ids: vec![
                "00000000-0000-0000-0001-000000000002".to_owned(),
                "00000000-0000-0000-0001-000000000003".to_owned(),
            ],
            any_tag: true,
            ..Default::default()
        },
        ListDevicesRequest {
            after_id: "00000000-0000-0000-0000-00000000c350".to_owned(),
            ..Default::default()
        },
    ] {
        shapes.push(shape);
    }
    let deleted = shapes.clone().into_iter().map(|shape| ListDevicesRequest {
        show_deleted: true,
        ..shape
    });
    shapes.extend(deleted);
    shapes
}
