//! Credentials that are traded again because the token that they were traded
//! for has ended: it is told to one process before the other, so whoever hears
//! of it last must not have the credential refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chassis::balance::{Renew, Renewal};
use chassis::{Error, Subject, context};
use http::HeaderValue;
use proto::keys::exchange_request::Credential;
use tonic::Status;

use super::readings::Wrong;
use super::traded::Traded;
use super::{Exchange, credential, digest, malformed};
use crate::credentials::{Presented, authorization};

/// How long a process of key management may not have heard what this one has.
const HEARSAY: Duration = Duration::from_secs(1);
/// How long to wait before a credential is traded again that was traded for a
/// token which is known to have ended.
const AGAIN: Duration = Duration::from_millis(30);

impl Exchange {
    /// What a credential was traded for, as far as this process has heard.
    pub(super) async fn verified(
        &self,
        digest: [u8; 32],
        credential: Credential,
        source: Option<IpAddr>,
        wrong: Wrong,
    ) -> Result<(Arc<Traded>, Subject), Status> {
        let (begun, mut anew) = (Instant::now(), false);
        loop {
            let traded = self.trade(digest, credential.clone(), source, wrong);
            let traded = traded.await?;
            match self.0.verifier.verify(&traded.token).await {
                // Key management may not have heard yet what ended this token.
                Err(Error::Unauthenticated { .. }) if begun.elapsed() < HEARSAY => {
                    self.0.traded.invalidate(&digest).await;
                    if std::mem::replace(&mut anew, true) {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
                verified => return Ok((traded, verified?)),
            }
        }
    }

    /// How a request gets another token for what it presented, should a
    /// service refuse the first one; a token that was presented has no other.
    pub(crate) fn renewal(&self, presented: &Presented) -> Option<Renewal> {
        let presented = match presented {
            Presented::Token(_) | Presented::Malformed => return None,
            credential => credential.clone(),
        };
        let exchange = self.clone();
        Some(Renewal::new(Renews {
            exchange,
            presented,
        }))
    }
}

struct Renews {
    exchange: Exchange,
    presented: Presented,
}

#[tonic::async_trait]
impl Renew for Renews {
    async fn renew(&self, refused: &HeaderValue) -> Result<HeaderValue, Status> {
        let Some(credential) = credential(self.presented.clone())? else {
            return Err(malformed());
        };
        let digest = digest(&credential);
        let remembered = self.exchange.0.traded.get(&digest).await;
        // Another request may have got the next one meanwhile.
        if remembered.is_some_and(|traded| refused.as_bytes().ends_with(traded.token.as_bytes())) {
            self.exchange.0.traded.invalidate(&digest).await;
        }
        let source = context::current().and_then(|call| call.source);
        let verified = self
            .exchange
            .verified(digest, credential, source, Wrong::Counts);
        let (traded, _) = verified.await?;
        Ok(authorization(&traded.token)?)
    }
}
