//! A tonic server that speaks every method of the test's descriptors.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Buf as _;
use http::HeaderMap;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tokio_stream::{Stream, StreamExt as _};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{ClientStreamingService, Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use super::descriptors;

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
        Self::of(&descriptors(), handler)
    }

    /// A server of other descriptors than the library's.
    pub fn of(
        descriptors: &[u8],
        handler: impl Fn(&Call) -> Replies + Send + Sync + 'static,
    ) -> Self {
        Self {
            pool: DescriptorPool::decode(descriptors).unwrap(),
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
