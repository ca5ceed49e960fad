//! How the services of one installation know each other: each has a key pair
//! of its own (Ed25519), and signs short tokens with it, each for one service
//! to take. Whoever takes over one service becomes no other: it has nobody
//! else's private key, may claim only what [`Privileges`] allow it, and can
//! show what it receives to nobody.

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proto::access::Permission;
use tonic::metadata::MetadataValue;
use uuid::Uuid;

use crate::caller::{Caller, TenantId};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::permissions::Permissions;
use crate::token::Claims;

mod keys;

pub use keys::{KeyRing, PrivateKey, Privileges, ServiceKeys};
pub(crate) use keys::{is_current, refused};

/// Everybody who proves himself by a key of his own: the services, the
/// gateway, and the operator who sets an installation up.
pub const NAMES: [&str; 6] = [
    "identity",
    "tenancy",
    "device-registry",
    "key-management",
    "gateway",
    "operator",
];

/// How long a token between services lives, in seconds.
const LIFE: i64 = 60;
/// For how much of its life a token is used again for calls of the same kind.
const REUSED: i64 = 30;
/// How many such tokens a service keeps.
const KEPT: u64 = 10_000;
/// What a service proves itself by to the others. Cheap to clone.
#[derive(Clone)]
pub struct ServiceIdentity {
    name: &'static str,
    key: EncodingKey,
    clock: Clock,
    /// Signed tokens and their times of issue.
    signed: moka::sync::Cache<Kind, (HeaderValue, i64)>,
}

/// Calls that the same token is right for.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    audience: &'static str,
    tenant: Option<(Uuid, i64)>,
    scope: String,
}

/// The tenant that a service acts for in a call.
#[derive(Clone, Copy, Debug)]
pub struct OnBehalfOf {
    /// The tenant.
    pub tenant: Uuid,
    /// Its short id; 0 if the service does not know it.
    pub number: i64,
}

impl From<&Caller> for OnBehalfOf {
    fn from(caller: &Caller) -> Self {
        Self {
            tenant: caller.tenant().0,
            number: caller.tenant_number(),
        }
    }
}

impl From<TenantId> for OnBehalfOf {
    fn from(tenant: TenantId) -> Self {
        Self {
            tenant: tenant.0,
            number: 0,
        }
    }
}

/// A request's wish to be signed: only where it goes to is it known for whom.
#[derive(Clone)]
pub(crate) struct Unsigned {
    identity: ServiceIdentity,
    tenant: Option<OnBehalfOf>,
    scope: String,
}

impl Unsigned {
    /// The value of an `authorization` header that one service takes.
    pub(crate) fn sign(self, audience: &'static str) -> Result<HeaderValue> {
        let kind = Kind {
            audience,
            tenant: self.tenant.map(|t| (t.tenant, t.number)),
            scope: self.scope,
        };
        self.identity.token(kind)
    }
}

