//! Errors as the vendor's programs read them: a JSON string; and for a device
//! that does not exist the plain text `not found`, which a client compares
//! before it looks at the status.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use prost::Message;
use proto::google::rpc::{BadRequest, ErrorInfo};
use serde_json::Value;
use transcoder::Problem;

use crate::dialects::json;

/// The answer to a request that failed.
pub(super) fn answer(problem: &Problem) -> Response<Bytes> {
    let info: ErrorInfo = detail(problem, "google.rpc.ErrorInfo").unwrap_or_default();
    match info.reason.as_str() {
        "NOT_FOUND" if info.metadata.get("kind").is_some_and(|k| k == "device") => not_found(),
        "ALREADY_EXISTS" => json(problem.http_status, &taken(problem, &info)),
        _ => json(problem.http_status, &text(problem)),
    }
}

/// What [`answer`] answers, for the documents.
pub(super) fn content() -> Value {
    serde_json::json!({
        "application/json": {"schema": {"type": "string", "description": "What is wrong."}},
        "text/plain": {"schema": {
            "type": "string",
            "description": "`not found`: there is no such device."
        }}
    })
}

fn not_found() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"not found"));
    *response.status_mut() = StatusCode::NOT_FOUND;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}

/// Names the field as the request did.
fn taken(problem: &Problem, info: &ErrorInfo) -> Value {
    match info.metadata.get("field") {
        Some(field) => format!("{} is taken by another one", named(field)).into(),
        None => problem.status.message().into(),
    }
}

/// What is wrong with which field; or else the message.
fn text(problem: &Problem) -> Value {
    let request: BadRequest = detail(problem, "google.rpc.BadRequest").unwrap_or_default();
    if request.field_violations.is_empty() {
        return problem.status.message().into();
    }
    let violations = request.field_violations.iter();
    let told: Vec<String> = violations
        .map(|v| format!("{}: {}", named(&v.field), v.description))
        .collect();
    told.join("; ").into()
}

/// A field of the domain by the vendor's name for it.
pub(super) fn named(field: &str) -> String {
    let of = |message: &str| field.strip_prefix(message)?.strip_prefix('.');
    let messages = ["device", "tag", "connector", "webhook"];
    let below = messages.into_iter().find_map(of).unwrap_or(field);
    let end = below.find(['.', '[']).unwrap_or(below.len());
    let (head, rest) = below.split_at(end);
    let head = match head {
        "display_name" => "name",
        "description" if of("webhook").is_some() => "name",
        "description" => "comment",
        "event_types" => "triggers",
        "labels" => "label",
        "tag_ids" if !rest.is_empty() => "tags",
        "secret" => "token",
        "device_id" | "tag_id" => "id",
        "tenant_id" => "space_id",
        other => other,
    };
    format!("{head}{rest}")
}

fn detail<T: Message + Default>(problem: &Problem, name: &str) -> Option<T> {
    let details = problem.details();
    let found = details
        .iter()
        .find(|any| any.type_url.rsplit('/').next() == Some(name))?;
    T::decode(found.value.as_slice()).ok()
}
