//! What a tonic server answers, as an HTTP client sees it.

#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use support::{App, books};
use tonic::{Code, Status};
use tonic_transcoder::{Body, GoogleErrors, Transcoder};
use tonic_types::{ErrorDetails, StatusExt as _};

#[tokio::test]
async fn a_response_body_may_be_any_field() {
    let app = books();
    for (path, want) in [
        (
            "books",
            r#"[{"name":"shelves/1/books/2","title":"T","etag":"v1","pages":"7"},{"title":"U"}]"#,
        ),
        ("total", "\"2\""),
        ("token", "\"n\\\"t\""),
        ("first", "null"),
        ("counts", r#"{"a":1}"#),
    ] {
        let got = app.get(&format!("/v1/shelves/1/{path}?page_size=3")).await;
        assert_eq!((got.status.as_u16(), got.text()), (200, want), "{path}");
        assert_eq!(
            app.last().messages[0],
            json!({"parent": "shelves/1", "pageSize": 3})
        );
    }
    let app = App::new(|_| Ok(vec![Ok(json!({}))]));
    for (path, want) in [
        ("books", "[]"),
        ("total", "\"0\""),
        ("token", "\"\""),
        ("counts", "{}"),
        ("page", "{}"),
    ] {
        assert_eq!(app.get(&format!("/v1/shelves/1/{path}")).await.text(), want);
    }
}

#[tokio::test]
async fn an_unchanged_resource_is_not_sent_again() {
    let app = books();
    let got = app
        .request(
            "GET /v1/shelves/1/books/2",
            &[("if-none-match", "\"v1\"")],
            "",
        )
        .await;
    assert_eq!(
        (got.status.as_u16(), got.header("etag"), got.text()),
        (304, "\"v1\"", "")
    );
    let got = app
        .request(
            "GET /v1/shelves/1/books/2",
            &[("if-none-match", "\"v0\"")],
            "",
        )
        .await;
    assert_eq!(got.status, 200);
}

#[tokio::test]
async fn no_content_has_no_body() {
    let got = books()
        .request("DELETE /v1/shelves/1/books/2", &[], "")
        .await;
    assert_eq!(
        (got.status.as_u16(), got.text(), got.header("content-type")),
        (204, "", "")
    );
}

#[tokio::test]
async fn a_head_has_the_length_of_a_get_but_no_body() {
    let app = books();
    let length = app
        .get("/v1/shelves/1/books/2")
        .await
        .body
        .len()
        .to_string();
    let got = app.request("HEAD /v1/shelves/1/books/2", &[], "").await;
    assert_eq!((got.status.as_u16(), got.text()), (200, ""));
    assert_eq!(got.header("content-length"), length);
    let got = app.request("HEAD /v1/shelves/1:watch", &[], "").await;
    assert_eq!(
        (got.status.as_u16(), got.text()),
        (200, ""),
        "a stream is not read to its end"
    );
    assert_eq!(got.header("content-type"), "application/x-ndjson");
    let got = app.request("HEAD /v1/nothing", &[], "").await;
    assert_eq!((got.status.as_u16(), got.text()), (404, ""));
}

#[tokio::test]
async fn headers_become_metadata_and_metadata_headers() {
    let app = books();
    let metadata = [
        ("set-cookie", "a=1"),
        ("location", "/x"),
        ("x-http-status", "202"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in metadata {
        app.server
            .reply_metadata
            .lock()
            .unwrap()
            .append(name, value.parse().unwrap());
    }
    let headers = [
        ("authorization", "Bearer t"),
        ("x-a", "1"),
        ("cookie", "c"),
        ("traceparent", "00-1-2-3"),
        ("accept", "*/*"),
    ];
    let mut request = http::Request::builder()
        .uri("/v1/shelves/1/books/2")
        .extension(7_u32);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let got = app.send(request.body(bytes::Bytes::new()).unwrap()).await;
    assert_eq!(got.status, 202);
    let mut names: Vec<&str> = got.headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "cache-control",
            "content-type",
            "etag",
            "location",
            "set-cookie"
        ]
    );
    let call = app.last();
    assert_eq!(call.extension, Some(7));
    assert_eq!(call.metadata["authorization"], "Bearer t");
    assert_eq!(
        (
            call.metadata.contains_key("cookie"),
            call.metadata.contains_key("accept")
        ),
        (false, false)
    );
}

#[tokio::test]
async fn errors_of_the_service_keep_their_code_message_details_and_metadata() {
    let app = App::new(|call| {
        let how = call.messages[0]["how"].as_str().unwrap().to_owned();
        let mut details = ErrorDetails::with_resource_info("book", "b/1", "", "gone");
        details.set_retry_info(Some(std::time::Duration::from_millis(1500)));
        let mut status = Status::with_error_details(
            Code::from(how.parse::<i32>().unwrap()),
            "na\u{ef}ve \"x\"",
            details,
        );
        status
            .metadata_mut()
            .insert("retry-after", "2".parse().unwrap());
        Err(status)
    });
    for (code, http) in [
        (1, 499),
        (2, 500),
        (3, 400),
        (4, 504),
        (5, 404),
        (6, 409),
        (7, 403),
        (8, 429),
        (9, 400),
        (10, 409),
        (11, 400),
        (12, 501),
        (13, 500),
        (14, 503),
        (15, 500),
        (16, 401),
    ] {
        for rule in ["fail", "later"] {
            let got = app.get(&format!("/v1/{rule}/{code}")).await;
            assert_eq!(got.status.as_u16(), http, "{code}");
            let json = got.json();
            assert_eq!(
                (&json["code"], &json["message"]),
                (&json!(code), &json!("na\u{ef}ve \"x\""))
            );
            assert_eq!(got.detail("ResourceInfo")["description"], "gone");
            assert_eq!(got.detail("RetryInfo")["retryDelay"], "1.500s");
            assert_eq!(got.header("retry-after"), "2");
        }
    }
}

#[tokio::test]
async fn plain_text_and_raw_bodies() {
    let app = books();
    let got = app.get("/v1/motto").await;
    assert_eq!(
        (got.text(), got.header("content-type")),
        ("read \"more\"", "text/plain; charset=utf-8")
    );
    let png = [("content-type", "image/png")];
    let got = app
        .request("PUT /v1/shelves/1/books/2/cover?note=n", &png, "PNG!")
        .await;
    let want = json!({"name": "shelves/1/books/2", "cover": {"contentType": "image/png", "data": "UE5HIQ=="}, "note": "n"});
    assert_eq!(got.json(), want);
    let app = App::new(|_| {
        Ok(vec![
            Ok(json!({"contentType": "image/gif", "data": "R0lG"})),
            Ok(json!({"data": "IQ=="})),
        ])
    });
    for (path, want) in [("cover", "GIF"), ("cover:stream", "GIF!")] {
        let got = app.get(&format!("/v1/shelves/1/books/2/{path}")).await;
        assert_eq!(
            (got.text(), got.header("content-type")),
            (want, "image/gif")
        );
    }
}

/// The answer of a service that begins to stream a cover after a while.
async fn slow_cover(message: Option<&'static [u8]>, end: Status) -> http::Response<Body> {
    let set = support::descriptors();
    let transcoder = Transcoder::builder(set).build().unwrap();
    let path = "/v1/shelves/1/books/2/cover:stream";
    let matched = transcoder.route(&http::Method::GET, path).unwrap();
    let request = http::Request::get(path).body(Body::empty()).unwrap();
    let mut trailers = http::HeaderMap::new();
    end.add_header(&mut trailers).unwrap();
    let message = message.map(|bytes| Frame::data(Bytes::from_static(bytes)));
    let frames: Vec<_> = message
        .into_iter()
        .chain([Frame::trailers(trailers)])
        .collect();
    let later = futures::stream::once(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        futures::stream::iter(frames.into_iter().map(Ok::<_, Status>))
    });
    let mut body = Some(StreamBody::new(later.flatten()));
    let grpc = tower::service_fn(move |_: http::Request<Body>| {
        let answer = http::Response::new(body.take().unwrap());
        async move { Ok::<_, Infallible>(answer) }
    });
    transcoder.call(matched, request, grpc, &GoogleErrors).await
}

