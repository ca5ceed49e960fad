//! What filters find, compared with a plain look at every device: random
//! devices, random filters, both databases.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;
mod random;

use std::collections::{HashMap, HashSet};

use harness::Registry;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use proto::registry::device_transfer_service_client::DeviceTransferServiceClient;
use proto::registry::*;
use random::{TAGS, devices, filters};
use tonic::Code;
use tonic_types::StatusExt;

on_both_databases!(
    a_filter_finds_what_a_look_at_every_device_finds,
    every_order_gives_each_device_once_on_pages_of_any_size,
    a_page_token_is_for_its_own_list_only,
    what_is_wrong_with_a_filter_is_told_with_its_place,
    a_text_alone_finds_what_begins_so,
    what_most_devices_have_is_found_in_every_order,
);

/// A tenant with some random devices, and the names of its tags.
async fn populated(
    registry: &Registry,
    count: usize,
) -> (Vec<Device>, HashMap<String, &'static str>) {
    let mut tags = HashMap::new();
    for name in TAGS {
        tags.insert(registry.tag(name).await.unwrap(), name);
    }
    let mut runner = TestRunner::deterministic();
    let strategy = devices(tags.keys().cloned().collect());
    let (mut made, mut ids) = (Vec::new(), HashSet::new());
    for index in 0..count {
        let mut device = strategy.new_tree(&mut runner).unwrap().current();
        if !ids.insert(device.external_id.clone()) {
            device.external_id = String::new();
        }
        if index % 3 > 0 {
            device.serial_number = format!("pump-{index}");
        }
        made.push(registry.create(device).await.unwrap());
    }
    (made, tags)
}

