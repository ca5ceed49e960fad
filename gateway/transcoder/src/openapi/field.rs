//! Fields as schemas: how many values, rules, and what is said of them.

use prost_reflect::{FieldDescriptor, Kind};
use serde_json::{Map, Value, json};

use super::component::{Purpose, View};
use super::rules::{Ignore, Rules};
use super::schema::{Schemas, describe, is_deprecated, nullable, real_oneof};

impl Schemas {
    /// The schema of a field, as a property.
    pub(super) fn field(&mut self, field: &FieldDescriptor, view: View) -> Value {
        let mut schema = self.values(field, view);
        if view.is_filled()
            && view.style.print_nulls
            && field.supports_presence()
            && real_oneof(field).is_none()
        {
            schema = nullable(schema);
        }
        let comment = self.comments.of(field).to_owned();
        let note = self.rules.of(field).note();
        let text = [comment.as_str(), note.as_deref().unwrap_or_default()];
        describe(&mut schema, text.join(" ").trim());
        // google.api.FieldBehavior.OUTPUT_ONLY, or AIP-203 in words.
        if self.rules.behaves(field, 3) || comment.contains("Output only.") {
            schema["readOnly"] = true.into();
        }
        if is_deprecated(&field.options()) {
            schema["deprecated"] = true.into();
        }
        schema
    }

    /// The schema of all values of a field, without what is said of it.
    pub(super) fn values(&mut self, field: &FieldDescriptor, view: View) -> Value {
        let rules = self.rules.of(field);
        if let Kind::Message(entry) = field.kind()
            && field.is_map()
        {
            let keys = entry.map_entry_key_field().kind();
            let values = entry.map_entry_value_field().kind();
            return self.map(&keys, &values, &rules, view);
        }
        if !field.is_list() {
            let secret = is_redacted(field) && field.kind() == Kind::String;
            return self.single(&field.kind(), &rules, view, secret);
        }
        let items = self.single(&field.kind(), &rules.of_part("items"), view, false);
        let mut schema = Map::from_iter([("type".into(), json!("array")), ("items".into(), items)]);
        if applies(&rules, view) {
            rules.constrain_list(&mut schema);
        }
        schema.into()
    }

    fn map(&mut self, keys: &Kind, values: &Kind, rules: &Rules, view: View) -> Value {
        let value = self.single(values, &rules.of_part("values"), view, false);
        let mut schema = Map::new();
        schema.insert("type".into(), "object".into());
        schema.insert("additionalProperties".into(), value);
        if let Some(names) = self.keys(keys, rules, view) {
            schema.insert("propertyNames".into(), names);
        }
        if applies(rules, view) {
            rules.constrain_map(&mut schema);
        }
        schema.into()
    }

    /// What the keys of a map look like, which are always text.
    fn keys(&mut self, kind: &Kind, rules: &Rules, view: View) -> Option<Value> {
        let mut names = Map::new();
        match kind {
            Kind::String if applies(rules, view) => {
                rules.of_part("keys").constrain(kind, view, &mut names);
            }
            Kind::String => {}
            Kind::Bool => {
                names.insert("enum".into(), json!(["true", "false"]));
            }
            _ => {
                names.insert("pattern".into(), "^-?[0-9]+$".into());
            }
        }
        (!names.is_empty()).then(|| names.into())
    }

    fn single(&mut self, kind: &Kind, rules: &Rules, view: View, secret: bool) -> Value {
        let view = match rules.ignore {
            Ignore::Always if view.purpose == Purpose::Request => View {
                purpose: Purpose::Change,
                ..view
            },
            _ => view,
        };
        let mut schema = self.value(kind, view);
        if let Some(members) = schema.as_object_mut() {
            // A secret that is typed in should not be read by bystanders.
            if secret && !view.is_filled() {
                members.insert("format".into(), "password".into());
            }
            if applies(rules, view) {
                rules.constrain(kind, view, members);
            }
        }
        schema
    }
}

/// Whether a value keeps to the rules. What is printed though it is unset
/// need not keep to rules that pass over what is unset.
fn applies(rules: &Rules, view: View) -> bool {
    match rules.ignore {
        Ignore::Never => true,
        Ignore::IfZero => !view.is_filled(),
        Ignore::Always => false,
    }
}

/// Whether the field is one that is not to be printed.
fn is_redacted(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let value = options.get_field_by_name("debug_redact");
    value.and_then(|value| value.as_bool()).unwrap_or_default()
}
