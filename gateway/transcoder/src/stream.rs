//! Server streams: one message after the other, each when it comes.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http_body::Frame;
use tokio::time::{Instant, Sleep};
use tonic::Status;

use crate::csv::sheet::Sheet;
use crate::frames::Frames;
use crate::problem::{ErrorShape, Problem};
use crate::response;
use crate::route::{ResponsePlan, Route};
use crate::transcoder::Inner;
use crate::uplink::Failure;
use crate::{Body, BoxError, headers, wire};

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
    /// Lines of a CSV.
    Csv,
    /// The data of each `google.api.HttpBody`, nothing between.
    Raw,
}

impl Framing {
    /// What `accept` likes best of what there is; of equals the first one.
    /// Whoever accepts nothing of it gets lines.
    pub(crate) fn of(route: &Route, headers: &HeaderMap) -> Self {
        if matches!(route.response, ResponsePlan::Raw(_)) {
            return Self::Raw;
        }
        let values = headers.get_all(header::ACCEPT).iter();
        let values = values.filter_map(|value| value.to_str().ok());
        let (mut best, mut liked) = (Self::Lines, 0);
        for item in values.flat_map(|value| value.split(',')) {
            let (kind, parameters) = item.split_once(';').unwrap_or((item, ""));
            let quality = quality(parameters);
            if let Some(framing) = Self::named(kind)
                && (framing != Self::Csv || route.csv.is_some())
                && quality > liked
            {
                (best, liked) = (framing, quality);
            }
        }
        best
    }

    fn named(media_type: &str) -> Option<Self> {
        Some(match media_type.trim().to_ascii_lowercase().as_str() {
            "text/csv" => Self::Csv,
            "text/event-stream" | "text/*" => Self::Events,
            "application/json" => Self::Array,
            "application/x-ndjson" | "application/jsonl" | "application/*" | "*/*" => Self::Lines,
            _ => return None,
        })
    }

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Array => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Raw => "application/octet-stream",
        })
    }
}

/// The weight of a media range (RFC 9110, 12.4.2), in thousandths; one that is
/// malformed counts as none.
fn quality(parameters: &str) -> u16 {
    let mut parameters = parameters.split(';').filter_map(|p| p.split_once('='));
    let weight = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("q"));
    let weight = weight.and_then(|(_, weight)| weight.trim().parse::<f32>().ok());
    // A float becomes the nearest number that there is.
    (weight.unwrap_or(1.0).clamp(0.0, 1.0) * 1000.0).round() as u16
}

/// Tells proxies that nothing else is to be told.
pub(crate) struct Heartbeat {
    every: Duration,
    next: Pin<Box<Sleep>>,
}

impl Heartbeat {
    /// An empty comment, as the HTML standard advises for server-sent events.
    const BEAT: &[u8] = b":\n\n";

    pub(crate) fn new(every: Duration) -> Self {
        let next = Box::pin(tokio::time::sleep(every));
        Self { every, next }
    }

    fn put_off(&mut self) {
        let next = Instant::now() + self.every;
        self.next.as_mut().reset(next);
    }
}

