//! What documents say of a service.

#![cfg(feature = "openapi")]
#![allow(clippy::unwrap_used)]

mod bodies;
mod paths;
mod schemas;

use serde_json::{Map, Value, json};
use tonic_transcoder::openapi::{Api, ErrorBody};
use tonic_transcoder::{MethodInfo, Transcoder};

/// An API with a little of everything.
struct Garden {
    error: ErrorBody,
}

impl Api for Garden {
    fn info(&self) -> Value {
        json!({"title": "Garden", "version": "1"})
    }

    fn has(&self, method: &MethodInfo) -> bool {
        method.name != "Draw"
    }

    fn security_schemes(&self) -> Map<String, Value> {
        Map::from_iter([(
            "key".to_owned(),
            json!({"type": "http", "scheme": "bearer"}),
        )])
    }

    fn security(&self, method: &MethodInfo) -> Option<Vec<Value>> {
        Some(match method.name.as_str() {
            "GetPlant" => vec![],
            _ => vec![json!({"key": []})],
        })
    }

    fn note(&self, method: &MethodInfo) -> Option<String> {
        (method.name == "CreatePlant").then(|| "Needs a spade.".to_owned())
    }

    fn error_body(&self, _: &MethodInfo) -> ErrorBody {
        self.error.clone()
    }

    fn refusals(&self, _: &MethodInfo) -> Vec<http::StatusCode> {
        vec![http::StatusCode::UNAUTHORIZED]
    }
}

fn transcoder() -> Transcoder {
    let mut compiler = protox::Compiler::new(["tests/proto", "proto", "../../proto"]).unwrap();
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file("garden.proto").unwrap();
    let set = compiler.encode_file_descriptor_set();
    Transcoder::builder(set).build().unwrap()
}

fn document() -> Value {
    transcoder().openapi(&Garden {
        error: ErrorBody::Status,
    })
}

fn operation<'d>(document: &'d Value, line: &str) -> &'d Value {
    let (method, path) = line.split_once(' ').unwrap();
    let operation = &document["paths"][path][method.to_lowercase()];
    assert!(operation.is_object(), "no {line}");
    operation
}

fn schema<'d>(document: &'d Value, name: &str) -> &'d Value {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "no {name}");
    schema
}

/// Name, place and whether it is required, of each parameter.
fn parameters(operation: &Value) -> Vec<(&str, &str, bool)> {
    let list = operation["parameters"].as_array();
    let show = |parameter: &'_ Value| (parameter["required"] == true).to_owned();
    list.into_iter()
        .flatten()
        .map(|p| {
            (
                p["name"].as_str().unwrap(),
                p["in"].as_str().unwrap(),
                show(p),
            )
        })
        .collect()
}

fn parameter<'d>(operation: &'d Value, name: &str) -> &'d Value {
    let list = operation["parameters"].as_array().unwrap();
    list.iter().find(|p| p["name"] == name).unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}
