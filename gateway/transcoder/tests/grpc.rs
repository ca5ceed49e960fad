//! Answers of gRPC services that no tonic server would give, or only rarely.

#![allow(clippy::unwrap_used)]

mod support;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::Value;
use tonic_transcoder::{Body, ErrorShape, Problem, Transcoder};
use tower::ServiceExt as _;

type Answer = Response<Body>;

fn transcoder() -> Transcoder {
    Transcoder::builder(support::descriptors()).build().unwrap()
}

/// Sends a GET through the transcoder to a service with one answer.
async fn get(uri: &str, answer: Answer) -> (u16, HeaderMap, String) {
    let answer = Arc::new(Mutex::new(Some(answer)));
    let grpc = tower::service_fn(move |_: http::Request<Body>| {
        let answer = answer.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    let request = http::Request::builder()
        .uri(uri)
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = transcoder()
        .into_service(grpc)
        .oneshot(request)
        .await
        .unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        parts.status.as_u16(),
        parts.headers,
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(message);
    frame
}

fn answer(chunks: Vec<Vec<u8>>, trailers: &[(&'static str, &'static str)]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in trailers {
        map.insert(*name, value.parse().unwrap());
    }
    let data = chunks
        .into_iter()
        .map(|chunk| Frame::data(Bytes::from(chunk)));
    let trailers = (!trailers.is_empty()).then(|| Frame::trailers(map));
    let frames = data.chain(trailers).map(Ok::<_, Infallible>);
    let mut response = Response::new(Body::new(StreamBody::new(tokio_stream::iter(
        frames.collect::<Vec<_>>(),
    ))));
    response
        .headers_mut()
        .insert("content-type", "application/grpc".parse().unwrap());
    response
}

const OK: &[(&str, &str)] = &[("grpc-status", "0")];
const BOOK: &str = "/v1/shelves/1/books/2";

fn reason(body: &str) -> String {
    let json: Value = serde_json::from_str(body).unwrap();
    json["details"][0]["reason"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn fields_in_any_order_and_in_pieces_are_merged() {
    for (wire, want) in [
        // title, then name.
        (&b"\x12\x01T\x0a\x01N"[..], r#"{"name":"N","title":"T"}"#),
        // The last of two names counts.
        (b"\x0a\x01A\x0a\x01B", r#"{"name":"B"}"#),
        // Two halves of an author.
        (
            b"\x1a\x03\x0a\x01G\x1a\x03\x12\x01F",
            r#"{"author":{"givenName":"G","familyName":"F"}}"#,
        ),
        // A list with something between.
        (b"\x22\x01a\x38\x00\x22\x01b", r#"{"tags":["a","b"]}"#),
        // An entry without its key, one without its value, one in reverse.
        (b"\x2a\x03\x12\x01v", r#"{"labels":{"":"v"}}"#),
        (b"\x2a\x03\x0a\x01k", r#"{"labels":{"k":""}}"#),
        (b"\x2a\x06\x12\x01v\x0a\x01k", r#"{"labels":{"k":"v"}}"#),
        // A key twice.
        (
            b"\x2a\x06\x0a\x01k\x12\x01v\x2a\x06\x0a\x01k\x12\x01w",
            r#"{"labels":{"k":"w"}}"#,
        ),
        // Fields that are not known, and a zero that need not be there.
        (
            b"\xa2\x06\x01x\x0a\x01N\x38\x00\xa8\x06\x01",
            r#"{"name":"N"}"#,
        ),
        (b"", "{}"),
    ] {
        let (status, _, body) = get(BOOK, answer(vec![frame(wire)], OK)).await;
        assert_eq!((status, body.as_str()), (200, want), "{wire:?}");
    }
}

#[tokio::test]
async fn answers_that_are_no_messages_are_internal_errors() {
    for (chunks, trailers, status, want) in [
        (vec![frame(b"\x0a\x05N")], OK, 500, "MALFORMED_RESPONSE"),
        (vec![frame(b"\x0a\x01\xff")], OK, 500, "MALFORMED_RESPONSE"),
        (vec![frame(b"\x08\x01")], OK, 500, "MALFORMED_RESPONSE"),
        (
            vec![frame(
                b"\x42\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            )],
            OK,
            200,
            "",
        ),
        (
            vec![frame(b"\x42\x06\x08\xff\xff\xff\xff\x7f")],
            OK,
            200,
            "",
        ),
        (
            vec![frame(b"\x42\x09\x08\xff\xff\xff\xff\xff\xff\xff\x7f")],
            OK,
            500,
            "UNPRINTABLE_RESPONSE",
        ),
        (vec![], OK, 500, "MALFORMED_RESPONSE"),
        (vec![frame(b""), frame(b"")], OK, 500, "MALFORMED_RESPONSE"),
        (vec![frame(b"")], &[], 500, "NOT_GRPC"),
        (vec![vec![1, 0, 0, 0, 0]], OK, 500, ""),
        (vec![vec![0, 0, 0]], OK, 500, ""),
    ] {
        let (got, _, body) = get(BOOK, answer(chunks.clone(), trailers)).await;
        assert_eq!(got, status, "{chunks:?} {body}");
        assert_eq!(reason(&body), want, "{chunks:?}");
    }
}

#[tokio::test]
async fn a_status_may_come_alone_in_the_headers() {
    let mut response = Response::new(Body::empty());
    response
        .headers_mut()
        .insert("grpc-status", "5".parse().unwrap());
    response
        .headers_mut()
        .insert("grpc-message", "na%C3%AFve %22x%22".parse().unwrap());
    response
        .headers_mut()
        .insert("grpc-status-details-bin", "!!!".parse().unwrap());
    response
        .headers_mut()
        .insert("x-more", "m".parse().unwrap());
    let (status, headers, body) = get(BOOK, response).await;
    assert_eq!((status, headers["x-more"].to_str().unwrap()), (404, "m"));
    assert_eq!(
        body,
        "{\"code\":5,\"message\":\"na\u{ef}ve \\\"x\\\"\",\"details\":[]}"
    );
    assert!(!headers.contains_key("grpc-status"));
}

#[tokio::test]
async fn proxies_that_do_not_speak_grpc_are_understood() {
    for (http, want) in [
        (401, 401),
        (403, 403),
        (404, 501),
        (429, 503),
        (502, 503),
        (503, 503),
        (504, 503),
        (418, 500),
    ] {
        let mut response = Response::new(Body::empty());
        response
            .headers_mut()
            .insert("content-type", "text/html".parse().unwrap());
        *response.status_mut() = http.try_into().unwrap();
        let (status, _, body) = get(BOOK, response).await;
        assert_eq!(
            (status, reason(&body).as_str()),
            (want, "NOT_GRPC"),
            "{http}"
        );
    }
}

#[tokio::test]
async fn a_service_that_cannot_be_called_is_unavailable() {
    let grpc = tower::service_fn(|_: http::Request<Body>| async {
        Err::<Answer, _>(std::io::Error::other("down"))
    });
    let request = http::Request::builder()
        .uri(BOOK)
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = transcoder()
        .into_service(grpc)
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn a_failing_call_may_choose_its_http_status() {
    let fail = &[
        ("grpc-status", "3"),
        ("grpc-message", "no"),
        ("x-http-status", "422"),
    ];
    let (status, headers, _) = get(BOOK, answer(vec![], fail)).await;
    assert_eq!(status, 422);
    assert!(!headers.contains_key("x-http-status"));
    let (status, ..) = get(
        BOOK,
        answer(vec![], &[("grpc-status", "3"), ("x-http-status", "200")]),
    )
    .await;
    assert_eq!(status, 400, "an error is never a success");
}

#[tokio::test]
async fn a_stream_is_passed_on_as_it_comes() {
    let (sender, receiver) =
        tokio::sync::mpsc::unbounded_channel::<Result<Frame<Bytes>, Infallible>>();
    let body = Body::new(StreamBody::new(
        tokio_stream::wrappers::UnboundedReceiverStream::new(receiver),
    ));
    let body = Arc::new(Mutex::new(Some(body)));
    let grpc = tower::service_fn(move |_: http::Request<Body>| {
        let body = body.lock().unwrap().take().unwrap();
        async move { Ok::<_, Infallible>(Response::new(body)) }
    });
    let request = http::Request::builder()
        .uri("/v1/shelves/1:watch")
        .body(Full::new(Bytes::new()))
        .unwrap();
    // The answer begins before there is any message.
    let mut response = transcoder()
        .into_service(grpc)
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    for title in ["A", "B"] {
        let book = [b"\x12\x01", title.as_bytes()].concat();
        sender.send(Ok(Frame::data(frame(&book).into()))).unwrap();
        let data = response
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        assert_eq!(data, format!("{{\"title\":\"{title}\"}}\n"));
    }
    // A stream that ends without a status has failed.
    drop(sender);
    let data = response
        .frame()
        .await
        .unwrap()
        .unwrap()
        .into_data()
        .unwrap();
    assert!(data.starts_with(b"{\"error\":{\"code\":13,"), "{data:?}");
    assert!(response.frame().await.is_none());
}

#[derive(Clone, Copy)]
struct Plain;

impl ErrorShape for Plain {
    fn for_stream(&self) -> Option<Arc<dyn ErrorShape>> {
        Some(Arc::new(*self))
    }

    fn shape(&self, problem: &Problem) -> Response<Bytes> {
        let text = format!(
            "{} {}",
            problem.reason.as_deref().unwrap_or("-"),
            problem.status.message()
        );
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = problem.http_status;
        response
            .headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        response
    }
}

#[tokio::test]
async fn errors_take_the_shape_they_are_given() {
    let grpc = tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, Infallible>(answer(
            vec![],
            &[
                ("grpc-status", "5"),
                ("grpc-message", "gone"),
                ("retry-after", "1"),
            ],
        ))
    });
    let late = tower::service_fn(|_: http::Request<Body>| async {
        Ok::<_, Infallible>(answer(
            vec![frame(b"")],
            &[("grpc-status", "5"), ("grpc-message", "late")],
        ))
    });
    let request = http::Request::builder()
        .uri("/v1/shelves/1:watch")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let streamed = transcoder()
        .into_service(late)
        .errors(Arc::new(Plain))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(
        streamed.into_body().collect().await.unwrap().to_bytes(),
        "{}\n{\"error\":- late}\n"
    );
    let service = transcoder().into_service(grpc).errors(Arc::new(Plain));
    for (uri, status, text) in [
        (BOOK, 404, "- gone"),
        (
            "/v1/nothing",
            404,
            "ROUTE_NOT_FOUND there is nothing at this path",
        ),
        (
            "/v1/echo?anny=1",
            400,
            "UNKNOWN_QUERY_PARAMETER anny: unknown; did you mean \"any\"?",
        ),
    ] {
        let request = http::Request::builder()
            .uri(uri)
            .body(Full::new(Bytes::new()))
            .unwrap();
        let (parts, body) = service.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!(
            (parts.status.as_u16(), &body[..]),
            (status, text.as_bytes())
        );
        assert_eq!(parts.headers["content-type"], "text/plain");
        assert_eq!(parts.headers.contains_key("retry-after"), uri == BOOK);
    }
}

#[tokio::test]
async fn details_of_unknown_types_are_base64() {
    let details = tonic_types::pb::Status {
        code: 3,
        message: String::new(),
        details: vec![
            prost_types::Any {
                type_url: "x.y/not.Known".into(),
                value: vec![1, 2],
            },
            prost_types::Any {
                type_url: "x.y/library.v1.Book".into(),
                value: b"\x12\x01T".to_vec(),
            },
            prost_types::Any {
                type_url: "x.y/google.rpc.DebugInfo".into(),
                value: b"\x12\x01D".to_vec(),
            },
        ],
    };
    use base64::Engine as _;
    use prost::Message as _;
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(details.encode_to_vec());
    let text: &'static str = text.leak();
    let (_, _, body) = get(
        BOOK,
        answer(
            vec![],
            &[("grpc-status", "3"), ("grpc-status-details-bin", text)],
        ),
    )
    .await;
    let want = r#"[{"@type":"x.y/not.Known","value":"AQI="},{"@type":"x.y/library.v1.Book","title":"T"},{"@type":"x.y/google.rpc.DebugInfo","detail":"D"}]"#;
    assert!(body.contains(want), "{body}");
}