/// The body of a stream. It reads no further than it is read.
pub(crate) struct Stream<R> {
    pub(crate) inner: Arc<Inner>,
    pub(crate) route: Arc<Route>,
    pub(crate) errors: Arc<dyn ErrorShape>,
    pub(crate) framing: Framing,
    /// Of a CSV.
    pub(crate) sheet: Option<Sheet>,
    pub(crate) frames: Frames<R>,
    /// What was there at once.
    pub(crate) first: Option<Bytes>,
    /// Of a request that streams too.
    pub(crate) failure: Option<Arc<Failure>>,
    /// Of server-sent events.
    pub(crate) heartbeat: Option<Heartbeat>,
    pub(crate) begun: bool,
    pub(crate) done: bool,
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
            match this.poll_next(cx) {
                Poll::Pending if out.is_empty() => match &mut this.heartbeat {
                    Some(heart) => {
                        ready!(heart.next.as_mut().poll(cx));
                        out.extend_from_slice(Heartbeat::BEAT);
                        break;
                    }
                    None => return Poll::Pending,
                },
                Poll::Pending => break,
                Poll::Ready(next) => {
                    if let Err(status) = this.write_next(next, &mut out) {
                        return Poll::Ready(Some(Err(status)));
                    }
                }
            }
        }
        if let Some(heart) = &mut this.heartbeat {
            heart.put_off();
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
    /// The response to a call that has begun well.
    pub(crate) fn respond(self, metadata: &HeaderMap) -> http::Response<Body> {
        let mut content_type = self.framing.content_type();
        if self.framing == Framing::Raw
            && let Some(first) = &self.first
            && let Ok(printed) = response::print(&self.inner.plans, &self.route, first)
        {
            content_type = printed.content_type;
        }
        let framing = self.framing;
        let status = headers::chosen_status(metadata).unwrap_or(self.route.success);
        let mut response = http::Response::new(Body::new(self));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, content_type);
        if framing == Framing::Events {
            let no_cache = HeaderValue::from_static("no-cache");
            headers.insert(header::CACHE_CONTROL, no_cache);
        }
        headers::response(metadata, headers);
        response
    }

    /// The next message, or how the call ended. What is wrong with the request
    /// says more than what the service makes of it.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Option<Box<Problem>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Ok(first));
        }
        if let Some(failure) = &self.failure
            && let Poll::Ready(problem) = failure.poll(cx)
        {
            return Poll::Ready(Err(Some(problem)));
        }
        let ended = match ready!(self.frames.poll_next(cx)) {
            Some(Ok(message)) => return Poll::Ready(Ok(message)),
            Some(Err(status)) => Err(Box::new(Problem::new(status))),
            None => outcome(self.frames.trailers()),
        };
        let failure = self.failure.as_ref().and_then(|failure| failure.take());
        Poll::Ready(Err(ended.err().map(|problem| failure.unwrap_or(problem))))
    }

    /// Writes a message or the end. Raw bytes and rows have no way to tell of
    /// an error; their stream breaks off.
    fn write_next(
        &mut self,
        next: Result<Bytes, Option<Box<Problem>>>,
        out: &mut Vec<u8>,
    ) -> Result<(), Status> {
        let problem = match next {
            Ok(message) => match response::print(&self.inner.plans, &self.route, &message) {
                Ok(printed) => {
                    if self.framing == Framing::Events {
                        self.write_id(&message, out);
                    }
                    self.write(&printed.body, false, out);
                    return Ok(());
                }
                Err(stop) => Some(Box::new(response::unprintable(&stop))),
            },
            Err(ended) => ended,
        };
        self.done = true;
        match problem {
            Some(problem) if matches!(self.framing, Framing::Raw | Framing::Csv) => {
                return Err(problem.status);
            }
            Some(problem) => self.error(*problem, out),
            None => {}
        }
        if let Some(sheet) = self.sheet.as_ref().filter(|_| !self.begun) {
            sheet.header(out);
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

    /// Names an event, by which its reader says where to go on. What can't be
    /// told in one line names nothing.
    fn write_id(&self, message: &Bytes, out: &mut Vec<u8>) {
        let field = self.route.event_id;
        let id = field.and_then(|field| wire::find_bytes(message, field).ok().flatten());
        if let Some(id) = id.filter(|id| !id.is_empty())
            && !id.iter().any(|byte| b"\r\n\0".contains(byte))
        {
            out.extend_from_slice(b"id: ");
            out.extend_from_slice(id);
            out.push(b'\n');
        }
    }

    fn write(&mut self, json: &[u8], error: bool, out: &mut Vec<u8>) {
        if let Some(sheet) = &self.sheet {
            if !std::mem::replace(&mut self.begun, true) {
                sheet.header(out);
            }
            return sheet.row(json, out);
        }
        let (before, after): (&[u8], &[u8]) = match self.framing {
            Framing::Lines => (b"", b"\n"),
            Framing::Events if error => (b"event: error\ndata: ", b"\n\n"),
            Framing::Events => (b"data: ", b"\n\n"),
            Framing::Array if self.begun => (b",", b""),
            Framing::Array => (b"[", b""),
            Framing::Raw | Framing::Csv => (b"", b""),
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
