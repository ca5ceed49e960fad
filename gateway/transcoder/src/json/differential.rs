//! What is written and printed here is what prost-reflect writes and prints.

#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::decode::Decoder;
use super::encode::Encoder;
use crate::plan::Plans;
use crate::style::Style;

static PLANS: LazyLock<Plans> = LazyLock::new(|| {
    let mut compiler = protox::Compiler::new(["tests/proto", "proto", "../../proto"]).unwrap();
    compiler
        .include_imports(true)
        .open_file("library.proto")
        .unwrap();
    Plans::compile(DescriptorPool::decode(&compiler.encode_file_descriptor_set()[..]).unwrap())
});

const EVERYTHING: &str = "library.v1.Everything";

fn descriptor() -> MessageDescriptor {
    PLANS.pool().get_message_by_name(EVERYTHING).unwrap()
}

fn write(json: &str) -> Result<Vec<u8>, String> {
    let decoder = Decoder {
        plans: &PLANS,
        style: &Style::default(),
    };
    let mut out = Vec::new();
    match decoder.document(
        json.as_bytes(),
        64,
        PLANS.by_name(EVERYTHING).unwrap(),
        &mut out,
    ) {
        Ok(()) => Ok(out),
        Err(fault) => Err(format!("{} {}", fault.path(), fault.message)),
    }
}

fn print(wire: &[u8]) -> Result<String, String> {
    let style = Style::default();
    let mut encoder = Encoder::new(&PLANS, &style, Vec::new());
    match encoder.document(PLANS.by_name(EVERYTHING).unwrap(), wire) {
        Ok(()) => Ok(String::from_utf8(encoder.into_output()).unwrap()),
        Err(stop) => Err(format!("{stop:?}")),
    }
}

fn oracle(json: &Value) -> DynamicMessage {
    DynamicMessage::deserialize(descriptor(), json.clone()).unwrap()
}

/// Numbers compare by value, for `3` and `3.0` are the same, and not to the
/// last digit: serde_json does not read them exactly, and prost-reflect
/// prints a float with the digits of a double.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= 1e-7 * a.abs() || (a - b).abs() < 1e-40
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

fn long(
    value: impl Strategy<Value = impl ToString + std::fmt::Debug>,
) -> impl Strategy<Value = Value> {
    value.prop_map(|value| Value::String(value.to_string()))
}

fn base64() -> impl Strategy<Value = Value> {
    use base64::Engine as _;
    let encode = |bytes: Vec<u8>| json!(base64::engine::general_purpose::STANDARD.encode(bytes));
    proptest::collection::vec(any::<u8>(), 0..40).prop_map(encode)
}

fn dynamic() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1e9..1e9).prop_map(|n: f64| json!(n)),
        any::<i32>().prop_map(|n| json!(f64::from(n))),
        ".{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(".{0,4}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn timestamp() -> impl Strategy<Value = Value> {
    (-62_135_596_800..=253_402_300_799_i64, 0..1_000_000_000_i32).prop_map(|(seconds, nanos)| {
        let mut text = Vec::new();
        super::time::print_timestamp(seconds, nanos, &mut text).unwrap();
        Value::from(String::from_utf8(text).unwrap())
    })
}

fn duration() -> impl Strategy<Value = Value> {
    (-315_575_999_999..315_575_999_999_i64, 0..1_000_000_000_i32).prop_map(|(seconds, nanos)| {
        let mut text = Vec::new();
        let nanos = if seconds < 0 { -nanos } else { nanos };
        super::time::print_duration(seconds, nanos, &mut text).unwrap();
        Value::from(String::from_utf8(text).unwrap())
    })
}

fn color() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("COLOR_UNSPECIFIED")),
        Just(json!("RED")),
        Just(json!("NEGATIVE")),
        Just(json!(7)),
    ]
}

fn list(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::vec(value, 0..5).prop_map(Value::from)
}

fn map(key: &'static str, value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    proptest::collection::btree_map(key, value, 0..12)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn float() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f32>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| {
                // The shortest text of a float, as a number.
                serde_json::from_str(&format!("{f:e}")).unwrap()
            }),
        Just(json!("NaN")),
        Just(json!("-Infinity")),
    ]
}

