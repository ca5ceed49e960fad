//! What is sent and what is answered.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::component::{Purpose, View};
use super::parameter::{is_json, leaves, text_view};
use super::rules::Ignore;
use super::schema::{Schemas, nullable, real_oneof};
use crate::route::{BodyPlan, ResponsePlan, Route};

impl Schemas {
    /// The Request Body Object, if there is anything to send.
    pub(super) fn request_body(
        &mut self,
        route: &Route,
        input: &MessageDescriptor,
    ) -> Option<Value> {
        let view = View::new(route.style, Purpose::Request);
        let (schema, required) = match route.body {
            BodyPlan::None => return None,
            BodyPlan::Raw(_) => {
                return Some(
                    json!({"required": true, "content": {"application/octet-stream": {}}}),
                );
            }
            BodyPlan::Whole => {
                let without = self.elsewhere(route, input, &[]);
                if input.fields().all(|field| without.contains(field.name())) {
                    return None;
                }
                let required = self.has_required(input, view, &without);
                (self.message(input, view, without), required)
            }
            BodyPlan::Field(_) => {
                let field = field_named(input, &route.rule.body)?;
                self.body_field(route, &field, view)
            }
        };
        let mut content = Map::new();
        if route.rule.method.client_streaming {
            let lines = json!({"schema": schema.clone()});
            content.insert("application/x-ndjson".into(), lines);
            let array = json!({"schema": {"type": "array", "items": schema}});
            content.insert("application/json".into(), array);
            let row = match route.body {
                BodyPlan::Field(_) => field_named(input, &route.rule.body)
                    .is_some_and(|field| whole_message(&field).is_some()),
                _ => true,
            };
            if row {
                content.insert("text/csv".into(), csv());
            }
        } else {
            if let Some(form) = self.form(route, input) {
                content.insert("application/x-www-form-urlencoded".into(), form);
            }
            content.insert("application/json".into(), json!({"schema": schema}));
        }
        let mut body = json!({"content": content});
        if required || route.rule.method.client_streaming {
            body["required"] = true.into();
        }
        Some(body)
    }

    /// A body that is one field, and whether it must be there.
    fn body_field(&mut self, route: &Route, field: &FieldDescriptor, view: View) -> (Value, bool) {
        let rules = self.rules.of(field);
        let Some(message) = whole_message(field) else {
            return (self.values(field, view), self.is_required(field, view));
        };
        let purpose = match rules.ignore {
            Ignore::Always => Purpose::Change,
            _ => Purpose::Request,
        };
        let view = View { purpose, ..view };
        let without = self.elsewhere(route, &message, &[field.name()]);
        let required = rules.required || self.has_required(&message, view, &without);
        (self.message(&message, view, without), required)
    }

    fn has_required(
        &self,
        message: &MessageDescriptor,
        view: View,
        without: &BTreeSet<String>,
    ) -> bool {
        let mut fields = message
            .fields()
            .filter(|field| !without.contains(field.name()));
        fields.any(|field| self.is_required(&field, view))
    }

    /// The fields of the body that the path decides, and with them the other
    /// members of their oneofs.
    fn elsewhere(
        &self,
        route: &Route,
        message: &MessageDescriptor,
        above: &[&str],
    ) -> BTreeSet<String> {
        let mut without = BTreeSet::new();
        for variable in &route.variables {
            let names: Vec<&str> = variable.name.split('.').collect();
            let Some([name]) = names.strip_prefix(above) else {
                continue;
            };
            let Some(field) = message.get_field_by_name(name) else {
                continue;
            };
            if let Some(oneof) = real_oneof(&field) {
                without.extend(oneof.fields().map(|field| field.name().to_owned()));
            }
            without.insert((*name).to_owned());
        }
        without
    }

    /// The form of a service whose bodies are forms unless they say otherwise.
    fn form(&mut self, route: &Route, input: &MessageDescriptor) -> Option<Value> {
        if !route.style.untyped_is_form() {
            return None;
        }
        let (message, above) = match route.body {
            BodyPlan::Whole => (input.clone(), None),
            BodyPlan::Field(_) => {
                let field = field_named(input, &route.rule.body)?;
                let message = whole_message(&field)?;
                (message, Some(field.name().to_owned()))
            }
            _ => return None,
        };
        let above: Vec<&str> = above.as_deref().into_iter().collect();
        let without = self.elsewhere(route, &message, &above);
        let view = text_view(route.style);
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for leaf in leaves(&message) {
            let [first, ..] = &*leaf.path else { continue };
            if without.contains(first.name()) {
                continue;
            }
            if let [field] = &*leaf.path
                && self.is_required(field, view)
            {
                required.push(Value::from(leaf.name(view)));
            }
            if let Some(field) = leaf.path.last() {
                let mut schema = self.field(field, view);
                if is_json(field) {
                    let text = self.comments.of(field);
                    schema = json!({
                        "type": "string",
                        "contentMediaType": "application/json",
                        "description": text
                    });
                }
                properties.insert(leaf.name(view), schema);
            }
        }
        let mut schema = json!({"type": "object", "properties": properties});
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        Some(json!({"schema": schema}))
    }

    /// The Response Object of a success.
    pub(super) fn success(&mut self, route: &Route, output: &MessageDescriptor) -> Value {
        let mut response = json!({"description": "Success."});
        if route.response_etag.is_some() {
            response["headers"] = json!({"ETag": {
                "description": "Changes whenever the resource does.",
                "schema": {"type": "string"}
            }});
        }
        if matches!(route.success.as_u16(), 204 | 205 | 304) {
            return response;
        }
        let view = View::new(route.style, Purpose::Answer);
        let schema = match route.response {
            ResponsePlan::Raw(_) => {
                response["content"] = json!({"*/*": {}});
                return response;
            }
            ResponsePlan::Text(_) => {
                response["content"] = json!({"text/plain": {"schema": {"type": "string"}}});
                return response;
            }
            ResponsePlan::Whole => self.message(output, view, BTreeSet::new()),
            ResponsePlan::Field(_) => match field_named(output, &route.rule.response_body) {
                Some(field) if whole_message(&field).is_some() => {
                    nullable(self.values(&field, view))
                }
                Some(field) => self.values(&field, view),
                None => json!({}),
            },
        };
        response["content"] = match route.rule.method.server_streaming {
            false => json!({"application/json": {"schema": schema}}),
            true => {
                response["description"] =
                    "Success: one message after the other. An error in between is the last one, as `{\"error\": …}`.".into();
                let mut content = streamed(schema);
                if route.csv.is_some() {
                    content["text/csv"] = csv();
                }
                content
            }
        };
        response
    }
}

/// The framings of a server stream.
fn streamed(schema: Value) -> Value {
    json!({
        "application/x-ndjson": {"schema": schema.clone()},
        "text/event-stream": {"schema": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": schema.clone(),
            "description": "The data of each event is one message."
        }},
        "application/json": {"schema": {"type": "array", "items": schema}}
    })
}

/// Rows, whose columns are fields by their paths.
fn csv() -> Value {
    json!({"schema": {
        "type": "string",
        "description": "A line of field paths, such as `id` or `labels.region`, and a line for each message."
    }})
}

/// A field by either of its names.
fn field_named(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    let by_name = message.get_field_by_name(name);
    by_name.or_else(|| message.get_field_by_json_name(name))
}

/// The message of a field that is one whole message.
fn whole_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(message) if !field.is_list() && !field.is_map() => Some(message),
        _ => None,
    }
}
