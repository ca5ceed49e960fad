//! A gRPC service of streams that tells what it sees, and clients that send
//! as slowly as a test wants.

#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    unused_imports,
    reason = "each test file uses its part"
)]

mod client;
mod server;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tonic::transport::Endpoint;
use tonic_transcoder::{Body, Builder, Transcoder};
use tower::ServiceExt as _;

pub use client::{Answered, Answering, Upload, Version};

use super::support;

/// What does not come in this time never comes.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// What the service saw.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Message(Value),
    /// The client said that this was all.
    End,
    /// The stream ended without that.
    Broken,
    /// Nobody reads the answer, after that many messages.
    Gone(usize),
}

/// A message with what is set in it.
pub fn item(parent: &str, title: &str) -> Seen {
    let mut item = json!({ "title": title });
    if !parent.is_empty() {
        item["parent"] = json!(parent);
    }
    Seen::Message(item)
}

/// The service, and a transcoder in front of it: once in the same process,
/// and once with a wire on either side.
pub struct Feed {
    transcoder: Transcoder,
    server: server::Server,
    front: SocketAddr,
    seen: UnboundedReceiver<Seen>,
}

impl Feed {
    pub async fn start() -> Self {
        Self::with(|builder| builder).await
    }

    pub async fn with(build: impl FnOnce(Builder) -> Builder) -> Self {
        let set = support::compile(&["tests/proto", "proto", "../../proto"], "feed.proto");
        let transcoder = build(Transcoder::builder(set.clone())).build().unwrap();
        let (sender, seen) = mpsc::unbounded_channel();
        let server = server::Server::new(set, sender);
        let grpc = tower::util::MapRequest::new(
            server.clone(),
            |request: http::Request<axum::body::Body>| request.map(Body::new),
        );
        let back = listen(axum::Router::new().fallback_service(grpc)).await;
        let channel = Endpoint::from_shared(format!("http://{back}"));
        let channel = channel.unwrap().connect_lazy();
        let service = transcoder.clone().into_service(channel);
        let front = listen(axum::Router::new().fallback_service(service)).await;
        Self {
            transcoder,
            server,
            front,
            seen,
        }
    }

    /// What the service saw next.
    pub async fn saw(&mut self) -> Seen {
        let seen = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
        seen.expect("the service saw nothing").unwrap()
    }

    /// Begins a request over a wire.
    pub async fn send(
        &self,
        version: Version,
        line: &str,
        headers: &[(&str, &str)],
    ) -> (Upload, Answering) {
        client::send(self.front, version, request(line, headers)).await
    }

    /// Sends a whole body over a wire.
    pub async fn post(&self, path: &str, body: &str) -> (u16, String) {
        let json = [("content-type", "application/json")];
        let line = format!("POST {path}");
        let (upload, answer) = self.send(Version::Http1, &line, &json).await;
        upload.send(body).await;
        drop(upload);
        answer.whole().await
    }

    /// Answers a request in the same process.
    pub async fn answer(
        &self,
        line: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> http::Response<Body> {
        let service = self.transcoder.clone().into_service(self.server.clone());
        let request = request(line, headers).map(|()| body);
        service.oneshot(request).await.unwrap()
    }
}

fn request(line: &str, headers: &[(&str, &str)]) -> http::Request<()> {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = http::Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn listen(app: axum::Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}