fn double() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| json!(f)),
        Just(json!("Infinity")),
        Just(json!(0)),
    ]
}

/// Some members of `Everything`, each by a strategy of its own.
fn members(children: BoxedStrategy<Value>) -> impl Strategy<Value = Value> {
    let int = || any::<i32>().prop_map(Value::from);
    let text = || ".{0,12}".prop_map(Value::from);
    let any_message = children.clone().prop_map(|mut value| {
        value["@type"] = json!("type.googleapis.com/library.v1.Everything");
        value
    });
    let all: Vec<(&str, BoxedStrategy<Value>)> = vec![
        ("doubleValue", double().boxed()),
        ("floatValue", float().boxed()),
        ("int32Value", int().boxed()),
        ("int64Value", long(any::<i64>()).boxed()),
        ("uint32Value", any::<u32>().prop_map(Value::from).boxed()),
        ("uint64Value", long(any::<u64>()).boxed()),
        ("sint32Value", int().boxed()),
        ("sint64Value", long(any::<i64>()).boxed()),
        ("fixed32Value", any::<u32>().prop_map(Value::from).boxed()),
        ("fixed64Value", long(any::<u64>()).boxed()),
        ("sfixed32Value", int().boxed()),
        ("sfixed64Value", long(any::<i64>()).boxed()),
        ("boolValue", any::<bool>().prop_map(Value::from).boxed()),
        ("stringValue", text().boxed()),
        ("bytesValue", base64().boxed()),
        ("enumValue", color().boxed()),
        ("child", children.clone()),
        ("doubleList", list(double()).boxed()),
        ("int32List", list(int()).boxed()),
        ("int64List", list(long(any::<i64>())).boxed()),
        ("sint64List", list(long(any::<i64>())).boxed()),
        (
            "fixed32List",
            list(any::<u32>().prop_map(Value::from)).boxed(),
        ),
        (
            "boolList",
            list(any::<bool>().prop_map(Value::from)).boxed(),
        ),
        ("stringList", list(text()).boxed()),
        ("bytesList", list(base64()).boxed()),
        ("enumList", list(color()).boxed()),
        ("childList", list(children.clone()).boxed()),
        ("unpackedList", list(int()).boxed()),
        ("stringMap", map(".{0,6}", text()).boxed()),
        (
            "int32Map",
            map("-?[1-9][0-9]{0,8}", long(any::<i64>())).boxed(),
        ),
        ("boolMap", map("true|false", color()).boxed()),
        (
            "childMap",
            map("[1-9][0-9]{0,18}", children.clone()).boxed(),
        ),
        ("valueMap", map("[a-z]{1,3}", dynamic()).boxed()),
        ("sint32Map", map("-?[1-9][0-9]{0,8}", double()).boxed()),
        ("fixed64Map", map("[1-9][0-9]{0,18}", base64()).boxed()),
        ("optionalInt32", prop_oneof![Just(json!(0)), int()].boxed()),
        (
            "optionalString",
            prop_oneof![Just(json!("")), text()].boxed(),
        ),
        ("optionalEnum", color().boxed()),
        ("any", any_message.boxed()),
        ("timestamp", timestamp().boxed()),
        ("duration", duration().boxed()),
        (
            "mask",
            "([a-z]{1,3}([A-Z][a-z]){0,2}){0,1}"
                .prop_map(Value::from)
                .boxed(),
        ),
        ("struct", map(".{0,4}", dynamic()).boxed()),
        ("value", dynamic().boxed()),
        ("listValue", list(dynamic()).boxed()),
        ("empty", Just(json!({})).boxed()),
        // The oracle prints wrapped infinities as null.
        (
            "doubleWrapper",
            (-1e300..1e300).prop_map(|n: f64| json!(n)).boxed(),
        ),
        (
            "floatWrapper",
            any::<i16>().prop_map(|n| json!(f32::from(n) / 8.0)).boxed(),
        ),
        ("int64Wrapper", long(any::<i64>()).boxed()),
        ("uint64Wrapper", long(any::<u64>()).boxed()),
        ("int32Wrapper", int().boxed()),
        ("uint32Wrapper", any::<u32>().prop_map(Value::from).boxed()),
        ("boolWrapper", any::<bool>().prop_map(Value::from).boxed()),
        ("stringWrapper", text().boxed()),
        ("bytesWrapper", base64().boxed()),
        ("timestampList", list(timestamp()).boxed()),
        ("valueList", list(dynamic()).boxed()),
        ("wrapperList", list(text()).boxed()),
        ("@renamed", text().boxed()),
        ("snakeCase1Name", int().boxed()),
    ];
    let choice = prop_oneof![
        Just(Vec::new()),
        text().prop_map(|v| vec![("choiceString".to_owned(), v)]),
        int().prop_map(|v| vec![("choiceInt32".to_owned(), v)]),
        children.prop_map(|v| vec![("choiceChild".to_owned(), v)]),
        Just(vec![("choiceBool".to_owned(), json!(false))]),
    ];
    let count = all.len();
    let some = proptest::sample::subsequence((0..count).collect::<Vec<_>>(), 0..9);
    let some = some.prop_flat_map(move |indexes| {
        let named = |index: usize| {
            let (name, strategy) = all[index].clone();
            strategy.prop_map(move |value| (name.to_owned(), value))
        };
        indexes.into_iter().map(named).collect::<Vec<_>>()
    });
    (some, choice).prop_map(|(some, choice)| {
        Value::Object(some.into_iter().chain(choice).collect::<Map<_, _>>())
    })
}

