//! What a request holds beside its body: path, query and headers.

use std::collections::BTreeSet;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::component::{Purpose, View};
use super::path::Path;
use super::schema::{Schemas, describe, name, real_oneof};
use crate::route::{BodyPlan, Route};
use crate::style::Style;

/// Fields of a query are named by at most this many names.
const DEPTH: usize = 4;

/// A field that can be given as text, and the way to it.
pub(super) struct Leaf {
    pub(super) path: Vec<FieldDescriptor>,
}

impl Leaf {
    /// The name in a query or form.
    pub(super) fn name(&self, view: View) -> String {
        let names: Vec<String> = self.path.iter().map(|field| name(field, view)).collect();
        names.join(".")
    }

    /// The field names, as rules have them.
    fn dotted(&self) -> String {
        let names: Vec<&str> = self.path.iter().map(FieldDescriptor::name).collect();
        names.join(".")
    }

    fn field(&self) -> Option<&FieldDescriptor> {
        self.path.last()
    }
}

/// How values that are given as text are looked at: all numbers are digits.
pub(super) fn text_view(style: Style) -> View {
    let style = Style {
        int64_as_numbers: true,
        ..style
    };
    View::new(style, Purpose::Request)
}

/// All fields of a message that can be given as text.
pub(super) fn leaves(message: &MessageDescriptor) -> Vec<Leaf> {
    let mut found = Vec::new();
    collect(message, &mut Vec::new(), &mut found);
    found
}

fn collect(message: &MessageDescriptor, path: &mut Vec<FieldDescriptor>, found: &mut Vec<Leaf>) {
    for field in message.fields() {
        path.push(field.clone());
        if has_text(&field) || is_json(&field) {
            found.push(Leaf { path: path.clone() });
        } else if let Kind::Message(below) = field.kind()
            && !field.is_list()
            && !field.is_map()
            && !below.full_name().starts_with("google.protobuf.")
            && path.len() < DEPTH
            && path.iter().all(|above| above.parent_message() != &below)
        {
            collect(&below, path, found);
        }
        path.pop();
    }
}

/// Whether a field is given as JSON where others are given as text.
pub(super) fn is_json(field: &FieldDescriptor) -> bool {
    let Kind::Message(message) = field.kind() else {
        return false;
    };
    let name = message.full_name().strip_prefix("google.protobuf.");
    let dynamic = matches!(name, Some("Struct" | "Value" | "ListValue"));
    dynamic && !field.is_list() && !field.is_map()
}

fn has_text(field: &FieldDescriptor) -> bool {
    let single = |kind: &Kind| match kind {
        Kind::Message(message) => {
            let name = message.full_name();
            name.strip_prefix("google.protobuf.").is_some_and(|name| {
                matches!(name, "Timestamp" | "Duration" | "FieldMask")
                    || name.ends_with("Value") && !matches!(name, "Value" | "ListValue")
            })
        }
        _ => true,
    };
    match field.kind() {
        Kind::Message(entry) if field.is_map() => single(&entry.map_entry_value_field().kind()),
        kind => !field.is_group() && single(&kind),
    }
}

impl Schemas {
    /// The Parameter Objects of a route.
    pub(super) fn parameters(
        &mut self,
        route: &Route,
        input: &MessageDescriptor,
        path: &Path,
    ) -> Vec<Value> {
        let view = text_view(route.style);
        let all = leaves(input);
        let mut parameters = Vec::new();
        for parameter in path.parameters() {
            let variable = parameter.variable.map(|index| &route.variables[index].name);
            let leaf = variable.and_then(|name| all.iter().find(|leaf| leaf.dotted() == *name));
            let mut object = json!({"name": parameter.name, "in": "path", "required": true});
            let mut schema = json!({"type": "string"});
            if let Some(field) = leaf.and_then(Leaf::field) {
                describe(&mut object, self.comments.of(field));
                schema = self.values(field, view);
            }
            if parameter.many {
                let text = object["description"].as_str().unwrap_or_default();
                let text = format!("{text}\n\nMay be several segments, with slashes.");
                describe(&mut object, text.trim());
            }
            object["schema"] = schema;
            parameters.push(object);
        }
        for leaf in self.queried(route, input, all) {
            parameters.extend(self.query(&leaf, view));
        }
        parameters.extend(headers(route));
        parameters
    }

    /// The fields that the query can give.
    fn queried(&self, route: &Route, input: &MessageDescriptor, all: Vec<Leaf>) -> Vec<Leaf> {
        let body = match route.body {
            BodyPlan::Whole | BodyPlan::Raw(None) => return Vec::new(),
            BodyPlan::None => None,
            BodyPlan::Field(_) | BodyPlan::Raw(Some(_)) => Some(&route.rule.body),
        };
        let bound: BTreeSet<&str> = route.variables.iter().map(|v| v.name.as_str()).collect();
        let chosen: Vec<_> = input
            .fields()
            .filter(|field| bound.contains(field.name()))
            .filter_map(|field| real_oneof(&field))
            .collect();
        let kept = all.into_iter().filter(|leaf| {
            let first = &leaf.path[0];
            let in_body =
                body.is_some_and(|body| first.name() == body || first.json_name() == body);
            let decided = real_oneof(first).is_some_and(|oneof| chosen.contains(&oneof));
            !in_body && !decided && !bound.contains(leaf.dotted().as_str())
        });
        kept.collect()
    }

    fn query(&mut self, leaf: &Leaf, view: View) -> Option<Value> {
        let field = leaf.field()?;
        let mut object = json!({"name": leaf.name(view), "in": "query"});
        let mut schema = self.field(field, view);
        if let Some(members) = schema.as_object_mut() {
            members.shift_remove("readOnly");
            if let Some(description) = members.shift_remove("description") {
                object["description"] = description;
            }
            if let Some(deprecated) = members.shift_remove("deprecated") {
                object["deprecated"] = deprecated;
            }
        }
        if leaf.path.len() == 1 && self.is_required(field, view) {
            object["required"] = true.into();
        }
        if is_json(field) {
            object["content"] = json!({"application/json": {"schema": schema}});
            return Some(object);
        }
        if field.is_map() {
            object["style"] = "deepObject".into();
            object["explode"] = true.into();
        }
        object["schema"] = schema;
        Some(object)
    }
}

/// The headers that stand for fields.
fn headers(route: &Route) -> Vec<Value> {
    let header = |name: &str, text: &str| json!({"name": name, "in": "header", "description": text, "schema": {"type": "string"}});
    let mut headers = Vec::new();
    if route.request_id.is_some() {
        headers.push(header(
            "Idempotency-Key",
            "Names the request, so that it is carried out once however often it is sent.",
        ));
    }
    if route.etag.is_some() {
        headers.push(header(
            "If-Match",
            "The `ETag` that the resource must still have.",
        ));
    }
    if is_cached(route) {
        headers.push(header(
            "If-None-Match",
            "The `ETag` of the answer that the client has; if it still holds, the answer is 304.",
        ));
    }
    headers
}

/// Whether an answer may be 304.
pub(super) fn is_cached(route: &Route) -> bool {
    let reads = route.rule.http_method == Some(http::Method::GET);
    reads && route.response_etag.is_some() && !route.rule.method.server_streaming
}
