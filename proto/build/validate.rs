//! Turns the `buf.validate` annotations of the contract into plain Rust.
//!
//! An annotation that this module doesn't know fails the build: a rule that is written down and
//! never checked is worse than none.

use std::cell::RefCell;
use std::fmt::{Debug, Display};

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor,
    FieldDescriptor, Kind, MessageDescriptor, OneofDescriptor, ReflectMessage, Value,
};

/// What stands before the generated code.
const HEADER: &str = "use crate::validate::{self as rules, Path, Validate, Violation};\n";

/// What generated code may do and written code may not.
const ALLOW: &str = "#[allow(unused_variables, unused_comparisons, deprecated, clippy::all)]\n";

/// Rust source of one `impl Validate` for each message whose package passes `wanted`.
///
/// Panics with the message's and field's name on a rule that isn't supported.
pub(crate) fn generate(pool: &DescriptorPool, wanted: impl Fn(&str) -> bool) -> String {
    let extension = |name| {
        pool.get_extension_by_name(name)
            .expect("buf/validate/validate.proto")
    };
    let generator = Generator {
        wanted: &wanted,
        message: extension("buf.validate.message"),
        oneof: extension("buf.validate.oneof"),
        field: extension("buf.validate.field"),
        patterns: RefCell::default(),
    };
    let messages = pool
        .all_messages()
        .filter(|m| !m.is_map_entry() && wanted(m.package_name()));
    let impls: String = messages
        .map(|message| generator.message(&message))
        .collect();
    format!("{HEADER}\n{impls}{}", generator.statics())
}

/// What all messages have in common.
struct Generator<'a> {
    wanted: &'a dyn Fn(&str) -> bool,
    message: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    field: ExtensionDescriptor,
    /// Each pattern once, however many fields have it.
    patterns: RefCell<Vec<String>>,
}

/// Where a rule is written, to say so when it can't be used.
struct Site<'a>(&'a str);

impl Site<'_> {
    /// Fails the build over a rule.
    fn fail(&self, rule: &str, why: &str) -> ! {
        panic!("{}: buf.validate rule `{rule}` {why}", self.0)
    }

    /// Fails the build over a rule that this module doesn't know.
    fn unsupported(&self, rule: &str) -> ! {
        self.fail(rule, "is not supported by proto/build/validate.rs")
    }

    /// The rules that are set, all of which the caller has to know.
    fn rules<'r>(&self, rules: &'r DynamicMessage) -> Vec<(String, &'r Value)> {
        if let Some((extension, _)) = rules.extensions().next() {
            self.unsupported(extension.full_name());
        }
        if let Some(field) = rules.unknown_fields().next() {
            self.unsupported(&format!(
                "{} of {}",
                field.number(),
                rules.descriptor().name()
            ));
        }
        // Examples are documentation.
        let set = rules.fields().filter(|(rule, _)| rule.name() != "example");
        set.map(|(rule, value)| (rule.name().to_owned(), value))
            .collect()
    }
}

/// When a field's rules don't apply.
#[derive(Clone, Copy, Default, PartialEq)]
enum Ignore {
    #[default]
    IfUnset,
    IfZero,
    Always,
}

/// A `buf.validate.FieldRules`.
#[derive(Default)]
struct FieldRules {
    required: bool,
    ignore: Ignore,
    /// The rules of the field's type, by the type's name.
    typed: Option<(String, DynamicMessage)>,
}

impl FieldRules {
    /// Reads the rules of a field, or of what a list or map holds.
    fn read(site: &Site<'_>, message: &DynamicMessage) -> Self {
        let mut read = FieldRules::default();
        for (rule, value) in site.rules(message) {
            match (rule.as_str(), value) {
                ("required", Value::Bool(required)) => read.required = *required,
                ("ignore", Value::EnumNumber(0)) => read.ignore = Ignore::IfUnset,
                ("ignore", Value::EnumNumber(1)) => read.ignore = Ignore::IfZero,
                ("ignore", Value::EnumNumber(3)) => read.ignore = Ignore::Always,
                (_, Value::Message(typed)) => read.typed = Some((rule, typed.clone())),
                _ => site.unsupported(&rule),
            }
        }
        read.required &= read.ignore != Ignore::Always;
        read
    }

