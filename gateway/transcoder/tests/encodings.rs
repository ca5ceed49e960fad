//! Content-Encoding, by the layers of tower-http in front of a transcoder.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read as _, Write as _};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use support::App;
use tower::{Layer as _, ServiceExt as _};
use tower_http::compression::CompressionLayer;
use tower_http::decompression::RequestDecompressionLayer;

fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

/// What an app answers behind both layers.
async fn send(app: &App, request: Request<Bytes>) -> Response<Bytes> {
    // The transcoder itself refuses what it cannot read, in its own words.
    let decode = RequestDecompressionLayer::new().pass_through_unaccepted(true);
    let service = CompressionLayer::new().layer(decode.layer(app.service.clone()));
    let (parts, body) = service
        .oneshot(request.map(Full::new))
        .await
        .unwrap()
        .into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
}

fn post(encoding: &str, body: Bytes) -> Request<Bytes> {
    Request::post("/v1/echo")
        .header("content-type", "application/json")
        .header("content-encoding", encoding)
        .body(body)
        .unwrap()
}

fn reason(answer: &Response<Bytes>) -> (u16, String) {
    let json: Value = serde_json::from_slice(answer.body()).unwrap();
    let reason = json["details"][0]["reason"].as_str().unwrap().to_owned();
    (answer.status().as_u16(), reason)
}

#[tokio::test]
async fn bodies_and_answers_are_encoded_by_layers_in_front() {
    let app = App::echo();
    let message = json!({"stringValue": "long ".repeat(100)}).to_string();
    let mut request = post("gzip", gzip(message.as_bytes()));
    let accept = http::HeaderValue::from_static("gzip");
    request.headers_mut().insert("accept-encoding", accept);
    let answer = send(&app, request).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    assert!(!answer.headers().contains_key("content-length"));
    let mut decoded = String::new();
    GzDecoder::new(&answer.body()[..])
        .read_to_string(&mut decoded)
        .unwrap();
    assert_eq!(decoded, message);
}

#[tokio::test]
async fn what_a_body_becomes_is_what_is_limited() {
    let app = App::echo();
    let bomb = [b"{\"stringValue\":\"".as_slice(), &vec![b'x'; 32 << 20]].concat();
    let bomb = gzip(&bomb);
    assert!(bomb.len() < 1 << 20);
    let answer = send(&app, post("gzip", bomb)).await;
    assert_eq!(reason(&answer), (413, "BODY_TOO_LARGE".into()));
    let answer = send(&app, post("gzip", Bytes::from_static(b"{}"))).await;
    assert_eq!(reason(&answer), (400, "UNREADABLE_BODY".into()));
    let answer = send(&app, post("compress", Bytes::from_static(b"{}"))).await;
    assert_eq!(reason(&answer), (415, "UNSUPPORTED_MEDIA_TYPE".into()));
    assert!(app.server.calls.lock().unwrap().is_empty());
}
