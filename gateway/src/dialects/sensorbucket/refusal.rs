//! What errors look like, and how the documents say that.

use bytes::Bytes;
use http::{Response as HttpResponse, StatusCode};
use serde_json::{Value, json};
use tonic::Code;
use transcoder::Problem;

use super::{NO_DEVICE, NO_KEY, NO_SENSOR};

/// The schema of errors: where there is no code, the field is not there.
pub(super) fn content() -> Value {
    json!({"application/json": {"schema": {
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": {"type": "string", "description": "For a person."},
            "code": {"type": "string", "description": "For a program; left out where there is none."},
        },
    }}})
}

/// `{"message", "code"}`; the code is left out where SensorBucket has none.
pub(super) fn error(problem: &Problem) -> HttpResponse<Bytes> {
    let (status, message, code) = told(problem);
    let mut body = serde_json::json!({ "message": message });
    if let Some(code) = code {
        body["code"] = code.into();
    }
    crate::dialects::json(status, &body)
}

fn told(problem: &Problem) -> (StatusCode, &str, Option<&str>) {
    const BAD: StatusCode = StatusCode::BAD_REQUEST;
    let message = problem.status.message();
    let reason = problem.reason.as_deref();
    match (reason.unwrap_or_default(), problem.status.code()) {
        ("MALFORMED_JSON", _) => (BAD, "Malformed JSON", Some("MALFORMED_JSON")),
        ("UNSUPPORTED_MEDIA_TYPE" | "MALFORMED_FORM", _) => invalid_content_type(),
        // JSON that came as a form, as `curl -d` sends it.
        ("UNKNOWN_FIELD", _) if message.starts_with('{') => invalid_content_type(),
        ("INVALID_VALUE", _) if message.starts_with("api_key_id:") => {
            (BAD, "api_key_id must be a valid int", None)
        }
        ("INVALID_VALUE", _) if message.starts_with("device_id:") => (
            BAD,
            "device_id must be a valid int",
            Some("DEVICE_ID_INVALID"),
        ),
        (_, Code::AlreadyExists) if message.starts_with("sensor.") => {
            (problem.http_status, message, Some(duplicate(message)))
        }
        (_, Code::Unauthenticated) => (problem.http_status, message, Some("UNAUTHORIZED")),
        (_, Code::PermissionDenied) => (problem.http_status, message, Some("FORBIDDEN")),
        (_, Code::Internal | Code::Unknown | Code::DataLoss) => {
            (problem.http_status, "Internal server error", None)
        }
        ("", Code::NotFound) if message == NO_KEY => {
            (problem.http_status, message, Some("ERR_API_KEY_NOT_FOUND"))
        }
        ("", Code::NotFound) if message == NO_DEVICE => {
            (problem.http_status, message, Some("DEVICE_NOT_FOUND"))
        }
        ("", Code::NotFound) if message == NO_SENSOR => {
            (problem.http_status, message, Some("SENSOR_NOT_FOUND"))
        }
        _ => (problem.http_status, message, reason),
    }
}

/// Which of a sensor's values another one of the device has already.
fn duplicate(message: &str) -> &'static str {
    match message.split_whitespace().next() {
        Some("sensor.external_id") => "DEVICE_DUPLICATE_SENSOR_EXTERNAL_ID",
        Some("sensor.fallback") => "DEVICE_DUPLICATE_SENSOR_FALLBACK_SENSOR",
        _ => "DEVICE_DUPLICATE_SENSOR_CODE",
    }
}

fn invalid_content_type() -> (StatusCode, &'static str, Option<&'static str>) {
    let code = Some("INVALID_CONTENT_TYPE");
    (StatusCode::BAD_REQUEST, "Invalid content type", code)
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;
    use crate::dialects::sensorbucket::NO_KEY_TO_REVOKE;
    use crate::dialects::sensorbucket::tenants::no_member;

    #[test]
    fn errors_have_the_codes_of_the_documentation() {
        let told = |status| error(&Problem::new(status));
        let answer = told(Status::not_found(NO_KEY));
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            answer.body(),
            r#"{"message":"API Key not found","code":"ERR_API_KEY_NOT_FOUND"}"#
        );
        let answer = told(Status::not_found(NO_KEY_TO_REVOKE));
        assert_eq!(answer.body(), r#"{"message":"Key does not exist"}"#);
        let answer = told(no_member().into());
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        assert!(answer.body().ends_with(br#""code":"FORBIDDEN"}"#));
    }
}