fn everything() -> BoxedStrategy<Value> {
    let leaf = members(Just(json!({})).boxed()).boxed();
    members(prop_oneof![leaf.clone(), members(leaf)].boxed()).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn json_is_written_as_the_oracle_reads_it(json in everything()) {
        let wire = write(&json.to_string()).unwrap();
        let got = DynamicMessage::decode(descriptor(), &wire[..]).unwrap();
        let (got, want) = (serde_json::to_value(&got).unwrap(), serde_json::to_value(oracle(&json)).unwrap());
        prop_assert!(same(&got, &want), "{got}\n{want}");
    }

    #[test]
    fn messages_are_printed_as_the_oracle_prints_them(json in everything()) {
        let message = oracle(&json);
        let printed = print(&message.encode_to_vec()).unwrap();
        let printed: Value = serde_json::from_str(&printed).unwrap();
        let want = serde_json::to_value(&message).unwrap();
        prop_assert!(same(&printed, &want), "{printed}\n{want}");
    }

    #[test]
    fn fields_in_any_order_are_printed_alike(one in everything(), two in everything()) {
        // Two encodings in a row are one message, merged.
        let mut wire = oracle(&one).encode_to_vec();
        wire.extend(oracle(&two).encode_to_vec());
        let message = DynamicMessage::decode(descriptor(), &wire[..]).unwrap();
        let printed: Value = serde_json::from_str(&print(&wire).unwrap()).unwrap();
        let want = serde_json::to_value(&message).unwrap();
        prop_assert!(same(&printed, &want), "{printed}\n{want}");
    }

    #[test]
    fn broken_json_is_refused_or_means_the_same(json in everything(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = json.to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let Ok(text) = String::from_utf8(text) else { return Ok(()) };
        let Ok(wire) = write(&text) else { return Ok(()) };
        let value: Value = serde_json::from_str(&text).unwrap();
        if let Ok(want) = DynamicMessage::deserialize(descriptor(), value) {
            let got = DynamicMessage::decode(descriptor(), &wire[..]).unwrap();
            if let (Ok(got), Ok(want)) = (serde_json::to_value(&got), serde_json::to_value(&want)) {
                prop_assert!(same(&got, &want), "{got}\n{want}");
            }
        }
    }

    #[test]
    fn broken_bytes_are_refused_or_printed_but_never_more(json in everything(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut wire = oracle(&json).encode_to_vec();
        if wire.is_empty() { return Ok(()); }
        let at = at.index(wire.len());
        wire[at] = byte;
        if let Ok(printed) = print(&wire) {
            let _: Value = serde_json::from_str(&printed).unwrap();
        }
    }
}
