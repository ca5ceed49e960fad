//! Messages and enums as schemas.

use std::collections::BTreeSet;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor,
};
use serde_json::{Map, Value, json};

use super::comment::Comments;
use super::component::{Part, Parts, Purpose, Type, View};
use super::rules::Reader;

/// `google.protobuf.Duration` as JSON.
pub(super) const DURATION: &str = r"^-?[0-9]+(\.[0-9]{1,9})?s$";

/// Makes schemas and collects what they refer to.
pub(super) struct Schemas {
    pub(super) comments: Comments,
    pub(super) rules: Reader,
    pub(super) parts: Parts,
}

impl Schemas {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        Self {
            comments: Comments::read(pool),
            rules: Reader::new(pool),
            parts: Parts::default(),
        }
    }

    /// Makes the schemas of all that was referred to.
    pub(super) fn complete(&mut self) {
        while let Some(part) = self.parts.next() {
            let schema = match &part.kind {
                Type::Message(message) => self.object(message, part.view, &part.without),
                Type::Enum(kind) => self.enumeration(kind, part.view),
            };
            self.parts.put(schema);
        }
    }

    /// The schema of a whole message, without some of its fields.
    pub(super) fn message(
        &mut self,
        message: &MessageDescriptor,
        view: View,
        without: BTreeSet<String>,
    ) -> Value {
        known(message, view).unwrap_or_else(|| {
            if message.fields().len() == 0 {
                let mut schema = json!({"type": "object"});
                describe(&mut schema, self.comments.of(message));
                return schema;
            }
            self.parts.refer(Part {
                kind: Type::Message(message.clone()),
                view,
                without,
            })
        })
    }

    /// The schema of a single value, without rules.
    pub(super) fn value(&mut self, kind: &Kind, view: View) -> Value {
        match kind {
            Kind::Double => json!({"type": "number", "format": "double"}),
            Kind::Float => json!({"type": "number", "format": "float"}),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
                json!({"type": "integer", "format": "int32"})
            }
            Kind::Uint32 | Kind::Fixed32 => json!({"type": "integer", "minimum": 0}),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => long(view, "int64", "^-?[0-9]+$"),
            Kind::Uint64 | Kind::Fixed64 => long(view, "uint64", "^[0-9]+$"),
            Kind::Bool => json!({"type": "boolean"}),
            Kind::String => json!({"type": "string"}),
            Kind::Bytes => json!({"type": "string", "contentEncoding": "base64"}),
            Kind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue" => {
                json!({"type": "null"})
            }
            Kind::Enum(kind) => self.parts.refer(Part {
                kind: Type::Enum(kind.clone()),
                view: View {
                    purpose: Purpose::Request,
                    ..view
                },
                without: BTreeSet::new(),
            }),
            Kind::Message(message) => self.message(message, view, BTreeSet::new()),
        }
    }

    fn enumeration(&self, kind: &EnumDescriptor, view: View) -> Value {
        let mut description = self.comments.of(kind).to_owned();
        let (mut names, mut numbers) = (Vec::new(), Vec::new());
        let numeric = view.style.enums_as_numbers;
        for value in kind.values() {
            let comment = self.comments.of(&value);
            if !comment.is_empty() {
                let gap = if names.is_empty() || !description.contains("\n- ") {
                    "\n\n"
                } else {
                    "\n"
                };
                let shown = match numeric {
                    true => format!(
                        "{gap}- `{}` (`{}`): {comment}",
                        value.number(),
                        value.name()
                    ),
                    false => format!("{gap}- `{}`: {comment}", value.name()),
                };
                description.push_str(&shown);
            }
            names.push(value.name().to_owned());
            numbers.push(value.number());
        }
        let mut schema = match numeric {
            true => json!({"type": "integer", "enum": numbers, "x-enum-varnames": names}),
            false => json!({"type": "string", "enum": names}),
        };
        describe(&mut schema, description.trim());
        schema
    }

    fn object(
        &mut self,
        message: &MessageDescriptor,
        view: View,
        without: &BTreeSet<String>,
    ) -> Value {
        let mut properties = Map::new();
        let mut required = Vec::new();
        let fields = message
            .fields()
            .filter(|field| !without.contains(field.name()));
        for field in fields.collect::<Vec<_>>() {
            let name = name(&field, view);
            if self.is_required(&field, view) {
                required.push(name.clone());
            }
            properties.insert(name, self.field(&field, view));
        }
        let mut schema = json!({"type": "object"});
        describe(&mut schema, self.comments.of(message));
        if !properties.is_empty() {
            schema["properties"] = properties.into();
        }
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        self.alternatives(message, view, without, &mut schema);
        if is_deprecated(&message.options()) {
            schema["deprecated"] = true.into();
        }
        schema
    }

    /// Whether a field is always there.
    pub(super) fn is_required(&self, field: &FieldDescriptor, view: View) -> bool {
        let oneof = real_oneof(field).is_some();
        match view.purpose {
            Purpose::Answer if field.supports_presence() => view.style.print_nulls && !oneof,
            Purpose::Answer => view.style.print_defaults,
            Purpose::Change => false,
            Purpose::Request => {
                let rules = self.rules.of(field);
                let empty = match field.is_list() || field.is_map() {
                    true => rules.refuse_empty(),
                    false => !field.supports_presence() && rules.refuse_zero(&field.kind()),
                };
                // google.api.FieldBehavior.REQUIRED
                rules.required || empty || self.rules.behaves(field, 2)
            }
        }
    }

    /// What oneofs allow, in words; and that one member must be given.
    fn alternatives(
        &self,
        message: &MessageDescriptor,
        view: View,
        without: &BTreeSet<String>,
        schema: &mut Value,
    ) {
        let mut choices = Vec::new();
        let mut notes = Vec::new();
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            let names = members(&oneof, view);
            let elsewhere = oneof.fields().any(|field| without.contains(field.name()));
            if elsewhere || names.len() < 2 {
                continue;
            }
            let shown: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let needed = self.rules.is_required(&oneof) && view.purpose == Purpose::Request;
            let many = if needed { "Exactly" } else { "At most" };
            notes.push(format!("{many} one of {} is set.", shown.join(", ")));
            if needed {
                let each = names.iter().map(|name| json!({"required": [name]}));
                choices.push(each.collect::<Vec<_>>());
            }
        }
        if !notes.is_empty() {
            let text = schema["description"].as_str().unwrap_or_default();
            let text = format!("{text}\n\n{}", notes.join(" "));
            describe(schema, text.trim());
        }
        match choices.len() {
            0 => {}
            1 => schema["oneOf"] = choices.swap_remove(0).into(),
            _ => {
                let all = choices.into_iter().map(|choice| json!({"oneOf": choice}));
                schema["allOf"] = all.collect::<Vec<_>>().into();
            }
        }
    }
}

