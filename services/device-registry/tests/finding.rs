//! What filters find, compared with a plain look at every device: random
//! devices, random filters, both databases.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod harness;

use std::collections::{HashMap, HashSet};

use harness::Registry;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use proto::registry::device::State;
use proto::registry::*;
use tonic::Code;
use tonic_types::StatusExt;

on_both_databases!(
    a_filter_finds_what_a_look_at_every_device_finds,
    every_order_gives_each_device_once_on_pages_of_any_size,
    a_page_token_is_for_its_own_list_only,
    what_is_wrong_with_a_filter_is_told_with_its_place,
    a_text_alone_finds_what_begins_so,
);

/// Names that are alike at their beginning, empty, or hard to write.
const TEXTS: [&str; 7] = [
    "",
    "pump",
    "pump-1",
    "pumq",
    "PUMP",
    "p\"u*m\\p",
    "\u{e9}\u{10ffff}",
];
const KEYS: [&str; 3] = ["region", "a.b", "x y"];
const TAGS: [&str; 2] = ["retired", "north wing"];

/// A filter, and what it means.
#[derive(Clone, Debug)]
enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Name(&'static str, &'static str, bool),
    NamePrefix(&'static str, &'static str),
    Label(&'static str, &'static str, bool),
    LabelPrefix(&'static str, &'static str),
    HasLabel(&'static str),
    HasTag(&'static str),
    AnyTag,
    State(i32),
    Attribute(&'static str, i32),
    AttributeText(&'static str),
    Latitude(&'static str, i32),
    Seen,
    Number(&'static str, i64),
}

fn quoted(text: &str) -> String {
    let text = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('*', "\\*");
    format!("\"{text}\"")
}

impl Filter {
    fn text(&self) -> String {
        let join = |filters: &[Self], word: &str| {
            let texts: Vec<_> = filters.iter().map(|f| format!("({})", f.text())).collect();
            texts.join(word)
        };
        let open = |text: &str| {
            let text = quoted(text);
            format!("{}*\"", &text[..text.len() - 1])
        };
        let is = |equal: &bool| if *equal { "=" } else { "!=" };
        match self {
            Self::All(filters) => join(filters, " AND "),
            Self::Any(filters) => join(filters, " OR "),
            Self::Not(filter) => format!("NOT ({})", filter.text()),
            Self::Name(field, text, equal) => format!("{field} {} {}", is(equal), quoted(text)),
            Self::NamePrefix(field, text) => format!("{field} = {}", open(text)),
            Self::Label(key, text, equal) => {
                format!("labels.{} {} {}", quoted(key), is(equal), quoted(text))
            }
            Self::LabelPrefix(key, text) => format!("labels.{} = {}", quoted(key), open(text)),
            Self::HasLabel(key) => format!("labels:{}", quoted(key)),
            Self::HasTag(tag) => format!("tags:{}", quoted(tag)),
            Self::AnyTag => "tags:*".to_owned(),
            Self::State(state) => {
                format!("state = {}", State::try_from(*state).unwrap().as_str_name())
            }
            Self::Attribute(op, number) => format!("attributes.n {op} {number}"),
            Self::AttributeText(text) => format!("attributes.t = {}", quoted(text)),
            Self::Latitude(op, number) => format!("location.latitude {op} {number}"),
            Self::Seen => "last_seen_time:*".to_owned(),
            Self::Number(op, number) => format!("number {op} {number}"),
        }
    }

    fn is_true(&self, device: &Device, tags: &HashMap<String, &str>) -> bool {
        let name = |field: &str| match field {
            "display_name" => device.display_name.as_str(),
            "external_id" => device.external_id.as_str(),
            "description" => device.description.as_str(),
            _ => device.serial_number.as_str(),
        };
        let label = |key: &str| device.labels.get(key).map(String::as_str);
        match self {
            Self::All(filters) => filters.iter().all(|f| f.is_true(device, tags)),
            Self::Any(filters) => filters.iter().any(|f| f.is_true(device, tags)),
            Self::Not(filter) => !filter.is_true(device, tags),
            Self::Name(field, text, equal) => (name(field) == *text) == *equal,
            // Only `*` in quotes asks whether there is anything at all.
            Self::NamePrefix(field, "") => !name(field).is_empty(),
            Self::NamePrefix(field, text) => name(field).starts_with(text),
            Self::Label(key, text, equal) => (label(key) == Some(text)) == *equal,
            Self::LabelPrefix(key, text) => label(key).is_some_and(|l| l.starts_with(text)),
            Self::HasLabel(key) => label(key).is_some(),
            Self::HasTag(tag) => device.tag_ids.iter().any(|id| tags[id] == *tag),
            Self::AnyTag => !device.tag_ids.is_empty(),
            Self::State(state) => device.state == *state,
            Self::Attribute(op, number) => match attribute(device, "n") {
                Some(Kind::NumberValue(found)) => compare(found, op, f64::from(*number)),
                _ => *op == "!=",
            },
            Self::AttributeText(text) => {
                attribute(device, "t") == Some(Kind::StringValue((*text).to_owned()))
            }
            Self::Latitude(op, number) => {
                let latitude = device.location.as_ref().and_then(|l| l.latitude);
                // What is nowhere is not at 0.
                latitude.map_or(*op == "!=", |found| compare(found, op, f64::from(*number)))
            }
            Self::Seen => device.last_seen_time.is_some(),
            Self::Number(op, number) => compare(device.number, op, *number),
        }
    }
}

fn attribute(device: &Device, name: &str) -> Option<Kind> {
    device.attributes.as_ref()?.fields.get(name)?.kind.clone()
}

fn compare<T: PartialOrd>(found: T, op: &str, wanted: T) -> bool {
    match op {
        "<" => found < wanted,
        "<=" => found <= wanted,
        ">" => found > wanted,
        ">=" => found >= wanted,
        "!=" => found != wanted,
        _ => found == wanted,
    }
}

fn filters() -> impl Strategy<Value = Filter> {
    let text = || proptest::sample::select(&TEXTS[..]);
    let key = || proptest::sample::select(&KEYS[..]);
    let op = || proptest::sample::select(&["=", "!=", "<", "<=", ">", ">="][..]);
    let names = &[
        "display_name",
        "serial_number",
        "external_id",
        "description",
    ][..];
    let name = || proptest::sample::select(names);
    let leaf = prop_oneof![
        (name(), text(), any::<bool>()).prop_map(|(n, t, e)| Filter::Name(n, t, e)),
        (name(), text()).prop_map(|(n, t)| Filter::NamePrefix(n, t)),
        (key(), text(), any::<bool>()).prop_map(|(k, t, e)| Filter::Label(k, t, e)),
        (key(), text()).prop_map(|(k, t)| Filter::LabelPrefix(k, t)),
        key().prop_map(Filter::HasLabel),
        proptest::sample::select(&TAGS[..]).prop_map(Filter::HasTag),
        Just(Filter::AnyTag),
        (1..4).prop_map(Filter::State),
        (op(), -1..3).prop_map(|(o, n)| Filter::Attribute(o, n)),
        text().prop_map(Filter::AttributeText),
        (op(), -1..2).prop_map(|(o, n)| Filter::Latitude(o, n)),
        Just(Filter::Seen),
        (op(), 1_i64..40).prop_map(|(o, n)| Filter::Number(o, n)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Filter::All),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(Filter::Any),
            inner.prop_map(|f| Filter::Not(Box::new(f))),
        ]
    })
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

fn devices(tags: Vec<String>) -> impl Strategy<Value = Device> {
    let text = || proptest::sample::select(&TEXTS[..]);
    let some = |n| proptest::option::of(0..n);
    let label = (proptest::sample::select(&KEYS[..]), text());
    let labels = proptest::collection::hash_map(label.0, label.1, 0..3);
    let tags = proptest::sample::subsequence(tags, 0..=2);
    let marks = (labels, tags, 1..4_i32);
    (
        (text(), text(), text()),
        marks,
        (some(3_i32), text(), some(2_i32)),
    )
        .prop_map(
            |((name, id, description), (labels, tag_ids, state), (number, text, latitude))| {
                let labels = labels.into_iter();
                let mut fields = std::collections::BTreeMap::new();
                if let Some(number) = number {
                    fields.insert("n".to_owned(), value(Kind::NumberValue(number.into())));
                    fields.insert("t".to_owned(), value(Kind::StringValue(text.to_owned())));
                }
                Device {
                    display_name: if name.is_empty() { "x" } else { name }.to_owned(),
                    external_id: id.to_owned(),
                    description: description.to_owned(),
                    labels: labels.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
                    attributes: Some(Struct { fields }),
                    location: latitude.map(|latitude| Location {
                        latitude: Some(latitude.into()),
                        ..Default::default()
                    }),
                    tag_ids,
                    state,
                    ..Default::default()
                }
            },
        )
}

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
