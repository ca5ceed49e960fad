//! The key pairs by which services are known, and what each may claim.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use proto::access::Permission;
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::{LIFE, NAMES, ServiceIdentity};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::permissions::Permissions;
use crate::token::Claims;

/// How far the clocks of two machines may be apart, in seconds.
pub(super) const SKEW: i64 = 60;

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
            // To resolve members, and to mint tokens; of devices, too.
            "identity" | "key-management" | "device-registry" => Self {
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
    pub(super) pkcs8: Vec<u8>,
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

/// Whether a token that somebody signed for `aud` is good now, by either of
/// two clocks that are not too far apart.
pub(crate) fn is_current(claims: &Claims, aud: &str, now: i64) -> bool {
    claims.aud == aud && claims.exp > now - SKEW && claims.iat <= now + SKEW
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
