//! Errors in the vendor's envelope and words.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use transcoder::Problem;

use super::HEADERS;

/// The answer to a request that failed.
pub(super) fn answer(problem: &Problem) -> Response<Bytes> {
    let status = problem.http_status;
    let message = match status {
        StatusCode::UNAUTHORIZED => "Unauthorized",
        StatusCode::FORBIDDEN => "Forbidden - No access to protected resource",
        StatusCode::NOT_FOUND if is_missing_device(problem) => "Device not found",
        StatusCode::NOT_FOUND => "Not Found",
        _ => problem.status.message(),
    };
    envelope(status, message)
}

/// The envelope of a text.
pub(super) fn envelope(status: StatusCode, message: &str) -> Response<Bytes> {
    let body = json!({"code": status.as_u16(), "message": message, "comments": {}});
    let mut response = crate::dialects::json(status, &body);
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

/// The one thing that requests name and the domain may not have; other paths
/// lead nowhere.
fn is_missing_device(problem: &Problem) -> bool {
    problem.reason.as_deref() == Some("NOT_FOUND")
}
