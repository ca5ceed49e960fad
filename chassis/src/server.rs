//! The only way to assemble a service: its layers can't be left out.

use std::convert::Infallible;

use tonic::body::Body;
use tonic::server::NamedService;
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::authorize::AuthorizeLayer;
use crate::error::{Error, Result};
use crate::peer::{ServiceName, Stack};
use crate::telemetry::LogLayer;
use crate::token::Verifier;

/// A service in the making: tonic services behind the authorization layer.
pub struct ServiceStack {
    name: &'static str,
    verifier: Verifier,
    routes: Routes,
}

impl ServiceStack {
    /// A service without methods yet.
    pub fn new(name: ServiceName, verifier: Verifier) -> Self {
        Self::named(name.as_str(), verifier)
    }

    /// The same for what is no service of the contract, such as the gateway's dialects.
    pub fn named(name: &'static str, verifier: Verifier) -> Self {
        Self {
            name,
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
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.routes = self.routes.add_service(service);
        self
    }

    /// The whole: logged, authorized, then routed to its method.
    pub fn build(self) -> Stack {
        let layers = ServiceBuilder::new()
            .layer(LogLayer(self.name))
            .layer(AuthorizeLayer::new(self.verifier));
        #[expect(clippy::disallowed_methods, reason = "the layers are on it")]
        erase(layers.service(self.routes.prepare()))
    }
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

/// What every server answers besides its services: reflection (v1 and
/// v1alpha) and health, for anybody.
pub async fn reflection_and_health(descriptor_set: &'static [u8]) -> Result<Stack> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    health_reporter
        .set_service_status("", tonic_health::ServingStatus::Serving)
        .await;
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
