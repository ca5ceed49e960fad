//! The domain services as a dialect calls them: with the caller's own token,
//! or with one that was traded for the tenant which the caller named.

use chassis::peer::{Peer, Peers, ServiceName};
use chassis::renewal::{Renew, Renewal};
use chassis::service_identity::bearer;
use chassis::{Error, Result, Subject};
use http::HeaderValue;
use proto::identity::SelectTenantRequest;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::user_service_client::UserServiceClient;
use proto::keys::api_client_service_client::ApiClientServiceClient;
use proto::keys::api_key_service_client::ApiKeyServiceClient;
use proto::keys::token_service_client::TokenServiceClient;
use proto::registry::command_service_client::CommandServiceClient;
use proto::registry::customer_service_client::CustomerServiceClient;
use proto::registry::device_authentication_service_client::DeviceAuthenticationServiceClient;
use proto::registry::device_command_service_client::DeviceCommandServiceClient;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::sensor_service_client::SensorServiceClient;
use proto::registry::site_service_client::SiteServiceClient;
use proto::registry::tag_service_client::TagServiceClient;
use proto::registry::webhook_service_client::WebhookServiceClient;
use proto::registry::{Device, GetDeviceRequest};
use proto::tenancy::tenant_service_client::TenantServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};
use uuid::Uuid;

use crate::credentials::authorization;

/// The domain services, called on behalf of one caller.
#[derive(Clone)]
pub(crate) struct Domain {
    peers: Peers,
    token: Option<MetadataValue<Ascii>>,
    /// How to get another one, should it have ended.
    renewal: Option<Renewal>,
    subject: Option<Subject>,
}

impl Domain {
    /// Takes the caller over from a request that a dialect received.
    pub(crate) fn of<T>(peers: &Peers, request: &Request<T>) -> Self {
        Self {
            peers: peers.clone(),
            token: request.metadata().get("authorization").cloned(),
            renewal: request.extensions().get().cloned(),
            subject: request.extensions().get::<Subject>().cloned(),
        }
    }

    /// The domain as whoever holds this token may use it.
    pub(crate) fn bearing(peers: &Peers, token: &str, renewal: Option<Renewal>) -> Result<Self> {
        Ok(Self {
            peers: peers.clone(),
            token: Some(bearer(token)?),
            renewal,
            subject: None,
        })
    }

    /// A request that carries the caller's token.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request
                .metadata_mut()
                .insert("authorization", token.clone());
        }
        if let Some(renewal) = &self.renewal {
            request.extensions_mut().insert(renewal.clone());
        }
        request
    }

    /// Whoever is calling; an error in a method that is public.
    pub(crate) fn subject(&self) -> Result<&Subject> {
        self.subject
            .as_ref()
            .ok_or_else(|| Error::unauthenticated("no verified caller"))
    }

    /// The tenant that the caller's token is scoped to, and an error if to none.
    pub(crate) fn tenant(&self) -> Result<Uuid> {
        Ok(self.subject()?.clone().scoped()?.tenant().0)
    }

    /// The short id of that tenant.
    pub(crate) fn tenant_number(&self) -> Result<i64> {
        Ok(self.subject()?.clone().scoped()?.tenant_number())
    }

    /// The domain as seen from the tenant that the request named: the same
    /// one if the token is scoped to it; a user's token is traded for one that
    /// is; anybody else is refused.
    pub(crate) async fn in_tenant(&self, tenant: Uuid) -> Result<Self> {
        let subject = self.subject()?;
        if subject.tenant().is_some_and(|t| t.0 == tenant) {
            return Ok(self.clone());
        }
        subject.user().map_err(|_| {
            Error::denied("OTHER_TENANT", "the credential belongs to another tenant")
        })?;
        let token = self.token_in(tenant).await?;
        let again = Selection {
            user: self.clone(),
            tenant,
        };
        Ok(Self {
            token: Some(bearer(&token)?),
            renewal: Some(Renewal::new(again)),
            ..self.clone()
        })
    }

    /// A token for a tenant, which is issued to the user who is calling.
    async fn token_in(&self, tenant: Uuid) -> std::result::Result<String, Status> {
        let wanted = SelectTenantRequest {
            tenant_id: tenant.to_string(),
        };
        let answer = self.auth().select_tenant(self.request(wanted)).await?;
        Ok(answer.into_inner().access_token)
    }

    /// A device that is there: other systems know no deleted ones.
    pub(crate) async fn device(&self, id: &str) -> std::result::Result<Device, Status> {
        let wanted = GetDeviceRequest {
            id: id.to_owned(),
            ..Default::default()
        };
        let device = self.devices().get_device(self.request(wanted)).await?;
        let device = device.into_inner();
        match device.delete_time {
            None => Ok(device),
            Some(_) => Err(Error::not_found("device", id).into()),
        }
    }
}

/// A user's choice of a tenant, which is made again for another token.
struct Selection {
    user: Domain,
    tenant: Uuid,
}

#[tonic::async_trait]
impl Renew for Selection {
    async fn renew(&self, _: &HeaderValue) -> std::result::Result<HeaderValue, Status> {
        Ok(authorization(&self.user.token_in(self.tenant).await?)?)
    }
}

/// How large an answer of a domain service may be: a page of a thousand
/// devices with all that may be kept with them is far beyond tonic's 4 MiB.
const LARGEST_ANSWER: usize = 256 << 20;

/// Defines one client for each domain service.
macro_rules! clients {
    ($($name:ident: $client:ident at $service:ident),* $(,)?) => {
        impl Domain {
            $(pub(crate) fn $name(&self) -> $client<Peer> {
                $client::new(self.peers.get(ServiceName::$service))
                    .max_decoding_message_size(LARGEST_ANSWER)
            })*
        }
    };
}

clients! {
    auth: AuthServiceClient at Identity,
    users: UserServiceClient at Identity,
    tenants: TenantServiceClient at Tenancy,
    devices: DeviceServiceClient at DeviceRegistry,
    device_authentication: DeviceAuthenticationServiceClient at DeviceRegistry,
    tags: TagServiceClient at DeviceRegistry,
    sites: SiteServiceClient at DeviceRegistry,
    customers: CustomerServiceClient at DeviceRegistry,
    sensors: SensorServiceClient at DeviceRegistry,
    commands: CommandServiceClient at DeviceRegistry,
    device_commands: DeviceCommandServiceClient at DeviceRegistry,
    webhooks: WebhookServiceClient at DeviceRegistry,
    api_keys: ApiKeyServiceClient at KeyManagement,
    api_clients: ApiClientServiceClient at KeyManagement,
    tokens: TokenServiceClient at KeyManagement,
}
