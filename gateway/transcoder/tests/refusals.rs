//! What a request may not say, and how much of it is told back.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{App, Server, books};
use tonic_transcoder::Transcoder;

#[tokio::test]
async fn a_query_gives_nothing_that_the_body_gives() {
    let app = books();
    let form = "application/x-www-form-urlencoded";
    for (line, kind, body, field) in [
        (
            "PUT /v1/shelves/1/books/2/tags?tags=c",
            "",
            "[\"a\"]",
            "tags",
        ),
        // Nor is it a second place for a body that is not there.
        ("PUT /v1/shelves/1/books/2/tags?tags[]=c", "", "", "tags[]"),
        (
            "PATCH /v1/shelves/1/books/2?book.title=N",
            "",
            "{}",
            "book.title",
        ),
        (
            "POST /v1/shelves/1/books?book.labels[a]=b",
            form,
            "title=T",
            "book.labels[a]",
        ),
        (
            "PUT /v1/echo?child.int32_value=4",
            "",
            "{}",
            "child.int32_value",
        ),
        (
            "PUT /v1/shelves/1/books/2/cover?cover.content_type=a",
            "image/png",
            "PNG",
            "cover.content_type",
        ),
    ] {
        let kind = if kind.is_empty() {
            "application/json"
        } else {
            kind
        };
        let got = app.request(line, &[("content-type", kind)], body).await;
        assert_eq!(
            (got.status.as_u16(), got.reason().as_str(), got.field()),
            (400, "UNKNOWN_QUERY_PARAMETER", field.to_owned()),
            "{line}"
        );
    }
    assert!(app.server.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_query_that_says_what_the_body_says_is_skipped_by_services_that_skip() {
    let set = support::compile_text(
        r#"syntax = "proto3"; package t;
        import "google/api/annotations.proto"; import "transcoder/v1/options.proto";
        message M { string name = 1; M child = 2; }
        service S {
          option (transcoder.v1.service) = { ignore_unknown: true };
          rpc Echo(M) returns (M) { option (google.api.http) = { put: "/m" body: "child" }; }
        }"#,
    );
    let transcoder = Transcoder::builder(set.clone()).build().unwrap();
    let server = Server::of(&set, |call| Ok(vec![Ok(call.messages[0].clone())]));
    let service = transcoder.into_service(server.clone());
    let app = App { server, service };
    let got = app
        .json("PUT /m?name=q&child.name=q", r#"{"name": "b"}"#)
        .await;
    assert_eq!(got.json(), json!({"name": "q", "child": {"name": "b"}}));
}

#[tokio::test]
async fn what_is_refused_is_not_told_at_full_length() {
    let app = App::echo();
    let long = "\u{1}".repeat(1 << 16);
    let escaped = "\\u0001".repeat(1 << 16);
    let digits = "9".repeat(1 << 16);
    for (line, kind, body) in [
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"int32Value\": \"{escaped}\"}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"int32Value\": {digits}}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"enumValue\": \"{escaped}\"}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"timestamp\": \"{escaped}\"}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"mask\": \"{escaped}\"}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"any\": {{\"@type\": \"{escaped}\"}}}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"{escaped}\": 1}}"),
        ),
        (
            "POST /v1/echo",
            "application/json",
            format!("{{\"int32Map\": {{\"{escaped}\": 1}}}}"),
        ),
        (
            "POST /v1/echo",
            "application/x-www-form-urlencoded",
            format!("boolValue={long}"),
        ),
    ] {
        let got = app.request(line, &[("content-type", kind)], &body).await;
        assert_eq!(got.status, 400, "{:.60}", body);
        let told = got.body.len();
        assert!(told < 5_000, "{told} bytes for {:.60}", body);
        assert!(got.text().contains('…'), "{}", got.text());
    }
    // What is short is told as it is.
    let got = app.json("POST /v1/echo", r#"{"int32Value": "4.5x"}"#).await;
    assert!(got.text().contains("4.5x"), "{}", got.text());
}
