//! The one port: what a request is, by its content type and path, and where
//! it goes. gRPC and gRPC-Web are forwarded by service name without decoding;
//! all else is transcoded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::health::Health;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::token::Verifier;
use chassis::{Clock, Error};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Limited;
use proto::access::{Requirement, requirement};
use proto::muster::dialect::v1::CredentialSource;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;
use transcoder::{ErrorShape, GoogleErrors, Problem, Transcoder};

use crate::credentials::{self, Presented, Sources};
use crate::dialects::{self, Dialect};
use crate::exchange::Exchange;

/// Names a request in logs and answers.
const REQUEST_ID: &str = "x-request-id";

/// Bytes that a request may have which anybody can make.
const PUBLIC_BODY: usize = 64 << 10;
/// How long a request over HTTP may take until its answer begins.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the client reached us, such as `https://muster.example.com`: for
/// dialects whose answers hold links.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl(pub(crate) String);

/// Everything behind the port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) transcoder: Transcoder,
    pub(crate) sources: Sources,
    pub(crate) exchange: Exchange,
    pub(crate) verifier: Verifier,
    pub(crate) peers: Peers,
    /// What the gateway itself answers behind authorization: the dialects'
    /// services, and the record of all services.
    pub(crate) services: Stack,
    /// Health and reflection.
    pub(crate) own: Stack,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) tls: bool,
}

impl Inner {
    /// What answers a gRPC path.
    fn stack(&self, path: &str) -> Stack {
        match ServiceName::of_path(path) {
            Some(name) => self.peers.forward(name),
            None if path.starts_with("/muster.") => self.services.clone(),
            None => self.own.clone(),
        }
    }
}

impl Edge {
    /// Answers any request.
    pub(crate) async fn answer(self, mut request: Request<Body>) -> Response<Body> {
        let begun = Instant::now();
        let id = request_id(&self.0.clock, request.headers());
        request.headers_mut().insert(REQUEST_ID, id.clone());
        let method = request.method().clone();
        let (route, mut response) = if is_grpc(request.headers()) {
            (request.uri().path().to_owned(), self.forward(request).await)
        } else {
            self.http(request).await
        };
        response.headers_mut().insert(REQUEST_ID, id.clone());
        if response.status() == StatusCode::UNAUTHORIZED {
            // RFC 9110: a 401 says how to do better.
            let challenge = HeaderValue::from_static("Bearer realm=\"muster\"");
            response
                .headers_mut()
                .entry(WWW_AUTHENTICATE)
                .or_insert(challenge);
        }
        let status = response.status().as_u16();
        let code = response
            .headers()
            .get("grpc-status")
            .and_then(|c| c.to_str().ok())
            .unwrap_or_default();
        let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let id = id.to_str().unwrap_or_default();
        tracing::info!(%method, route, status, code, micros, request_id = id, "request");
        response
    }

    async fn http(self, request: Request<Body>) -> (String, Response<Body>) {
        let path = request.uri().path();
        if let Some(answer) = self.0.health.probe(request.method(), path) {
            return (path.to_owned(), answer);
        }
        let matched = match self
            .0
            .transcoder
            .route(request.method(), request.uri().path())
        {
            Ok(matched) => matched,
            Err(error) => return ("-".to_owned(), no_route(&request, error)),
        };
        let method = matched.method().clone();
        let route = matched.rule().template.clone();
        let errors = shape(&method.service);
        let request = match self
            .authenticate(request, &method.path, self.0.sources.of(&method.service))
            .await
        {
            Ok(request) => request,
            Err(status) => return (route, problem(errors, &Problem::new(status))),
        };
        let stack = self.0.stack(&method.path);
        let answer = self.0.transcoder.call(matched, request, stack, errors);
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let late = |_| {
            problem(
                errors,
                &Problem::new(Status::deadline_exceeded("it took too long")),
            )
        };
        (route, answer.unwrap_or_else(late))
    }

    /// A gRPC call goes on as it is, but for its credential.
    async fn forward(self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        // Over gRPC, a dialect's package takes what any other takes.
        let request = match self
            .authenticate(request, &path, self.0.sources.native())
            .await
        {
            Ok(request) => request,
            Err(status) => return status.into_http(),
        };
        match self.0.stack(&path).oneshot(request).await {
            Ok(response) => response,
            Err(error) => Status::unavailable(error.to_string()).into_http(),
        }
    }

