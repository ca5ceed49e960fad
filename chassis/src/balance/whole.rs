//! Bodies that are read whole, so that they can be sent, or asked for, again;
//! and those that count as a call in flight until they are read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use tonic::Status;
use tonic::body::Body;

use super::Live;

/// How much is read before the rest is passed on as it comes.
const LARGEST: usize = 1 << 20;

/// A body, as far as it was read.
pub(super) enum Whole {
    /// All of it.
    Read(Bytes, Option<HeaderMap>),
    /// Too large to keep, or not there yet: it can be had once.
    Once(Option<Body>),
}

impl Whole {
    /// Reads a body to its end, if that is not too far.
    pub(super) async fn read(mut body: Body) -> Result<Self, Status> {
        let (mut frames, mut trailers, mut length) = (VecDeque::new(), None, 0);
        while let Some(frame) = body.frame().await {
            match frame?.into_data() {
                Ok(data) => {
                    length += data.len();
                    frames.push_back(data);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
            if length > LARGEST {
                let begun = Begun {
                    read: frames,
                    rest: body,
                };
                return Ok(Self::Once(Some(Body::new(begun))));
            }
        }
        let read = match (frames.len(), frames.pop_front()) {
            (1, Some(one)) => one,
            (_, first) => {
                let mut all = BytesMut::with_capacity(length);
                first
                    .iter()
                    .chain(&frames)
                    .for_each(|frame| all.extend_from_slice(frame));
                all.freeze()
            }
        };
        Ok(Self::Read(read, trailers))
    }

    /// The body, with its trailers.
    pub(super) fn into_body(self) -> Body {
        match self {
            Self::Read(bytes, None) => Body::new(Full::new(bytes)),
            Self::Read(bytes, Some(trailers)) => {
                // Of no known length: gRPC-Web makes the trailers part of it.
                let frames = [Frame::data(bytes), Frame::trailers(trailers)];
                let frames = futures::stream::iter(frames.map(Ok::<_, Status>));
                Body::new(StreamBody::new(frames))
            }
            Self::Once(body) => body.unwrap_or_default(),
        }
    }

    /// Whether the body can be had.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self, Self::Once(None))
    }

    /// Takes back what was not read after all.
    pub(super) fn put_back(&mut self, unread: Body) {
        if let Self::Once(body) = self {
            *body = Some(unread);
        }
    }

    /// The body; nothing if it was had before and can't be had again.
    pub(super) fn take(&mut self) -> Option<Body> {
        match self {
            Self::Read(bytes, _) => Some(Body::new(Full::new(bytes.clone()))),
            Self::Once(body) => body.take(),
        }
    }
}

/// A body of which some was read.
struct Begun {
    read: VecDeque<Bytes>,
    rest: Body,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.read.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }
}

/// A call in flight, until this is dropped.
pub(super) struct Counted(Arc<Live>);

impl Counted {
    pub(super) fn new(live: Arc<Live>) -> Self {
        live.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(live)
    }

    /// Counts until the answer was read, or nobody reads it.
    pub(super) fn until_read(self, body: Incoming) -> Body {
        Body::new(Answer {
            body,
            _counted: self,
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Answer {
    body: Incoming,
    _counted: Counted,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let broken =
            |error: hyper::Error| Status::unavailable(format!("the answer broke off: {error}"));
        Pin::new(&mut self.body)
            .poll_frame(context)
            .map(|frame| frame.map(|frame| frame.map_err(broken)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