    /// Reads the rules of a list's items or a map's keys or values, which can't be unset.
    fn read_element(site: &Site<'_>, value: &Value) -> Self {
        let read = FieldRules::read(site, message_of(value));
        if read.required {
            site.fail("required", "means nothing for what a list or map holds");
        }
        read
    }

    /// The rules of the type named, if there are any; fails on those of another type.
    fn typed(&self, site: &Site<'_>, name: &str) -> Option<&DynamicMessage> {
        let (found, rules) = self.typed.as_ref()?;
        if found != name {
            site.fail(found, &format!("doesn't fit the field's type ({name})"));
        }
        Some(rules)
    }
}

/// One rule: a Rust expression on `value` that is true when it holds.
struct Check {
    holds: String,
    rule: String,
    description: String,
}

impl Check {
    fn new(rule: impl Into<String>, holds: impl Into<String>, description: String) -> Self {
        Check {
            holds: holds.into(),
            rule: rule.into(),
            description,
        }
    }

    /// The statement that checks it.
    fn statement(&self) -> String {
        let Check {
            holds,
            rule,
            description,
        } = self;
        format!("rules::check({holds}, at, {rule:?}, {description:?}, out);\n")
    }
}

impl Generator<'_> {
    /// The `impl Validate` of a message.
    fn message(&self, message: &MessageDescriptor) -> String {
        let site = Site(message.full_name());
        let rules = options(&message.options(), &self.message);
        if let Some((rule, _)) = rules.iter().flat_map(|rules| site.rules(rules)).next() {
            site.unsupported(&rule);
        }
        let mut body = String::new();
        for field in message.fields().filter(|field| real_oneof(field).is_none()) {
            let rules = self.field_rules(&field);
            body += &self.field(&field, &rules);
        }
        for oneof in message.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            body += &self.oneof(&oneof);
        }
        let path = rust_path(message.package_name(), message.full_name());
        format!(
            "{ALLOW}impl Validate for {path} {{\n\
             fn validate(&self, at: &Path<'_>, out: &mut Vec<Violation>) {{\n{body}}}\n}}\n\n"
        )
    }

    /// A field's rules; the ones that say nothing if it has none.
    fn field_rules(&self, field: &FieldDescriptor) -> FieldRules {
        let rules = options(&field.options(), &self.field);
        rules.map_or_else(FieldRules::default, |rules| {
            FieldRules::read(&Site(field.full_name()), &rules)
        })
    }

    /// Checks a field that is in no oneof.
    fn field(&self, field: &FieldDescriptor, rules: &FieldRules) -> String {
        let body = self.field_value(field, rules);
        if rules.ignore == Ignore::Always || (body.is_empty() && !rules.required) {
            return String::new();
        }
        let (name, member) = (field.name(), format!("self.{}", snake(field.name())));
        let body = if field.supports_presence() {
            or_required(
                &format!("let Some(value) = &{member}"),
                &body,
                rules.required,
            )
        } else {
            let set = if_set(field, &body, rules);
            format!("let value = &{member};\n{set}")
        };
        located(name, &body)
    }

    /// Checks a oneof: that it is set, if it has to be, and the member that is.
    fn oneof(&self, oneof: &OneofDescriptor) -> String {
        let (name, member) = (oneof.name(), format!("self.{}", snake(oneof.name())));
        let mut code = String::new();
        if self.is_required(oneof) {
            let description = format!("one of {} must be set", names(oneof));
            let check = Check::new("required", format!("{member}.is_some()"), description);
            code += &located(name, &check.statement());
        }
        let fields: Vec<_> = oneof.fields().map(|f| (self.field_rules(&f), f)).collect();
        let arms: String = fields
            .iter()
            .map(|(rules, field)| self.arm(oneof, field, rules))
            .collect();
        if !arms.is_empty() {
            code += &format!("match &{member} {{\n{arms}_ => {{}}\n}}\n");
        }
        for (_, field) in fields.iter().filter(|(rules, _)| rules.required) {
            code += &required_member(oneof, field);
        }
        code
    }

    /// Checks a member of a oneof when it is the one set.
    fn arm(&self, oneof: &OneofDescriptor, field: &FieldDescriptor, rules: &FieldRules) -> String {
        let body = self.field_value(field, rules);
        if rules.ignore == Ignore::Always || body.is_empty() {
            return String::new();
        }
        let (name, variant) = (field.name(), variant(oneof, field));
        format!("Some({variant}(value)) => {}", located(name, &body))
    }

    /// Whether a oneof has to be set.
    fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        let site = Site(oneof.full_name());
        let Some(rules) = options(&oneof.options(), &self.oneof) else {
            return false;
        };
        site.rules(&rules)
            .iter()
            .any(|(rule, value)| match (rule.as_str(), value) {
                ("required", Value::Bool(required)) => *required,
                _ => site.unsupported(rule),
            })
    }

    /// Checks what a field holds, as `value`, found at `at`.
    fn field_value(&self, field: &FieldDescriptor, rules: &FieldRules) -> String {
        let site = Site(field.full_name());
        if field.is_map() {
            self.map(&site, field, rules)
        } else if field.is_list() {
            self.list(&site, field, rules)
        } else {
            self.single(&site, &field.kind(), rules)
        }
    }

    /// Checks a list and its items.
    fn list(&self, site: &Site<'_>, field: &FieldDescriptor, rules: &FieldRules) -> String {
        let (mut code, mut items) = (String::new(), FieldRules::default());
        for (rule, value) in rules
            .typed(site, "repeated")
            .map(|r| site.rules(r))
            .unwrap_or_default()
        {
            let check = match (rule.as_str(), value) {
                ("items", items_rules) => {
                    items = FieldRules::read_element(site, items_rules);
                    continue;
                }
                ("unique", Value::Bool(false)) => continue,
                ("unique", _) => unique(site, &field.kind()),
                ("min_items", n) => length("repeated.min_items", "value.len()", Least, n, "item"),
                ("max_items", n) => length("repeated.max_items", "value.len()", Most, n, "item"),
                _ => site.unsupported(&format!("repeated.{rule}")),
            };
            code += &check.statement();
        }
        let each = self.element(site, &field.kind(), &items);
        if !each.is_empty() {
            let items = "for (index, value) in value.iter().enumerate()";
            code += &format!("{items} {{\nlet at = &at.index(index);\n{each}}}\n");
        }
        code
    }

    /// Checks a map, its keys and its values.
    fn map(&self, site: &Site<'_>, field: &FieldDescriptor, rules: &FieldRules) -> String {
        let (mut code, mut keys, mut values) =
            (String::new(), FieldRules::default(), FieldRules::default());
        for (rule, value) in rules
            .typed(site, "map")
            .map(|r| site.rules(r))
            .unwrap_or_default()
        {
            match (rule.as_str(), value) {
                ("keys", rules) => keys = FieldRules::read_element(site, rules),
                ("values", rules) => values = FieldRules::read_element(site, rules),
                ("min_pairs", n) => {
                    code += &length("map.min_pairs", "value.len()", Least, n, "entry").statement();
                }
                ("max_pairs", n) => {
                    code += &length("map.max_pairs", "value.len()", Most, n, "entry").statement();
                }
                _ => site.unsupported(&format!("map.{rule}")),
            }
        }
        let kind = field.kind();
        let entry = kind.as_message().expect("a map's entry");
        let keys = self.key(site, &entry.map_entry_key_field().kind(), &keys);
        let values = self.element(site, &entry.map_entry_value_field().kind(), &values);
        if !keys.is_empty() || !values.is_empty() {
            let entries = "for (key, value) in value";
            code += &format!("{entries} {{\nlet at = &at.key(key);\n{keys}{values}}}\n");
        }
        code
    }

    /// Checks a map's key; a path can't tell it from the value, so the description does.
    fn key(&self, site: &Site<'_>, kind: &Kind, rules: &FieldRules) -> String {
        if rules.ignore == Ignore::Always {
            return String::new();
        }
        let mut checks = self.checks(site, kind, rules);
        checks
            .iter_mut()
            .for_each(|check| check.description.insert_str(0, "key "));
        let code = unless_ignored(kind, &statements(&checks), rules);
        if code.is_empty() {
            code
        } else {
            format!("{{\nlet value = key;\n{code}}}\n")
        }
    }

    /// Checks an item of a list or a value of a map.
    fn element(&self, site: &Site<'_>, kind: &Kind, rules: &FieldRules) -> String {
        match rules.ignore {
            Ignore::Always => String::new(),
            _ => unless_ignored(kind, &self.single(site, kind, rules), rules),
        }
    }

    /// Checks one value, and what is in it if it is a message of ours.
    fn single(&self, site: &Site<'_>, kind: &Kind, rules: &FieldRules) -> String {
        let mut code = statements(&self.checks(site, kind, rules));
        if kind
            .as_message()
            .is_some_and(|message| (self.wanted)(message.package_name()))
        {
            code += "value.validate(at, out);\n";
        }
        code
    }

    /// The rules of one value's type.
    fn checks(&self, site: &Site<'_>, kind: &Kind, rules: &FieldRules) -> Vec<Check> {
        let name = type_name(kind);
        // PostgreSQL keeps no NUL in a text, so that no database shall.
        let mut checks = match kind {
            Kind::String => vec![Check::new(
                "string.no_nul",
                "!value.contains('\\0')",
                "must not contain the character NUL".to_owned(),
            )],
            _ => Vec::new(),
        };
        if let Some(rules) = rules.typed(site, &name) {
            checks.extend(self.typed_checks(site, kind, &name, &site.rules(rules)));
        }
        checks
    }

    /// The rules of one value's type that the contract states.
    fn typed_checks(
        &self,
        site: &Site<'_>,
        kind: &Kind,
        name: &str,
        rules: &[(String, &Value)],
    ) -> Vec<Check> {
        match (kind, name) {
            (Kind::String, _) => each(rules, |rule, value| self.string(site, rule, value)),
            (Kind::Bytes, _) => each(rules, |rule, value| bytes(site, rule, value)),
            (Kind::Bool, _) => each(rules, |rule, value| boolean(site, rule, value)),
            (Kind::Enum(kind), _) => {
                each(rules, |rule, value| enumeration(site, kind, rule, value))
            }
            (Kind::Message(_), "duration") => {
                numeric(site, "duration", "rules::nanos(value)", rules)
            }
            (Kind::Message(_), _) => site.unsupported(name),
            _ => numeric(site, name, "*value", rules),
        }
    }

    /// One rule of a string.
    fn string(&self, site: &Site<'_>, rule: &str, value: &Value) -> Option<Check> {
        let id = format!("string.{rule}");
        Some(match (rule, value) {
            ("len", n) => length(&id, "rules::chars(value)", Exactly, n, "character"),
            ("min_len", n) => length(&id, "rules::chars(value)", Least, n, "character"),
            ("max_len", n) => length(&id, "rules::chars(value)", Most, n, "character"),
            ("len_bytes", n) => length(&id, "value.len()", Exactly, n, "byte"),
            ("min_bytes", n) => length(&id, "value.len()", Least, n, "byte"),
            ("max_bytes", n) => length(&id, "value.len()", Most, n, "byte"),
            ("pattern", Value::String(pattern)) => self.pattern(site, &id, pattern),
            ("prefix", Value::String(s)) => Check::new(
                id,
                format!("value.starts_with({s:?})"),
                format!("must start with `{s}`"),
            ),
            ("suffix", Value::String(s)) => Check::new(
                id,
                format!("value.ends_with({s:?})"),
                format!("must end with `{s}`"),
            ),
            ("contains", Value::String(s)) => Check::new(
                id,
                format!("value.contains({s:?})"),
                format!("must contain `{s}`"),
            ),
            ("not_contains", Value::String(s)) => Check::new(
                id,
                format!("!value.contains({s:?})"),
                format!("must not contain `{s}`"),
            ),
            ("const" | "in" | "not_in", _) => {
                let texts = list_of(value).iter().map(|v| v.as_str().expect("a string"));
                membership(
                    &id,
                    "value.as_str()",
                    texts.map(|s| (format!("{s:?}"), format!("`{s}`"))),
                )
            }
            (_, Value::Bool(false)) => return None,
            _ => well_known(site, rule),
        })
    }

    /// A pattern, which is compiled here so that a wrong one fails the build.
    fn pattern(&self, site: &Site<'_>, id: &str, pattern: &str) -> Check {
        let ascii = ascii_classes(pattern);
        if let Err(error) = regex::Regex::new(&ascii) {
            site.fail(id, &format!("is no pattern: {error}"));
        }
        let mut patterns = self.patterns.borrow_mut();
        let index = patterns
            .iter()
            .position(|known| *known == ascii)
            .unwrap_or_else(|| {
                patterns.push(ascii);
                patterns.len() - 1
            });
        Check::new(
            id,
            format!("PATTERN_{index}.is_match(value)"),
            format!("must match the pattern `{pattern}`"),
        )
    }

    /// The patterns, each compiled when it is first needed.
    fn statics(&self) -> String {
        let lazy = "::std::sync::LazyLock";
        let one = |(index, pattern): (usize, &String)| {
            format!(
                "static PATTERN_{index}: {lazy}<::regex::Regex> = \
                 {lazy}::new(|| rules::compiled({pattern:?}));\n"
            )
        };
        self.patterns.borrow().iter().enumerate().map(one).collect()
    }
}

