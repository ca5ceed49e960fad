//! The only way to assemble a service: its layers can't be left out.

use std::convert::Infallible;
use std::time::Duration;

use proto::access::SERVICES;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::authorize::AuthorizeLayer;
use crate::error::{Error, Result};
use crate::health::Health;
use crate::metrics;
use crate::peer::{ServiceName, Stack};
use crate::telemetry::LogLayer;
use crate::token::Verifier;

/// A service in the making: tonic services behind the authorization layer.
pub struct ServiceStack {
    name: &'static str,
    service: Option<ServiceName>,
    verifier: Verifier,
    routes: Routes,
}

impl ServiceStack {
    /// A service without methods yet.
    pub fn new(name: ServiceName, verifier: Verifier) -> Self {
        Self {
            service: Some(name),
            ..Self::named(name.as_str(), verifier)
        }
    }

    /// The same for what is no service of the contract, such as the gateway's dialects.
    pub fn named(name: &'static str, verifier: Verifier) -> Self {
        Self {
            name,
            service: None,
            verifier,
            routes: Routes::default(),
        }
    }

    /// Adds a tonic service.
    #[must_use]
    pub fn with<S>(mut self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Error = Infallible>
            + NamedService
            + proto::Gzip
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service.gzip());
        self
    }

    /// The whole: logged, authorized, then routed to its method.
    pub fn build(self) -> Stack {
        let layers = ServiceBuilder::new()
            .layer(LogLayer::new(self.name))
            .layer(AuthorizeLayer::new(self.verifier, self.service))
            .map_request(compressed_as_asked);
        #[expect(clippy::disallowed_methods, reason = "the layers are on it")]
        erase(layers.service(self.routes.prepare()))
    }
}

/// An answer is compressed if its request was: most clients say that they
/// could read it, also those in the same data centre, which have no use for it.
fn compressed_as_asked(mut request: http::Request<Body>) -> http::Request<Body> {
    let encoding = request.headers().get("grpc-encoding");
    if encoding.is_none_or(|encoding| encoding == "identity") {
        request.headers_mut().remove("grpc-accept-encoding");
    }
    request
}

/// Forgets what kind of service it is. For what is behind no authorization
/// layer: reflection, health, and the gateway's own port.
pub fn erase<S>(service: S) -> Stack
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
{
    #[expect(clippy::disallowed_methods, reason = "the one place that makes one")]
    BoxCloneSyncService::new(service.map_err(|never: Infallible| match never {}))
}

/// How often callers of grpc.health.v1 are told what has changed.
const TELL: Duration = Duration::from_millis(200);

/// What every server answers besides its services: reflection (v1 and
/// v1alpha) and health, for anybody. Health is told of the process as a whole
/// and of each service that is named.
pub async fn reflection_and_health(
    descriptor_set: &'static [u8],
    state: &Health,
    services: Vec<&'static str>,
) -> Result<Stack> {
    let (reporter, health) = tonic_health::server::health_reporter();
    tell(&reporter, state, &services).await;
    let state = state.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TELL).await;
            tell(&reporter, &state, &services).await;
        }
    });
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptor_set)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = reflection().build_v1().map_err(Error::internal)?;
    let v1alpha = reflection().build_v1alpha().map_err(Error::internal)?;
    let routes = Routes::new(health)
        .add_service(v1)
        .add_service(v1alpha)
        .prepare();
    #[expect(clippy::disallowed_methods, reason = "anybody may ask")]
    Ok(erase(routes))
}

async fn tell(reporter: &HealthReporter, state: &Health, services: &[&'static str]) {
    let ready = state.report().ready;
    let status = |well| match well {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    };
    reporter.set_service_status("", status(ready)).await;
    for service in services {
        let well = ready && state.serves(service);
        reporter.set_service_status(service, status(well)).await;
    }
}

/// One service's port: probes over HTTP, reflection and health for anybody,
/// and the service behind its layers.
pub async fn port(name: ServiceName, service: Stack, state: &Health) -> Result<Stack> {
    let services = SERVICES.iter().copied();
    let ours = services.filter(|s| ServiceName::of_path(&format!("/{s}/")) == Some(name));
    let own = reflection_and_health(proto::DESCRIPTOR_SET, state, ours.collect()).await?;
    Ok(with_probes(state, own, service))
}

/// The port of probes alone, and of what the process counts: that tells more
/// of an installation than anybody who reaches the service may know.
pub async fn probes(state: &Health) -> Result<Stack> {
    let own = reflection_and_health(proto::DESCRIPTOR_SET, state, Vec::new()).await?;
    let other = own.clone();
    let figures = service_fn(move |request: http::Request<Body>| {
        let (wanted, other) = (is_metrics(&request), other.clone());
        async move {
            match metrics::answer().filter(|_| wanted) {
                Some(answer) => Ok::<_, Infallible>(answer),
                None => Ok(answer_of(other, request).await),
            }
        }
    });
    #[expect(clippy::disallowed_methods, reason = "whoever reaches it may ask")]
    Ok(with_probes(state, own, erase(figures)))
}

fn is_metrics(request: &http::Request<Body>) -> bool {
    request.method() == http::Method::GET && request.uri().path() == "/metrics"
}

async fn answer_of(stack: Stack, request: http::Request<Body>) -> http::Response<Body> {
    let answer = stack.oneshot(request).await;
    answer.unwrap_or_else(|e| Status::unavailable(e.to_string()).into_http())
}

fn with_probes(state: &Health, own: Stack, service: Stack) -> Stack {
    let state = state.clone();
    let answer = service_fn(move |request: http::Request<Body>| {
        let probe = state.probe(request.method(), request.uri().path());
        let stack = match request.uri().path().starts_with("/grpc.") {
            true => own.clone(),
            false => service.clone(),
        };
        async move {
            if let Some(answer) = probe {
                return Ok::<_, Infallible>(answer);
            }
            Ok(answer_of(stack, request).await)
        }
    });
    #[expect(
        clippy::disallowed_methods,
        reason = "the service has its own authorization layer"
    )]
    erase(answer)
}
