//! Bodies that break off when something happens.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

/// A body until something happens. Of a request, what that says is then its
/// error, for its end would tell the service that this was all; of an answer,
/// it is how the call ended.
pub(crate) struct Until {
    body: Body,
    event: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
    is_answer: bool,
}

impl Until {
    /// A request's body.
    pub(crate) fn around(body: Body, event: impl Future<Output = Status> + Send + 'static) -> Body {
        Body::new(Self {
            body,
            event: Some(Box::pin(event)),
            is_answer: false,
        })
    }

    /// An answer's body.
    pub(crate) fn around_answer(
        body: Body,
        event: impl Future<Output = Status> + Send + 'static,
    ) -> Body {
        Body::new(Self {
            body,
            event: Some(Box::pin(event)),
            is_answer: true,
        })
    }
}

impl http_body::Body for Until {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(event) = &mut self.event else {
            return Poll::Ready(None);
        };
        // First: a client that never pauses must not keep it from happening.
        if let Poll::Ready(status) = event.as_mut().poll(context) {
            self.event = None;
            let ended = match self.is_answer {
                true => trailers(&status).map(Frame::trailers),
                false => Err(status),
            };
            return Poll::Ready(Some(ended));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}

fn trailers(status: &Status) -> Result<http::HeaderMap, Status> {
    let mut trailers = http::HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(trailers)
}