/// An extension of a descriptor's options, if it is set.
fn options(options: &DynamicMessage, extension: &ExtensionDescriptor) -> Option<DynamicMessage> {
    let set = options.has_extension(extension);
    set.then(|| message_of(&options.get_extension(extension)).clone())
}

/// The message that a value is known to be.
fn message_of(value: &Value) -> &DynamicMessage {
    value.as_message().expect("a message")
}

/// The values of a rule that may have several.
fn list_of(value: &Value) -> &[Value] {
    value.as_list().unwrap_or(std::slice::from_ref(value))
}

/// The oneof that a field is written in; prost has no other.
fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    field
        .containing_oneof()
        .filter(|oneof| !oneof.is_synthetic())
}

/// A type's name among protovalidate's rules.
fn type_name(kind: &Kind) -> String {
    match kind {
        Kind::Enum(_) => "enum".to_owned(),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Duration" => "duration".to_owned(),
            "google.protobuf.Timestamp" => "timestamp".to_owned(),
            "google.protobuf.FieldMask" => "field_mask".to_owned(),
            "google.protobuf.Any" => "any".to_owned(),
            other => other.to_owned(),
        },
        // The names of the scalars are their kinds' in small letters.
        scalar => format!("{scalar:?}").to_lowercase(),
    }
}

