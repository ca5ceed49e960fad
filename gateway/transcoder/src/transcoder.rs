//! The one type that everything hangs on.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::{Method, StatusCode};
use http_body_util::Full;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use crate::builder::{Builder, Limits};
use crate::frames::Frames;
use crate::headers::{self, Forward};
use crate::plan::Plans;
use crate::problem::{self, ErrorShape, Problem};
use crate::request::{Incoming, collect};
use crate::response::{self, Asked};
use crate::route::{MethodInfo, Route, Rule};
use crate::router::Router;
use crate::service::TranscodeService;
use crate::stream::{self, Framing};
use crate::{Body, BoxError};

/// Transcodes HTTP requests to gRPC calls. Cheap to clone.
#[derive(Clone)]
pub struct Transcoder {
    inner: Arc<Inner>,
}

/// What all clones share; it never changes.
pub(crate) struct Inner {
    pub(crate) plans: Arc<Plans>,
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) forward: Forward,
    pub(crate) stream_errors: Arc<dyn ErrorShape>,
}

/// A rule that was found for a request, with the values from its path.
#[derive(Clone, Debug)]
pub struct Matched {
    route: Arc<Route>,
    captures: Vec<String>,
}

impl Matched {
    /// The gRPC method that will be called.
    pub fn method(&self) -> &MethodInfo {
        &self.route.rule.method
    }

    /// The variables of the path: field paths as the template has them, and
    /// values as the path has them, percent-encoded.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let names = self
            .route
            .variables
            .iter()
            .map(|variable| variable.name.as_str());
        names.zip(self.captures.iter().map(String::as_str))
    }

    /// The rule that was found.
    pub fn rule(&self) -> &Rule {
        &self.route.rule
    }
}

/// Why a request has no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// No rule is for this path.
    #[error("there is nothing at this path")]
    NotFound,
    /// The rules for this path are for other methods.
    #[error("the path does not take this method")]
    MethodNotAllowed {
        /// The methods it takes.
        allow: Vec<Method>,
    },
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder")
            .field("routes", &self.inner.routes.len())
            .finish_non_exhaustive()
    }
}

impl Transcoder {
    /// Starts from an encoded `google.protobuf.FileDescriptorSet`.
    pub fn builder(file_descriptor_set: impl Into<Bytes>) -> Builder {
        Builder::new(file_descriptor_set.into())
    }

    pub(crate) fn new(inner: Inner) -> Self {
        Self {
            inner: Arc::new(inner),
        }
    }

    #[cfg(feature = "openapi")]
    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// Finds the rule for a request by its method and its percent-encoded
    /// path. HEAD finds the rules of GET.
    pub fn route(&self, method: &Method, path: &str) -> Result<Matched, RouteError> {
        let Some((id, segments)) = self.inner.router.find(method, path) else {
            let allow = self.allowed(path);
            return Err(match allow.is_empty() {
                true => RouteError::NotFound,
                false => RouteError::MethodNotAllowed { allow },
            });
        };
        let route = self.inner.routes[id].clone();
        let captures = route.captures(&segments);
        Ok(Matched { route, captures })
    }

    /// The methods that a path takes, in alphabetical order.
    pub fn allowed(&self, path: &str) -> Vec<Method> {
        self.inner.router.allowed(path)
    }

