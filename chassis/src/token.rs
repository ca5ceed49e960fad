//! Tokens: what they say, and how each service verifies them by itself.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use proto::keys::token_service_client::TokenServiceClient;
use proto::keys::{GetJwksRequest, Jwk};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::caller::{Principal, Subject};
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::hash::sha256;
use crate::peer::{Peers, ServiceName};
use crate::revocation::Revocations;
use crate::service_identity::{self, ServiceKeys};

/// `aud` of every token of an installation.
pub const AUDIENCE: &str = "muster";
/// `iss` of every token that key management signs.
pub const ISSUER: &str = "muster";
/// How many verified tokens a process remembers, to verify each only once.
const REMEMBERED: u64 = 10_000;
/// How often an unknown `kid` may make a process ask for the keys again.
const REFRESH: Duration = Duration::from_secs(5);

/// How often a process that starts asks for the keys.
const PREPARE: Duration = Duration::from_millis(200);

/// What a token says (RFC 7519, RFC 9068).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Claims {
    /// Issuer.
    pub iss: String,
    /// Audience.
    pub aud: String,
    /// Principal, such as `user:0189…`.
    pub sub: String,
    /// Expiry, in seconds since 1970.
    pub exp: i64,
    /// Time of issue, in seconds since 1970.
    pub iat: i64,
    /// The same in microseconds, to tell what was issued before a revocation
    /// from what was issued after it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub iat_us: i64,
    /// The token's own id.
    pub jti: String,
    /// Permissions in the tenant, separated by spaces (RFC 8693).
    #[serde(default)]
    pub scope: String,
    /// Tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tid: Option<Uuid>,
    /// The tenant's short id; 0 if there is no tenant.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub tno: i64,
    /// Session that the token came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<Uuid>,
    /// Number by which the token was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tkn: Option<i64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Verifies tokens without asking anybody. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    peers: Peers,
    services: ServiceKeys,
    revocations: Revocations,
    clock: Clock,
    keys: RwLock<HashMap<String, DecodingKey>>,
    refreshed: tokio::sync::Mutex<Option<Instant>>,
    verified: moka::sync::Cache<[u8; 32], Arc<(Claims, Principal)>>,
}

impl Verifier {
    /// A verifier that knows the services by their keys, takes the public keys
    /// of users' tokens from key management, and refuses what is revoked.
    pub fn new(
        peers: Peers,
        services: ServiceKeys,
        revocations: Revocations,
        clock: Clock,
    ) -> Self {
        Self(Arc::new(Inner {
            peers,
            services,
            revocations,
            clock,
            keys: RwLock::default(),
            refreshed: tokio::sync::Mutex::default(),
            verified: moka::sync::Cache::new(REMEMBERED),
        }))
    }

    /// The subject that a token was issued to; services are refused.
    pub async fn verify(&self, token: &str) -> Result<Subject> {
        self.verify_for(token, None).await
    }

    /// The subject that a token was issued to. A service's own token is taken
    /// if it was signed for the service that is called.
    pub async fn verify_for(&self, token: &str, called: Option<ServiceName>) -> Result<Subject> {
        let inner = &*self.0;
        let known = self.signed(token).await?;
        let (claims, principal) = &*known;
        if let Principal::Service(_) = principal {
            let now = inner.clock.now().timestamp();
            let ours = called
                .is_some_and(|called| service_identity::is_current(claims, called.as_str(), now));
            return match ours {
                true => Ok(Subject::verified(claims, principal.clone())),
                false => Err(service_identity::refused()),
            };
        }
        if claims.exp <= inner.clock.now().timestamp() {
            return Err(Error::Unauthenticated {
                reason: "TOKEN_EXPIRED",
                message: "the token has expired; get a new one".into(),
            });
        }
        if !inner.revocations.is_live() {
            return Err(Error::Unavailable {
                what: "the stream of revocations".into(),
            });
        }
        if inner.revocations.refuse(claims, principal) {
            return Err(Error::Unauthenticated {
                reason: "TOKEN_REVOKED",
                message: "the token has been revoked".into(),
            });
        }
        Ok(Subject::verified(claims, principal.clone()))
    }

