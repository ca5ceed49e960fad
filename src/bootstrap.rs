//! The first start: one tenant and one administrator, who owns it.

use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::{Clock, Error, Result};
use proto::access::Permission;
use proto::identity::user_service_client::UserServiceClient;
use proto::identity::{CreateUserRequest, User};
use proto::tenancy::CreateFirstTenantRequest;
use proto::tenancy::tenant_service_client::TenantServiceClient;
use serde::{Deserialize, Serialize};
use tonic::Code;
use uuid::Uuid;

use crate::data_dir::{self, DataDir};

/// Says that the first start has begun and not ended, and with which ids: a
/// start that was cut short is taken up again.
const PENDING: &str = "first-start.json";
/// How the first tenant is called; it can be renamed.
const TENANT: &str = "default";

/// Who administrates the first tenant.
pub(crate) struct Administrator {
    pub(crate) email: String,
    pub(crate) password: String,
    /// Whether the password was made here, and must be shown.
    pub(crate) generated: bool,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    tenant: Uuid,
    user: Uuid,
    /// The generated password, until it has been shown.
    password: Option<String>,
}

/// Notes that a first start has begun, if there is no database yet; takes one
/// that was cut short up again, with the password that it made. To be called
/// before databases are made.
pub(crate) fn note_first_start(
    data: &DataDir,
    clock: &Clock,
    administrator: &mut Administrator,
) -> std::result::Result<(), String> {
    if let Some(pending) = pending(data) {
        if let (true, Some(password)) = (administrator.generated, pending.password) {
            administrator.password = password;
        }
        return Ok(());
    }
    if data.database(ServiceName::Tenancy.as_str()).exists() {
        return Ok(());
    }
    let pending = Pending {
        tenant: clock.new_id(),
        user: clock.new_id(),
        password: administrator
            .generated
            .then(|| administrator.password.clone()),
    };
    let text = serde_json::to_string(&pending).map_err(|e| e.to_string())?;
    let file = data.file(PENDING);
    data_dir::write_private(&file, &text)
        .map_err(|e| format!("can't write {}: {e}", file.display()))
}

/// A first start that has begun, and not ended.
fn pending(data: &DataDir) -> Option<Pending> {
    let text = std::fs::read_to_string(data.file(PENDING)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Creates what a first start creates; nothing on any other start.
pub(crate) async fn first_start(
    data: &DataDir,
    peers: &Peers,
    identity: &ServiceIdentity,
    administrator: &Administrator,
) -> Result<bool> {
    let Some(pending) = pending(data) else {
        return Ok(false);
    };
    create_tenant(peers, identity, &pending).await?;
    create_user(peers, identity, &pending, administrator).await?;
    Ok(true)
}

/// Notes that the first start has ended: its password has been shown.
pub(crate) fn end_first_start(data: &DataDir) -> std::io::Result<()> {
    std::fs::remove_file(data.file(PENDING))
}

async fn create_tenant(peers: &Peers, identity: &ServiceIdentity, pending: &Pending) -> Result<()> {
    let request = identity.request(CreateFirstTenantRequest {
        display_name: TENANT.to_owned(),
        owner: pending.user.to_string(),
        tenant_id: pending.tenant.to_string(),
    })?;
    let mut tenants = TenantServiceClient::new(peers.get(ServiceName::Tenancy));
    match tenants.create_first_tenant(request).await {
        // It was made before this start was cut short.
        Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
        done => done.map(drop).map_err(Error::from),
    }
}

async fn create_user(
    peers: &Peers,
    identity: &ServiceIdentity,
    pending: &Pending,
    administrator: &Administrator,
) -> Result<()> {
    let message = CreateUserRequest {
        user: Some(User {
            email: administrator.email.clone(),
            display_name: "Administrator".to_owned(),
            ..User::default()
        }),
        user_id: pending.user.to_string(),
        password: administrator.password.clone(),
    };
    let tenant = OnBehalfOf {
        tenant: pending.tenant,
        number: 0,
    };
    let request = identity.request_for(tenant, &[Permission::UsersWrite], message)?;
    let mut users = UserServiceClient::new(peers.get(ServiceName::Identity));
    match users.create_user(request).await {
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        done => done.map(drop).map_err(Error::from),
    }
}
