//! `buf.validate` rules as constraints of JSON Schema.
//!
//! They are read by their names, so that nothing of protovalidate is needed to
//! build; a descriptor set without them has none.

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, OneofDescriptor,
    ReflectMessage as _, Value as Proto,
};
use regex_lite::Regex;
use serde_json::{Map, Value, json};

use super::component::View;

/// The extensions that hold rules, of those that the set has.
pub(super) struct Reader {
    field: Option<ExtensionDescriptor>,
    oneof: Option<ExtensionDescriptor>,
    behavior: Option<ExtensionDescriptor>,
}

impl Reader {
    pub(super) fn new(pool: &DescriptorPool) -> Self {
        Self {
            field: pool.get_extension_by_name("buf.validate.field"),
            oneof: pool.get_extension_by_name("buf.validate.oneof"),
            behavior: pool.get_extension_by_name("google.api.field_behavior"),
        }
    }

    /// The rules of a field.
    pub(super) fn of(&self, field: &FieldDescriptor) -> Rules {
        match read(&field.options(), self.field.as_ref()) {
            Some(Proto::Message(rules)) => Rules::of(&rules),
            _ => Rules::default(),
        }
    }

    /// Whether one member of a oneof must be given.
    pub(super) fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        let rules = read(&oneof.options(), self.oneof.as_ref());
        let rules = rules.as_ref().and_then(Proto::as_message);
        rules.is_some_and(|rules| flag(rules, "required"))
    }

    /// Whether `google.api.field_behavior` has a value, by its number.
    pub(super) fn behaves(&self, field: &FieldDescriptor, behavior: i32) -> bool {
        let list = read(&field.options(), self.behavior.as_ref());
        let list = list.as_ref().and_then(Proto::as_list).unwrap_or_default();
        list.iter().any(|b| b.as_enum_number() == Some(behavior))
    }
}

fn read(options: &DynamicMessage, extension: Option<&ExtensionDescriptor>) -> Option<Proto> {
    let extension = extension?;
    let set = options.has_extension(extension);
    set.then(|| options.get_extension(extension).into_owned())
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    let value = message.get_field_by_name(name);
    value.and_then(|value| value.as_bool()).unwrap_or_default()
}

/// When the rules of a field do not apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ignore {
    #[default]
    Never,
    IfZero,
    Always,
}

/// A `buf.validate.FieldRules`.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) required: bool,
    pub(super) ignore: Ignore,
    /// The rules of the field's type.
    typed: Option<DynamicMessage>,
}

impl Rules {
    fn of(message: &DynamicMessage) -> Self {
        let ignore = message.get_field_by_name("ignore");
        let typed = message
            .fields()
            .find_map(|(_, value)| value.as_message().cloned());
        Self {
            required: flag(message, "required"),
            ignore: match ignore.and_then(|value| value.as_enum_number()) {
                Some(1) => Ignore::IfZero,
                Some(3) => Ignore::Always,
                _ => Ignore::Never,
            },
            typed,
        }
    }

    /// The rules of the items of a list, or of the keys or values of a map.
    pub(super) fn of_part(&self, name: &str) -> Self {
        let part = self.rule(name);
        let rules = part.as_ref().and_then(Proto::as_message).map(Self::of);
        rules.unwrap_or_default()
    }

    /// A rule of the field's type that is set.
    fn rule(&self, name: &str) -> Option<Proto> {
        let typed = self.typed.as_ref()?;
        let set = typed.has_field_by_name(name);
        set.then(|| typed.get_field_by_name(name).map(|v| v.into_owned()))?
    }

    fn count(&self, name: &str) -> Option<u64> {
        self.rule(name)?.as_u64()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.rule(name).as_ref().and_then(as_number)
    }

    fn list(&self, name: &str) -> Vec<Proto> {
        let list = self.rule(name);
        let list = list.as_ref().and_then(Proto::as_list);
        list.map(<[Proto]>::to_vec).unwrap_or_default()
    }

    fn is(&self, name: &str) -> bool {
        self.rule(name).and_then(|rule| rule.as_bool()) == Some(true)
    }

