//! Over real connections: HTTP/1.1 in front, a tonic channel behind.

#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use serde_json::{Value, json};
use support::{App, Server};
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_transcoder::Transcoder;

async fn listen(app: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The URL of a transcoder in front of a gRPC server at an address.
async fn front(grpc: SocketAddr) -> String {
    let transcoder = Transcoder::builder(support::descriptors()).build().unwrap();
    let channel = Endpoint::from_shared(format!("http://{grpc}"))
        .unwrap()
        .connect_lazy();
    let address =
        listen(axum::Router::new().fallback_service(transcoder.into_service(channel))).await;
    format!("http://{address}")
}

#[tokio::test]
async fn calls_and_streams_pass_over_the_network() {
    let server: Server = App::new(|call| match call.method.as_str() {
        "WatchBooks" => Ok(vec![Ok(json!({"title": "A"})), Err(Status::aborted("end"))]),
        "Fail" => Err(Status::not_found("na\u{ef}ve")),
        _ => Ok(vec![Ok(call.messages[0].clone())]),
    })
    .server;
    let grpc = tower::util::MapRequest::new(server, |request: http::Request<axum::body::Body>| {
        request.map(tonic::body::Body::new)
    });
    let url = front(listen(axum::Router::new().fallback_service(grpc)).await).await;
    let client = reqwest::Client::new();

    let big: String = "x".repeat(1 << 20);
    let body = json!({"stringValue": big, "int32List": vec![7; 10_000]});
    let got = client
        .post(format!("{url}/v1/echo"))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(got.headers()["content-type"], "application/json");
    assert_eq!(got.json::<Value>().await.unwrap(), body);

    let got = client
        .get(format!("{url}/v1/shelves/1:watch"))
        .send()
        .await
        .unwrap();
    let want = "{\"title\":\"A\"}\n{\"error\":{\"code\":10,\"message\":\"end\",\"details\":[]}}\n";
    assert_eq!(got.text().await.unwrap(), want);

    let got = client.get(format!("{url}/v1/fail/x")).send().await.unwrap();
    assert_eq!(got.status(), 404);
    assert_eq!(got.json::<Value>().await.unwrap()["message"], "na\u{ef}ve");

    let length = client
        .get(format!("{url}/v1/echo?bool_value=true"))
        .send()
        .await
        .unwrap();
    let length = length.bytes().await.unwrap().len().to_string();
    let got = client
        .head(format!("{url}/v1/echo?bool_value=true"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.headers()["content-length"].to_str().unwrap(), length);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let url = front(nobody).await;
    let got = reqwest::get(format!("{url}/v1/shelves/1/books/2"))
        .await
        .unwrap();
    assert_eq!(got.status(), 503);
    assert_eq!(got.json::<Value>().await.unwrap()["code"], 14);
}
