//! A tonic server that speaks every method of the test's descriptors, by
//! messages in JSON, and a client for what is in front of it.

#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tonic_transcoder::{TranscodeService, Transcoder};
use tower::{Service, ServiceExt as _};

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
    let directory = std::env::temp_dir().join(format!(
        "transcoder-{}-{:x}",
        std::process::id(),
        hash(text)
    ));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("test.proto"), text).unwrap();
    let set = compile(
        &[directory.to_str().unwrap(), "proto", "../../proto"],
        "test.proto",
    );
    std::fs::remove_dir_all(&directory).unwrap();
    set
}

fn hash(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What the server saw and what it does.
pub type Replies = Result<Vec<Result<Value, Status>>, Status>;
type Handler = dyn Fn(&Call) -> Replies + Send + Sync;

/// One call as the server saw it.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub messages: Vec<Value>,
    pub metadata: HeaderMap,
    pub extension: Option<u32>,
}

/// A gRPC service of all methods of a pool.
#[derive(Clone)]
pub struct Server {
    pool: DescriptorPool,
    handler: Arc<Handler>,
    pub calls: Arc<Mutex<Vec<Call>>>,
    pub reply_metadata: Arc<Mutex<HeaderMap>>,
}

impl Server {
    pub fn new(handler: impl Fn(&Call) -> Replies + Send + Sync + 'static) -> Self {
        Self {
            pool: DescriptorPool::decode(&descriptors()[..]).unwrap(),
            handler: Arc::new(handler),
            calls: Arc::default(),
            reply_metadata: Arc::default(),
        }
    }

    fn handle(
        &self,
        method: &str,
        messages: Vec<DynamicMessage>,
        metadata: HeaderMap,
        extension: Option<u32>,
    ) -> Replies {
        let messages = messages
            .iter()
            .map(|m| serde_json::to_value(m).unwrap())
            .collect();
        let call = Call {
            method: method.to_owned(),
            messages,
            metadata,
            extension,
        };
        self.calls.lock().unwrap().push(call.clone());
        (self.handler)(&call)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl Service<http::Request<Body>> for Server {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        let server = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            let (service, name) = path[1..].split_once('/').unwrap();
            let service = server.pool.get_service_by_name(service).unwrap();
            let method = service.methods().find(|m| m.name() == name).unwrap();
            let codec = DynamicCodec(method.input());
            let run = Run {
                server,
                method: name.to_owned(),
                output: method.output(),
            };
            let mut grpc = Grpc::new(codec);
            Ok(
                match (method.is_client_streaming(), method.is_server_streaming()) {
                    (false, false) => grpc.unary(run, request).await,
                    (false, true) => grpc.server_streaming(run, request).await,
                    (true, false) => grpc.client_streaming(run, request).await,
                    (true, true) => unreachable!("no such method in the test's descriptors"),
                },
            )
        })
    }
}

struct Run {
    server: Server,
    method: String,
    output: MessageDescriptor,
}

impl Run {
    fn run(
        &self,
        messages: Vec<DynamicMessage>,
        metadata: HeaderMap,
        extension: Option<u32>,
    ) -> Result<Vec<Result<DynamicMessage, Status>>, Status> {
        let replies = self
            .server
            .handle(&self.method, messages, metadata, extension)?;
        let message = |json: Value| DynamicMessage::deserialize(self.output.clone(), json).unwrap();
        Ok(replies
            .into_iter()
            .map(|reply| reply.map(message))
            .collect())
    }

    fn respond<T>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        *response.metadata_mut() = tonic::metadata::MetadataMap::from_headers(
            self.server.reply_metadata.lock().unwrap().clone(),
        );
        response
    }
}

type Boxed<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;
type Messages = Pin<Box<dyn Stream<Item = Result<DynamicMessage, Status>> + Send>>;

impl UnaryService<DynamicMessage> for Run {
    type Response = DynamicMessage;
    type Future = Boxed<DynamicMessage>;

    fn call(&mut self, request: Request<DynamicMessage>) -> Self::Future {
        let (metadata, extensions, message) = request.into_parts();
        let extension = extensions.get::<u32>().copied();
        let result = self.run(vec![message], metadata.into_headers(), extension);
        let result = result
            .and_then(|mut replies| replies.remove(0))
            .map(|m| self.respond(m));
        Box::pin(async move { result })
    }
}

impl ServerStreamingService<DynamicMessage> for Run {
    type Response = DynamicMessage;
    type ResponseStream = Messages;
    type Future = Boxed<Messages>;

    fn call(&mut self, request: Request<DynamicMessage>) -> Self::Future {
        let (metadata, _, message) = request.into_parts();
        let result = self.run(vec![message], metadata.into_headers(), None);
        let result =
            result.map(|replies| self.respond(Box::pin(tokio_stream::iter(replies)) as Messages));
        Box::pin(async move { result })
    }
}

impl ClientStreamingService<DynamicMessage> for Run {
    type Response = DynamicMessage;
    type Future = Boxed<DynamicMessage>;

    fn call(&mut self, request: Request<Streaming<DynamicMessage>>) -> Self::Future {
        let run = Run {
            server: self.server.clone(),
            method: self.method.clone(),
            output: self.output.clone(),
        };
        Box::pin(async move {
            let (metadata, _, mut stream) = request.into_parts();
            let mut messages = Vec::new();
            while let Some(message) = stream.next().await {
                messages.push(message?);
            }
            let mut replies = run.run(messages, metadata.into_headers(), None)?;
            Ok(run.respond(replies.remove(0)?))
        })
    }
}

struct DynamicCodec(MessageDescriptor);
struct DynamicEncoder;
struct DynamicDecoder(MessageDescriptor);

impl Codec for DynamicCodec {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = DynamicEncoder;
    type Decoder = DynamicDecoder;

    fn encoder(&mut self) -> DynamicEncoder {
        DynamicEncoder
    }

    fn decoder(&mut self) -> DynamicDecoder {
        DynamicDecoder(self.0.clone())
    }
}

impl Encoder for DynamicEncoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message
            .encode(out)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for DynamicDecoder {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        DynamicMessage::decode(self.0.clone(), bytes)
            .map(Some)
            .map_err(|error| Status::internal(error.to_string()))
    }
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
