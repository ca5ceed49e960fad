//! Credentials that are traded again because the token that they were traded
//! for has ended: it is told to one process before the other, so whoever hears
//! of it last must not have the credential refused.

use std::net::IpAddr;
use std::sync::Arc;

use chassis::renewal::{Hearsay, Renew, Renewal};
use chassis::{Error, Subject, context};
use http::HeaderValue;
use proto::keys::exchange_request::Credential;
use tonic::Status;

use super::readings::Wrong;
use super::traded::Traded;
use super::{Exchange, credential, digest, malformed};
use crate::credentials::{Presented, authorization};

impl Exchange {
    /// What a credential was traded for, as far as this process has heard.
    pub(super) async fn verified(
        &self,
        digest: [u8; 32],
        credential: Credential,
        source: Option<IpAddr>,
        wrong: Wrong,
    ) -> Result<(Arc<Traded>, Subject), Status> {
        let mut hearsay = Hearsay::default();
        loop {
            let traded = self.trade(digest, credential.clone(), source, wrong);
            let traded = traded.await?;
            match self.0.verifier.verify(&traded.token).await {
                // Key management may not have heard yet what ended this token.
                Err(Error::Unauthenticated { .. }) if hearsay.goes_on().await => {
                    self.forget(digest, |known| known.token == traded.token)
                        .await;
                }
                verified => return Ok((traded, verified?)),
            }
        }
    }

    /// Forgets what a credential was traded for, unless somebody has traded it anew.
    async fn forget(&self, digest: [u8; 32], is_old: impl Fn(&Traded) -> bool) {
        let known = self.0.traded.get(&digest).await;
        if known.is_some_and(|known| is_old(&known)) {
            self.0.traded.invalidate(&digest).await;
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
        let was = |known: &Traded| refused.as_bytes().ends_with(known.token.as_bytes());
        self.exchange.forget(digest, was).await;
        let source = context::current().and_then(|call| call.source);
        // A credential that was good a moment ago is nobody's guess.
        let verified = self
            .exchange
            .verified(digest, credential, source, Wrong::Passes);
        let (traded, _) = verified.await?;
        Ok(authorization(&traded.token)?)
    }
}
