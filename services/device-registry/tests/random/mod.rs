//! Random devices, random filters, and what a filter means: worked out from the
//! devices as the contract shows them, by nothing of the service's own.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashMap;

use proptest::prelude::*;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use proto::registry::device::State;
use proto::registry::{Device, Location};

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
pub const TAGS: [&str; 2] = ["retired", "north wing"];

/// A filter, and what it means.
#[derive(Clone, Debug)]
pub enum Filter {
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
    pub fn text(&self) -> String {
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

    pub fn is_true(&self, device: &Device, tags: &HashMap<String, &str>) -> bool {
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

pub fn filters() -> impl Strategy<Value = Filter> {
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

pub fn devices(tags: Vec<String>) -> impl Strategy<Value = Device> {
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
