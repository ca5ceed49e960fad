//! The first start: one tenant and one administrator, who owns it.

use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::{Clock, Error, Result};
use proto::access::Permission;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::user_service_client::UserServiceClient;
use proto::identity::{CreateUserRequest, LoginRequest, User};
use proto::tenancy::member_service_client::MemberServiceClient;
use proto::tenancy::tenant_service_client::TenantServiceClient;
use proto::tenancy::{CreateFirstTenantRequest, ResolveMemberRequest};
use serde::{Deserialize, Serialize};
use tonic::Code;
use uuid::Uuid;

use crate::data_dir::{self, DataDir};

/// Says that the first start has begun and not ended, and with which ids: a
/// start that was cut short is taken up again.
const PENDING: &str = "first-start.json";
/// How the first tenant is called; it can be renamed.
const TENANT: &str = "default";
/// The names of what is created first are in this space (RFC 9562, UUIDv5):
/// who takes up what another one began makes the same ids.
const FIRST: Uuid = Uuid::from_u128(0x7d1c_6a0e_53b5_4c8e_9a57_1f0b_7a8e_2c41);

/// Who administrates the first tenant.
pub(crate) struct Administrator {
    pub(crate) email: String,
    pub(crate) password: String,
    /// Whether the password was made here, and must be shown.
    pub(crate) generated: bool,
}

/// The ids of the first tenant and its administrator.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) tenant: Uuid,
    pub(crate) user: Uuid,
}

impl Ids {
    /// The same for everybody who sets an installation up.
    pub(crate) fn named() -> Self {
        Self {
            tenant: Uuid::new_v5(&FIRST, b"tenant"),
            user: Uuid::new_v5(&FIRST, b"administrator"),
        }
    }
}

/// What became of the first tenant and its administrator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The administrator was created, and the tenant if it was not there.
    Created,
    /// Both were there.
    Known,
    /// The installation has a first tenant that is not ours.
    Other,
}

/// Creates the first tenant and its administrator, as far as they are not
/// there yet.
pub(crate) async fn create(
    peers: &Peers,
    operator: &ServiceIdentity,
    ids: Ids,
    administrator: &Administrator,
) -> Result<Outcome> {
    if !create_tenant(peers, operator, ids).await? && !is_ours(peers, operator, ids).await? {
        return Ok(Outcome::Other);
    }
    create_user(peers, operator, ids, administrator).await
}

/// Whether the first tenant was created; not if there is one already.
async fn create_tenant(peers: &Peers, operator: &ServiceIdentity, ids: Ids) -> Result<bool> {
    let request = operator.request(CreateFirstTenantRequest {
        display_name: TENANT.to_owned(),
        owner: ids.user.to_string(),
        tenant_id: ids.tenant.to_string(),
    })?;
    let mut tenants = TenantServiceClient::new(peers.get(ServiceName::Tenancy));
    match tenants.create_first_tenant(request).await {
        Err(status) if status.code() == Code::FailedPrecondition => Ok(false),
        done => done.map(|_| true).map_err(Error::from),
    }
}

/// Whether the first tenant is the one that we create.
async fn is_ours(peers: &Peers, operator: &ServiceIdentity, ids: Ids) -> Result<bool> {
    let message = ResolveMemberRequest {
        user_id: ids.user.to_string(),
    };
    let request = operator.request_for(on_behalf(ids), &[], message)?;
    let mut members = MemberServiceClient::new(peers.get(ServiceName::Tenancy));
    match members.resolve_member(request).await {
        // Its owner may have left, or the tenant may be suspended: nothing to begin with.
        Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
            Ok(false)
        }
        done => done.map(|_| true).map_err(Error::from),
    }
}

