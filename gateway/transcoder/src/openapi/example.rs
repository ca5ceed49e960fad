//! Examples of request bodies, made from their schemas: from the examples of
//! fields where there are any, else from what the types and rules allow.

use serde_json::{Map, Value, json};

use super::component::SCHEMAS;
use super::rules::matches;
use super::schema::DURATION;

/// Schemas are followed this deep; those that contain themselves have no end.
const DEPTH: usize = 8;

/// Gives every request body an example, if one can be made.
pub(super) fn fill(document: &mut Value) {
    let components = document["components"]["schemas"].take();
    let paths = document["paths"].as_object_mut();
    for item in paths.into_iter().flat_map(Map::values_mut) {
        let operations = item.as_object_mut();
        for operation in operations.into_iter().flat_map(Map::values_mut) {
            let content = operation.pointer_mut("/requestBody/content");
            let content = content.and_then(Value::as_object_mut);
            for media in content.into_iter().flat_map(Map::values_mut) {
                let example = body(&components, &media["schema"]);
                if let (Some(example), Some(media)) = (example, media.as_object_mut()) {
                    media.insert("example".into(), example);
                }
            }
        }
    }
    document["components"]["schemas"] = components;
}

/// An example of a body: with whatever is needed and whatever has examples,
/// or else with all that can be made up.
fn body(components: &Value, schema: &Value) -> Option<Value> {
    let short = Maker {
        components,
        all: false,
    };
    let long = Maker {
        components,
        all: true,
    };
    let is_empty = |example: &Value| *example == json!({}) || *example == json!([]);
    let example = short.value(schema, DEPTH)?;
    match is_empty(&example) {
        true => long.value(schema, DEPTH),
        false => Some(example),
    }
}

struct Maker<'a> {
    components: &'a Value,
    /// Whether fields without examples are filled in too.
    all: bool,
}

impl Maker<'_> {
    /// A value that a schema allows.
    fn value(&self, schema: &Value, depth: usize) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix(SCHEMAS))
        {
            let not = schema.pointer("/not/enum").and_then(Value::as_array);
            let target = &self.components[name];
            return match (not, target["enum"].as_array()) {
                (Some(not), Some(values)) => values.iter().find(|v| !not.contains(v)).cloned(),
                _ => self.value(target, depth),
            };
        }
        if let Some(example) = schema["examples"].as_array().and_then(|list| list.first()) {
            return Some(example.clone());
        }
        if let Some(value) = schema.get("const") {
            return Some(value.clone());
        }
        if let Some(values) = schema["enum"].as_array() {
            return choose(values);
        }
        let kind = schema["type"].as_str().or(schema["type"][0].as_str());
        match kind {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, depth),
            Some("string") => text(schema),
            Some("integer" | "number") => number(schema),
            Some("boolean") => Some(true.into()),
            Some("null") => Some(Value::Null),
            _ => {
                let any = schema["anyOf"].as_array().or(schema["oneOf"].as_array());
                any?.iter().find_map(|schema| self.value(schema, depth))
            }
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Option<Value> {
        let mut required: Vec<&str> = strings(&schema["required"]);
        let choices = schema["oneOf"].as_array().into_iter().flatten();
        required.extend(
            choices
                .take(1)
                .flat_map(|choice| strings(&choice["required"])),
        );
        let barred: Vec<&str> = schema["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .skip(1)
            .flat_map(|choice| strings(&choice["required"]))
            .collect();
        let mut object = Map::new();
        let properties = schema["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            let needed = required.contains(&name.as_str());
            let read_only = property["readOnly"] == true;
            if !needed && (read_only || barred.contains(&name.as_str())) {
                continue;
            }
            if needed || self.all || self.has_example(property, depth) {
                match self.value(property, depth) {
                    Some(value) => {
                        object.insert(name.clone(), value);
                    }
                    None if needed => return None,
                    None => {}
                }
            }
        }
        let values = &schema["additionalProperties"];
        if values.is_object() && self.has_example(values, depth) {
            let key = self.value(&schema["propertyNames"], depth);
            let key = key.as_ref().and_then(Value::as_str).unwrap_or("key");
            object.insert(key.to_owned(), self.value(values, depth)?);
        }
        Some(object.into())
    }

    fn array(&self, schema: &Value, depth: usize) -> Option<Value> {
        let least = schema["minItems"].as_u64().unwrap_or_default();
        let wanted = least > 0 || self.all || self.has_example(&schema["items"], depth);
        match self.value(&schema["items"], depth) {
            Some(item) if wanted => Some(json!([item])),
            _ if least > 0 => None,
            _ => Some(json!([])),
        }
    }

    /// Whether somebody has written an example of it.
    fn has_example(&self, schema: &Value, depth: usize) -> bool {
        let Some(depth) = depth.checked_sub(1) else {
            return false;
        };
        if let Some(name) = schema["$ref"]
            .as_str()
            .and_then(|r| r.strip_prefix(SCHEMAS))
        {
            return self.has_example(&self.components[name], depth);
        }
        let below = |key: &str| {
            let schemas = schema[key].as_object().into_iter().flat_map(Map::values);
            schemas
                .into_iter()
                .any(|schema| schema["readOnly"] != true && self.has_example(schema, depth))
        };
        let part = |key: &str| schema[key].is_object() && self.has_example(&schema[key], depth);
        schema.get("examples").is_some()
            || below("properties")
            || part("items")
            || part("additionalProperties")
    }
}

