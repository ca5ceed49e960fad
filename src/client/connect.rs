//! A channel to the gateway, and the credential that every call carries.

use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::{RefreshRequest, SelectTenantRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use uuid::Uuid;

use super::credentials::Credentials;
use super::failure::Failure;
use super::server_url::ServerUrl;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long it may take to answer a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A channel whose calls carry a credential.
pub(crate) type Authorized = InterceptedService<Channel, Credential>;

/// Puts the credential on each call.
#[derive(Clone)]
pub(crate) struct Credential(MetadataValue<Ascii>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// Connects to the gateway.
pub(crate) async fn open(server: &ServerUrl, ca_cert: Option<&Path>) -> Result<Channel, Failure> {
    let unreachable = |e: tonic::transport::Error| {
        Failure::caused(format!("can't reach {server}"), &e)
            .hint("is the server running, and --server or MUSTER_SERVER right?")
    };
    let mut endpoint = Endpoint::from_shared(server.as_str().to_owned())
        .and_then(|e| e.user_agent(concat!("muster/", env!("CARGO_PKG_VERSION"))))
        .map_err(unreachable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(CALL_TIMEOUT);
    if server.is_encrypted() {
        endpoint = endpoint.tls_config(tls(ca_cert)?).map_err(unreachable)?;
    }
    endpoint.connect().await.map_err(unreachable)
}

/// Trusts the given certificates, or else those of the system.
fn tls(ca_cert: Option<&Path>) -> Result<ClientTlsConfig, Failure> {
    let Some(path) = ca_cert else {
        return Ok(ClientTlsConfig::new().with_native_roots());
    };
    let pem = fs::read(path)
        .map_err(|e| Failure::caused(format!("can't read {}", path.display()), &e))?;
    Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
}

/// The channel with a credential: a token, or an API key that the gateway
/// trades for one.
pub(crate) fn authorized(channel: Channel, credential: &str) -> Result<Authorized, Failure> {
    with_header(channel, &format!("Bearer {credential}"))
}

/// The channel with a name and a secret, as in HTTP Basic (RFC 7617).
pub(crate) fn basic(channel: Channel, name: &str, secret: &str) -> Result<Authorized, Failure> {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    with_header(channel, &format!("Basic {pair}"))
}

fn with_header(channel: Channel, header: &str) -> Result<Authorized, Failure> {
    let mut value: MetadataValue<Ascii> = header
        .parse()
        .map_err(|_| Failure::new("the credential holds characters that can't be sent"))?;
    value.set_sensitive(true);
    Ok(InterceptedService::new(channel, Credential(value)))
}

/// The channel with a token of the saved session, in no tenant.
pub(crate) async fn refresh(channel: Channel, saved: &Credentials) -> Result<Authorized, Failure> {
    let request = RefreshRequest {
        session_token: saved.session_token.clone(),
    };
    let token = AuthServiceClient::new(channel.clone())
        .refresh(request)
        .await
        .map_err(|status| ended(status, saved))?;
    authorized(channel, &token.into_inner().access_token)
}

/// The channel with a token of the saved session, in a tenant.
pub(crate) async fn select(
    channel: Channel,
    user: Authorized,
    tenant: Uuid,
) -> Result<Authorized, Failure> {
    let request = SelectTenantRequest {
        tenant_id: tenant.to_string(),
    };
    let token = AuthServiceClient::new(user).select_tenant(request).await?;
    authorized(channel, &token.into_inner().access_token)
}

/// A session that the server no longer knows needs another login.
fn ended(status: Status, saved: &Credentials) -> Failure {
    let failure = Failure::from(status);
    if !failure.is_unauthenticated() {
        return failure;
    }
    let Credentials { server, email, .. } = saved;
    failure.hint(format!(
        "log in again: muster login --server {server} --email {email}"
    ))
}
