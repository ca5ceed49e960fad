//! The gateway: credentials in, contract out.
//!
//! It serves the services' contract as gRPC, gRPC-Web and HTTP/JSON on one
//! port ([`edge`]), trades whatever credential is presented for a token
//! ([`credentials`], [`exchange`]), and re-exposes the documented REST paths
//! of other systems ([`dialects`]). It has no database and no business rule.

// Each request would move it, and take that much memory.
#![warn(clippy::large_futures)]

mod audit;
mod credentials;
mod deadline;
mod dialects;
mod domain;
mod edge;
mod encoding;
mod exchange;
mod failures;
mod limits;
mod oauth;
mod openapi;
mod origin;
mod pages;
mod protocol;
mod swagger;
mod uses;
mod visit;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use chassis::health::Health;
use chassis::peer::{Peers, Stack};
use chassis::server::{ServiceStack, erase, reflection_and_health};
use chassis::service_identity::ServiceIdentity;
use chassis::token::Verifier;
use chassis::{Clock, Error, Result};
use futures::future::Either;
use http::header::ACCESS_CONTROL_REQUEST_METHOD;
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use ipnet::IpNet;
use proto::access::SERVICES;
use proto::audit::audit_service_server::AuditServiceServer;
use protocol::{Protocol, canonical};
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};
use transcoder::Transcoder;

pub use limits::{Limits, Rate, replicas};
pub use openapi::{apis, openapi};

/// How long server-sent events are silent before a proxy could end them.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What a gateway is made of.
pub struct Gateway {
    /// Where the services are.
    pub peers: Peers,
    /// What the gateway proves itself by to them.
    pub identity: ServiceIdentity,
    /// Verifies tokens.
    pub verifier: Verifier,
    /// The time.
    pub clock: Clock,
    /// What the process depends on.
    pub health: Health,
    /// Whether the port speaks TLS.
    pub tls: bool,
    /// Networks of the proxies in front, whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Origins whose pages may call from a browser, such as `https://console.example.com`.
    pub cors_origins: Vec<HeaderValue>,
    /// How many requests may come from whom.
    pub limits: Limits,
}

impl Gateway {
    /// What answers at the port. All problems of the contract's routes are
    /// told at once.
    pub async fn build(self) -> Result<Stack> {
        let transcoder = Transcoder::builder(proto::DESCRIPTOR_SET)
            .forward_headers(is_forwarded)
            .heartbeat(HEARTBEAT)
            .build()
            .map_err(Error::internal)?;
        let secrets = encoding::Secrets::read(proto::DESCRIPTOR_SET).map_err(Error::internal)?;
        let sources = credentials::Sources::read(proto::DESCRIPTOR_SET).map_err(Error::Internal)?;
        let stack = ServiceStack::named("gateway", self.verifier.clone());
        let audit = audit::Audit {
            peers: self.peers.clone(),
        };
        describe();
        let limiter = Arc::new(limits::Limiter::new(&self.limits));
        let failures = failures::Failures::new(limiter.failures());
        let exchange = exchange::Exchange::new(
            self.peers.clone(),
            self.identity,
            self.clock.clone(),
            self.verifier.clone(),
            limiter.clone(),
            failures.clone(),
        );
        let oauth = oauth::service(&self.peers, &exchange, &self.verifier);
        let edge = edge::Edge(Arc::new(edge::Inner {
            transcoder,
            secrets,
            sources,
            exchange,
            limiter,
            failures,
            services: dialects::mount(stack, &self.peers)
                .with(oauth)
                .with(AuditServiceServer::new(audit))
                .build(),
            own: reflection_and_health(proto::DESCRIPTOR_SET, &self.health, SERVICES.to_vec())
                .await?,
            peers: self.peers,
            clock: self.clock,
            health: self.health,
            proxies: origin::Proxies {
                trusted: self.trusted_proxies,
                tls: self.tls,
            },
        }));
        let answer = service_fn(move |request: Request<Body>| {
            let edge = edge.clone();
            // Boxed here: each layer around it would move all of it.
            let answer = Box::pin(edge.answer(request));
            async move { Ok::<Response<Body>, Infallible>(answer.await) }
        });
        // What comes out of the layer is gRPC, whatever it came by.
        let as_grpc = |mut request: Request<Body>| {
            *request.version_mut() = Version::HTTP_2;
            request
        };
        let web = GrpcWebLayer::new().layer(answer.clone().map_request(as_grpc));
        let answer = service_fn(move |request: Request<Body>| {
            match (Protocol::of(request.headers()), request.method()) {
                (Protocol::Web { text }, &Method::POST) => {
                    Either::Left(web.clone().oneshot(canonical(request, text)))
                }
                _ => Either::Right(answer.clone().oneshot(request)),
            }
        });
        let coded = encoding::coded(answer.clone());
        let answer = service_fn(
            move |request: Request<Body>| match encoding::is_coded(&request) {
                true => Either::Left(coded.clone().oneshot(request)),
                false => Either::Right(answer.clone().oneshot(request)),
            },
        );
        let pages = cors(self.cors_origins).layer(answer.clone());
        let answer = service_fn(
            move |request: Request<Body>| match is_plain_options(&request) {
                true => Either::Left(answer.clone().oneshot(request)),
                false => Either::Right(pages.clone().oneshot(request)),
            },
        );
        #[expect(
            clippy::disallowed_methods,
            reason = "the port itself; what is behind it is authorized"
        )]
        Ok(erase(answer))
    }
}

/// Signatures of whoever reports leaks, too.
fn is_forwarded(name: &HeaderName) -> bool {
    transcoder::forwarded(name) || name.as_str().starts_with("github-public-key-")
}

fn describe() {
    metrics::describe_counter!(
        "muster_exchanges_total",
        "Credentials that were presented, by what became of them"
    );
    metrics::describe_counter!(
        "muster_rate_limited_total",
        "Requests that were refused because there were too many, by limit"
    );
}

/// OPTIONS that is no browser's question before a call: it asks for `Allow`.
fn is_plain_options(request: &Request<Body>) -> bool {
    let asks = request
        .headers()
        .contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    request.method() == Method::OPTIONS && !asks
}

/// No origin may call from a browser unless the operator says so.
fn cors(origins: Vec<HeaderValue>) -> CorsLayer {
    let exposed = [
        "grpc-status",
        "grpc-message",
        "grpc-status-details-bin",
        "x-request-id",
        "etag",
        "location",
        "preference-applied",
        "retry-after",
        "www-authenticate",
        "ratelimit",
        "ratelimit-policy",
        visit::NOTICE,
    ];
    CorsLayer::new()
        // As long as the most patient browser remembers an answer.
        .max_age(Duration::from_secs(7200))
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods(Any)
        // Not `*`, which leaves `Authorization` out (Fetch standard).
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(exposed.map(HeaderName::from_static))
}