/// Whether a `value` of this type is other than zero.
fn nonzero(kind: &Kind) -> &'static str {
    match kind {
        Kind::String | Kind::Bytes => "!value.is_empty()",
        Kind::Bool => "*value",
        Kind::Float | Kind::Double => "*value != 0.0",
        // What a list or map holds is always there.
        Kind::Message(_) => "true",
        _ => "*value != 0",
    }
}

/// Wraps checks of the field named.
fn located(field: &str, body: &str) -> String {
    format!("{{\nlet at = &at.field({field:?});\n{body}}}\n")
}

/// Wraps the checks of a field that can't be unset, only zero or empty.
fn if_set(field: &FieldDescriptor, body: &str, rules: &FieldRules) -> String {
    let set = match field.cardinality() {
        Cardinality::Repeated => "!value.is_empty()",
        _ => nonzero(&field.kind()),
    };
    match (rules.required, rules.ignore) {
        (false, Ignore::IfUnset) => body.to_owned(),
        (required, _) => or_required(set, body, required),
    }
}

/// Wraps the checks of what a list or map holds.
fn unless_ignored(kind: &Kind, body: &str, rules: &FieldRules) -> String {
    match rules.ignore {
        Ignore::IfZero if !body.is_empty() => or_required(nonzero(kind), body, false),
        _ => body.to_owned(),
    }
}