#[tokio::test(start_paused = true)]
async fn a_raw_stream_has_the_type_of_a_first_message_that_comes_later() {
    let gif = b"\0\0\0\0\x10\x0a\x09image/gif\x12\x03GIF";
    for (message, end, status, kind, text) in [
        (Some(&gif[..]), Status::ok(""), 200, "image/gif", "GIF"),
        (None, Status::ok(""), 200, "application/octet-stream", ""),
        (
            None,
            Status::not_found("no"),
            404,
            "application/json",
            r#"{"code":5,"message":"no","details":[]}"#,
        ),
    ] {
        let got = slow_cover(message, end).await;
        assert_eq!(got.status(), status);
        assert_eq!(got.headers()["content-type"], kind);
        let body = got.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, text);
    }
}

#[tokio::test]
async fn streams_are_lines_events_or_an_array() {
    let app = App::new(|_| Ok(vec![Ok(json!({"title": "A"})), Ok(json!({"title": "B"}))]));
    for (accept, kind, want) in [
        (
            "*/*",
            "application/x-ndjson",
            "{\"title\":\"A\"}\n{\"title\":\"B\"}\n",
        ),
        (
            "text/event-stream",
            "text/event-stream",
            "data: {\"title\":\"A\"}\n\ndata: {\"title\":\"B\"}\n\n",
        ),
        (
            "application/json",
            "application/json",
            "[{\"title\":\"A\"},{\"title\":\"B\"}]",
        ),
        (
            "text/html, application/json;q=0, text/event-stream; q=0.5",
            "text/event-stream",
            "data: {\"title\":\"A\"}\n\ndata: {\"title\":\"B\"}\n\n",
        ),
    ] {
        let got = app
            .request("GET /v1/shelves/1:watch", &[("accept", accept)], "")
            .await;
        assert_eq!(
            (got.status.as_u16(), got.header("content-type"), got.text()),
            (200, kind, want)
        );
    }
    assert_eq!(
        app.get("/v1/shelves/1:titles").await.text(),
        "\"A\"\n\"B\"\n"
    );
    let app = App::new(|_| Ok(vec![]));
    let got = app
        .request(
            "GET /v1/shelves/1:watch",
            &[("accept", "application/json")],
            "",
        )
        .await;
    assert_eq!(got.text(), "[]");
}