/// All that a list finds, page by page.
async fn all(registry: &Registry, request: &ListDevicesRequest) -> Vec<Device> {
    let (mut found, mut request) = (Vec::new(), request.clone());
    loop {
        let page = registry.list(request.clone()).await.unwrap();
        assert!(page.devices.len() <= 1000);
        found.extend(page.devices);
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

fn ids(devices: &[Device]) -> Vec<&str> {
    devices.iter().map(|device| device.id.as_str()).collect()
}

async fn a_filter_finds_what_a_look_at_every_device_finds(registry: Registry) {
    let (devices, tags) = populated(&registry, 40).await;
    let mut runner = TestRunner::deterministic();
    let filters = filters();
    let mut somewhere = 0;
    for round in 0..400 {
        let filter = filters.new_tree(&mut runner).unwrap().current();
        let request = ListDevicesRequest {
            filter: filter.text(),
            page_size: [3, 1000][round % 2],
            ..Default::default()
        };
        let found = all(&registry, &request).await;
        let fits = |device: &&Device| filter.is_true(device, &tags);
        let wanted: Vec<_> = devices.iter().filter(fits).cloned().collect();
        assert_eq!(ids(&found), ids(&wanted), "{}", request.filter);
        somewhere += usize::from(!wanted.is_empty() && wanted.len() < devices.len());
        let counted = ListDevicesRequest {
            count_total: true,
            page_size: 1,
            ..request.clone()
        };
        match registry.list(counted).await {
            Ok(page) => assert_eq!(page.total_size, wanted.len() as i64, "{}", request.filter),
            Err(refused) => {
                let scanned = ["attributes", "location", "description"];
                assert!(
                    scanned.iter().any(|s| request.filter.contains(s)),
                    "{refused}"
                );
            }
        }
    }
    assert!(
        somewhere > 100,
        "only {somewhere} filters told devices apart"
    );
}

async fn every_order_gives_each_device_once_on_pages_of_any_size(registry: Registry) {
    let (devices, _) = populated(&registry, 20).await;
    type Key = fn(&Device) -> (String, i64);
    let orders: [(&str, Key); 4] = [
        ("number", |d| (String::new(), d.number)),
        ("display_name", |d| (d.display_name.clone(), d.number)),
        ("serial_number", |d| (d.serial_number.clone(), d.number)),
        ("state", |d| (d.state.to_string(), d.number)),
    ];
    for (order, key) in orders {
        let mut wanted = devices.clone();
        wanted.sort_by_key(key);
        for page_size in [1, 3, 20, 21] {
            let request = ListDevicesRequest {
                order_by: order.to_owned(),
                page_size,
                ..Default::default()
            };
            assert_eq!(
                ids(&all(&registry, &request).await),
                ids(&wanted),
                "{order} {page_size}"
            );
            let turned = ListDevicesRequest {
                order_by: format!("{order} desc"),
                ..request
            };
            let mut found = all(&registry, &turned).await;
            found.reverse();
            assert_eq!(ids(&found), ids(&wanted), "{order} desc {page_size}");
        }
    }
    for order_by in ["id", "number up", "display_name, number"] {
        let request = ListDevicesRequest {
            order_by: order_by.to_owned(),
            ..Default::default()
        };
        let refused = registry.list(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{order_by}");
    }
}

/// So many of one kind that they are found by looking at one device after another.
const MANY: usize = 2_300;

async fn what_most_devices_have_is_found_in_every_order(registry: Registry) {
    let tag = registry.tag("common").await.unwrap();
    let wanted = (0..2 * MANY).map(|n| {
        let has = n % 2 == 1;
        let labels = has.then(|| ("kind".to_owned(), format!("pump-{}", n % 3)));
        ImportDevicesRequest {
            device: Some(Device {
                display_name: format!("{:04}", 9999 - n),
                labels: labels.into_iter().collect(),
                tag_ids: has.then(|| tag.clone()).into_iter().collect(),
                ..Default::default()
            }),
            ..Default::default()
        }
    });
    let request = registry.request(tokio_stream::iter(wanted.collect::<Vec<_>>()));
    let mut client = DeviceTransferServiceClient::new(registry.peer());
    let mut told = client.import_devices(request).await.unwrap().into_inner();
    while told.message().await.unwrap().is_some() {}
    let devices = all(&registry, &ListDevicesRequest::default()).await;
    assert_eq!(devices.len(), 2 * MANY);
    type Fits = fn(&Device) -> bool;
    let filters: [(&str, Fits); 6] = [
        ("labels:kind", |d| !d.labels.is_empty()),
        ("labels.kind = \"pump-*\"", |d| !d.labels.is_empty()),
        ("tags:common", |d| !d.tag_ids.is_empty()),
        ("NOT tags:common", |d| d.tag_ids.is_empty()),
        ("tags:common AND labels.kind = \"pump-1\"", |d| {
            d.labels.get("kind").is_some_and(|kind| kind == "pump-1")
        }),
        ("labels:kind OR display_name = \"9999\"", |d| {
            !d.labels.is_empty() || d.display_name == "9999"
        }),
    ];
    for (filter, fits) in filters {
        let mut wanted: Vec<_> = devices.iter().filter(|d| fits(d)).cloned().collect();
        for order_by in ["", "display_name"] {
            let request = ListDevicesRequest {
                filter: filter.to_owned(),
                order_by: order_by.to_owned(),
                page_size: 1000,
                ..Default::default()
            };
            let found = all(&registry, &request).await;
            assert_eq!(ids(&found), ids(&wanted), "{filter}, {order_by}");
            // Made from the last name to the first.
            wanted.reverse();
        }
    }
}

async fn a_page_token_is_for_its_own_list_only(registry: Registry) {
    populated(&registry, 5).await;
    let first = ListDevicesRequest {
        page_size: 2,
        filter: "number > 0".to_owned(),
        ..Default::default()
    };
    let token = registry.list(first.clone()).await.unwrap().next_page_token;
    let next = ListDevicesRequest {
        page_token: token.clone(),
        // How much of it, and what of each device, may change from page to page.
        page_size: 3,
        ..first.clone()
    };
    assert_eq!(registry.list(next.clone()).await.unwrap().devices.len(), 3);
    let mut forged = token.clone().into_bytes();
    forged[5] ^= 1;
    let others = [
        ListDevicesRequest {
            filter: "number > 1".to_owned(),
            ..next.clone()
        },
        ListDevicesRequest {
            order_by: "number desc".to_owned(),
            ..next.clone()
        },
        ListDevicesRequest {
            show_deleted: true,
            ..next.clone()
        },
        ListDevicesRequest {
            page_token: String::from_utf8(forged).unwrap(),
            ..next.clone()
        },
    ];
    for other in others {
        let refused = registry.list(other).await.unwrap_err();
        let details = refused.get_error_details();
        assert_eq!(
            details.bad_request().unwrap().field_violations[0].field,
            "page_token"
        );
    }
    let refused = registry.for_another_tenant().list(next).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

async fn what_is_wrong_with_a_filter_is_told_with_its_place(registry: Registry) {
    for (filter, wanted) in [
        (
            "colour = 1",
            vec!["there is no field `colour`; there are id, number"],
        ),
        (
            "number = x",
            vec!["a whole number was expected at offset 9"],
        ),
        (
            "number = 1 AND (state = GONE OR id = 7)",
            vec!["one of STATE_ACTIVE", "a UUID was expected at offset 37"],
        ),
        ("update_time > yesterday", vec!["a time was expected"]),
        ("tags = \"a\"", vec!["use `:`"]),
        ("labels = \"a\"", vec!["name a key"]),
        ("display_name < \"a\"", vec!["compared by = and != only"]),
        ("display_name = ", vec!["a value must follow"]),
    ] {
        let request = ListDevicesRequest {
            filter: filter.to_owned(),
            ..Default::default()
        };
        let refused = registry.list(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let details = refused.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations.len(), wanted.len(), "{filter}: {violations:?}");
        for (violation, wanted) in violations.iter().zip(wanted) {
            assert_eq!(violation.field, "filter");
            assert!(
                violation.description.contains(wanted),
                "{filter}: {violation:?}"
            );
        }
    }
}

async fn a_text_alone_finds_what_begins_so(registry: Registry) {
    for (name, serial) in [("pump", "21"), ("valve", "pump-7"), ("old pump", "22")] {
        let device = Device {
            display_name: name.to_owned(),
            serial_number: serial.to_owned(),
            ..Default::default()
        };
        registry.create(device).await.unwrap();
    }
    let named = |filter: &str| ListDevicesRequest {
        filter: filter.to_owned(),
        ..Default::default()
    };
    assert_eq!(registry.names(named("pump")).await, ["pump", "valve"]);
    assert_eq!(registry.names(named("NOT pump")).await, ["old pump"]);
    assert_eq!(registry.names(named("pump 21")).await, ["pump"]);
    assert!(registry.names(named("\"\"")).await.len() == 3);
}
