//! Server streams: one message after the other, each when it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http_body::Frame;
use tonic::Status;

use crate::frames::Frames;
use crate::problem::{ErrorShape, Problem};
use crate::response;
use crate::route::{ResponsePlan, Route};
use crate::transcoder::Inner;
use crate::{Body, BoxError, headers};

/// Messages that are ready together are sent together, up to this size.
const CHUNK: usize = 32 << 10;

/// How messages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One line each (application/x-ndjson).
    Lines,
    /// Server-sent events.
    Events,
    /// Elements of one JSON array.
    Array,
    /// The data of each `google.api.HttpBody`, nothing between.
    Raw,
}

impl Framing {
    /// The first media type of `accept` that is known here.
    pub(crate) fn of(route: &Route, headers: &HeaderMap) -> Self {
        if matches!(route.response, ResponsePlan::Raw(_)) {
            return Self::Raw;
        }
        let values = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok());
        for item in values.flat_map(|value| value.split(',')) {
            let (kind, parameters) = item.split_once(';').unwrap_or((item, ""));
            if parameters
                .replace(' ', "")
                .split(';')
                .any(|p| matches!(p, "q=0" | "q=0.0"))
            {
                continue;
            }
            match kind.trim().to_ascii_lowercase().as_str() {
                "text/event-stream" => return Self::Events,
                "application/json" => return Self::Array,
                "application/x-ndjson" | "application/jsonl" => return Self::Lines,
                _ => {}
            }
        }
        Self::Lines
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Array => "application/json",
            Self::Raw => "application/octet-stream",
        })
    }
}

/// The response to a server-streaming call that has begun well. `first` is
/// what was there at once.
pub(crate) fn respond<R>(
    inner: Arc<Inner>,
    route: Arc<Route>,
    errors: Arc<dyn ErrorShape>,
    framing: Framing,
    metadata: &HeaderMap,
    frames: Frames<R>,
    first: Option<Bytes>,
) -> http::Response<Body>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let mut content_type = framing.content_type();
    if framing == Framing::Raw
        && let Some(first) = &first
        && let Ok(printed) = response::print(&inner.plans, &route, first)
    {
        content_type = printed.content_type;
    }
    let status = headers::chosen_status(metadata).unwrap_or(route.success);
    let stream = Stream {
        inner,
        route,
        errors,
        framing,
        frames,
        first,
        begun: false,
        done: false,
    };
    let mut response = http::Response::new(Body::new(stream));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type);
    if framing == Framing::Events {
        let no_cache = HeaderValue::from_static("no-cache");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_cache);
    }
    headers::response(metadata, response.headers_mut());
    response
}

/// The body of a stream. It reads no further than it is read.
struct Stream<R> {
    inner: Arc<Inner>,
    route: Arc<Route>,
    errors: Arc<dyn ErrorShape>,
    framing: Framing,
    frames: Frames<R>,
    first: Option<Bytes>,
    begun: bool,
    done: bool,
}

impl<R> http_body::Body for Stream<R>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut out = Vec::new();
        while !this.done && out.len() < CHUNK {
            let next = match this.first.take() {
                Some(first) => Poll::Ready(Some(Ok(first))),
                None => this.frames.poll_next(cx),
            };
            match next {
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(next) => {
                    if let Err(status) = this.next(next, &mut out) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
            }
        }
        match out.is_empty() {
            true => Poll::Ready(None),
            false => Poll::Ready(Some(Ok(Frame::data(out.into())))),
        }
    }
}

impl<R> Stream<R>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    /// Writes a message or the end. Only raw bytes have no way to tell of an
    /// error; their stream breaks off.
    fn next(
        &mut self,
        next: Option<Result<Bytes, Status>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let problem = match next {
            Some(Ok(message)) => match response::print(&self.inner.plans, &self.route, &message) {
                Ok(printed) => {
                    self.write(&printed.body, false, out);
                    return Ok(());
                }
                Err(stop) => Some(response::unprintable(&stop)),
            },
            Some(Err(status)) => Some(Problem::new(status)),
            None => outcome(self.frames.trailers())
                .err()
                .map(|problem| *problem),
        };
        self.done = true;
        match problem {
            Some(problem) if self.framing == Framing::Raw => return Err(problem.status),
            Some(problem) => self.error(problem, out),
            None => {}
        }
        if self.framing == Framing::Array {
            out.extend_from_slice(if self.begun { b"]" } else { b"[]" });
        }
        Ok(())
    }

    fn error(&mut self, problem: Problem, out: &mut Vec<u8>) {
        let problem = problem.with_plans(&self.inner.plans);
        let body = self.errors.shape(&problem).into_body();
        let mut text = Vec::with_capacity(body.len() + 10);
        text.extend_from_slice(b"{\"error\":");
        text.extend_from_slice(&body);
        text.push(b'}');
        self.write(&text, true, out);
    }

    fn write(&mut self, json: &[u8], error: bool, out: &mut Vec<u8>) {
        let (before, after): (&[u8], &[u8]) = match self.framing {
            Framing::Lines => (b"", b"\n"),
            Framing::Events if error => (b"event: error\ndata: ", b"\n\n"),
            Framing::Events => (b"data: ", b"\n\n"),
            Framing::Array if self.begun => (b",", b""),
            Framing::Array => (b"[", b""),
            Framing::Raw => (b"", b""),
        };
        self.begun = true;
        out.extend_from_slice(before);
        out.extend_from_slice(json);
        out.extend_from_slice(after);
    }
}

/// How a call ended, by its trailers.
pub(crate) fn outcome(trailers: Option<&HeaderMap>) -> Result<(), Box<Problem>> {
    match trailers.and_then(response::status) {
        Some(Ok(())) => Ok(()),
        Some(Err(status)) => Err(Box::new(Problem::new(status))),
        None => Err(Box::new(response::not_grpc(http::StatusCode::OK))),
    }
}
