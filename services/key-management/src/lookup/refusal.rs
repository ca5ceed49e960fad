//! Why a credential is not taken, and who is told what of it.

use std::sync::Arc;

use chassis::Error;
use proto::keys::verify_api_key_response::Code;
use sea_orm::prelude::Uuid;

use super::Known;

/// Why a credential is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    Unknown,
    NetworkNotAllowed,
    Revoked,
    Expired,
    Disabled,
    Superseded,
    OwnerGone,
    TenantSuspended,
}

/// A credential that is not taken.
pub(crate) struct Refused {
    pub(crate) why: Refusal,
    /// The tenant that it names, whether its secret was right or not.
    pub(crate) tenant: Option<Uuid>,
    /// What it is, if its secret was right.
    pub(crate) known: Option<Arc<Known>>,
}

impl Refusal {
    /// That of a tenant's credential, whose secret was not right or not compared.
    pub(super) fn of(self, tenant: Uuid) -> Refused {
        Refused {
            why: self,
            tenant: Some(tenant),
            known: None,
        }
    }

    /// That of a credential whose secret was right.
    pub(super) fn about(self, known: Arc<Known>) -> Refused {
        Refused {
            why: self,
            tenant: Some(known.tenant),
            known: Some(known),
        }
    }

    /// What is told to whoever asks about a key of his own tenant.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Malformed => Code::Malformed,
            Self::Unknown => Code::Unknown,
            Self::NetworkNotAllowed => Code::NetworkNotAllowed,
            Self::Revoked => Code::Revoked,
            Self::Expired => Code::Expired,
            Self::Disabled => Code::Disabled,
            Self::Superseded => Code::Superseded,
            Self::OwnerGone => Code::OwnerGone,
            Self::TenantSuspended => Code::TenantSuspended,
        }
    }

    /// The same for a person.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "this looks like a key, but its checksum is wrong: was all of it copied?"
            }
            Self::Unknown | Self::NetworkNotAllowed => {
                "the credential is wrong, or may not be used from this address"
            }
            Self::Revoked => "the credential has been revoked",
            Self::Expired => "the credential has expired",
            Self::Disabled => "the credential is disabled",
            Self::Superseded => {
                "this secret was replaced by a newer one, and its overlap has ended"
            }
            Self::OwnerGone => "the user who owns the credential may not act here any more",
            Self::TenantSuspended => "the tenant is suspended",
        }
    }
}

/// What is told to whoever presents it. What reveals that there is such a
/// credential is only told if the secret was right.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::Malformed => "KEY_MALFORMED",
            Refusal::Unknown | Refusal::NetworkNotAllowed => "BAD_CREDENTIALS",
            Refusal::Revoked => "KEY_REVOKED",
            Refusal::Expired => "KEY_EXPIRED",
            Refusal::Disabled => "KEY_DISABLED",
            Refusal::Superseded => "KEY_SUPERSEDED",
            Refusal::OwnerGone => "OWNER_GONE",
            Refusal::TenantSuspended => "TENANT_SUSPENDED",
        };
        Self::Unauthenticated {
            reason,
            message: refusal.message().into(),
        }
    }
}

impl From<Refusal> for Refused {
    fn from(why: Refusal) -> Self {
        Self {
            why,
            tenant: None,
            known: None,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        refused.why.into()
    }
}
