//! The one port: what a request is, by its content type and path, and where
//! it goes. gRPC and gRPC-Web are forwarded by service name without decoding;
//! all else is transcoded.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::context::{self, Call, REQUEST_ID, TIMEOUT, Trace};
use chassis::health::Health;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::{Clock, Error};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::Limited;
use proto::access::{Requirement, requirement, streamed};
use proto::muster::dialect::v1::CredentialSource;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;
use tower_http::timeout::TimeoutBody;
use transcoder::{ErrorShape, GoogleErrors, Problem, Transcoder};

use crate::credentials::{self, Presented, Sources};
use crate::deadline::bounded;
use crate::dialects::{self, Dialect};
use crate::encoding::Secrets;
use crate::exchange::Exchange;
use crate::failures::Failures;
use crate::limits::Limiter;
use crate::oauth;
use crate::origin::Proxies;
use crate::pages;
use crate::protocol::Protocol;
use crate::visit::{self, Visit};

/// Bytes that a request may have which anybody can make.
const PUBLIC_BODY: usize = 64 << 10;
/// How long a request over HTTP may take until its answer begins.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a client that streams over HTTP may say nothing, not even a blank.
const SILENCE: Duration = Duration::from_secs(300);

/// Everything behind the port. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Edge(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) transcoder: Transcoder,
    pub(crate) secrets: Secrets,
    pub(crate) sources: Sources,
    pub(crate) exchange: Exchange,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) failures: Failures,
    pub(crate) peers: Peers,
    /// What the gateway itself answers behind authorization: the dialects'
    /// services, and the record of all services.
    pub(crate) services: Stack,
    /// Health and reflection.
    pub(crate) own: Stack,
    pub(crate) clock: Clock,
    pub(crate) health: Health,
    pub(crate) proxies: Proxies,
}

impl Inner {
    /// What answers a gRPC path to whoever is at an address.
    async fn stack(&self, path: &str, source: Option<IpAddr>) -> Result<Stack, Status> {
        let stack = match ServiceName::of_path(path) {
            Some(name) => self.peers.forward(name),
            None if path.starts_with("/muster.") => self.services.clone(),
            None => self.own.clone(),
        };
        match requirement(path) {
            Some(Requirement::Public) => self.failures.watch(path, source, stack).await,
            _ => Ok(stack),
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
        let call = self.call(&request, &id);
        let waits = preferred(request.headers());
        let told = context::timeout(request.headers()).ok().flatten().or(waits);
        if let Ok(call) = &call {
            // Also what the client made up: where it came from is ours to say.
            call.write(request.headers_mut());
        }
        let protocol = Protocol::of(request.headers());
        let refusal = protocol.refuse(&request);
        let scope = call.as_ref().map(Clone::clone).unwrap_or_default();
        let visit = Visit::of(request.headers());
        // What is awaited has no name before: it would be held, and moved, twice.
        let (route, mut response) = visit::scope(
            visit.clone(),
            context::scope(scope, async {
                if protocol == Protocol::Http {
                    return self.http(request, call, told).await;
                }
                let path = request.uri().path().to_owned();
                let answer = match (call, refusal) {
                    (Err(refusal), _) => Status::from(refusal).into_http(),
                    (Ok(call), Some(refusal)) => match self.0.limiter.source(call.source) {
                        Ok(()) => refusal,
                        Err(status) => problem(&GoogleErrors, &Problem::new(status)),
                    },
                    (Ok(call), None) => self.forward(request, &call).await,
                };
                (path, answer)
            }),
        )
        .await;
        visit.write(response.headers_mut());
        response.headers_mut().insert(REQUEST_ID, id.clone());
        if let Some(applied) = waits
            .filter(|_| protocol == Protocol::Http)
            .and_then(applied)
        {
            response.headers_mut().insert("preference-applied", applied);
        }
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

    /// The call that a request is: how long its client waits, and from where.
    /// Over HTTP, nobody waits for ever.
    fn call(&self, request: &Request<Body>, id: &HeaderValue) -> chassis::Result<Call> {
        let told = context::timeout(request.headers())?;
        let left = match Protocol::of(request.headers()) {
            Protocol::Grpc => told,
            _ => {
                let told = told.or_else(|| preferred(request.headers()));
                Some(told.unwrap_or(PATIENCE).min(PATIENCE))
            }
        };
        Ok(Call {
            method: request.uri().path().trim_start_matches('/').to_owned(),
            request_id: id.to_str().unwrap_or_default().to_owned(),
            source: self.0.proxies.source(request),
            deadline: left.map(|left| Instant::now() + left),
            trace: Trace::of(request.headers()),
        })
    }

    async fn http(
        self,
        mut request: Request<Body>,
        call: chassis::Result<Call>,
        told: Option<Duration>,
    ) -> (String, Response<Body>) {
        let path = request.uri().path();
        if let Some(answer) = self.0.health.probe(request.method(), path) {
            return (path.to_owned(), answer);
        }
        if let Some(page) = pages::answer(&request) {
            let source = call.ok().and_then(|call| call.source);
            let answer = match self.0.limiter.source(source) {
                Ok(()) => page,
                Err(status) => problem(&GoogleErrors, &Problem::new(status)),
            };
            return (path.to_owned(), answer);
        }
        let matched = match self
            .0
            .transcoder
            .route(request.method(), request.uri().path())
        {
            Ok(matched) => matched,
            Err(error) => {
                let source = call.ok().and_then(|call| call.source);
                let answer = match self.0.limiter.source(source) {
                    Ok(()) => no_route(&request, error),
                    Err(status) => problem(shape_of_path(request.uri()), &Problem::new(status)),
                };
                return ("-".to_owned(), answer);
            }
        };
        let method = matched.method().clone();
        let route = matched.rule().template.clone();
        let errors = shape(&method.service);
        let refused = |status| problem(errors, &Problem::new(status));
        let mut call = match call {
            Ok(call) => call,
            Err(refusal) => return (route, refused(refusal.into())),
        };
        if streamed(&method.path) {
            // It lasts for as long as the client has something to say.
            call.deadline = told.map(|left| Instant::now() + left);
            call.write(request.headers_mut());
            request = request.map(|body| Body::new(TimeoutBody::new(SILENCE, body)));
        }
        let answer = context::until(call.deadline, async {
            self.0.limiter.source(call.source)?;
            let sources = self.0.sources.of(&method.service);
            let request = self.authenticate(request, &method.path, sources).await?;
            let stack = self.0.stack(&method.path, call.source).await?;
            Ok(self
                .0
                .transcoder
                .call(matched, request, stack, errors)
                .await)
        })
        .await;
        let mut answer = answer.flatten().unwrap_or_else(refused);
        self.0.secrets.mark(&method.path, &mut answer);
        (route, answer)
    }

    /// A gRPC call goes on as it is, but for its credential.
    async fn forward(self, request: Request<Body>, call: &Call) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let answer = context::until(call.deadline, async {
            self.0.limiter.source(call.source)?;
            // Over gRPC, a dialect's package takes what any other takes.
            let sources = self.0.sources.native();
            let request = self.authenticate(request, &path, sources).await?;
            let stack = self.0.stack(&path, call.source).await?;
            let answer = stack.oneshot(request).await;
            answer.map_err(|error| Status::unavailable(error.to_string()))
        })
        .await;
        let answer = answer.flatten().unwrap_or_else(|status| status.into_http());
        bounded(answer, call.deadline)
    }

    /// Takes the credential out of a request and puts a token in.
    async fn authenticate(
        &self,
        mut request: Request<Body>,
        path: &str,
        sources: &[CredentialSource],
    ) -> Result<Request<Body>, Status> {
        let base = self.0.proxies.base_url(&request);
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
            (Some(Requirement::Public), presented) => {
                if let Some(presented) = presented.filter(|_| oauth::reads_credentials(path)) {
                    request.extensions_mut().insert(presented);
                }
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
                if let Some(renewal) = self.0.exchange.renewal(&presented) {
                    request.extensions_mut().insert(renewal);
                }
                let token = self.0.exchange.token(presented).await?;
                let token = credentials::authorization(&token)?;
                request.headers_mut().insert(AUTHORIZATION, token);
                Ok(request)
            }
        }
    }
}

