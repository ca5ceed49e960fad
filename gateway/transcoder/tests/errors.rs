//! Errors of services, as an HTTP client sees them.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::convert::Infallible;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body_util::{BodyExt as _, Full, StreamBody};
use prost::Message as _;
use serde_json::{Value, json};
use support::App;
use tonic::{Code, Status};
use tonic_transcoder::Transcoder;
use tonic_types::{
    BadRequest, DebugInfo, ErrorDetails, ErrorInfo, Help, LocalizedMessage, PreconditionFailure,
    QuotaFailure, RequestInfo, ResourceInfo, RetryInfo, StatusExt as _,
};
use tower::{ServiceExt as _, service_fn};

/// What becomes of a gRPC answer with these headers, body and trailers.
async fn answered(
    status: u16,
    headers: &[(&'static str, &str)],
    data: &[u8],
    trailers: &[(&'static str, &str)],
) -> (http::response::Parts, Value) {
    let map = |pairs: &[(&'static str, &str)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            (HeaderName::from_static(name), value)
        };
        pairs.iter().map(pair).collect()
    };
    let (headers, trailers) = (map(headers), map(trailers));
    let data = Bytes::copy_from_slice(data);
    let grpc = service_fn(move |_| {
        let mut frames = Vec::new();
        if !data.is_empty() {
            frames.push(Ok::<_, Infallible>(http_body::Frame::data(data.clone())));
        }
        if !trailers.is_empty() {
            frames.push(Ok(http_body::Frame::trailers(trailers.clone())));
        }
        let body = StreamBody::new(tokio_stream::iter(frames));
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status.try_into().unwrap();
        *answer.headers_mut() = headers.clone();
        async { Ok::<_, Infallible>(answer) }
    });
    let transcoder = Transcoder::builder(support::descriptors()).build().unwrap();
    let request = http::Request::get("/v1/books/1").body(Full::new(Bytes::new()));
    let answer = transcoder
        .into_service(grpc)
        .oneshot(request.unwrap())
        .await;
    let (parts, body) = answer.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (parts, serde_json::from_slice(&body).unwrap())
}

const GRPC: (&str, &str) = ("content-type", "application/grpc");

#[tokio::test]
async fn every_code_has_its_http_status() {
    // google/rpc/code.proto, "HTTP Mapping"; what is no code is UNKNOWN.
    for (code, status, told) in [
        ("1", 499, 1),
        ("2", 500, 2),
        ("3", 400, 3),
        ("4", 504, 4),
        ("5", 404, 5),
        ("6", 409, 6),
        ("7", 403, 7),
        ("8", 429, 8),
        ("9", 400, 9),
        ("10", 409, 10),
        ("11", 400, 11),
        ("12", 501, 12),
        ("13", 500, 13),
        ("14", 503, 14),
        ("15", 500, 15),
        ("16", 401, 16),
        ("17", 500, 2),
        ("-1", 500, 2),
        ("x", 500, 2),
    ] {
        let failed = ("grpc-status", code);
        // Trailers alone, which come as headers, and trailers behind a head.
        let only = answered(200, &[GRPC, failed], b"", &[]).await;
        let behind = answered(200, &[GRPC], b"", &[failed]).await;
        for (parts, json) in [only, behind] {
            assert_eq!(parts.status.as_u16(), status, "{code}");
            assert_eq!(json["code"], told, "{code}");
            assert_eq!(parts.headers["content-type"], "application/json");
            assert!(!parts.headers.contains_key("grpc-status"));
        }
    }
    let (parts, _) = answered(200, &[GRPC, ("grpc-status", "0")], &[0; 5], &[]).await;
    assert_eq!(parts.status, 200, "OK is the seventeenth");
}

#[tokio::test]
async fn a_message_is_decoded_and_never_breaks_the_json() {
    for (message, want) in [
        ("plain", "plain"),
        ("na%C3%AFve %E2%82%AC %22x%22", "na\u{ef}ve \u{20ac} \"x\""),
        ("100%25 %", "100% %"),
        ("a%0Ab%00c%5C", "a\nb\0c\\"),
        ("", ""),
    ] {
        let headers = [GRPC, ("grpc-status", "5"), ("grpc-message", message)];
        let (_, json) = answered(200, &headers, b"", &[]).await;
        assert_eq!(json["message"], want, "{message}");
    }
    // What is not UTF-8 in the end is still told as an error.
    let headers = [GRPC, ("grpc-status", "5"), ("grpc-message", "%ff")];
    let (parts, json) = answered(200, &headers, b"", &[]).await;
    assert!(json["message"].is_string(), "{json}");
    assert!(parts.status.is_client_error() || parts.status.is_server_error());
}

#[tokio::test]
async fn details_of_every_standard_type_are_printed() {
    let app = App::new(|_| {
        let mut details = ErrorDetails::new();
        let metadata = HashMap::from([("k".to_owned(), "v".to_owned())]);
        details.set_error_info("REASON", "example.com", metadata);
        details.set_retry_info(Some(Duration::from_millis(1500)));
        details.set_debug_info(vec!["frame".to_owned()], "d");
        details.add_quota_failure_violation("user:1", "too many");
        details.add_precondition_failure_violation("TOS", "terms", "accept them");
        details.add_bad_request_violation("book.title", "is empty");
        details.set_request_info("r-1", "data");
        details.set_resource_info("book", "books/1", "me", "gone");
        details.add_help_link("read", "https://example.com");
        details.set_localized_message("de", "Nein");
        Err(Status::with_error_details(Code::Aborted, "no", details))
    });
    let got = app.get("/v1/fail/x").await;
    assert_eq!(got.status, 409);
    let name = |name: &str| format!("type.googleapis.com/google.rpc.{name}");
    for (kind, want) in [
        (
            ErrorInfo::TYPE_URL,
            json!({"reason": "REASON", "domain": "example.com", "metadata": {"k": "v"}}),
        ),
        (RetryInfo::TYPE_URL, json!({"retryDelay": "1.500s"})),
        (
            DebugInfo::TYPE_URL,
            json!({"stackEntries": ["frame"], "detail": "d"}),
        ),
        (
            QuotaFailure::TYPE_URL,
            json!({"violations": [{"subject": "user:1", "description": "too many"}]}),
        ),
        (
            PreconditionFailure::TYPE_URL,
            json!({"violations": [{"type": "TOS", "subject": "terms", "description": "accept them"}]}),
        ),
        (
            BadRequest::TYPE_URL,
            json!({"fieldViolations": [{"field": "book.title", "description": "is empty"}]}),
        ),
        (
            RequestInfo::TYPE_URL,
            json!({"requestId": "r-1", "servingData": "data"}),
        ),
        (
            ResourceInfo::TYPE_URL,
            json!({"resourceType": "book", "resourceName": "books/1", "owner": "me", "description": "gone"}),
        ),
        (
            Help::TYPE_URL,
            json!({"links": [{"description": "read", "url": "https://example.com"}]}),
        ),
        (
            LocalizedMessage::TYPE_URL,
            json!({"locale": "de", "message": "Nein"}),
        ),
    ] {
        let kind = kind.rsplit('.').next().unwrap();
        let mut detail = got.detail(kind);
        let found = detail.as_object_mut().unwrap().remove("@type");
        assert_eq!(found, Some(json!(name(kind))));
        assert_eq!(detail, want, "{kind}");
    }
    let details = got.json()["details"].as_array().unwrap().len();
    assert_eq!(details, 10);
}

#[tokio::test]
async fn details_that_nobody_knows_are_told_as_bytes() {
    let own = |url: &str, value: Vec<u8>| prost_types::Any {
        type_url: url.to_owned(),
        value,
    };
    let book = [0x12, 1, b'T'].to_vec();
    let status = tonic_types::pb::Status {
        code: 5,
        message: "no".to_owned(),
        details: vec![
            own("type.example.com/nobody.v1.Knows", vec![0, 1, 2]),
            own("type.googleapis.com/library.v1.Book", book),
            own("type.googleapis.com/google.rpc.RetryInfo", vec![0xff]),
        ],
    }
    .encode_to_vec();
    for encoded in [
        BASE64_STANDARD.encode(&status),
        BASE64_STANDARD_NO_PAD.encode(&status),
    ] {
        let details = ("grpc-status-details-bin", encoded.as_str());
        let (_, json) = answered(200, &[GRPC, ("grpc-status", "5"), details], b"", &[]).await;
        assert_eq!(
            json["details"],
            json!([
                {"@type": "type.example.com/nobody.v1.Knows", "value": "AAEC"},
                {"@type": "type.googleapis.com/library.v1.Book", "title": "T"},
                {"@type": "type.googleapis.com/google.rpc.RetryInfo", "value": "/w=="},
            ])
        );
    }
    // Details that are none leave the status as it is.
    for broken in ["%%%", "AAAA"] {
        let details = ("grpc-status-details-bin", broken);
        let (parts, json) = answered(200, &[GRPC, ("grpc-status", "5"), details], b"", &[]).await;
        assert_eq!((parts.status.as_u16(), &json["details"]), (404, &json!([])));
    }
}

#[tokio::test]
async fn metadata_of_answers_becomes_headers_as_it_is() {
    let headers = [
        GRPC,
        ("x-first", "1"),
        ("x-many", "a"),
        ("x-many", "b"),
        ("x-bytes-bin", "AAEC"),
        ("x-http-status", "203"),
        ("grpc-encoding", "identity"),
        ("grpc-accept-encoding", "gzip"),
        ("connection", "close"),
    ];
    let trailers = [("grpc-status", "0"), ("x-last", "2")];
    let (parts, _) = answered(200, &headers, &[0; 5], &trailers).await;
    assert_eq!(parts.status, 203);
    let mut told: Vec<String> = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            "content-type: application/json",
            "x-bytes-bin: AAEC",
            "x-first: 1",
            "x-last: 2",
            "x-many: a",
            "x-many: b",
        ]
    );
    // A success cannot be made of an error, nor an error of a success's body.
    for (chosen, status) in [("200", 404), ("418", 418), ("99", 404), ("x", 404)] {
        let failed = [GRPC, ("grpc-status", "5"), ("x-http-status", chosen)];
        let (parts, _) = answered(200, &failed, b"", &[]).await;
        assert_eq!(parts.status.as_u16(), status, "{chosen}");
    }
}

#[tokio::test]
async fn answers_that_are_no_grpc_are_told_as_such() {
    // gRPC's http-grpc-status-mapping.md.
    for (status, code, told) in [
        (400, 13, 500),
        (401, 16, 401),
        (403, 7, 403),
        (404, 12, 501),
        (429, 14, 503),
        (502, 14, 503),
        (503, 14, 503),
        (504, 14, 503),
        (418, 2, 500),
    ] {
        let html = [("content-type", "text/html")];
        let (parts, json) = answered(status, &html, b"<html>", &[]).await;
        assert_eq!(
            (parts.status.as_u16(), &json["code"]),
            (told, &json!(code)),
            "{status}"
        );
        assert_eq!(json["details"][0]["reason"], "NOT_GRPC");
    }
}
