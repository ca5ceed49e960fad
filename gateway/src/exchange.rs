//! Tokens for credentials, asked for once and remembered for as long as they
//! live.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::context::{self, Call};
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
use tonic::{Code, Status};

use crate::credentials::Presented;

/// How many credentials' tokens are remembered.
const REMEMBERED: u64 = 100_000;
/// A token is not used in its last seconds: it has still to pass the services.
const MARGIN: chrono::TimeDelta = chrono::TimeDelta::seconds(10);
/// How long key management may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
        if let Some(traded) = self.traded.get(&digest).await {
            return Ok(traded.token.clone());
        }
        // Whoever asks asks for all who wait: on a task that its client can't
        // end, and no shorter for a client that does not wait long.
        let call = Call {
            deadline: Some(Instant::now() + PATIENCE),
            ..context::current().unwrap_or_default()
        };
        let this = self.clone();
        let asked = tokio::spawn(context::scope(call, async move {
            let ask = this.ask(credential);
            this.traded.try_get_with(digest, ask).await
        }));
        let traded = asked.await.map_err(Error::internal)?;
        traded
            .map(|traded| traded.token.clone())
            .map_err(|status: Arc<Status>| match status.code() {
                // Not the deadline of any client.
                Code::DeadlineExceeded => Status::from(Error::Unavailable {
                    what: "the key-management service".into(),
                }),
                _ => (*status).clone(),
            })
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chassis::service_identity::KeyRing;
    use prost::Message;
    use proto::keys::ExchangeResponse;
    use tonic::body::Body;

    use super::*;

    /// Key management, which takes its time; and how often it was asked.
    #[expect(clippy::disallowed_methods, reason = "a service of tests")]
    fn exchange(life: Duration) -> (Exchange, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counts = asked.clone();
        let answer = tower::service_fn(move |_: http::Request<Body>| {
            counts.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(life).await;
                let answer = ExchangeResponse {
                    access_token: "t".to_owned(),
                    ..Default::default()
                };
                let message = answer.encode_to_vec();
                let mut bytes = vec![0];
                bytes.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
                bytes.extend(message);
                let frames = http_body_util::Full::from(bytes);
                let mut response = http::Response::new(Body::new(frames));
                let ok = http::HeaderValue::from_static("0");
                response.headers_mut().insert("grpc-status", ok);
                Ok::<_, Infallible>(response)
            }
        });
        let peers = Peers::default();
        peers.set(ServiceName::KeyManagement, chassis::server::erase(answer));
        let ring = KeyRing::generate().unwrap();
        let identity = ring.identity("gateway", Clock::system()).unwrap();
        (Exchange::new(peers, identity, Clock::system()), asked)
    }

    #[tokio::test]
    async fn a_client_that_waits_no_longer_takes_nothing_from_those_who_wait_with_it() {
        let (exchange, asked) = exchange(Duration::from_millis(500));
        let key = || Presented::ApiKey("k".to_owned());
        let hasty = Call {
            deadline: Some(Instant::now() + Duration::from_millis(50)),
            ..Call::default()
        };
        let hasty = context::scope(hasty.clone(), async {
            context::until(hasty.deadline, exchange.token(key())).await
        });
        let patient = async {
            // It comes second.
            tokio::time::sleep(Duration::from_millis(10)).await;
            exchange.token(key()).await
        };
        let (hasty, patient) = tokio::join!(hasty, patient);
        assert_eq!(hasty.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(patient.unwrap(), "t");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
