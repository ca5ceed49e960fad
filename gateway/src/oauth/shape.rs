//! Errors as RFC 6749 has them, section 5.2.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderValue, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use tonic::Code;
use transcoder::Problem;

/// `{"error", "error_description"}`.
pub(super) fn error(problem: &Problem) -> Response<Bytes> {
    let (status, code) = code(problem);
    let body = serde_json::json!({
        "error": code,
        "error_description": described(problem.status.message()),
    });
    let mut response = crate::dialects::json(status, &body);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static(match code {
            "invalid_token" => "Bearer realm=\"muster\", error=\"invalid_token\"",
            _ => "Basic realm=\"muster\"",
        });
        headers.insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// What [`error`] answers, for the documents (RFC 6749, section 5.2).
pub(super) fn content() -> serde_json::Value {
    serde_json::json!({"application/json": {"schema": {
        "type": "object",
        "properties": {
            "error": {"type": "string", "description": "What is wrong, for programs."},
            "error_description": {"type": "string", "description": "What is wrong, for people."}
        },
        "required": ["error", "error_description"]
    }}})
}

fn code(problem: &Problem) -> (StatusCode, &'static str) {
    let bad = StatusCode::BAD_REQUEST;
    match (problem.reason.as_deref(), problem.status.code()) {
        (Some("UNSUPPORTED_GRANT_TYPE"), _) => (bad, "unsupported_grant_type"),
        (Some("INVALID_SCOPE"), _) => (bad, "invalid_scope"),
        (Some("INVALID_TOKEN"), _) => (StatusCode::UNAUTHORIZED, "invalid_token"),
        (_, Code::Unauthenticated) => (StatusCode::UNAUTHORIZED, "invalid_client"),
        (_, Code::PermissionDenied) => (bad, "unauthorized_client"),
        (_, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted) => {
            (problem.http_status, "temporarily_unavailable")
        }
        _ if problem.http_status.is_server_error() => (problem.http_status, "server_error"),
        _ => (problem.http_status, "invalid_request"),
    }
}

/// Only printable ASCII but `"` and `\` may stand in a description.
fn described(message: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\\' => '\'',
        ' '..='~' => c,
        _ => '?',
    };
    message.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use chassis::Error;
    use tonic::Status;

    use super::*;

    #[test]
    fn an_error_is_told_in_the_words_of_the_standard() {
        let unsupported = Error::precondition("UNSUPPORTED_GRANT_TYPE", "no \"password\" é");
        let answer = error(&Problem::new(unsupported.into()));
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = r#"{"error":"unsupported_grant_type","error_description":"no 'password' ?"}"#;
        assert_eq!(answer.body(), body);
        for (status, code, name) in [
            (Status::unauthenticated("x"), 401, "invalid_client"),
            (Status::invalid_argument("x"), 400, "invalid_request"),
            (Status::permission_denied("x"), 400, "unauthorized_client"),
            (Status::unavailable("x"), 503, "temporarily_unavailable"),
            (Status::internal("x"), 500, "server_error"),
        ] {
            let answer = error(&Problem::new(status));
            assert_eq!(answer.status().as_u16(), code);
            assert!(
                answer
                    .body()
                    .starts_with(format!("{{\"error\":\"{name}\"").as_bytes())
            );
        }
    }
}