fn strings(value: &Value) -> Vec<&str> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

/// The first value that says something.
fn choose(values: &[Value]) -> Option<Value> {
    let says_nothing = |value: &&Value| {
        value
            .as_str()
            .is_some_and(|name| name.is_empty() || name.ends_with("_UNSPECIFIED"))
    };
    let first = values.iter().find(|value| !says_nothing(value));
    first.or(values.first()).cloned()
}

fn text(schema: &Value) -> Option<Value> {
    if schema["contentMediaType"].is_string() {
        return None;
    }
    let text = match schema["format"].as_str() {
        Some("uuid") => "0190a5c2-7d1e-7c3a-9f64-2b8f0e4d6a15",
        Some("email") => "someone@example.com",
        Some("hostname") => "www.example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        Some("uri") => "https://www.example.com/",
        Some("date-time") => "2030-01-31T12:00:00Z",
        Some("int64" | "uint64") => "1",
        _ if schema["pattern"] == DURATION => "3600s",
        _ if schema["contentEncoding"] == "base64" => "dGV4dA==",
        _ if schema["anyOf"][0]["format"] == "ipv4" => "192.0.2.1",
        _ => "text",
    };
    let most = schema["maxLength"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok());
    let least = schema["minLength"]
        .as_u64()
        .and_then(|n| usize::try_from(n).ok());
    let text: String = text
        .chars()
        .cycle()
        .take(
            most.unwrap_or(text.len())
                .min(text.len())
                .max(least.unwrap_or_default()),
        )
        .collect();
    let fits = schema["pattern"]
        .as_str()
        .is_none_or(|pattern| matches(pattern, &text));
    fits.then(|| text.into())
}

fn number(schema: &Value) -> Option<Value> {
    let bound = |key: &str| schema[key].as_f64();
    let mut number = 1.0_f64;
    if let Some(most) = bound("maximum") {
        number = number.min(most);
    }
    if let Some(most) = bound("exclusiveMaximum") {
        number = number.min(most - 1.0);
    }
    if let Some(least) = bound("minimum") {
        number = number.max(least);
    }
    if let Some(least) = bound("exclusiveMinimum") {
        number = number.max(least + 1.0);
    }
    Some(match number.fract() == 0.0 {
        true => (number as i64).into(),
        false => number.into(),
    })
}
