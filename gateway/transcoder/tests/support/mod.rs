//! A tonic server that speaks every method of the test's descriptors, by
//! messages in JSON, and a client for what is in front of it.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

mod server;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tonic_transcoder::{TranscodeService, Transcoder};
use tower::ServiceExt as _;

pub use server::{Call, Replies, Server};

/// The test's descriptors with all their options.
pub fn descriptors() -> Vec<u8> {
    compile(&["tests/proto", "proto", "../../proto"], "library.proto")
}

/// Compiles one file.
pub fn compile(includes: &[&str], file: &str) -> Vec<u8> {
    let mut compiler = protox::Compiler::new(includes).unwrap();
    compiler.include_imports(true).open_file(file).unwrap();
    compiler.encode_file_descriptor_set()
}

/// Compiles a file that is given as text, after the usual imports.
pub fn compile_text(text: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("test.proto"), text).unwrap();
    compile(
        &[directory.path().to_str().unwrap(), "proto", "../../proto"],
        "test.proto",
    )
}

/// A transcoder in front of a server.
#[derive(Clone)]
pub struct App {
    pub server: Server,
    pub service: TranscodeService<Server>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Whether the body broke off.
    pub broken: bool,
}

impl Got {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// `google.rpc.ErrorInfo.reason` of an error.
    pub fn reason(&self) -> String {
        self.detail("ErrorInfo")["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The field of the first violation of an error.
    pub fn field(&self) -> String {
        self.detail("BadRequest")["fieldViolations"][0]["field"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub fn detail(&self, name: &str) -> Value {
        let url = format!("type.googleapis.com/google.rpc.{name}");
        let json = self.json();
        let details = json["details"].as_array().cloned().unwrap_or_default();
        details
            .into_iter()
            .find(|detail| detail["@type"] == url.as_str())
            .unwrap_or_default()
    }
}

impl App {
    pub fn new(handler: impl Fn(&Call) -> Replies + Send + Sync + 'static) -> Self {
        Self::with(Transcoder::builder(descriptors()).build().unwrap(), handler)
    }

    pub fn with(
        transcoder: Transcoder,
        handler: impl Fn(&Call) -> Replies + Send + Sync + 'static,
    ) -> Self {
        let server = Server::new(handler);
        let service = transcoder.into_service(server.clone());
        Self { server, service }
    }

    /// A server that sends back what it gets.
    pub fn echo() -> Self {
        Self::new(|call| Ok(vec![Ok(call.messages[0].clone())]))
    }

    pub async fn send(&self, request: http::Request<Bytes>) -> Got {
        let request = request.map(Full::new);
        let (parts, mut body) = self
            .service
            .clone()
            .oneshot(request)
            .await
            .unwrap()
            .into_parts();
        let mut bytes = Vec::new();
        let mut broken = false;
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        Got {
            status: parts.status,
            headers: parts.headers,
            body: bytes.into(),
            broken,
        }
    }

    /// Sends a line such as `POST /v1/echo`, headers, and a body.
    pub async fn request(&self, line: &str, headers: &[(&str, &str)], body: &str) -> Got {
        let (method, uri) = line.split_once(' ').unwrap();
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(
            request
                .body(Bytes::copy_from_slice(body.as_bytes()))
                .unwrap(),
        )
        .await
    }

    pub async fn get(&self, uri: &str) -> Got {
        self.request(&format!("GET {uri}"), &[], "").await
    }

    pub async fn json(&self, line: &str, body: &str) -> Got {
        self.request(line, &[("content-type", "application/json")], body)
            .await
    }

    /// The call the server saw last.
    pub fn last(&self) -> Call {
        self.server.calls.lock().unwrap().last().cloned().unwrap()
    }
}

/// A library whose answers are fixed.
pub fn books() -> App {
    App::new(|call| {
        let message = &call.messages.first().cloned().unwrap_or_default();
        let book = serde_json::json!({"name": "shelves/1/books/2", "title": "T", "etag": "v1", "pages": "7"});
        Ok(vec![Ok(match call.method.as_str() {
            "GetBook" => book,
            "ListBooks" => {
                serde_json::json!({"books": [book, {"title": "U"}], "nextPageToken": "n\"t", "total": "2", "counts": {"a": 1}})
            }
            "CreateBook" | "UpdateBook" | "UpdateDraft" => {
                let mut book = message["book"].clone();
                book["etag"] = serde_json::json!("v2");
                book
            }
            "DeleteBook" => serde_json::json!({}),
            "MoveBook" => serde_json::json!({"name": message["otherShelf"]}),
            "WatchBooks" => book,
            "ImportBooks" => serde_json::json!({"books": call.messages}),
            "Motto" => serde_json::json!({"title": "read \"more\""}),
            _ => message.clone(),
        })])
    })
}
