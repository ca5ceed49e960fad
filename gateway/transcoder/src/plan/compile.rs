//! From descriptors to tables.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, MessageDescriptor,
};

use super::{Enum, Field, Kind, Known, Message, MessageId, Names, Plans, Shape};

impl Plans {
    /// Compiles every type of a pool.
    pub(crate) fn compile(pool: DescriptorPool) -> Self {
        let by_name: HashMap<Box<str>, MessageId> = pool
            .all_messages()
            .enumerate()
            .map(|(id, m)| (m.full_name().into(), id))
            .collect();
        let enum_ids: HashMap<Box<str>, usize> = pool
            .all_enums()
            .enumerate()
            .map(|(id, e)| (e.full_name().into(), id))
            .collect();
        let ids = Ids {
            messages: &by_name,
            enums: &enum_ids,
        };
        let messages = pool.all_messages().map(|m| message(&m, &ids)).collect();
        let enums = pool.all_enums().map(|e| enumeration(&e)).collect();
        Self {
            messages,
            enums,
            by_name,
            pool,
        }
    }
}

struct Ids<'a> {
    messages: &'a HashMap<Box<str>, usize>,
    enums: &'a HashMap<Box<str>, usize>,
}

fn message(descriptor: &MessageDescriptor, ids: &Ids<'_>) -> Message {
    let mut oneofs: Vec<String> = Vec::new();
    let mut fields: Vec<Field> = descriptor
        .fields()
        .map(|f| field(&f, ids, &mut oneofs))
        .chain(extensions(descriptor, ids))
        .collect();
    fields.sort_by_key(|field| field.number);
    let (mut names, mut disputed) = (Names::default(), Names::default());
    for (index, field) in (0u16..).zip(&fields) {
        names.insert(field.json_name.clone(), index);
    }
    for (index, field) in (0u16..).zip(&fields) {
        match *names.entry(field.name.clone()).or_insert(index) {
            owner if owner == index => {}
            _ => drop(disputed.insert(field.name.clone(), index)),
        }
    }
    let dense = (1u32..)
        .zip(&fields)
        .all(|(number, field)| field.number == number);
    Message {
        name: descriptor.full_name().into(),
        fields: fields.into(),
        known: known(descriptor.full_name()),
        names,
        disputed,
        dense,
    }
}

fn field(descriptor: &FieldDescriptor, ids: &Ids<'_>, oneofs: &mut Vec<String>) -> Field {
    let oneof = descriptor
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
        .map(|oneof| {
            let index = oneofs
                .iter()
                .position(|name| name == oneof.name())
                .unwrap_or_else(|| {
                    oneofs.push(oneof.name().to_owned());
                    oneofs.len() - 1
                });
            index as u16
        });
    let shape = if descriptor.is_map() {
        Shape::Map
    } else if descriptor.is_list() {
        Shape::List {
            packed: descriptor.is_packed(),
        }
    } else {
        Shape::Singular
    };
    let kind = grouped(
        kind(&descriptor.kind(), ids),
        descriptor.is_group(),
        descriptor.number(),
    );
    Field {
        number: descriptor.number(),
        tag: tag(descriptor.number(), kind),
        name: descriptor.name().into(),
        json_name: descriptor.json_name().into(),
        proto_key: key(descriptor.name()),
        json_key: key(descriptor.json_name()),
        kind,
        shape,
        presence: descriptor.supports_presence(),
        oneof,
        extension: false,
    }
}

/// All extensions of a message. Those of a message set are written in another
/// way, which nobody uses any more; to this crate it has none.
fn extensions(descriptor: &MessageDescriptor, ids: &Ids<'_>) -> Vec<Field> {
    let options = descriptor.descriptor_proto().options.as_ref();
    match options.is_some_and(|options| options.message_set_wire_format()) {
        true => Vec::new(),
        false => descriptor
            .extensions()
            .map(|e| extension(&e, ids))
            .collect(),
    }
}