async fn create_user(
    peers: &Peers,
    operator: &ServiceIdentity,
    ids: Ids,
    administrator: &Administrator,
) -> Result<Outcome> {
    let message = CreateUserRequest {
        user: Some(User {
            email: administrator.email.clone(),
            display_name: "Administrator".to_owned(),
            ..User::default()
        }),
        user_id: ids.user.to_string(),
        password: administrator.password.clone(),
    };
    let request = operator.request_for(on_behalf(ids), &[Permission::UsersWrite], message)?;
    let mut users = UserServiceClient::new(peers.get(ServiceName::Identity));
    match users.create_user(request).await {
        Err(status) if status.code() == Code::AlreadyExists => Ok(Outcome::Known),
        done => done.map(|_| Outcome::Created).map_err(Error::from),
    }
}

fn on_behalf(ids: Ids) -> OnBehalfOf {
    OnBehalfOf {
        tenant: ids.tenant,
        number: 0,
    }
}

/// A first start of `up`, as its data folder knows it.
pub(crate) struct FirstStart {
    ids: Ids,
    /// Whether it was begun by a start that did not end it.
    resumed: bool,
}

#[derive(Serialize, Deserialize)]
struct Pending {
    #[serde(flatten)]
    ids: Ids,
    /// The generated password, until it has been shown.
    password: Option<String>,
}

impl FirstStart {
    /// Notes that a first start may have begun; takes one that was cut short
    /// up again, with the password that it made. To be called before databases
    /// are made. Only a folder with databases of its own can tell that this is
    /// no first start.
    pub(crate) fn note(
        data: &DataDir,
        embedded: bool,
        clock: &Clock,
        administrator: &mut Administrator,
    ) -> std::result::Result<Option<Self>, String> {
        if let Some(pending) = pending(data) {
            if let (true, Some(password)) = (administrator.generated, pending.password) {
                administrator.password = password;
            }
            return Ok(Some(Self {
                ids: pending.ids,
                resumed: true,
            }));
        }
        if embedded && data.database(ServiceName::Tenancy.as_str()).exists() {
            return Ok(None);
        }
        let new = || Ids {
            tenant: clock.new_id(),
            user: clock.new_id(),
        };
        let ids = if embedded { new() } else { Ids::named() };
        let pending = Pending {
            ids,
            password: administrator
                .generated
                .then(|| administrator.password.clone()),
        };
        let text = serde_json::to_string(&pending).map_err(|e| e.to_string())?;
        let file = data.file(PENDING);
        data_dir::write_private(&file, &text)
            .map_err(|e| format!("can't write {}: {e}", file.display()))?;
        Ok(Some(Self {
            ids,
            resumed: false,
        }))
    }

    /// Creates what is missing. Whether this is a first start, whose password
    /// is to be shown: not if the database was set up long ago.
    pub(crate) async fn run(
        &self,
        peers: &Peers,
        operator: &ServiceIdentity,
        administrator: &Administrator,
    ) -> Result<bool> {
        Ok(
            match create(peers, operator, self.ids, administrator).await? {
                Outcome::Created => true,
                Outcome::Known => self.resumed && is_password(peers, administrator).await,
                Outcome::Other => false,
            },
        )
    }
}

/// Whether the administrator's password is the one that is to be shown.
async fn is_password(peers: &Peers, administrator: &Administrator) -> bool {
    let mut client = AuthServiceClient::new(peers.get(ServiceName::Identity));
    let login = client.login(LoginRequest {
        email: administrator.email.clone(),
        password: administrator.password.clone(),
    });
    login.await.is_ok()
}

/// A first start that has begun, and not ended.
fn pending(data: &DataDir) -> Option<Pending> {
    let text = std::fs::read_to_string(data.file(PENDING)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Whether a first start has begun, and not ended.
pub(crate) fn is_pending(data: &DataDir) -> bool {
    data.file(PENDING).exists()
}

/// Notes that the first start has ended: its password has been shown.
pub(crate) fn end_first_start(data: &DataDir) -> std::io::Result<()> {
    std::fs::remove_file(data.file(PENDING))
}