fn members(oneof: &OneofDescriptor, view: View) -> Vec<String> {
    oneof.fields().map(|field| name(&field, view)).collect()
}

/// The oneof of a field, but not the one that stands for `optional`.
pub(super) fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
}

/// A field's name in JSON.
pub(super) fn name(field: &FieldDescriptor, view: View) -> String {
    match view.style.proto_field_names {
        true => field.name().to_owned(),
        false => field.json_name().to_owned(),
    }
}

/// Whether options say `deprecated`.
pub(super) fn is_deprecated(options: &prost_reflect::DynamicMessage) -> bool {
    let value = options.get_field_by_name("deprecated");
    value.and_then(|value| value.as_bool()).unwrap_or_default()
}

/// Sets the description, unless there is none.
pub(super) fn describe(schema: &mut Value, text: &str) {
    if !text.is_empty() {
        schema["description"] = text.into();
    }
}

fn long(view: View, format: &str, pattern: &str) -> Value {
    match view.style.int64_as_numbers {
        true if format == "uint64" => json!({"type": "integer", "minimum": 0}),
        true => json!({"type": "integer", "format": format}),
        false => json!({"type": "string", "format": format, "pattern": pattern}),
    }
}

/// The schema of a type that has a JSON of its own.
fn known(message: &MessageDescriptor, view: View) -> Option<Value> {
    let name = message.full_name();
    if name == "google.api.HttpBody" {
        return None;
    }
    Some(match name.strip_prefix("google.protobuf.")? {
        "Any" => json!({
            "type": "object",
            "description": "Any message: its type, and its fields or its `value`.",
            "properties": {"@type": {"type": "string", "examples": ["type.googleapis.com/google.protobuf.Duration"]}},
            "required": ["@type"]
        }),
        "Timestamp" => json!({"type": "string", "format": "date-time"}),
        "Duration" => json!({"type": "string", "pattern": DURATION}),
        "FieldMask" => json!({"type": "string"}),
        "Struct" => json!({"type": "object", "additionalProperties": true}),
        "Value" => json!({}),
        "ListValue" => json!({"type": "array", "items": {}}),
        "Empty" => json!({"type": "object"}),
        "DoubleValue" => json!({"type": ["number", "null"], "format": "double"}),
        "FloatValue" => json!({"type": ["number", "null"], "format": "float"}),
        "Int64Value" => nullable(long(view, "int64", "^-?[0-9]+$")),
        "UInt64Value" => nullable(long(view, "uint64", "^[0-9]+$")),
        "Int32Value" => json!({"type": ["integer", "null"], "format": "int32"}),
        "UInt32Value" => json!({"type": ["integer", "null"], "minimum": 0}),
        "BoolValue" => json!({"type": ["boolean", "null"]}),
        "StringValue" => json!({"type": ["string", "null"]}),
        "BytesValue" => json!({"type": ["string", "null"], "contentEncoding": "base64"}),
        _ => return None,
    })
}

/// The same schema, or null.
pub(super) fn nullable(mut schema: Value) -> Value {
    let Some(members) = schema.as_object_mut() else {
        return schema;
    };
    if members.contains_key("$ref") {
        let reference = members.shift_remove("$ref");
        members.insert(
            "anyOf".into(),
            json!([{"$ref": reference}, {"type": "null"}]),
        );
        return schema;
    }
    let Some(kind) = members.get_mut("type") else {
        return schema;
    };
    if kind.is_string() {
        *kind = json!([kind.take(), "null"]);
    }
    if let Some(values) = members.get_mut("enum").and_then(Value::as_array_mut) {
        values.push(Value::Null);
    }
    schema
}
