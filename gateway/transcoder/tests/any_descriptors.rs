//! Messages of descriptors that nobody thought of: what is read and printed
//! is what prost-reflect reads and prints, in every style.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FieldOptions, FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};
use serde_json::{Map, Value, json};
use tonic_transcoder::{Codec, JsonStyle};

/// How often a field holds a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Singular,
    Optional,
    /// A member of the only oneof.
    Choice,
    List {
        packed: bool,
    },
    /// A map from strings.
    Map,
}

#[derive(Clone, Debug)]
struct Field {
    name: String,
    number: i32,
    kind: Type,
    shape: Shape,
}

const KINDS: [Type; 17] = [
    Type::Double,
    Type::Float,
    Type::Int32,
    Type::Int64,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Bool,
    Type::String,
    Type::Bytes,
    Type::Enum,
    Type::Message,
];

const SHAPES: [Shape; 6] = [
    Shape::Singular,
    Shape::Optional,
    Shape::Choice,
    Shape::List { packed: true },
    Shape::List { packed: false },
    Shape::Map,
];

fn fields() -> impl Strategy<Value = Vec<Field>> {
    let number = prop_oneof![3 => 1..20, 1 => 20..19_000, 1 => 20_000..536_870_911];
    let field = (
        "[a-z][a-zA-Z0-9_]{0,6}",
        number,
        proptest::sample::select(&KINDS[..]),
        proptest::sample::select(&SHAPES[..]),
    );
    proptest::collection::vec(field, 1..12).prop_map(|fields| {
        let mut numbers = std::collections::HashSet::new();
        let fields = fields.into_iter().enumerate();
        let named = fields.map(|(index, (name, number, kind, shape))| Field {
            // Its end tells it from all others, however it is written.
            name: format!("{name}_n{index}"),
            number,
            kind,
            shape,
        });
        named.filter(|field| numbers.insert(field.number)).collect()
    })
}

/// A file of proto3 with the message `t.M` of these fields.
fn file(fields: &[Field]) -> Vec<u8> {
    let mut message = DescriptorProto {
        name: Some("M".into()),
        ..Default::default()
    };
    let mut synthetic = Vec::new();
    if fields.iter().any(|field| field.shape == Shape::Choice) {
        message.oneof_decl.push(oneof("choice"));
    }
    let first_synthetic = message.oneof_decl.len() as i32;
    for field in fields {
        let mut described = described(&field.name, field.number, field.kind);
        match field.shape {
            Shape::Singular => {}
            Shape::Optional => {
                described.proto3_optional = Some(true);
                described.oneof_index = Some(first_synthetic + synthetic.len() as i32);
                synthetic.push(oneof(&format!("_{}", field.name)));
            }
            Shape::Choice => described.oneof_index = Some(0),
            Shape::List { packed } => {
                described.set_label(Label::Repeated);
                let packable = !matches!(field.kind, Type::String | Type::Bytes | Type::Message);
                described.options = packable.then(|| FieldOptions {
                    packed: Some(packed),
                    ..Default::default()
                });
            }
            Shape::Map => {
                let entry = entry(&field.name);
                described.set_type(Type::Message);
                described.set_label(Label::Repeated);
                described.type_name = Some(format!(".t.M.{entry}"));
                message.nested_type.push(DescriptorProto {
                    name: Some(entry),
                    field: vec![
                        self::described("key", 1, Type::String),
                        self::described("value", 2, field.kind),
                    ],
                    options: Some(MessageOptions {
                        map_entry: Some(true),
                        ..Default::default()
                    }),
                    ..Default::default()
                });
            }
        }
        message.field.push(described);
    }
    message.oneof_decl.extend(synthetic);
    let value = |(name, number): (&str, i32)| EnumValueDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        options: None,
    };
    let file = FileDescriptorProto {
        name: Some("t.proto".into()),
        package: Some("t".into()),
        syntax: Some("proto3".into()),
        message_type: vec![message],
        enum_type: vec![EnumDescriptorProto {
            name: Some("E".into()),
            value: [("ZERO", 0), ("ONE", 1), ("FAR", 70_000), ("BELOW", -3)]
                .map(value)
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn oneof(name: &str) -> OneofDescriptorProto {
    OneofDescriptorProto {
        name: Some(name.into()),
        options: None,
    }
}

fn described(name: &str, number: i32, kind: Type) -> FieldDescriptorProto {
    let mut field = FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        ..Default::default()
    };
    field.set_type(kind);
    field.set_label(Label::Optional);
    field.type_name = match kind {
        Type::Enum => Some(".t.E".into()),
        Type::Message => Some(".t.M".into()),
        _ => None,
    };
    field
}

/// The name that compilers give the entry of a map: `some_map` has `SomeMapEntry`.
fn entry(name: &str) -> String {
    let parts = name.split('_').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        first.to_uppercase() + rest
    });
    parts.collect::<String>() + "Entry"
}

