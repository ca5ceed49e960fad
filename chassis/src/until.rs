//! Request bodies that break off when something happens.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

/// A request's body until something happens: what that says is then its error,
/// for its end would tell the service that this was all.
pub(crate) struct Until {
    body: Body,
    event: Option<Pin<Box<dyn Future<Output = Status> + Send>>>,
}

impl Until {
    pub(crate) fn around(body: Body, event: impl Future<Output = Status> + Send + 'static) -> Body {
        Body::new(Self {
            body,
            event: Some(Box::pin(event)),
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
            return Poll::Ready(Some(Err(status)));
        }
        Pin::new(&mut self.body).poll_frame(context)
    }
}