    /// Takes the credential out of a request and puts a token in.
    async fn authenticate(
        &self,
        mut request: Request<Body>,
        path: &str,
        sources: &[CredentialSource],
    ) -> Result<Request<Body>, Status> {
        let base = base_url(&request, self.0.tls);
        let presented = credentials::find(sources, request.headers(), request.uri());
        let mut uri = std::mem::take(request.uri_mut());
        self.0
            .sources
            .strip(sources, request.headers_mut(), &mut uri);
        *request.uri_mut() = uri;
        request.extensions_mut().insert(base);
        match (requirement(path), presented) {
            // What only services may call is not there for anybody else.
            (Some(Requirement::Service), _) => {
                Err(Status::unimplemented("there is no such method"))
            }
            // Anybody may send these, and none of them is large.
            (Some(Requirement::Public), _) => {
                Ok(request.map(|body| Body::new(Limited::new(body, PUBLIC_BODY))))
            }
            (None, _) => Ok(request),
            (Some(_), Some(Presented::Session(_))) if from_another_site(&request) => {
                Err(Error::denied(
                    "CROSS_SITE",
                    "a page of another site may not use the session",
                )
                .into())
            }
            // Refused before anything of the request is read.
            (Some(_), None) => Err(Error::unauthenticated(credentials::wanted(sources)).into()),
            (Some(_), Some(presented)) => {
                let mut value =
                    HeaderValue::try_from(format!("Bearer {}", self.token(presented).await?))
                        .map_err(|_| Error::unauthenticated("the credential is malformed"))?;
                value.set_sensitive(true);
                request.headers_mut().insert(AUTHORIZATION, value);
                Ok(request)
            }
        }
    }

    /// A verified token for a credential; traded anew if the one that was
    /// remembered has been revoked: the credential itself may be good again.
    async fn token(&self, presented: Presented) -> Result<String, Status> {
        let token = self.0.exchange.token(presented.clone()).await?;
        match self.0.verifier.verify(&token).await {
            Ok(_) => Ok(token),
            Err(refusal) if matches!(presented, Presented::Token(_)) => Err(refusal.into()),
            Err(_) => {
                self.0.exchange.forget(&presented).await;
                self.0.exchange.token(presented).await
            }
        }
    }
}

/// Whether a browser says that another site's page makes this change: a
/// cookie comes along by itself, a header does not.
fn from_another_site(request: &Request<Body>) -> bool {
    let site = request.headers().get("sec-fetch-site");
    let other = site.is_some_and(|site| site == "cross-site" || site == "same-site");
    other && !matches!(*request.method(), http::Method::GET | http::Method::HEAD)
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    kind.starts_with("application/grpc")
}

/// The client's own id of the request if it is a sane one, else a new one.
fn request_id(clock: &Clock, headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).filter(|v| {
        v.len() <= 64
            && v.as_bytes()
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b))
    });
    given.cloned().unwrap_or_else(|| {
        HeaderValue::try_from(clock.new_id().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

fn base_url(request: &Request<Body>, tls: bool) -> BaseUrl {
    let text = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok());
    let host = text(HOST.as_str())
        .or(request.uri().authority().map(http::uri::Authority::as_str))
        .unwrap_or_default();
    let scheme = text("x-forwarded-proto").filter(|s| matches!(*s, "http" | "https"));
    let scheme = scheme.unwrap_or(if tls { "https" } else { "http" });
    BaseUrl(format!("{scheme}://{host}"))
}

fn dialect(service: &str) -> Option<&'static Dialect> {
    dialects::ALL.iter().find(|d| d.service == service)
}

/// The shape of a service's errors.
fn shape(service: &str) -> &'static dyn ErrorShape {
    match dialect(service) {
        Some(dialect) => dialect,
        None => &GoogleErrors,
    }
}

/// Paths that nobody has are refused in the shape of the API they look like.
fn no_route(request: &Request<Body>, error: transcoder::RouteError) -> Response<Body> {
    let problem_ = Problem::from(error);
    if request.method() == http::Method::OPTIONS
        && problem_.http_status == StatusCode::METHOD_NOT_ALLOWED
    {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().extend(problem_.headers);
        return response;
    }
    problem(shape_of_path(request.uri()), &problem_)
}

fn shape_of_path(uri: &Uri) -> &'static dyn ErrorShape {
    let longest = |d: &Dialect| {
        d.prefixes
            .iter()
            .filter(|p| uri.path().starts_with(**p))
            .map(|p| p.len())
            .max()
    };
    let candidates = dialects::ALL.iter().filter_map(|d| Some((longest(d)?, d)));
    match candidates.max_by_key(|(length, _)| *length) {
        Some((_, dialect)) => dialect,
        None => &GoogleErrors,
    }
}

fn problem(errors: &dyn ErrorShape, problem: &Problem) -> Response<Body> {
    let (mut parts, body) = errors.shape(problem).into_parts();
    for (name, value) in &problem.headers {
        parts.headers.entry(name).or_insert_with(|| value.clone());
    }
    Response::from_parts(parts, Body::new(http_body_util::Full::new(body)))
}
