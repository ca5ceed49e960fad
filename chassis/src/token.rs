//! Tokens: what they say, and how each service verifies them by itself.

mod ends;

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
use crate::metrics;
use crate::peer::{Peers, ServiceName};
use crate::revocation::Revocations;
use crate::service_identity::{self, ServiceKeys};

/// `aud` of every token of an installation.
pub const AUDIENCE: &str = "muster";
/// How many verified tokens a process remembers, to verify each only once.
const REMEMBERED: u64 = 10_000;
/// How often an unknown `kid` may make a process ask for the keys again.
const REFRESH: Duration = Duration::from_secs(5);

/// How often the keys are asked for anyway, so that one that was withdrawn is
/// forgotten.
const RENEW: Duration = Duration::from_secs(60);

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
    /// User who owns the key or client that the token came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Uuid>,
    /// Secret that the token was traded for, by the number it is counted by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#gen: Option<i64>,
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
    keys: RwLock<HashMap<String, PublicKey>>,
    /// When the keys were last asked for because of an unknown `kid`.
    asked: tokio::sync::Mutex<Option<Instant>>,
    verified: moka::sync::Cache<[u8; 32], Arc<Known>>,
}

/// A token whose signature was verified.
struct Known {
    claims: Claims,
    principal: Principal,
    /// The key that signed it.
    kid: String,
}

