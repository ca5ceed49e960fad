//! How the services of one installation know each other: each has a key pair
//! of its own (Ed25519), and signs short tokens with it, each for one service
//! to take. Whoever takes over one service becomes no other: it has nobody
//! else's private key, may claim only what [`Privileges`] allow it, and can
//! show what it receives to nobody.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use proto::access::Permission;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tonic::metadata::MetadataValue;
use uuid::Uuid;

use crate::caller::{Caller, TenantId};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::permissions::Permissions;
use crate::token::Claims;

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
/// How far the clocks of two machines may be apart, in seconds.
const SKEW: i64 = 60;

/// What a service may claim in the tokens that it signs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Privileges {
    /// Whether it may act for a tenant.
    pub tenants: bool,
    /// The permissions that it may claim there.
    pub permissions: &'static [Permission],
}

impl Privileges {
    /// What each service needs, and no more.
    fn of(name: &str) -> Self {
        match name {
            // To resolve members, and to mint tokens.
            "identity" | "key-management" => Self {
                tenants: true,
                permissions: &[],
            },
            // To see whether a user is there to become a member.
            "tenancy" => Self {
                tenants: true,
                permissions: &[Permission::UsersRead],
            },
            // To create the first administrator.
            "operator" => Self {
                tenants: true,
                permissions: &[Permission::UsersWrite],
            },
            _ => Self::default(),
        }
    }

    fn allow(self, claims: &Claims) -> bool {
        let may = self.permissions.iter().copied().collect::<Permissions>();
        let claimed = claims.scope.split(' ').filter(|name| !name.is_empty());
        (claims.tid.is_none() || self.tenants)
            && Permissions::from_names(claimed).is_ok_and(|claimed| may.covers(claimed))
    }
}

/// A service's private key.
#[derive(Clone)]
pub struct PrivateKey {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Result<Self> {
        let pair = Ed25519KeyPair::generate().map_err(Error::internal)?;
        let pkcs8 = pair.to_pkcs8v1().map_err(Error::internal)?;
        Self::from_pkcs8(pkcs8.as_ref())
    }

    /// Reads PKCS#8 in PEM, as [`PrivateKey::to_pem`] and `openssl genpkey
    /// -algorithm ed25519` write it.
    pub fn from_pem(pem: &str) -> Result<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| Error::internal(format!("no private key in PEM: {e}")))?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(der)
            .map_err(|e| Error::internal(format!("no Ed25519 key: {e}")))?;
        Ok(Self {
            pkcs8: der.to_vec(),
            public: pair.public_key().as_ref().to_vec(),
        })
    }

    /// As PKCS#8 in PEM.
    pub fn to_pem(&self) -> String {
        let text = BASE64_STANDARD.encode(&self.pkcs8);
        let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
        let lines = lines.collect::<Vec<_>>().join("\n");
        format!("-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----\n")
    }
}

/// A public key as a file has it (RFC 7517, RFC 8037).
#[derive(Serialize, Deserialize)]
struct PublicJwk {
    kty: String,
    crv: String,
    alg: String,
    #[serde(rename = "use")]
    usage: String,
    kid: String,
    x: String,
}

#[derive(Serialize, Deserialize)]
struct Jwks {
    keys: Vec<PublicJwk>,
}

/// Everybody's public keys. A name may have two of them while its key is
/// being replaced. Cheap to clone.
#[derive(Clone, Default)]
pub struct ServiceKeys(Arc<HashMap<String, Vec<Known>>>);

#[derive(Clone)]
struct Known {
    /// As in a JWK.
    x: String,
    key: DecodingKey,
    privileges: Privileges,
}

impl ServiceKeys {
    /// Reads a JWK set with keys named `service:<name>`.
    pub fn from_json(json: &str) -> Result<Self> {
        let jwks: Jwks = serde_json::from_str(json)
            .map_err(|e| Error::internal(format!("no JWK set of Ed25519 keys: {e}")))?;
        let mut keys = HashMap::<_, Vec<Known>>::new();
        for jwk in jwks.keys {
            let name = jwk.kid.strip_prefix("service:").unwrap_or_default();
            if (jwk.kty.as_str(), jwk.crv.as_str()) != ("OKP", "Ed25519") || !NAMES.contains(&name)
            {
                let text = format!("{} is no Ed25519 key named service:<name>", jwk.kid);
                return Err(Error::internal(text));
            }
            let known = known(jwk.x, Privileges::of(name))?;
            keys.entry(name.to_owned()).or_default().push(known);
        }
        Ok(Self(Arc::new(keys)))
    }