impl ServiceIdentity {
    /// The identity of a service whose key this is.
    pub fn new(name: &'static str, key: &PrivateKey, clock: Clock) -> Self {
        Self {
            name,
            key: EncodingKey::from_ed_der(&key.pkcs8),
            clock,
            signed: moka::sync::Cache::new(KEPT),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// A request that acts for no tenant.
    pub fn request<T>(&self, message: T) -> Result<tonic::Request<T>> {
        Ok(self.unsigned(None, &[], message))
    }

    /// A request that acts for a tenant, with the permissions that it needs there.
    pub fn request_for<T>(
        &self,
        tenant: impl Into<OnBehalfOf>,
        permissions: &[Permission],
        message: T,
    ) -> Result<tonic::Request<T>> {
        Ok(self.unsigned(Some(tenant.into()), permissions, message))
    }

    fn unsigned<T>(
        &self,
        tenant: Option<OnBehalfOf>,
        permissions: &[Permission],
        message: T,
    ) -> tonic::Request<T> {
        let permissions = permissions.iter().copied().collect::<Permissions>();
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(Unsigned {
            identity: self.clone(),
            tenant,
            scope: permissions.to_scope(),
        });
        request
    }

    /// What shows one service that a call comes from this one, and nothing else.
    pub(crate) fn proof(&self, audience: &'static str) -> Result<HeaderValue> {
        self.token(Kind {
            audience,
            tenant: None,
            scope: String::new(),
        })
    }

    fn token(&self, kind: Kind) -> Result<HeaderValue> {
        let now = self.clock.now().timestamp();
        if let Some((token, issued)) = self.signed.get(&kind)
            && (issued..issued + REUSED).contains(&now)
        {
            return Ok(token);
        }
        let claims = Claims {
            iss: self.name.to_owned(),
            aud: kind.audience.to_owned(),
            sub: format!("service:{}", self.name),
            exp: now + LIFE,
            iat: now,
            scope: kind.scope.clone(),
            tid: kind.tenant.map(|(tenant, _)| tenant),
            tno: kind.tenant.map(|(_, number)| number).unwrap_or_default(),
            ..Claims::default()
        };
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(format!("service:{}", self.name));
        let token = encode(&header, &claims, &self.key).map_err(Error::internal)?;
        let mut token =
            HeaderValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
        token.set_sensitive(true);
        self.signed.insert(kind, (token.clone(), now));
        Ok(token)
    }
}

/// A token as the value of an `authorization` header that no log shows.
pub fn bearer(token: &str) -> Result<MetadataValue<tonic::metadata::Ascii>> {
    let mut value = MetadataValue::try_from(format!("Bearer {token}")).map_err(Error::internal)?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::keys::SKEW;
    use super::*;

    fn token(identity: &ServiceIdentity, tenant: Option<Uuid>, scope: &[Permission]) -> String {
        let request = match tenant {
            Some(tenant) => identity.request_for(TenantId(tenant), scope, ()),
            None => identity.request(()),
        };
        let unsigned = request.unwrap().extensions_mut().remove::<Unsigned>();
        let value = unsigned.unwrap().sign("tenancy").unwrap();
        let text = value.to_str().unwrap();
        text.strip_prefix("Bearer ").unwrap().to_owned()
    }

    #[test]
    fn a_service_is_known_by_its_own_key_for_one_audience_and_not_for_long() {
        let (ours, other) = (KeyRing::generate().unwrap(), KeyRing::generate().unwrap());
        let clock = Clock::system();
        let identity = ours.identity("identity", clock.clone()).unwrap();
        let token = token(&identity, None, &[]);
        let claims = ours.public().verify("identity", &token).unwrap();
        assert_eq!(claims.sub, "service:identity");
        assert!(ours.public().verify("tenancy", &token).is_err());
        assert!(other.public().verify("identity", &token).is_err());
        let now = clock.now().timestamp();
        assert!(is_current(&claims, "tenancy", now));
        assert!(!is_current(&claims, "key-management", now));
        clock.advance(TimeDelta::seconds(LIFE + SKEW + 1));
        assert!(!is_current(&claims, "tenancy", clock.now().timestamp()));
    }

    #[test]
    fn a_token_that_is_used_again_is_good_for_a_clock_ahead_and_for_one_behind() {
        let ring = KeyRing::generate().unwrap();
        let clock = Clock::system();
        let identity = ring.identity("identity", clock.clone()).unwrap();
        let first = token(&identity, None, &[]);
        clock.advance(TimeDelta::seconds(REUSED - 2));
        assert_eq!(token(&identity, None, &[]), first);
        let claims = ring.public().verify("identity", &first).unwrap();
        let now = clock.now().timestamp();
        for apart in [-SKEW, 0, REUSED + 1, SKEW] {
            assert!(is_current(&claims, "tenancy", now + apart), "{apart}");
        }
    }

    #[test]
    fn a_service_that_calls_itself_by_another_name_is_refused() {
        let ring = KeyRing::generate().unwrap();
        let key = ring.private("device-registry").unwrap();
        let forged = ServiceIdentity::new("identity", key, Clock::system());
        let token = token(&forged, None, &[]);
        for name in NAMES {
            assert!(ring.public().verify(name, &token).is_err(), "{name}");
        }
    }

    #[test]
    fn a_service_claims_only_what_it_needs() {
        let ring = KeyRing::generate().unwrap();
        let tenant = Some(Uuid::from_u128(1));
        let may = |name: &'static str, tenant, scope: &[Permission]| {
            let identity = ring.identity(name, Clock::system()).unwrap();
            let token = token(&identity, tenant, scope);
            ring.public().verify(name, &token).is_ok()
        };
        assert!(may("tenancy", tenant, &[Permission::UsersRead]));
        assert!(!may("tenancy", tenant, &[Permission::UsersWrite]));
        assert!(may("operator", tenant, &[Permission::UsersWrite]));
        assert!(may("identity", tenant, &[]));
        assert!(!may("identity", tenant, &[Permission::DevicesRead]));
        assert!(may("gateway", None, &[]));
        assert!(!may("gateway", tenant, &[]));
        assert!(may("device-registry", tenant, &[]));
        assert!(!may("device-registry", tenant, &[Permission::DevicesRead]));
    }

    #[test]
    fn keys_are_the_same_after_they_were_files() {
        let ring = KeyRing::generate().unwrap();
        let public = ServiceKeys::from_json(&ring.public().to_json().unwrap()).unwrap();
        let pem = ring.private("gateway").unwrap().to_pem();
        let private = PrivateKey::from_pem(&pem).unwrap();
        assert!(public.has("gateway", &private));
        assert!(!public.has("operator", &private));
        let identity = ServiceIdentity::new("gateway", &private, Clock::system());
        assert!(
            public
                .verify("gateway", &token(&identity, None, &[]))
                .is_ok()
        );
        assert!(ServiceKeys::from_json("{}").is_err());
        assert!(PrivateKey::from_pem("nothing").is_err());
    }
}