    /// All rules, in the order of the descriptors.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.inner.routes.iter().map(|route| &route.rule)
    }

    /// A tower service for programs that need nothing between finding the
    /// rule and the call.
    pub fn into_service<S>(self, grpc: S) -> TranscodeService<S> {
        TranscodeService::new(self, grpc)
    }

    /// Transcodes one HTTP request to a gRPC call on `grpc` and its answer
    /// back. Whatever goes wrong becomes a response in the shape of `errors`.
    pub async fn call<S, B, R>(
        &self,
        matched: Matched,
        request: http::Request<B>,
        grpc: S,
        errors: &dyn ErrorShape,
    ) -> http::Response<Body>
    where
        S: Service<http::Request<Body>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let head = request.method() == Method::HEAD;
        match self.attempt(matched, request, grpc, errors).await {
            Ok(response) => response,
            Err(problem) => problem.with_plans(&self.inner.plans).answer(errors, head),
        }
    }

    async fn attempt<S, B, R>(
        &self,
        matched: Matched,
        request: http::Request<B>,
        grpc: S,
        errors: &dyn ErrorShape,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        S: Service<http::Request<Body>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes>,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let asked = Asked::of(&parts);
        let framing = Framing::of(&matched.route, &parts.headers);
        let body = collect(body, self.inner.limits.body)
            .await
            .map_err(|f| f.into_problem())?;
        let call = self
            .grpc_request(&matched, parts, &body)
            .map_err(|f| f.into_problem())?;
        drop(body);
        let route = matched.route;
        let answer = grpc
            .oneshot(call)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let (answer, body) = answer.into_parts();
        match response::status(&answer.headers) {
            Some(Err(status)) => return Err(failed(status, &answer.headers)),
            None if !is_grpc(&answer) => {
                return Err(Box::new(response::not_grpc(answer.status)));
            }
            _ => {}
        }
        if route.rule.method.server_streaming {
            let errors = errors
                .for_stream()
                .unwrap_or_else(|| self.inner.stream_errors.clone());
            let streamed = self
                .streaming(route, errors, framing, &answer.headers, body)
                .await;
            // The stream may have no end to tell the length of.
            return match asked.method == Method::HEAD {
                true => streamed.map(|response| response.map(|_| Body::empty())),
                false => streamed,
            };
        }
        self.unary(&route, &asked, answer.headers, body).await
    }

    /// The request of the gRPC call, with the HTTP request's extensions.
    fn grpc_request(
        &self,
        matched: &Matched,
        parts: http::request::Parts,
        body: &[u8],
    ) -> crate::fault::Outcome<http::Request<Body>> {
        let inner = &*self.inner;
        let frames = Incoming {
            plans: &inner.plans,
            route: &matched.route,
            captures: &matched.captures,
            limits: inner.limits,
            parts: &parts,
            body,
        }
        .frames()?;
        let mut request = http::Request::new(Body::new(Full::new(frames)));
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = matched.route.uri.clone();
        *request.headers_mut() = headers::request(&parts.headers, &inner.forward);
        *request.extensions_mut() = parts.extensions;
        Ok(request)
    }

    async fn unary<R>(
        &self,
        route: &Route,
        asked: &Asked,
        mut metadata: HeaderMap,
        body: R,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let mut frames = Frames::new(body);
        let mut message = None;
        while let Some(next) = frames.next().await {
            let next = next.map_err(|status| Box::new(Problem::new(status)))?;
            if message.replace(next).is_some() {
                return Err(malformed("the service answered with more than one message"));
            }
        }
        if let Some(trailers) = frames.trailers() {
            if let Some(Err(status)) = response::status(trailers) {
                return Err(failed(status, &metadata));
            }
            for (name, value) in trailers {
                metadata.append(name.clone(), value.clone());
            }
        }
        match (response::status(&metadata), message) {
            (Some(_), Some(message)) => {
                response::unary(&self.inner.plans, route, asked, &metadata, &message)
            }
            (Some(_), None) => Err(malformed("the service answered OK without a message")),
            (None, _) => Err(Box::new(response::not_grpc(StatusCode::OK))),
        }
    }

    /// What the stream has at once decides the status: an error that comes
    /// first is an answer like any other. But a quiet stream is not waited
    /// for, since its reader wants to know that it has begun.
    async fn streaming<R>(
        &self,
        route: Arc<Route>,
        errors: Arc<dyn ErrorShape>,
        framing: Framing,
        metadata: &HeaderMap,
        body: R,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let mut frames = Frames::new(body);
        let first = std::future::poll_fn(|cx| Poll::Ready(frames.poll_next(cx))).await;
        let first = match first {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(message))) => Some(message),
            Poll::Ready(Some(Err(status))) => return Err(failed(status, metadata)),
            Poll::Ready(None) => {
                if let Some(Err(status)) = frames.trailers().and_then(response::status) {
                    return Err(failed(status, metadata));
                }
                None
            }
        };
        Ok(stream::respond(
            self.inner.clone(),
            route,
            errors,
            framing,
            metadata,
            frames,
            first,
        ))
    }
}

/// Whether an answer can be gRPC at all; some services leave out the type.
fn is_grpc(answer: &http::response::Parts) -> bool {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let typed = content_type.is_none_or(|value| value.as_bytes().starts_with(b"application/grpc"));
    answer.status == StatusCode::OK && typed
}

/// The problem of a call that failed; its headers' metadata counts too.
fn failed(status: Status, metadata: &HeaderMap) -> Box<Problem> {
    let mut problem = Problem::new(status);
    let trailers = problem.status.metadata().clone().into_headers();
    for headers in [&trailers, metadata] {
        headers::response(headers, &mut problem.headers);
    }
    let chosen = headers::chosen_status(&trailers).or_else(|| headers::chosen_status(metadata));
    if let Some(status) = chosen.filter(|status| status.as_u16() >= 400) {
        problem.http_status = status;
    }
    Box::new(problem)
}

fn malformed(message: &str) -> Box<Problem> {
    Box::new(problem::own(Code::Internal, "MALFORMED_RESPONSE", message))
}

/// The problem of a service that could not be called.
fn unreachable(error: BoxError) -> Box<Problem> {
    Box::new(match Status::try_from_error(error) {
        Ok(status) => Problem::new(status),
        Err(error) => problem::own(
            Code::Unavailable,
            "SERVICE_UNREACHABLE",
            format!("the service cannot be reached: {error}"),
        ),
    })
}
