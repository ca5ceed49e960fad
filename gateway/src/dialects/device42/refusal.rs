//! What errors look like.

use bytes::Bytes;
use http::header::{HeaderValue, WWW_AUTHENTICATE};
use http::{Response as HttpResponse, StatusCode};
use transcoder::Problem;

/// `{"msg", "code"}`, where the code is the HTTP status.
pub(super) fn error(problem: &Problem) -> HttpResponse<Bytes> {
    let status = problem.http_status;
    let body = serde_json::json!({
        "msg": problem.status.message(),
        "code": status.as_u16(),
    });
    let mut response = crate::dialects::json(status, &body);
    if status == StatusCode::UNAUTHORIZED {
        let basic = HeaderValue::from_static("Basic realm=\"Device42\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
    }
    response
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn an_error_has_a_text_and_its_status() {
        let answer = error(&Problem::new(Status::not_found("there is no device 7")));
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(
            answer.body(),
            r#"{"msg":"there is no device 7","code":404}"#
        );
        let answer = error(&Problem::new(Status::unauthenticated("who?")));
        assert!(answer.headers().contains_key(WWW_AUTHENTICATE));
    }
}
