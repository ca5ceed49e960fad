//! Tokens for credentials, asked for once and remembered for as long as they
//! live; and what comes with the use of a credential: where it may be used,
//! how often, and what its user should know.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use chassis::context::{self, Call};
use chassis::hash::sha256;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::token::Verifier;
use chassis::{Clock, Error, Result};
use moka::Expiry;
use moka::future::Cache;
use proto::keys::ExchangeRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::exchange_request::{Basic, Credential};
use tonic::{Code, Status};

use crate::credentials::Presented;
use crate::failures::Failures;
use crate::limits::Limiter;
use crate::uses::Uses;
use crate::visit;

mod readings;
mod renewal;
mod traded;

use readings::Wrong;
use traded::Traded;

/// How many credentials' tokens are remembered.
const REMEMBERED: u64 = 100_000;
/// How long key management may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Trades credentials for tokens. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Inner>);

struct Inner {
    peers: Peers,
    identity: ServiceIdentity,
    clock: Clock,
    verifier: Verifier,
    limiter: Arc<Limiter>,
    failures: Failures,
    uses: Uses,
    /// By hash: the cache holds no credential.
    traded: Cache<[u8; 32], Arc<Traded>>,
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
    pub(crate) fn new(
        peers: Peers,
        identity: ServiceIdentity,
        clock: Clock,
        verifier: Verifier,
        limiter: Arc<Limiter>,
        failures: Failures,
    ) -> Self {
        let traded = Cache::builder()
            .max_capacity(REMEMBERED)
            .expire_after(WithToken)
            .build();
        let uses = Uses::new(peers.clone(), identity.clone(), clock.clone());
        Self(Arc::new(Inner {
            peers,
            identity,
            clock,
            verifier,
            limiter,
            failures,
            uses,
            traded,
        }))
    }

    /// A verified token for a credential, whose use counts; traded anew if the
    /// one that was remembered has been revoked: the credential itself may be
    /// good again.
    pub(crate) async fn token(&self, presented: Presented) -> Result<String, Status> {
        self.reading(presented, Wrong::Counts).await
    }

    async fn reading(&self, presented: Presented, wrong: Wrong) -> Result<String, Status> {
        let inner = &*self.0;
        let Some(credential) = credential(presented.clone())? else {
            let Presented::Token(token) = presented else {
                return Err(malformed());
            };
            let subject = inner.verifier.verify(&token).await?;
            inner.limiter.subject(&subject, 0)?;
            return Ok(token);
        };
        let source = context::current().and_then(|call| call.source);
        let digest = digest(&credential);
        let (traded, subject) = self.verified(digest, credential, source, wrong).await?;
        self.note(&traded, source);
        inner
            .limiter
            .subject(&subject, traded.requests_per_minute)?;
        Ok(traded.token.clone())
    }

    /// What is remembered of a credential that may be used from here; else
    /// what key management says.
    async fn trade(
        &self,
        digest: [u8; 32],
        credential: Credential,
        source: Option<IpAddr>,
        wrong: Wrong,
    ) -> Result<Arc<Traded>, Status> {
        let known = self.0.traded.get(&digest).await;
        let elsewhere = known.is_some();
        if let Some(traded) = known.filter(|traded| traded.allows(source)) {
            count("remembered");
            return Ok(traded);
        }
        // Boxed, for what is remembered must not pay for its size.
        Box::pin(self.learn(digest, credential, source, wrong, elsewhere)).await
    }

    /// What key management says of a credential; `elsewhere` if it was good
    /// for a request from another network.
    async fn learn(
        &self,
        digest: [u8; 32],
        credential: Credential,
        source: Option<IpAddr>,
        wrong: Wrong,
        elsewhere: bool,
    ) -> Result<Arc<Traded>, Status> {
        let attempt = self.0.failures.attempt(source).await;
        let attempt = attempt.inspect_err(|_| count("slowed"))?;
        let this = self.clone();
        // It counts also if its client does not wait for it.
        detached(async move {
            let asked = match elsewhere {
                // It may be that more networks are allowed by now.
                true => this.ask_anew(digest, credential).await,
                false => this.ask_together(digest, credential, source).await,
            };
            match &asked {
                Ok(_) => count("traded"),
                Err(status) if status.code() == Code::Unauthenticated => {
                    count("refused");
                    if wrong == Wrong::Counts {
                        attempt.failed();
                    }
                }
                Err(_) => count("failed"),
            }
            asked
        })
        .await
    }

    /// Many requests with the same new credential at once ask only once; but
    /// what is refused to one may be allowed to another one elsewhere.
    async fn ask_together(
        &self,
        digest: [u8; 32],
        credential: Credential,
        source: Option<IpAddr>,
    ) -> Result<Arc<Traded>, Status> {
        let asker = Arc::new(AtomicBool::new(false));
        let (this, asks, asked) = (self.clone(), asker.clone(), credential.clone());
        let answer = detached(async move {
            let ask = async {
                asks.store(true, Ordering::Relaxed);
                this.ask(asked).await
            };
            let traded = this.0.traded.try_get_with(digest, ask).await;
            traded.map_err(|status: Arc<Status>| (*status).clone())
        })
        .await;
        let refused = match &answer {
            Ok(traded) => !traded.allows(source),
            Err(status) => status.code() == Code::Unauthenticated,
        };
        match refused && !asker.load(Ordering::Relaxed) {
            true => self.ask_anew(digest, credential).await,
            false => answer,
        }
    }