/// Checks something only if it is set, and that it is if it has to be.
fn or_required(set: &str, body: &str, required: bool) -> String {
    let check = Check::new("required", "false", "must be set".to_owned());
    let otherwise = format!("else {{\n{}}}\n", check.statement());
    let otherwise = if required { otherwise.as_str() } else { "\n" };
    format!("if {set} {{\n{body}}} {otherwise}")
}

/// Checks that one member of a oneof is the one that is set.
fn required_member(oneof: &OneofDescriptor, field: &FieldDescriptor) -> String {
    let (name, variant) = (field.name(), variant(oneof, field));
    let holds = format!(
        "matches!(&self.{}, Some({variant}(_)))",
        snake(oneof.name())
    );
    let check = Check::new("required", holds, "must be set".to_owned());
    located(name, &check.statement())
}

/// The names of a oneof's members, for a person.
fn names(oneof: &OneofDescriptor) -> String {
    oneof
        .fields()
        .map(|field| format!("`{}`", field.name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The statements of some checks.
fn statements(checks: &[Check]) -> String {
    checks.iter().map(Check::statement).collect()
}

/// The checks of rules that don't depend on each other.
fn each(rules: &[(String, &Value)], check: impl Fn(&str, &Value) -> Option<Check>) -> Vec<Check> {
    rules
        .iter()
        .filter_map(|(rule, value)| check(rule, value))
        .collect()
}

/// How a length is compared.
#[derive(Clone, Copy)]
enum Bound {
    Least,
    Most,
    Exactly,
}
use Bound::{Exactly, Least, Most};

/// A rule on how many units there are of something.
fn length(rule: &str, actual: &str, bound: Bound, limit: &Value, unit: &str) -> Check {
    let limit = limit.as_u64().expect("lengths are uint64");
    let (operator, words) = match bound {
        Least => (">=", "at least"),
        Most => ("<=", "at most"),
        Exactly => ("==", "exactly"),
    };
    let unit = match (limit, unit) {
        (1, _) => unit.to_owned(),
        (_, "entry") => "entries".to_owned(),
        _ => format!("{unit}s"),
    };
    Check::new(
        rule,
        format!("{actual} {operator} {limit}"),
        format!("must have {words} {limit} {unit}"),
    )
}

/// A rule that lists values, each as Rust and as text, which are the only ones or (`not_in`) not.
fn membership(rule: &str, actual: &str, values: impl Iterator<Item = (String, String)>) -> Check {
    let (code, texts): (Vec<_>, Vec<_>) = values.unzip();
    let (code, text) = (code.join(", "), texts.join(", "));
    let unwanted = rule.ends_with(".not_in");
    let (not, must) = if unwanted {
        ("!", "must not be")
    } else {
        ("", "must be")
    };
    let one = if texts.len() > 1 { "one of " } else { "" };
    Check::new(
        rule,
        format!("{not}[{code}].contains(&{actual})"),
        format!("{must} {one}{text}"),
    )
}

/// A well-known format of a string.
fn well_known(site: &Site<'_>, rule: &str) -> Check {
    let what = match rule {
        "email" => "an e-mail address",
        "hostname" => "a host name",
        "ip" => "an IP address",
        "ipv4" => "an IPv4 address",
        "ipv6" => "an IPv6 address",
        "address" => "a host name or an IP address",
        "host_and_port" => "a host and a port, as in `host:80`",
        "uri" => "a URI",
        "uuid" => "a UUID",
        _ => site.unsupported(&format!("string.{rule}")),
    };
    Check::new(
        format!("string.{rule}"),
        format!("rules::is_{rule}(value)"),
        format!("must be {what}"),
    )
}

/// A pattern with RE2's meaning of `\d`, `\s`, `\w` and `\b`: ASCII only, where Rust's is Unicode.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', Some('d')) => out += "[0-9]",
            ('\\', Some('D')) => out += "[^0-9]",
            ('\\', Some('s')) => out += r"[\t\n\f\r ]",
            ('\\', Some('S')) => out += r"[^\t\n\f\r ]",
            ('\\', Some('w')) => out += "[0-9A-Za-z_]",
            ('\\', Some('W')) => out += "[^0-9A-Za-z_]",
            ('\\', Some('b')) => out += r"(?-u:\b)",
            (_, next) => out.extend([c].into_iter().chain(next)),
        }
    }
    out
}