    /// As a JWK set.
    pub fn to_json(&self) -> Result<String> {
        let names = NAMES.iter().filter_map(|n| Some((n, self.0.get(*n)?)));
        let keys = names.flat_map(|(name, keys)| {
            keys.iter().map(move |known| PublicJwk {
                kty: "OKP".to_owned(),
                crv: "Ed25519".to_owned(),
                alg: "EdDSA".to_owned(),
                usage: "sig".to_owned(),
                kid: format!("service:{name}"),
                x: known.x.clone(),
            })
        });
        let keys = keys.collect();
        serde_json::to_string_pretty(&Jwks { keys }).map_err(Error::internal)
    }

    /// The same, and a key of one service with these privileges.
    pub fn with(self, name: &str, key: &PrivateKey, privileges: Privileges) -> Result<Self> {
        let mut keys = (*self.0).clone();
        let x = BASE64_URL_SAFE_NO_PAD.encode(&key.public);
        let known = known(x, privileges)?;
        keys.entry(name.to_owned()).or_default().push(known);
        Ok(Self(Arc::new(keys)))
    }

    /// Whether a private key is the named service's.
    pub fn has(&self, name: &str, key: &PrivateKey) -> bool {
        let x = BASE64_URL_SAFE_NO_PAD.encode(&key.public);
        let known = self.0.get(name);
        known.is_some_and(|keys| keys.iter().any(|known| known.x == x))
    }

    /// The claims of a token that the named service signed, for anybody and
    /// whenever.
    pub(crate) fn verify(&self, name: &str, token: &str) -> Result<Claims> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.validate_exp = false;
        validation.validate_aud = false;
        let keys = self.0.get(name).ok_or_else(refused)?;
        let (claims, privileges) = keys
            .iter()
            .find_map(|known| {
                let token = decode::<Claims>(token, &known.key, &validation).ok()?;
                Some((token.claims, known.privileges))
            })
            .ok_or_else(refused)?;
        let lives = claims.exp.checked_sub(claims.iat);
        if claims.sub != format!("service:{name}") || lives.is_none_or(|life| life > LIFE) {
            return Err(refused());
        }
        if !privileges.allow(&claims) {
            return Err(Error::denied(
                "PRIVILEGE_NOT_HELD",
                format!("the {name} service may not claim what its token says"),
            ));
        }
        Ok(claims)
    }
}

fn known(x: String, privileges: Privileges) -> Result<Known> {
    let key = DecodingKey::from_ed_components(&x).map_err(Error::internal)?;
    Ok(Known { x, key, privileges })
}

/// What is told of a service's token that is none, or not for us, or not now.
pub(crate) fn refused() -> Error {
    Error::unauthenticated("the token is not one of this installation's services")
}

/// Whether a token that somebody signed for `aud` is good now.
pub(crate) fn is_current(claims: &Claims, aud: &str, now: i64) -> bool {
    claims.aud == aud && claims.exp > now && claims.iat <= now + SKEW
}

/// All key pairs of an installation that is one process, which need not
/// outlive it; and what a new installation's files are made of.
pub struct KeyRing {
    private: HashMap<&'static str, PrivateKey>,
    public: ServiceKeys,
}

impl KeyRing {
    /// New keys for everybody.
    pub fn generate() -> Result<Self> {
        let (mut private, mut public) = (HashMap::new(), ServiceKeys::default());
        for name in NAMES {
            let key = PrivateKey::generate()?;
            public = public.with(name, &key, Privileges::of(name))?;
            private.insert(name, key);
        }
        Ok(Self { private, public })
    }

    /// The public keys.
    pub fn public(&self) -> &ServiceKeys {
        &self.public
    }

    /// The private key of one of [`NAMES`].
    pub fn private(&self, name: &str) -> Result<&PrivateKey> {
        let key = self.private.get(name);
        key.ok_or_else(|| Error::internal(format!("{name} has no key")))
    }

    /// The identity of one of [`NAMES`].
    pub fn identity(&self, name: &'static str, clock: Clock) -> Result<ServiceIdentity> {
        Ok(ServiceIdentity::new(name, self.private(name)?, clock))
    }
}

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
        clock.advance(TimeDelta::seconds(LIFE + 1));
        assert!(!is_current(&claims, "tenancy", clock.now().timestamp()));
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
        assert!(!may("device-registry", tenant, &[]));
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
