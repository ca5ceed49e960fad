//! The one type that everything hangs on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tower::Service;

use crate::builder::{Builder, Limits};
use crate::headers::{self, Forward};
use crate::plan::Plans;
use crate::problem::ErrorShape;
use crate::route::{MethodInfo, Route, Rule};
use crate::router::Router;
use crate::service::TranscodeService;
use crate::{Body, BoxError};

/// Transcodes HTTP requests to gRPC calls. Cheap to clone.
#[derive(Clone)]
pub struct Transcoder {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones share; it never changes.
pub(crate) struct Inner {
    pub(crate) plans: Arc<Plans>,
    pub(crate) routes: Vec<Arc<Route>>,
    pub(crate) router: Router,
    pub(crate) limits: Limits,
    pub(crate) forward: Forward,
    pub(crate) stream_errors: Arc<dyn ErrorShape>,
    pub(crate) heartbeat: Option<Duration>,
}

/// A rule that was found for a request, with the values from its path.
#[derive(Clone, Debug)]
pub struct Matched {
    pub(crate) route: Arc<Route>,
    pub(crate) captures: Vec<String>,
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
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let head = request.method() == Method::HEAD;
        let applied = headers::applied_wait(request.headers());
        let conditional = matched.route.is_conditional(request.headers());
        let mut response = match self.attempt(matched, request, grpc, errors).await {
            Ok(response) => response,
            Err(problem) => {
                let mut problem = problem.with_plans(&self.inner.plans);
                if conditional {
                    problem.of_condition();
                }
                problem.answer(errors, head)
            }
        };
        if let Some(applied) = applied {
            let headers = response.headers_mut();
            headers.insert(headers::PREFERENCE_APPLIED, applied);
        }
        response
    }
}