/// One rule of bytes.
fn bytes(site: &Site<'_>, rule: &str, value: &Value) -> Option<Check> {
    let id = format!("bytes.{rule}");
    let bound = match rule {
        "len" => Exactly,
        "min_len" => Least,
        "max_len" => Most,
        _ => site.unsupported(&id),
    };
    Some(length(&id, "value.len()", bound, value, "byte"))
}

/// One rule of a bool.
fn boolean(site: &Site<'_>, rule: &str, value: &Value) -> Option<Check> {
    match (rule, value) {
        ("const", Value::Bool(b)) => Some(Check::new(
            "bool.const",
            format!("*value == {b}"),
            format!("must be {b}"),
        )),
        _ => site.unsupported(&format!("bool.{rule}")),
    }
}

/// One rule of an enum.
fn enumeration(site: &Site<'_>, kind: &EnumDescriptor, rule: &str, value: &Value) -> Option<Check> {
    let id = format!("enum.{rule}");
    match (rule, value) {
        ("defined_only", Value::Bool(false)) => None,
        ("defined_only", _) => {
            let path = rust_path(kind.package_name(), kind.full_name());
            let holds = format!("{path}::try_from(*value).is_ok()");
            Some(Check::new(
                id,
                holds,
                "must be a value that the enum defines".to_owned(),
            ))
        }
        ("const" | "in" | "not_in", _) => {
            let numbers = list_of(value).iter().map(|v| v.as_i32().expect("an int32"));
            let name = |n| {
                kind.get_value(n)
                    .unwrap_or_else(|| site.fail(&id, "has an unknown value"))
                    .name()
                    .to_owned()
            };
            Some(membership(
                &id,
                "*value",
                numbers.map(|n| (n.to_string(), name(n))),
            ))
        }
        _ => site.unsupported(&id),
    }
}