    async fn ask_anew(
        &self,
        digest: [u8; 32],
        credential: Credential,
    ) -> Result<Arc<Traded>, Status> {
        let this = self.clone();
        detached(async move {
            let traded = this.ask(credential).await?;
            this.0.traded.insert(digest, traded.clone()).await;
            Ok(traded)
        })
        .await
    }

    async fn ask(&self, credential: Credential) -> Result<Arc<Traded>, Status> {
        let inner = &*self.0;
        let request = inner.identity.request(ExchangeRequest {
            credential: Some(credential),
        })?;
        let mut client = CredentialServiceClient::new(inner.peers.get(ServiceName::KeyManagement));
        let answer = client.exchange(request).await?.into_inner();
        Ok(Arc::new(Traded::of(answer, inner.clock.now())?))
    }

    /// Counts a use, and tells what its user should know.
    fn note(&self, traded: &Traded, source: Option<IpAddr>) {
        let visit = visit::current();
        if traded.generation != 0 {
            let agent = visit.as_ref().map_or("", |visit| &visit.user_agent);
            self.0.uses.note(traded.generation, source, agent);
        }
        let notice = traded.notice(self.0.clock.now());
        if let Some((visit, notice)) = visit.zip(notice) {
            visit.notice(notice);
        }
    }
}

/// Whoever asks asks for all who wait: on a task that its client can't end,
/// and no shorter for a client that does not wait long.
async fn detached<F>(work: F) -> Result<Arc<Traded>, Status>
where
    F: Future<Output = Result<Arc<Traded>, Status>> + Send + 'static,
{
    let call = Call {
        deadline: Some(Instant::now() + PATIENCE),
        ..context::current().unwrap_or_default()
    };
    let asked = tokio::spawn(context::scope(call, work)).await;
    asked
        .map_err(Error::internal)?
        .map_err(|status| match status.code() {
            // Not the deadline of any client.
            Code::DeadlineExceeded => Status::from(Error::Unavailable {
                what: "the key-management service".into(),
            }),
            _ => status,
        })
}

fn count(outcome: &'static str) {
    metrics::counter!("muster_exchanges_total", "outcome" => outcome).increment(1);
}

/// What is traded; none for a token, which needs no trade.
fn credential(presented: Presented) -> Result<Option<Credential>, Status> {
    Ok(Some(match presented {
        Presented::ApiKey(key) => Credential::ApiKey(key),
        Presented::Basic(name, secret) => Credential::Basic(Basic { name, secret }),
        Presented::Session(token) => Credential::SessionToken(token),
        Presented::Token(_) => return Ok(None),
        Presented::Malformed => return Err(malformed()),
    }))
}

fn malformed() -> Status {
    Error::unauthenticated("the credential is malformed").into()
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
    use std::sync::atomic::AtomicUsize;

    use chassis::revocation::Revocations;
    use chassis::service_identity::KeyRing;
    use prost::Message;
    use proto::keys::ExchangeResponse;
    use tonic::body::Body;

    use super::*;
    use crate::limits::Limits;

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
        let clock = Clock::system();
        let identity = ring.identity("gateway", clock.clone()).unwrap();
        let services = ring.public().clone();
        let revocations = Revocations::default();
        let verifier = Verifier::new(peers.clone(), services, revocations, clock.clone());
        let limiter = Arc::new(Limiter::new(&Limits::default()));
        let failures = Failures::new(None);
        let exchange = Exchange::new(peers, identity, clock, verifier, limiter, failures);
        (exchange, asked)
    }

    async fn trade(exchange: &Exchange) -> Result<String, Status> {
        let credential = Credential::ApiKey("k".to_owned());
        let traded = exchange.trade(digest(&credential), credential, None, Wrong::Counts);
        Ok(traded.await?.token.clone())
    }

    #[tokio::test]
    async fn a_client_that_waits_no_longer_takes_nothing_from_those_who_wait_with_it() {
        let (exchange, asked) = exchange(Duration::from_millis(500));
        let hasty = Call {
            deadline: Some(Instant::now() + Duration::from_millis(50)),
            ..Call::default()
        };
        let hasty = context::scope(hasty.clone(), async {
            context::until(hasty.deadline, trade(&exchange)).await
        });
        let patient = async {
            // It comes second.
            tokio::time::sleep(Duration::from_millis(10)).await;
            trade(&exchange).await
        };
        let (hasty, patient) = tokio::join!(hasty, patient);
        assert_eq!(hasty.unwrap_err().code(), Code::DeadlineExceeded);
        assert_eq!(patient.unwrap(), "t");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