/// A public key; a token says nothing of its algorithm that counts.
#[derive(Clone)]
struct PublicKey {
    algorithm: Algorithm,
    key: DecodingKey,
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
            asked: tokio::sync::Mutex::default(),
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
        let known = self.good(token, called).await;
        let known = known.inspect_err(metrics::refused)?;
        Ok(Subject::verified(&known.claims, known.principal.clone()))
    }

    /// What a token says that would be taken; services' are refused.
    pub async fn claims(&self, token: &str) -> Result<Claims> {
        Ok(self.good(token, None).await?.claims.clone())
    }

    /// What must no longer be accepted, as this verifier knows it.
    pub fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    async fn good(&self, token: &str, called: Option<ServiceName>) -> Result<Arc<Known>> {
        let inner = &*self.0;
        let known = self.signed(token).await?;
        let Known {
            claims,
            principal,
            kid,
        } = &*known;
        if let Principal::Service(_) = principal {
            let now = inner.clock.now().timestamp();
            let ours = called
                .is_some_and(|called| service_identity::is_current(claims, called.as_str(), now));
            return match ours {
                true => Ok(known),
                false => Err(service_identity::refused()),
            };
        }
        if !self.publishes(kid) {
            // It was good while its key was published.
            inner.verified.invalidate(&sha256(token.as_bytes()));
            return Err(malformed());
        }
        if claims.exp <= inner.clock.now().timestamp() {
            return Err(expired());
        }
        self.unrevoked(&known)?;
        // Only the gateway trades, so only there can a token whose secret
        // is no longer what it was be traded anew: elsewhere, a good
        // secret would be refused for as long as the gateway hears it later.
        match called.is_none() && inner.revocations.refuse_secret(claims) {
            true => Err(revoked()),
            false => Ok(known),
        }
    }

    fn unrevoked(&self, known: &Known) -> Result<()> {
        let revocations = &self.0.revocations;
        if !revocations.is_live() {
            return Err(Error::Unavailable {
                what: "the stream of revocations".into(),
            });
        }
        match revocations.refuse(&known.claims, &known.principal, &known.kid) {
            true => Err(revoked()),
            false => Ok(()),
        }
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
        matches!(known.principal, Principal::Service(_))
            && service_identity::is_current(&known.claims, called.as_str(), now)
    }

    /// A token's claims, once its signature was verified: now or before.
    async fn signed(&self, token: &str) -> Result<Arc<Known>> {
        let digest = sha256(token.as_bytes());
        if let Some(known) = self.0.verified.get(&digest) {
            return Ok(known);
        }
        let kid = decode_header(token).map_err(|_| malformed())?.kid;
        let kid = kid.ok_or_else(malformed)?;
        match kid.strip_prefix("service:") {
            Some(service) => self.of_service(digest, token, service),
            None => {
                let claims = self.of_key_management(token, &kid).await?;
                self.remember(digest, claims, kid)
            }
        }
    }

    fn of_service(&self, digest: [u8; 32], token: &str, service: &str) -> Result<Arc<Known>> {
        let claims = self.0.services.verify(service, token)?;
        self.remember(digest, claims, service.to_owned())
    }

    fn remember(&self, digest: [u8; 32], claims: Claims, kid: String) -> Result<Arc<Known>> {
        let principal = Principal::parse(&claims.sub).ok_or_else(malformed)?;
        let verified = Arc::new(Known {
            claims,
            principal,
            kid,
        });
        self.0.verified.insert(digest, verified.clone());
        Ok(verified)
    }

    /// The claims of a token that key management signed.
    async fn of_key_management(&self, token: &str, kid: &str) -> Result<Claims> {
        let public = self.key(kid).await?;
        // Expiry is checked against our own clock, for remembered tokens too.
        // Who issued it is plain: only key management publishes these keys.
        let mut validation = Validation::new(public.algorithm);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        let claims = decode::<Claims>(token, &public.key, &validation)
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
            if let Err(error) = self.refresh(false).await {
                tracing::debug!(%error, "the public keys are not known yet");
            }
            tokio::time::sleep(PREPARE).await;
        }
    }

    /// Keeps the public keys fresh for as long as it is polled.
    pub async fn renew(&self) {
        loop {
            self.prepare().await;
            tokio::time::sleep(RENEW).await;
            if let Err(error) = self.refresh(false).await {
                tracing::warn!(%error, "can't ask for the public keys; going on with those known");
            }
        }
    }

    /// Whether the public keys are known.
    pub fn has_keys(&self) -> bool {
        let keys = self.0.keys.read();
        !keys
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .is_empty()
    }

    async fn key(&self, kid: &str) -> Result<PublicKey> {
        if let Some(key) = self.known_key(kid) {
            return Ok(key);
        }
        self.refresh(true).await?;
        self.known_key(kid).ok_or_else(malformed)
    }

    /// Whether a key is among those that key management publishes.
    fn publishes(&self, kid: &str) -> bool {
        let keys = self.0.keys.read();
        keys.unwrap_or_else(std::sync::PoisonError::into_inner)
            .contains_key(kid)
    }

    fn known_key(&self, kid: &str) -> Option<PublicKey> {
        self.0
            .keys
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(kid)
            .cloned()
    }

    /// Asks key management for its public keys; because of an unknown `kid` not
    /// too often: anybody can make one up.
    async fn refresh(&self, unknown: bool) -> Result<()> {
        let mut asked = self.0.asked.lock().await;
        if unknown && asked.is_some_and(|at| at.elapsed() < REFRESH) {
            return Ok(());
        }
        let mut client = TokenServiceClient::new(self.0.peers.get(ServiceName::KeyManagement));
        let answer = client.get_jwks(GetJwksRequest {}).await?.into_inner();
        let keys: HashMap<_, _> = answer
            .keys
            .iter()
            .filter_map(|jwk| Some((jwk.kid.clone(), public_key(jwk)?)))
            .collect();
        let mut known = self
            .0
            .keys
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if known.keys().any(|kid| !keys.contains_key(kid)) {
            // What a key signed that is no longer published was good once.
            self.0.verified.invalidate_all();
        }
        *known = keys;
        drop(known);
        if unknown {
            *asked = Some(Instant::now());
        }
        Ok(())
    }
}

fn public_key(jwk: &Jwk) -> Option<PublicKey> {
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_str()) {
        ("EC", "P-256") => (
            Algorithm::ES256,
            DecodingKey::from_ec_components(&jwk.x, &jwk.y),
        ),
        ("OKP", "Ed25519") => (Algorithm::EdDSA, DecodingKey::from_ed_components(&jwk.x)),
        ("RSA", _) => (
            Algorithm::RS256,
            DecodingKey::from_rsa_components(&jwk.n, &jwk.e),
        ),
        _ => return None,
    };
    Some(PublicKey {
        algorithm,
        key: key.ok()?,
    })
}

fn expired() -> Error {
    Error::Unauthenticated {
        reason: "TOKEN_EXPIRED",
        message: "the token has expired; get a new one".into(),
    }
}

fn revoked() -> Error {
    Error::Unauthenticated {
        reason: "TOKEN_REVOKED",
        message: "the token has been revoked".into(),
    }
}

fn malformed() -> Error {
    Error::unauthenticated("the token is not one of this installation")
}