/// The rule that a list's items differ.
fn unique(site: &Site<'_>, kind: &Kind) -> Check {
    // A message isn't hashable, and neither is a float.
    if matches!(kind, Kind::Message(_) | Kind::Float | Kind::Double) {
        site.unsupported("repeated.unique");
    }
    Check::new(
        "repeated.unique",
        "rules::all_unique(value)",
        "must not have an item twice".to_owned(),
    )
}

/// The rules of a number, or of what compares as one.
fn numeric(site: &Site<'_>, name: &str, actual: &str, rules: &[(String, &Value)]) -> Vec<Check> {
    let (mut checks, mut low, mut high) = (Vec::new(), None, None);
    for (rule, value) in rules {
        let id = format!("{name}.{rule}");
        match (rule.as_str(), value) {
            ("gt" | "gte", _) => low = Some((rule.as_str(), Limit::read(site, &id, value))),
            ("lt" | "lte", _) => high = Some((rule.as_str(), Limit::read(site, &id, value))),
            ("const" | "in" | "not_in", _) => {
                let limits = list_of(value).iter().map(|v| Limit::read(site, &id, v));
                checks.push(membership(&id, actual, limits.map(|l| (l.code, l.text))));
            }
            ("finite", Value::Bool(false)) => {}
            ("finite", _) => checks.push(Check::new(
                id,
                "value.is_finite()",
                "must be finite".to_owned(),
            )),
            _ => site.unsupported(&id),
        }
    }
    checks.extend(range(name, actual, low, high));
    checks
}

/// A number that a rule compares with.
struct Limit {
    code: String,
    text: String,
    /// For comparison with a range's other limit: a whole number or a float, the other being 0.
    order: (i128, f64),
}

impl Limit {
    /// Reads a rule's number, or a duration as its nanoseconds.
    fn read(site: &Site<'_>, rule: &str, value: &Value) -> Self {
        fn new(n: impl Debug + Display, order: (i128, f64)) -> Limit {
            Limit {
                code: format!("{n:?}"),
                text: n.to_string(),
                order,
            }
        }
        match value {
            Value::I32(n) => new(n, (i128::from(*n), 0.0)),
            Value::I64(n) => new(n, (i128::from(*n), 0.0)),
            Value::U32(n) => new(n, (i128::from(*n), 0.0)),
            Value::U64(n) => new(n, (i128::from(*n), 0.0)),
            Value::F32(n) if n.is_finite() => new(n, (0, f64::from(*n))),
            Value::F64(n) if n.is_finite() => new(n, (0, *n)),
            Value::Message(duration) => Limit::duration(duration),
            _ => site.unsupported(rule),
        }
    }

    /// Reads a `google.protobuf.Duration`.
    fn duration(message: &DynamicMessage) -> Self {
        let part = |name| {
            message
                .get_field_by_name(name)
                .expect("a duration")
                .into_owned()
        };
        let seconds = part("seconds").as_i64().expect("an int64");
        let nanos = part("nanos").as_i32().expect("an int32");
        let duration = prost_types::Duration { seconds, nanos };
        let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Limit {
            code: total.to_string(),
            text: duration.to_string(),
            order: (total, 0.0),
        }
    }
}