fn value(kind: Type, inner: &BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    match kind {
        // Quarters are the same as a float and a double, and in all notations.
        Type::Double | Type::Float => any::<i16>().prop_map(|n| json!(f64::from(n) / 4.0)).boxed(),
        Type::Int32 | Type::Sint32 | Type::Sfixed32 => any::<i32>().prop_map(Value::from).boxed(),
        Type::Uint32 | Type::Fixed32 => any::<u32>().prop_map(Value::from).boxed(),
        Type::Int64 | Type::Sint64 | Type::Sfixed64 => {
            any::<i64>().prop_map(|n| json!(n.to_string())).boxed()
        }
        Type::Uint64 | Type::Fixed64 => any::<u64>().prop_map(|n| json!(n.to_string())).boxed(),
        Type::Bool => any::<bool>().prop_map(Value::from).boxed(),
        Type::Bytes => "([A-Za-z0-9+/]{4}){0,3}".prop_map(Value::from).boxed(),
        Type::Enum => proptest::sample::select(vec![
            json!("ZERO"),
            json!("ONE"),
            json!("FAR"),
            json!("BELOW"),
            json!(5),
        ])
        .boxed(),
        Type::Message => inner.clone(),
        _ => ".{0,5}".prop_map(Value::from).boxed(),
    }
}

/// Some members of a message, of the oneof one at most.
fn message(fields: &[Field], depth: usize) -> BoxedStrategy<Value> {
    let inner = match depth {
        0 => Just(json!({})).boxed(),
        _ => message(fields, depth - 1),
    };
    let member = |field: &Field| {
        let one = value(field.kind, &inner);
        let shaped = match field.shape {
            Shape::List { .. } => proptest::collection::vec(one, 0..4)
                .prop_map(Value::from)
                .boxed(),
            Shape::Map => proptest::collection::btree_map("[a-z]{0,2}", one, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect()))
                .boxed(),
            _ => one,
        };
        let (name, choice) = (field.name.clone(), field.shape == Shape::Choice);
        proptest::option::of(shaped).prop_map(move |value| value.map(|v| (name.clone(), choice, v)))
    };
    let members: Vec<_> = fields.iter().map(member).collect();
    let object = members.prop_map(|members| {
        let (mut object, mut chosen) = (Map::new(), false);
        for (name, choice, value) in members.into_iter().flatten() {
            if !choice || !std::mem::replace(&mut chosen, true) {
                object.insert(name, value);
            }
        }
        Value::Object(object)
    });
    object.boxed()
}

fn descriptors_and_message() -> impl Strategy<Value = (Vec<u8>, Value)> {
    fields().prop_flat_map(|fields| (Just(file(&fields)), message(&fields, 2)))
}

fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    #[test]
    fn any_message_is_read_and_printed_as_by_the_oracle((set, json) in descriptors_and_message(), bits in any::<u8>()) {
        let flag = |bit: u8| bits >> bit & 1 == 1;
        let mut style = JsonStyle::default();
        style.proto_field_names = flag(0);
        style.int64_as_numbers = flag(1);
        style.print_defaults = flag(2);
        style.enums_as_numbers = flag(3);
        style.print_nulls = flag(4) && flag(5);
        let codec = Codec::new(set.clone()).unwrap().with_style(style);
        let message = codec.message("t.M").unwrap();
        let descriptor = DescriptorPool::decode(&set[..]).unwrap().get_message_by_name("t.M").unwrap();
        let want = DynamicMessage::deserialize(descriptor.clone(), json.clone()).unwrap();

        let mut wire = Vec::new();
        message.read_json(json.to_string().as_bytes(), &mut wire).unwrap();
        let read = DynamicMessage::decode(descriptor.clone(), &wire[..]).unwrap();
        prop_assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&want).unwrap());

        let mut printed = Vec::new();
        message.write_json(&want.encode_to_vec(), &mut printed).unwrap();
        let printed: Value = serde_json::from_slice(&printed).unwrap();
        if !style.print_nulls {
            let options = SerializeOptions::new()
                .use_proto_field_name(style.proto_field_names)
                .stringify_64_bit_integers(!style.int64_as_numbers)
                .use_enum_numbers(style.enums_as_numbers)
                .skip_default_fields(!style.print_defaults);
            let oracle = want.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
            prop_assert!(same(&printed, &oracle), "{printed}\n{oracle}");
        }

        let mut again = Vec::new();
        message.read_json(printed.to_string().as_bytes(), &mut again).unwrap();
        let read = DynamicMessage::decode(descriptor.clone(), &again[..]).unwrap();
        prop_assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::to_value(&want).unwrap());
    }
}
