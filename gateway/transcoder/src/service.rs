//! The transcoder as a tower service.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tower::Service;

use crate::problem::{ErrorShape, GoogleErrors, Problem, allow_header};
use crate::{Body, BoxError, RouteError, Transcoder};

/// Answers HTTP requests by calls on a gRPC service.
///
/// OPTIONS is answered with the methods of the path, a path without a rule
/// with 404, other methods than its own with 405.
#[derive(Clone)]
pub struct TranscodeService<S> {
    transcoder: Transcoder,
    grpc: S,
    errors: Arc<dyn ErrorShape>,
}

impl<S: std::fmt::Debug> std::fmt::Debug for TranscodeService<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TranscodeService")
            .field("grpc", &self.grpc)
            .finish_non_exhaustive()
    }
}

impl<S> TranscodeService<S> {
    pub(crate) fn new(transcoder: Transcoder, grpc: S) -> Self {
        Self {
            transcoder,
            grpc,
            errors: Arc::new(GoogleErrors),
        }
    }

    /// Gives errors another shape than [`GoogleErrors`].
    pub fn errors(mut self, errors: Arc<dyn ErrorShape>) -> Self {
        self.errors = errors;
        self
    }

    /// The answer to a request without a rule.
    fn unrouted(&self, method: &Method, error: RouteError) -> http::Response<Body> {
        if let RouteError::MethodNotAllowed { allow } = &error
            && method == Method::OPTIONS
        {
            let mut allow = allow.clone();
            allow.push(Method::OPTIONS);
            let mut response = http::Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            response
                .headers_mut()
                .insert(header::ALLOW, allow_header(&allow));
            return response;
        }
        Problem::from(error).answer(&*self.errors, method == Method::HEAD)
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

impl<S, B, R> Service<http::Request<B>> for TranscodeService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<R>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    /// Always ready; the call itself waits for the gRPC service.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Answer {
        let this = self.clone();
        Box::pin(async move {
            let matched = this
                .transcoder
                .route(request.method(), request.uri().path());
            Ok(match matched {
                Ok(matched) => {
                    let grpc = this.grpc.clone();
                    this.transcoder
                        .call(matched, request, grpc, &*this.errors)
                        .await
                }
                Err(error) => this.unrouted(request.method(), error),
            })
        })
    }
}