/// The rule of a number's range; one whose ends are in the wrong order means what is outside.
fn range(
    name: &str,
    actual: &str,
    low: Option<(&str, Limit)>,
    high: Option<(&str, Limit)>,
) -> Option<Check> {
    let below = |(rule, l): &(&str, Limit)| match *rule {
        "lt" => (
            format!("{actual} < {}", l.code),
            format!("less than {}", l.text),
        ),
        _ => (
            format!("{actual} <= {}", l.code),
            format!("at most {}", l.text),
        ),
    };
    let above = |(rule, l): &(&str, Limit)| match *rule {
        "gt" => (
            format!("{actual} > {}", l.code),
            format!("greater than {}", l.text),
        ),
        _ => (
            format!("{actual} >= {}", l.code),
            format!("at least {}", l.text),
        ),
    };
    let (id, (holds, text)) = match (&low, &high) {
        (None, None) => return None,
        (Some(low), None) => (low.0.to_owned(), above(low)),
        (None, Some(high)) => (high.0.to_owned(), below(high)),
        (Some(low), Some(high)) => {
            let outside = high.1.order < low.1.order;
            let (operator, word, suffix) = if outside {
                ("||", "or", "_exclusive")
            } else {
                ("&&", "and", "")
            };
            let ((a, b), (c, d)) = (above(low), below(high));
            let id = format!("{}_{}{suffix}", low.0, high.0);
            (
                id,
                (format!("{a} {operator} {c}"), format!("{b} {word} {d}")),
            )
        }
    };
    Some(Check::new(
        format!("{name}.{id}"),
        holds,
        format!("must be {text}"),
    ))
}

/// The path of the type that prost makes of a message or enum.
fn rust_path(package: &str, full_name: &str) -> String {
    let name = full_name
        .strip_prefix(package)
        .unwrap_or(full_name)
        .trim_start_matches('.');
    let (parents, name) = name.rsplit_once('.').unwrap_or(("", name));
    let modules = package
        .split('.')
        .chain(parents.split('.'))
        .filter(|module| !module.is_empty());
    let modules: String = modules
        .map(|module| format!("{}::", snake(module)))
        .collect();
    format!("crate::{modules}{}", camel(name))
}

/// The path of the variant that prost makes of a oneof's member.
fn variant(oneof: &OneofDescriptor, field: &FieldDescriptor) -> String {
    let message = oneof.parent_message();
    let parent = format!("{}.{}", message.full_name(), oneof.name());
    let siblings = message.child_messages().map(|m| camel(m.name()));
    let mut siblings = siblings.chain(message.child_enums().map(|e| camel(e.name())));
    // prost keeps a oneof's type apart from a nested type of the same name.
    let suffix = if siblings.any(|name| name == camel(oneof.name())) {
        "OneOf"
    } else {
        ""
    };
    format!(
        "{}{suffix}::{}",
        rust_path(message.package_name(), &parent),
        camel(field.name())
    )
}

/// A name as prost writes fields and modules.
fn snake(name: &str) -> String {
    sanitized(words(name).join("_"))
}

/// A name as prost writes types and variants.
fn camel(name: &str) -> String {
    let capital = |word: String| word[..1].to_uppercase() + &word[1..];
    sanitized(words(name).into_iter().map(capital).collect())
}

/// The words of a name in small letters, split where prost (by the crate heck) splits them.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    for part in name.split('_') {
        let (mut word, mut before) = (String::new(), ' ');
        for (i, c) in part.char_indices() {
            let small_next = part[i + 1..].starts_with(|c: char| c.is_lowercase());
            // A capital begins a word after a small letter, and so does the last capital of a row
            // before one ("HTTPServer").
            if c.is_uppercase() && (before == 'a' || before == 'A' && small_next) {
                words.push(std::mem::take(&mut word));
            }
            before = if c.is_lowercase() {
                'a'
            } else if c.is_uppercase() {
                'A'
            } else {
                before
            };
            word.extend(c.to_lowercase());
        }
        words.push(word);
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A name that Rust takes, as prost makes it of one that Rust doesn't.
fn sanitized(name: String) -> String {
    const KEYWORDS: &str = " as break const continue else enum false fn for if impl in let loop \
        match mod move mut pub ref return static struct trait true type unsafe use where while dyn \
        abstract become box do final macro override priv typeof unsized virtual yield async await \
        try gen ";
    match name.as_str() {
        "super" | "self" | "Self" | "extern" | "crate" => format!("{name}_"),
        _ if name.starts_with(|c: char| c.is_numeric()) => format!("_{name}"),
        _ if KEYWORDS.contains(&format!(" {name} ")) => format!("r#{name}"),
        _ => name,
    }
}
