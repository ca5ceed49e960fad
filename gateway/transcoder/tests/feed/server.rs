//! The service, on the level of frames.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body as _, Frame};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;
use tonic_transcoder::{Body, Codec};
use tower::Service;

use super::Seen;

#[derive(Clone)]
pub struct Server {
    codec: Arc<Codec>,
    seen: UnboundedSender<Seen>,
}

impl Server {
    pub fn new(set: Vec<u8>, seen: UnboundedSender<Seen>) -> Self {
        let codec = Arc::new(Codec::new(set).unwrap());
        Self { codec, seen }
    }

    fn saw(&self, seen: Seen) {
        let _ = self.seen.send(seen);
    }

    fn json(&self, name: &str, message: &[u8]) -> Value {
        let (mut json, codec) = (Vec::new(), self.codec.message(name).unwrap());
        codec.write_json(message, &mut json).unwrap();
        serde_json::from_slice(&json).unwrap()
    }

    fn frame(&self, name: &str, message: &Value) -> Frame<Bytes> {
        let (mut wire, codec) = (Vec::new(), self.codec.message(name).unwrap());
        let json = message.to_string();
        codec.read_json(json.as_bytes(), &mut wire).unwrap();
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(wire.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&wire);
        Frame::data(frame.into())
    }

    fn item(&self, title: &str) -> Frame<Bytes> {
        self.frame("feed.v1.Item", &json!({ "title": title }))
    }

    async fn answer(self, request: http::Request<Body>) -> http::Response<Body> {
        let (parts, body) = request.into_parts();
        let (_, method) = parts.uri.path().rsplit_once('/').unwrap();
        let name = match method {
            "Put" => "feed.v1.Piece",
            "Raw" => "google.api.HttpBody",
            _ => "feed.v1.Item",
        };
        let messages = || Messages {
            server: self.clone(),
            name,
            body,
            buffer: BytesMut::new(),
            over: false,
        };
        match method {
            "Collect" | "Put" | "Raw" => self.collect(messages()).await,
            "Chat" => answered(Chat {
                messages: messages(),
                last: false,
            }),
            "Greet" => {
                let _ = messages().next().await;
                self.summary(&[])
            }
            "Refuse" => Status::permission_denied("no").into_http(),
            "Resume" => {
                let id = parts.headers["last-event-id"].to_str().unwrap();
                self.saw(Seen::Message(json!(id)));
                answered(self.told(Some(0)))
            }
            "Watch" => answered(self.told(Some(1))),
            _ => answered(self.told(None)),
        }
    }

    async fn collect(&self, mut messages: Messages) -> http::Response<Body> {
        let mut titles = Vec::new();
        loop {
            match messages.next().await {
                Ok(Some(message)) => titles.extend(message.get("title").cloned()),
                Ok(None) => return self.summary(&titles),
                Err(status) => return status.into_http(),
            }
        }
    }

    fn summary(&self, titles: &[Value]) -> http::Response<Body> {
        let summary = self.frame("feed.v1.Summary", &json!({ "titles": titles }));
        let frames = [Ok::<_, Infallible>(summary), Ok(end(&Status::ok("")))];
        let frames = tokio_stream::iter(frames);
        answered(http_body_util::StreamBody::new(frames))
    }

    fn told(&self, most: Option<usize>) -> Told {
        Told {
            server: self.clone(),
            most,
            sent: 0,
        }
    }
}

fn answered<B>(body: B) -> http::Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = http::Response::new(Body::new(body));
    let kind = "application/grpc".parse().unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

fn end(status: &Status) -> Frame<Bytes> {
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    Frame::trailers(trailers)
}

/// The messages of a request; each is told as it is read.
struct Messages {
    server: Server,
    name: &'static str,
    body: Body,
    buffer: BytesMut,
    over: bool,
}

/// A call that is cancelled is told of by this alone.
impl Drop for Messages {
    fn drop(&mut self) {
        if !self.over {
            self.server.saw(Seen::Broken);
        }
    }
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Value>, Status> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Value>, Status>> {
        loop {
            if let Some(message) = self.cut() {
                self.server.saw(Seen::Message(message.clone()));
                return Poll::Ready(Ok(Some(message)));
            }
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.buffer.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => {
                    (self.over, self.buffer) = (true, BytesMut::new());
                    self.server.saw(Seen::Broken);
                    return Poll::Ready(Err(Status::aborted("it broke off")));
                }
                None => {
                    assert!(self.buffer.is_empty(), "half a message");
                    self.over = true;
                    self.server.saw(Seen::End);
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    fn cut(&mut self) -> Option<Value> {
        let length = self.buffer.get(1..5)?;
        let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
        if self.buffer.len() < 5 + length {
            return None;
        }
        self.buffer.advance(5);
        let message = self.buffer.split_to(length);
        Some(self.server.json(self.name, &message))
    }
}

/// Says again what it hears.
struct Chat {
    messages: Messages,
    last: bool,
}

impl http_body::Body for Chat {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.last {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(self.messages.poll_next(cx)) {
            Ok(Some(item)) if item["title"] == "stop" => Err(Status::aborted("stopped")),
            Ok(Some(item)) => Ok(self.messages.server.frame("feed.v1.Item", &item)),
            Ok(None) => Err(Status::ok("")),
            Err(status) => Err(status),
        };
        self.last = frame.is_err();
        Poll::Ready(Some(Ok(frame.unwrap_or_else(|status| end(&status)))))
    }
}

/// So many messages, or endlessly many, and then silence.
struct Told {
    server: Server,
    most: Option<usize>,
    sent: usize,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.most == Some(self.sent) {
            return Poll::Pending;
        }
        self.sent += 1;
        Poll::Ready(Some(Ok(self.server.item("A"))))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.server.saw(Seen::Gone(self.sent));
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
        let answer = self.clone().answer(request);
        Box::pin(async move { Ok(answer.await) })
    }
}
