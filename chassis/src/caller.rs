//! Who is calling. These types exist only after a token was verified.

use std::fmt;

use chrono::{DateTime, Utc};
use proto::Validate;
use proto::access::Permission;
use tonic::Request;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::permissions::Permissions;

/// A tenant's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(pub Uuid);

/// What is calling.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// A person.
    User(Uuid),
    /// An API key.
    Key(Uuid),
    /// An API client.
    Client(Uuid),
    /// A device, by the token that it proved itself for.
    Device(Uuid),
    /// Another service of this installation.
    Service(String),
}

impl Principal {
    /// Reads a token's `sub`, such as `user:0189…`.
    pub fn parse(subject: &str) -> Option<Self> {
        let (kind, id) = subject.split_once(':')?;
        Some(match kind {
            "user" => Self::User(id.parse().ok()?),
            "key" => Self::Key(id.parse().ok()?),
            "client" => Self::Client(id.parse().ok()?),
            "device" => Self::Device(id.parse().ok()?),
            "service" => Self::Service(id.to_owned()),
            _ => return None,
        })
    }

    /// `user`, `key`, `client`, `device` or `service`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::User(_) => "user",
            Self::Key(_) => "key",
            Self::Client(_) => "client",
            Self::Device(_) => "device",
            Self::Service(_) => "service",
        }
    }

    /// The id of the user, key, client or device, or the name of the service.
    pub fn id(&self) -> String {
        match self {
            Self::User(id) | Self::Key(id) | Self::Client(id) | Self::Device(id) => id.to_string(),
            Self::Service(name) => name.clone(),
        }
    }
}

/// As a token's `sub`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind(), self.id())
    }
}

/// Whoever presented a valid token, whether it is scoped to a tenant or not.
#[derive(Clone, Debug)]
pub struct Subject {
    principal: Principal,
    tenant: Option<TenantId>,
    tenant_number: i64,
    permissions: Permissions,
    session: Option<Uuid>,
    secret: Option<i64>,
    token_number: Option<i64>,
    issue_time: DateTime<Utc>,
}

impl Subject {
    /// Only the token module verifies, so only it mints.
    pub(crate) fn verified(claims: &crate::token::Claims, principal: Principal) -> Self {
        Self {
            principal,
            tenant: claims.tid.map(TenantId),
            tenant_number: claims.tno,
            permissions: Permissions::from_scope(&claims.scope),
            session: claims.sid,
            secret: claims.r#gen,
            token_number: claims.tkn,
            issue_time: DateTime::from_timestamp_micros(claims.iat_us).unwrap_or_default(),
        }
    }

    /// What is calling.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The calling user; an error for API keys, clients and services.
    pub fn user(&self) -> Result<Uuid> {
        match self.principal {
            Principal::User(id) => Ok(id),
            _ => Err(Error::denied(
                "USER_REQUIRED",
                "only a user may do this, and the caller is none",
            )),
        }
    }

    /// The tenant that the token is scoped to, if any.
    pub fn tenant(&self) -> Option<TenantId> {
        self.tenant
    }

    /// The tenant's short id; 0 if the token does not say.
    pub fn tenant_number(&self) -> i64 {
        self.tenant_number
    }

    /// What the token allows in its tenant.
    pub fn permissions(&self) -> Permissions {
        self.permissions
    }

    /// The session that the token came from, if any.
    pub fn session(&self) -> Option<Uuid> {
        self.session
    }

    /// The secret that the token was traded for, by the number it is counted by.
    pub fn secret(&self) -> Option<i64> {
        self.secret
    }

    /// The number of the token, if it was issued by name.
    pub fn token_number(&self) -> Option<i64> {
        self.token_number
    }

    /// When the token was issued.
    pub fn issue_time(&self) -> DateTime<Utc> {
        self.issue_time
    }

    /// The caller, if the token is scoped to a tenant.
    pub fn scoped(self) -> Result<Caller> {
        let tenant = self.tenant.ok_or_else(|| {
            Error::denied(
                "TENANT_REQUIRED",
                "the token is not scoped to a tenant: trade it with AuthService.SelectTenant",
            )
        })?;
        Ok(Caller {
            tenant,
            subject: self,
        })
    }
}

/// A subject that acts for one tenant. The store takes nothing less.
#[derive(Clone, Debug)]
pub struct Caller {
    tenant: TenantId,
    subject: Subject,
}

impl Caller {
    /// The tenant that the caller acts for.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The tenant's short id; 0 if the token does not say.
    pub fn tenant_number(&self) -> i64 {
        self.subject.tenant_number
    }

    /// What is calling.
    pub fn principal(&self) -> &Principal {
        &self.subject.principal
    }

    /// The subject behind the caller.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// What the caller may do in its tenant.
    pub fn permissions(&self) -> Permissions {
        self.subject.permissions
    }

    /// Whether the caller holds a permission.
    pub fn holds(&self, permission: Permission) -> bool {
        self.subject.permissions.holds(permission)
    }

    /// Refuses permissions that the caller does not hold itself: nobody
    /// grants what he does not hold.
    pub fn may_grant(&self, wanted: Permissions) -> Result<()> {
        let missing = wanted.without(self.permissions());
        if missing == Permissions::default() {
            return Ok(());
        }
        Err(Error::denied(
            "PERMISSION_NOT_HELD",
            format!(
                "nobody grants what he does not hold; the caller does not hold: {}",
                missing.to_scope()
            ),
        ))
    }
}

/// Splits a request into its tenant-scoped caller and its message, which
/// keeps the contract's rules. Fails closed.
pub fn open<T: Validate>(request: Request<T>) -> Result<(Caller, T)> {
    let (subject, message) = open_subject(request)?;
    Ok((subject.scoped()?, message))
}

/// Splits a request into its verified subject and its message, which keeps
/// the contract's rules. Fails closed.
pub fn open_subject<T: Validate>(request: Request<T>) -> Result<(Subject, T)> {
    let (_, mut extensions, message) = request.into_parts();
    let subject = extensions
        .remove::<Subject>()
        .ok_or_else(|| Error::unauthenticated("no verified caller"))?;
    Ok((subject, check(message)?))
}

/// The message of a request that anybody may make.
pub fn open_public<T: Validate>(request: Request<T>) -> Result<T> {
    check(request.into_inner())
}

/// The message, if it keeps the contract's rules; else all its violations.
pub fn check<T: Validate>(message: T) -> Result<T> {
    let violations = message.violations();
    if violations.is_empty() {
        Ok(message)
    } else {
        Err(Error::Invalid(violations))
    }
}
