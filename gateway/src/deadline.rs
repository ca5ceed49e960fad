//! Streams that end with their caller's deadline, whether or not the client
//! says that it no longer waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use chassis::context::late;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;
use tonic::body::Body;

/// The answer to a gRPC call, until the deadline.
pub(crate) fn bounded(answer: Response<Body>, deadline: Option<Instant>) -> Response<Body> {
    match deadline {
        Some(at) if !answer.body().is_end_stream() => answer.map(|body| {
            Body::new(Bounded {
                body: Some(body),
                late: Box::pin(sleep_until(at.into())),
            })
        }),
        _ => answer,
    }
}

struct Bounded {
    /// There until the deadline: without it, the service has no reader.
    body: Option<Body>,
    late: Pin<Box<Sleep>>,
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        ready!(self.late.as_mut().poll(context));
        self.body = None;
        let mut trailers = HeaderMap::new();
        let told = late().add_header(&mut trailers);
        Poll::Ready(Some(told.map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