/// How long a client prefers to wait (RFC 7240), if that can be granted.
fn preferred(headers: &HeaderMap) -> Option<Duration> {
    if headers.contains_key(TIMEOUT) {
        return None;
    }
    let wait = Duration::from_secs(transcoder::preferred_wait(headers)?.into());
    Some(wait).filter(|wait| *wait <= PATIENCE)
}

/// What an answer says of that.
fn applied(wait: Duration) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("wait={}", wait.as_secs())).ok()
}

/// Whether a browser says that another site's page makes this change: a
/// cookie comes along by itself, a header does not.
fn from_another_site(request: &Request<Body>) -> bool {
    let site = request.headers().get("sec-fetch-site");
    let other = site.is_some_and(|site| site == "cross-site" || site == "same-site");
    other && !matches!(*request.method(), http::Method::GET | http::Method::HEAD)
}

/// The client's own id of the request if it is a sane one, else a new one.
fn request_id(clock: &Clock, headers: &HeaderMap) -> HeaderValue {
    let given = context::request_id(headers).and_then(|id| HeaderValue::try_from(id).ok());
    given.unwrap_or_else(|| {
        HeaderValue::try_from(clock.new_id().to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
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
pub(crate) fn no_route(request: &Request<Body>, error: transcoder::RouteError) -> Response<Body> {
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

/// An error in the shape that its client expects.
pub(crate) fn problem(errors: &dyn ErrorShape, problem: &Problem) -> Response<Body> {
    let (mut parts, body) = errors.shape(problem).into_parts();
    let told = problem.status.metadata().clone().into_headers();
    for (name, value) in problem.headers.iter().chain(&told) {
        parts.headers.entry(name).or_insert_with(|| value.clone());
    }
    Response::from_parts(parts, Body::new(http_body_util::Full::new(body)))
}