    /// Whether a value that is left out, and so is zero, breaks a rule.
    pub(super) fn refuse_zero(&self, kind: &Kind) -> bool {
        if self.ignore != Ignore::Never {
            return false;
        }
        let count = |name| self.count(name).is_some_and(|count| count > 0);
        let zero = match kind {
            Kind::String => Proto::String(String::new()),
            Kind::Bytes => Proto::Bytes(Default::default()),
            Kind::Bool => Proto::Bool(false),
            Kind::Enum(_) => Proto::I32(0),
            Kind::Message(_) => return false,
            _ => return self.refuse_number(0.0),
        };
        const FORMATS: [&str; 9] = [
            "email", "hostname", "ip", "ipv4", "ipv6", "uri", "uuid", "tuuid", "address",
        ];
        let (within, without) = (self.list("in"), self.list("not_in"));
        ["len", "min_len", "min_bytes", "len_bytes"]
            .into_iter()
            .any(count)
            || FORMATS.iter().any(|format| self.is(format))
            || self.rule("const").is_some_and(|value| value != zero)
            || (!within.is_empty() && !within.contains(&zero))
            || without.contains(&zero)
            || self.pattern().is_some_and(|pattern| !matches(&pattern, ""))
    }

    fn refuse_number(&self, number: f64) -> bool {
        let numbers = |name| -> Vec<f64> { self.list(name).iter().filter_map(as_number).collect() };
        let within = numbers("in");
        self.number("gt").is_some_and(|bound| number <= bound)
            || self.number("gte").is_some_and(|bound| number < bound)
            || self.number("lt").is_some_and(|bound| number >= bound)
            || self.number("lte").is_some_and(|bound| number > bound)
            || self.number("const").is_some_and(|value| number != value)
            || (!within.is_empty() && !within.contains(&number))
            || numbers("not_in").contains(&number)
    }

    /// Whether a list or map must have something in it.
    pub(super) fn refuse_empty(&self) -> bool {
        let count = |name| self.count(name).is_some_and(|count| count > 0);
        self.ignore == Ignore::Never && (count("min_items") || count("min_pairs"))
    }

    fn pattern(&self) -> Option<String> {
        let text = |name| {
            let rule = self.rule(name)?;
            rule.as_str().map(regex_lite::escape)
        };
        let given = self.rule("pattern");
        let given = given
            .as_ref()
            .and_then(Proto::as_str)
            .filter(|p| !p.is_empty());
        given
            .map(str::to_owned)
            .or_else(|| text("prefix").map(|text| format!("^{text}")))
            .or_else(|| text("suffix").map(|text| format!("{text}$")))
            .or_else(|| text("contains"))
    }

    /// Constrains the schema of one value.
    pub(super) fn constrain(&self, kind: &Kind, view: View, schema: &mut Map<String, Value>) {
        match kind {
            Kind::String => self.constrain_text(schema),
            Kind::Bytes | Kind::Bool | Kind::Message(_) | Kind::Enum(_) => {}
            _ => self.constrain_number(schema),
        }
        let is_text = match kind {
            Kind::Enum(_) => !view.style.enums_as_numbers,
            _ => schema.get("type") == Some(&json!("string")),
        };
        let show = |value: &Proto| show(value, kind, is_text);
        if let Some(value) = self.rule("const") {
            schema.insert("const".into(), show(&value));
        }
        let within: Vec<Value> = self.list("in").iter().map(show).collect();
        if !within.is_empty() {
            schema.insert("enum".into(), within.into());
        }
        let without: Vec<Value> = self.list("not_in").iter().map(show).collect();
        if !without.is_empty() {
            schema.insert("not".into(), json!({"enum": without}));
        }
        let examples: Vec<Value> = self.list("example").iter().map(show).collect();
        if !examples.is_empty() {
            schema.insert("examples".into(), examples.into());
        }
    }

    fn constrain_text(&self, schema: &mut Map<String, Value>) {
        for (rule, keyword) in [
            ("len", "minLength"),
            ("len", "maxLength"),
            ("min_len", "minLength"),
            ("max_len", "maxLength"),
        ] {
            if let Some(count) = self.count(rule) {
                schema.insert(keyword.into(), count.into());
            }
        }
        if let Some(pattern) = self.pattern() {
            schema.insert("pattern".into(), pattern.into());
        }
        for (rule, format) in [
            ("email", "email"),
            ("hostname", "hostname"),
            ("ipv4", "ipv4"),
            ("ipv6", "ipv6"),
            ("uri", "uri"),
            ("uri_ref", "uri-reference"),
            ("uuid", "uuid"),
        ] {
            if self.is(rule) {
                schema.insert("format".into(), format.into());
            }
        }
        if self.is("ip") {
            let formats = json!([{"format": "ipv4"}, {"format": "ipv6"}]);
            schema.insert("anyOf".into(), formats);
        }
    }

    /// Bounds; of a number that is written as text they become a pattern, if
    /// it is simple.
    fn constrain_number(&self, schema: &mut Map<String, Value>) {
        if schema.get("type") == Some(&json!("string")) {
            if let Some(pattern) = self.digits() {
                schema.insert("pattern".into(), pattern.into());
            }
            return;
        }
        for (rule, keyword) in [
            ("gt", "exclusiveMinimum"),
            ("gte", "minimum"),
            ("lt", "exclusiveMaximum"),
            ("lte", "maximum"),
        ] {
            if let Some(bound) = self.rule(rule) {
                schema.insert(keyword.into(), plain(&bound, false));
            }
        }
    }

