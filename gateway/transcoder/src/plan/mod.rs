//! Descriptors compiled to flat tables.
//!
//! prost-reflect's descriptors are handles into a shared pool; every step
//! through them touches a reference count that all cores share. The tables
//! here are plain vectors behind one `Arc` and are only ever read.

mod compile;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use prost_reflect::DescriptorPool;

use crate::wire;

/// Index of a message in [`Plans`].
pub(crate) type MessageId = usize;
/// Index of an enum in [`Plans`].
pub(crate) type EnumId = usize;

/// All types of one descriptor set.
#[derive(Debug)]
pub(crate) struct Plans {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    by_name: HashMap<Box<str>, MessageId>,
    /// Only for bringing messages into canonical order.
    pool: DescriptorPool,
}

impl Plans {
    #[inline]
    pub(crate) fn message(&self, id: MessageId) -> &Message {
        &self.messages[id]
    }

    #[inline]
    pub(crate) fn enumeration(&self, id: EnumId) -> &Enum {
        &self.enums[id]
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<MessageId> {
        self.by_name.get(name).copied()
    }

    /// Whether null is a value and not the absence of one.
    pub(crate) fn takes_null(&self, kind: Kind) -> bool {
        match kind {
            Kind::Message(id) => self.message(id).known == Some(Known::Value),
            Kind::Enum(id) => self.enumeration(id).is_null,
            _ => false,
        }
    }

    pub(crate) fn pool(&self) -> &DescriptorPool {
        &self.pool
    }
}

/// One message type.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: Box<str>,
    /// In the order of their numbers.
    pub(crate) fields: Box<[Field]>,
    pub(crate) known: Option<Known>,
    /// By JSON name and by name in the .proto file.
    names: Names<u16>,
    /// The names in the .proto file that are JSON names of other fields.
    disputed: Names<u16>,
    /// Whether field `n` is at index `n - 1`, as in most messages.
    dense: bool,
}

impl Message {
    /// A field as paths name it: what the .proto file says goes first.
    pub(crate) fn by_name(&self, name: &str) -> Option<usize> {
        self.by_key(name, true)
    }

    /// A field as JSON names it. Either name does; where two fields claim one,
    /// it is whose key is printed so, by its name in the .proto file or not.
    #[inline]
    pub(crate) fn by_key(&self, name: &str, proto: bool) -> Option<usize> {
        let index = match proto && !self.disputed.is_empty() {
            true => self.disputed.get(name).or_else(|| self.names.get(name)),
            false => self.names.get(name),
        };
        index.map(|index| usize::from(*index))
    }

    #[inline]
    pub(crate) fn by_number(&self, number: u32) -> Option<usize> {
        if self.dense {
            let index = number as usize - 1;
            return (index < self.fields.len()).then_some(index);
        }
        self.fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
    }

    /// A string field of that name, which some HTTP headers map to.
    pub(crate) fn string_field(&self, name: &str) -> Option<&Field> {
        let field = &self.fields[self.by_name(name)?];
        (&*field.name == name && field.is_plain(Kind::String)).then_some(field)
    }
}

/// The types with a JSON of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// `google.protobuf.StringValue` and its like; their field is number 1.
    Wrapper,
    /// `google.protobuf.Empty`, special only where an `Any` is read: some print
    /// a "value" for it, others do not.
    Empty,
    /// `google.api.HttpBody`, special only as a whole body.
    HttpBody,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// The number and the wire type of a single value, as they stand on the wire.
    pub(crate) tag: u32,
    pub(crate) name: Box<str>,
    pub(crate) json_name: Box<str>,
    /// `,"name":` and `,"jsonName":`, ready to print.
    proto_key: Box<[u8]>,
    json_key: Box<[u8]>,
    pub(crate) kind: Kind,
    pub(crate) shape: Shape,
    /// Whether unset differs from the default value.
    pub(crate) presence: bool,
    /// The oneof it is a member of, counted within the message.
    pub(crate) oneof: Option<u16>,
    /// Whether it extends the message; its name is then `[full.name]`.
    pub(crate) extension: bool,
}

impl Field {
    /// The key, quoted and with its colon, after a comma.
    #[inline]
    pub(crate) fn key(&self, proto: bool) -> &[u8] {
        if proto {
            &self.proto_key
        } else {
            &self.json_key
        }
    }

    pub(crate) fn is_plain(&self, kind: Kind) -> bool {
        self.shape == Shape::Singular && self.kind == kind
    }

    /// The message type of a singular field that holds a message or a group.
    pub(crate) fn below(&self) -> Option<MessageId> {
        match (self.shape, self.kind) {
            (Shape::Singular, Kind::Message(id) | Kind::Group(id, _)) => Some(id),
            _ => None,
        }
    }

    /// The message type of a singular message field.
    pub(crate) fn singular_message(&self) -> Option<MessageId> {
        match (self.shape, self.kind) {
            (Shape::Singular, Kind::Message(id)) => Some(id),
            _ => None,
        }
    }
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Singular,
    List {
        packed: bool,
    },
    /// The kind is the entry message.
    Map,
}

/// The type of a field's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(EnumId),
    Message(MessageId),
    /// A group of proto2: a message between two tags of the field's number.
    Group(MessageId, u32),
}

impl Kind {
    /// The wire type of a single value.
    #[inline]
    pub(crate) fn wire_type(self) -> u8 {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => wire::FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => wire::FIXED32,
            Self::String | Self::Bytes | Self::Message(_) => wire::LEN,
            Self::Group(..) => wire::START_GROUP,
            _ => wire::VARINT,
        }
    }
}

/// One enum type.
#[derive(Debug)]
pub(crate) struct Enum {
    /// In the order of their numbers, for those who name another.
    names: Box<[Box<str>]>,
    /// `google.protobuf.NullValue`, whose only value is JSON's null.
    pub(crate) is_null: bool,
    by_name: Names<i32>,
    by_folded_name: Names<i32>,
    by_number: HashMap<i32, Box<[u8]>>,
    /// The names of `0..dense.len()`, quoted.
    dense: Vec<Box<[u8]>>,
}

impl Enum {
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.names.iter().map(|name| &**name)
    }

    pub(crate) fn number(&self, name: &str, any_case: bool) -> Option<i32> {
        match self.by_name.get(name) {
            None if any_case => self
                .by_folded_name
                .get(name.to_ascii_lowercase().as_str())
                .copied(),
            found => found.copied(),
        }
    }

    /// The quoted name of a value.
    #[inline]
    pub(crate) fn quoted_name(&self, number: i32) -> Option<&[u8]> {
        match usize::try_from(number)
            .ok()
            .and_then(|index| self.dense.get(index))
        {
            Some(name) => Some(name),
            None => self.by_number.get(&number).map(|name| &**name),
        }
    }
}

type Names<T> = HashMap<Box<str>, T, BuildHasherDefault<Fnv>>;

/// FNV-1a. A client chooses what is looked up, but never what is in the
/// table, so there is nothing to gain from collisions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}