/// What extends a message is one more field of it, with its full name in
/// brackets.
fn extension(descriptor: &ExtensionDescriptor, ids: &Ids<'_>) -> Field {
    let name = descriptor.json_name();
    let kind = grouped(
        kind(&descriptor.kind(), ids),
        descriptor.is_group(),
        descriptor.number(),
    );
    Field {
        number: descriptor.number(),
        tag: tag(descriptor.number(), kind),
        name: name.into(),
        json_name: name.into(),
        proto_key: key(name),
        json_key: key(name),
        kind,
        shape: match descriptor.is_list() {
            true => Shape::List {
                packed: descriptor.is_packed(),
            },
            false => Shape::Singular,
        },
        presence: descriptor.supports_presence(),
        oneof: None,
        extension: true,
    }
}

fn tag(number: u32, kind: Kind) -> u32 {
    number << 3 | u32::from(kind.wire_type())
}

fn grouped(kind: Kind, is_group: bool, number: u32) -> Kind {
    match kind {
        Kind::Message(id) if is_group => Kind::Group(id, number),
        kind => kind,
    }
}

fn key(name: &str) -> Box<[u8]> {
    let mut key = Vec::with_capacity(name.len() + 4);
    key.push(b',');
    crate::json::text::string(name, &mut key);
    key.push(b':');
    key.into()
}

fn kind(kind: &prost_reflect::Kind, ids: &Ids<'_>) -> Kind {
    use prost_reflect::Kind as K;
    match kind {
        K::Double => Kind::Double,
        K::Float => Kind::Float,
        K::Int32 => Kind::Int32,
        K::Int64 => Kind::Int64,
        K::Uint32 => Kind::Uint32,
        K::Uint64 => Kind::Uint64,
        K::Sint32 => Kind::Sint32,
        K::Sint64 => Kind::Sint64,
        K::Fixed32 => Kind::Fixed32,
        K::Fixed64 => Kind::Fixed64,
        K::Sfixed32 => Kind::Sfixed32,
        K::Sfixed64 => Kind::Sfixed64,
        K::Bool => Kind::Bool,
        K::String => Kind::String,
        K::Bytes => Kind::Bytes,
        K::Enum(e) => Kind::Enum(ids.enums[e.full_name()]),
        K::Message(m) => Kind::Message(ids.messages[m.full_name()]),
    }
}

fn known(name: &str) -> Option<Known> {
    if name == "google.api.HttpBody" {
        return Some(Known::HttpBody);
    }
    Some(match name.strip_prefix("google.protobuf.")? {
        "Any" => Known::Any,
        "Timestamp" => Known::Timestamp,
        "Duration" => Known::Duration,
        "FieldMask" => Known::FieldMask,
        "Struct" => Known::Struct,
        "Value" => Known::Value,
        "ListValue" => Known::ListValue,
        "Empty" => Known::Empty,
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Known::Wrapper,
        _ => return None,
    })
}

fn enumeration(descriptor: &EnumDescriptor) -> Enum {
    let mut by_name = Names::default();
    let mut by_folded_name = Names::default();
    let mut by_number: HashMap<i32, Box<[u8]>> = HashMap::new();
    for value in descriptor.values() {
        by_name.insert(value.name().into(), value.number());
        by_folded_name
            .entry(value.name().to_ascii_lowercase().into())
            .or_insert(value.number());
        // Of aliases the first is the one that is printed.
        by_number
            .entry(value.number())
            .or_insert_with(|| format!("\"{}\"", value.name()).into_bytes().into());
    }
    let dense = (0..)
        .map_while(|number| by_number.get(&number).cloned())
        .collect();
    Enum {
        names: descriptor.values().map(|v| v.name().into()).collect(),
        is_null: descriptor.full_name() == "google.protobuf.NullValue",
        by_name,
        by_folded_name,
        by_number,
        dense,
    }
}