    fn digits(&self) -> Option<&'static str> {
        let least = (self.number("gt"), self.number("gte"));
        match least {
            (Some(0.0), _) | (_, Some(1.0)) => Some("^[1-9][0-9]*$"),
            (_, Some(0.0)) => Some("^[0-9]+$"),
            _ => None,
        }
    }

    /// Constrains the schema of a list.
    pub(super) fn constrain_list(&self, schema: &mut Map<String, Value>) {
        for (rule, keyword) in [("min_items", "minItems"), ("max_items", "maxItems")] {
            if let Some(count) = self.count(rule) {
                schema.insert(keyword.into(), count.into());
            }
        }
        if self.is("unique") {
            schema.insert("uniqueItems".into(), true.into());
        }
    }

    /// Constrains the schema of a map.
    pub(super) fn constrain_map(&self, schema: &mut Map<String, Value>) {
        for (rule, keyword) in [
            ("min_pairs", "minProperties"),
            ("max_pairs", "maxProperties"),
        ] {
            if let Some(count) = self.count(rule) {
                schema.insert(keyword.into(), count.into());
            }
        }
    }

    /// What no keyword says, for people: the bounds of a duration.
    pub(super) fn note(&self) -> Option<String> {
        let seconds = |name: &str| {
            let rule = self.rule(name)?;
            let message = rule.as_message()?;
            if message.descriptor().full_name() != "google.protobuf.Duration" {
                return None;
            }
            message.get_field_by_name("seconds")?.as_i64()
        };
        let least = seconds("gte").map(|bound| format!("at least `{bound}s`"));
        let most = seconds("lte").map(|bound| format!("at most `{bound}s`"));
        let bounds: Vec<String> = least.into_iter().chain(most).collect();
        (!bounds.is_empty()).then(|| format!("Must be {}.", bounds.join(" and ")))
    }
}

/// Whether a text has a pattern; what cannot be read as one has every text.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).map_or(true, |pattern| pattern.is_match(text))
}

fn as_number(value: &Proto) -> Option<f64> {
    match value {
        Proto::I32(n) => Some((*n).into()),
        Proto::U32(n) => Some((*n).into()),
        Proto::F32(n) => Some((*n).into()),
        Proto::F64(n) => Some(*n),
        // Bounds beyond 2^53 are told apart from zero, which is all that counts.
        Proto::I64(n) => Some(*n as f64),
        Proto::U64(n) => Some(*n as f64),
        Proto::EnumNumber(n) => Some((*n).into()),
        _ => None,
    }
}

/// A value of a rule as the JSON of the field has it.
fn show(value: &Proto, kind: &Kind, is_text: bool) -> Value {
    match (value, kind) {
        (Proto::I32(number) | Proto::EnumNumber(number), Kind::Enum(kind)) if is_text => {
            let name = kind.get_value(*number);
            name.map_or(Value::Null, |value| value.name().into())
        }
        _ => plain(value, is_text),
    }
}

fn plain(value: &Proto, is_text: bool) -> Value {
    match value {
        Proto::Bool(value) => (*value).into(),
        Proto::String(text) => text.as_str().into(),
        Proto::I32(number) | Proto::EnumNumber(number) => (*number).into(),
        Proto::U32(number) => (*number).into(),
        Proto::I64(number) if is_text => number.to_string().into(),
        Proto::U64(number) if is_text => number.to_string().into(),
        Proto::I64(number) => (*number).into(),
        Proto::U64(number) => (*number).into(),
        Proto::F32(number) => real((*number).into()),
        Proto::F64(number) => real(*number),
        Proto::Message(message) => duration(message),
        _ => Value::Null,
    }
}

/// Whole numbers without the `.0`.
fn real(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return (number as i64).into();
    }
    number.into()
}

/// A duration of a rule.
fn duration(message: &DynamicMessage) -> Value {
    if message.descriptor().full_name() != "google.protobuf.Duration" {
        return Value::Null;
    }
    let part = |name: &str| {
        message
            .get_field_by_name(name)
            .map(|value| value.into_owned())
    };
    let seconds = part("seconds").and_then(|v| v.as_i64()).unwrap_or_default();
    match part("nanos").and_then(|v| v.as_i32()).unwrap_or_default() {
        0 => format!("{seconds}s").into(),
        nanos => format!("{seconds}.{:09}s", nanos.abs()).into(),
    }
}
