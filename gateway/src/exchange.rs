//! Tokens for credentials, asked for once and remembered for as long as they
//! live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::hash::sha256;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::time::date_time;
use chassis::{Clock, Error, Result};
use moka::Expiry;
use moka::future::Cache;
use proto::keys::ExchangeRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::exchange_request::{Basic, Credential};
use tonic::Status;

use crate::credentials::Presented;

/// How many credentials' tokens are remembered.
const REMEMBERED: u64 = 100_000;
/// A token is not used in its last seconds: it has still to pass the services.
const MARGIN: chrono::TimeDelta = chrono::TimeDelta::seconds(10);

/// Trades credentials for tokens. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Exchange {
    peers: Peers,
    identity: ServiceIdentity,
    clock: Clock,
    /// By hash: the cache holds no credential.
    traded: Cache<[u8; 32], Arc<Traded>>,
}

/// A token that was traded for a credential.
#[derive(Clone)]
struct Traded {
    token: String,
    life: Duration,
}

/// Forgets each token when it ends.
struct WithToken;

impl Expiry<[u8; 32], Arc<Traded>> for WithToken {
    fn expire_after_create(
        &self,
        _: &[u8; 32],
        traded: &Arc<Traded>,
        _: Instant,
    ) -> Option<Duration> {
        Some(traded.life)
    }
}

impl Exchange {
    pub(crate) fn new(peers: Peers, identity: ServiceIdentity, clock: Clock) -> Self {
        let traded = Cache::builder()
            .max_capacity(REMEMBERED)
            .expire_after(WithToken)
            .build();
        Self {
            peers,
            identity,
            clock,
            traded,
        }
    }

    /// The token for a credential. Many requests with the same new credential
    /// at once ask only once.
    pub(crate) async fn token(&self, presented: Presented) -> Result<String, Status> {
        let credential = match presented {
            Presented::Token(token) => return Ok(token),
            Presented::ApiKey(key) => Credential::ApiKey(key),
            Presented::Basic(name, secret) => Credential::Basic(Basic { name, secret }),
            Presented::Session(token) => Credential::SessionToken(token),
            Presented::Malformed => {
                return Err(Error::unauthenticated("the credential is malformed").into());
            }
        };
        let digest = digest(&credential);
        let traded = self.traded.try_get_with(digest, self.ask(credential)).await;
        traded
            .map(|traded| traded.token.clone())
            .map_err(|status: Arc<Status>| (*status).clone())
    }

    /// Forgets what a credential was traded for: its token was refused.
    pub(crate) async fn forget(&self, presented: &Presented) {
        let credential = match presented.clone() {
            Presented::ApiKey(key) => Credential::ApiKey(key),
            Presented::Basic(name, secret) => Credential::Basic(Basic { name, secret }),
            Presented::Session(token) => Credential::SessionToken(token),
            Presented::Token(_) | Presented::Malformed => return,
        };
        self.traded.invalidate(&digest(&credential)).await;
    }

    async fn ask(&self, credential: Credential) -> Result<Arc<Traded>, Status> {
        let request = self.identity.request(ExchangeRequest {
            credential: Some(credential),
        })?;
        let mut client = CredentialServiceClient::new(self.peers.get(ServiceName::KeyManagement));
        let answer = client.exchange(request).await?.into_inner();
        let end = answer
            .expire_time
            .as_ref()
            .and_then(date_time)
            .unwrap_or_default();
        let life = (end - self.clock.now() - MARGIN)
            .to_std()
            .unwrap_or_default();
        Ok(Arc::new(Traded {
            token: answer.access_token,
            life,
        }))
    }
}

/// Each part is preceded by its length, so that no two credentials are alike.
fn digest(credential: &Credential) -> [u8; 32] {
    let parts: [&str; 3] = match credential {
        Credential::ApiKey(key) => ["key", key, ""],
        Credential::Basic(basic) => ["basic", &basic.name, &basic.secret],
        Credential::SessionToken(token) => ["session", token, ""],
    };
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(part.len().to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    sha256(&bytes)
}