    /// Whether a token shows that one of our services calls this one.
    pub(crate) fn is_service(&self, token: &str, called: Option<ServiceName>) -> bool {
        let service = || {
            let digest = sha256(token.as_bytes());
            if let Some(known) = self.0.verified.get(&digest) {
                return Some(known);
            }
            let kid = decode_header(token).ok()?.kid?;
            self.of_service(digest, token, kid.strip_prefix("service:")?)
                .ok()
        };
        let now = self.0.clock.now().timestamp();
        let (Some(called), Some(known)) = (called, service()) else {
            return false;
        };
        let (claims, principal) = &*known;
        matches!(principal, Principal::Service(_))
            && service_identity::is_current(claims, called.as_str(), now)
    }

    /// A token's claims, once its signature was verified: now or before.
    async fn signed(&self, token: &str) -> Result<Arc<(Claims, Principal)>> {
        let digest = sha256(token.as_bytes());
        if let Some(known) = self.0.verified.get(&digest) {
            return Ok(known);
        }
        let kid = decode_header(token).map_err(|_| malformed())?.kid;
        let kid = kid.ok_or_else(malformed)?;
        match kid.strip_prefix("service:") {
            Some(service) => self.of_service(digest, token, service),
            None => self.remember(digest, self.of_key_management(token, &kid).await?),
        }
    }

    fn of_service(
        &self,
        digest: [u8; 32],
        token: &str,
        service: &str,
    ) -> Result<Arc<(Claims, Principal)>> {
        self.remember(digest, self.0.services.verify(service, token)?)
    }

    fn remember(&self, digest: [u8; 32], claims: Claims) -> Result<Arc<(Claims, Principal)>> {
        let principal = Principal::parse(&claims.sub).ok_or_else(malformed)?;
        let verified = Arc::new((claims, principal));
        self.0.verified.insert(digest, verified.clone());
        Ok(verified)
    }

    /// The claims of a token that key management signed.
    async fn of_key_management(&self, token: &str, kid: &str) -> Result<Claims> {
        let key = self.key(kid).await?;
        // Expiry is checked against our own clock, for remembered tokens too.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|_| malformed())?
            .claims;
        // Only a service's own key makes it one.
        match claims.sub.starts_with("service:") {
            true => Err(malformed()),
            false => Ok(claims),
        }
    }

    /// Asks for the public keys until they are known: with them, a token is
    /// verified without asking anybody.
    pub async fn prepare(&self) {
        while !self.has_keys() {
            if let Err(error) = self.refresh().await {
                tracing::debug!(%error, "the public keys are not known yet");
            }
            tokio::time::sleep(PREPARE).await;
        }
    }

    /// Whether the public keys are known.
    pub fn has_keys(&self) -> bool {
        let keys = self.0.keys.read();
        !keys
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_empty()
    }

    async fn key(&self, kid: &str) -> Result<DecodingKey> {
        if let Some(key) = self.known_key(kid) {
            return Ok(key);
        }
        self.refresh().await?;
        self.known_key(kid).ok_or_else(malformed)
    }

    fn known_key(&self, kid: &str) -> Option<DecodingKey> {
        self.0
            .keys
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(kid)
            .cloned()
    }

    /// Asks key management for its public keys, but not too often: anybody
    /// can make up a `kid`.
    async fn refresh(&self) -> Result<()> {
        let mut refreshed = self.0.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH) {
            return Ok(());
        }
        let mut client = TokenServiceClient::new(self.0.peers.get(ServiceName::KeyManagement));
        let answer = client.get_jwks(GetJwksRequest {}).await?.into_inner();
        let keys = answer
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.kid.clone(), decoding_key(jwk)?)))
            .collect();
        *self
            .0
            .keys
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = keys;
        *refreshed = Some(Instant::now());
        Ok(())
    }
}

fn decoding_key(jwk: &Jwk) -> Option<DecodingKey> {
    match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("EC", "P-256") => DecodingKey::from_ec_components(&jwk.x, &jwk.y).ok(),
        _ => None,
    }
}

fn malformed() -> Error {
    Error::unauthenticated("the token is not one of this installation")
}