#[tokio::test]
async fn an_error_in_a_stream_is_its_last_frame() {
    let app = App::new(|_| {
        Ok(vec![
            Ok(json!({"title": "A"})),
            Err(Status::not_found("no")),
        ])
    });
    let error = r#"{"error":{"code":5,"message":"no","details":[]}}"#;
    for (accept, want) in [
        ("*/*", format!("{{\"title\":\"A\"}}\n{error}\n")),
        (
            "text/event-stream",
            format!("data: {{\"title\":\"A\"}}\n\nevent: error\ndata: {error}\n\n"),
        ),
        ("application/json", format!("[{{\"title\":\"A\"}},{error}]")),
    ] {
        let got = app
            .request("GET /v1/shelves/1:watch", &[("accept", accept)], "")
            .await;
        assert_eq!((got.status.as_u16(), got.text()), (200, want.as_str()));
    }
    let app = App::new(|_| {
        Ok(vec![
            Ok(json!({"data": "QQ=="})),
            Err(Status::not_found("no")),
        ])
    });
    assert!(app.get("/v1/shelves/1/books/2/cover:stream").await.broken);
    let app = App::new(|_| Ok(vec![Err(Status::not_found("no"))]));
    assert_eq!(
        app.get("/v1/shelves/1:watch").await.status,
        404,
        "an error that comes first is an answer"
    );
}

#[tokio::test]
async fn client_streams_are_lines_or_an_array() {
    let app = books();
    for body in [
        "{\"title\":\"A\"}\n{\"title\":\"B\"}\n",
        "[{\"title\":\"A\"},{\"title\":\"B\"}]",
    ] {
        let got = app.json("POST /v1/books:import", body).await;
        assert_eq!(
            got.json(),
            json!({"books": [{"title": "A"}, {"title": "B"}]})
        );
    }
    assert_eq!(
        app.json("POST /v1/books:import", "").await.json(),
        json!({})
    );
    let got = app.json("POST /v1/books:import", "[{}, {\"x\": 1}]").await;
    assert_eq!(got.field(), "[1].x");
}
