//! Verifies what requests present, and remembers what was good.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::USER_AGENT;
use http::{Extensions, HeaderMap};
use moka::future::Cache;
use tokio::task::AbortHandle;

use crate::ask::{Answer, Muster, Origin};
use crate::connect::{Builder, ConnectError};
use crate::credential::Presented;
use crate::layer::Require;
use crate::principal::Principal;
use crate::refusal::Refusal;
use crate::revoked::Revoked;

/// How often Muster is asked again whose process has not yet heard of a
/// revocation that is known here; it hears within a second.
const TRIES: usize = 10;
/// How long to wait in between.
const AGAIN: Duration = Duration::from_millis(200);

/// Where a request comes from.
pub(crate) type Source = Arc<dyn Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync>;

/// Verifies API keys and tokens by asking Muster. Cheap to clone; clones share
/// what they remember.
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) muster: Muster,
    pub(crate) revoked: Arc<Revoked>,
    pub(crate) known: Cache<[u8; 32], Arc<Answer>>,
    pub(crate) source: Source,
    /// Follows what is revoked.
    pub(crate) follower: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl Guard {
    /// A guard that asks Muster at a URL such as `http://127.0.0.1:8080`, by an
    /// API key of its own that holds `keys.verify`. Callers are of its tenant.
    ///
    /// It starts also if Muster can't be reached, and then refuses everybody
    /// until it can.
    pub async fn connect(url: &str, key: &str) -> Result<Self, ConnectError> {
        Self::builder(key).connect(url).await
    }

    /// A guard that is configured before it connects.
    pub fn builder(key: &str) -> Builder {
        Builder::new(key)
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Lets through who presents a good credential with a permission, such as
    /// `devices.read`.
    pub fn require(&self, permission: &str) -> Require {
        Require::new(self.clone(), Some(permission))
    }

    /// Lets through who presents a good credential, whatever it allows.
    pub fn authenticate(&self) -> Require {
        Require::new(self.clone(), None)
    }

    /// Who calls, if that credential is good.
    pub(crate) async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<Principal, Refusal> {
        let presented = Presented::find(headers).ok_or(Refusal::Missing)?;
        let source = (self.0.source)(headers, extensions);
        let user_agent = headers.get(USER_AGENT).and_then(|name| name.to_str().ok());
        let origin = Origin {
            // A key's networks are written in the short form.
            source: source.map(|source| source.to_canonical()),
            user_agent: user_agent.unwrap_or_default().to_owned(),
        };
        let answer = self.answer(&presented, &origin).await?;
        Ok(answer.principal.clone())
    }

    /// What Muster says of a credential, now or before.
    async fn answer(&self, presented: &Presented, origin: &Origin) -> Result<Arc<Answer>, Refusal> {
        let digest = presented.digest(origin.source);
        for _ in 0..TRIES {
            if let Some(answer) = self.remembered(&digest).await {
                return Ok(answer);
            }
            let answer = self.asked(digest, presented, origin).await?;
            if !self.0.revoked.ends(&answer) {
                // Muster's word counts, also if this machine's clock is ahead.
                return Ok(answer);
            }
            if matches!(presented, Presented::Token(_)) {
                // What a token was traded for is never looked up anew.
                return Err(Refusal::token());
            }
            tokio::time::sleep(AGAIN).await;
        }
        Err(Refusal::Unavailable)
    }

    /// What is remembered of a credential, if it still holds.
    async fn remembered(&self, digest: &[u8; 32]) -> Option<Arc<Answer>> {
        if !self.0.revoked.is_live() {
            return None;
        }
        let answer = self.0.known.get(digest).await?;
        if answer.is_current() && !self.0.revoked.ends(&answer) {
            return Some(answer);
        }
        self.0.known.invalidate(digest).await;
        None
    }

    /// What Muster says now, to be remembered. Many requests with the same new
    /// credential at once ask only once, unless nothing may be remembered.
    async fn asked(
        &self,
        digest: [u8; 32],
        presented: &Presented,
        origin: &Origin,
    ) -> Result<Arc<Answer>, Refusal> {
        let ask = async { self.0.muster.ask(presented, origin).await.map(Arc::new) };
        if !self.0.revoked.is_live() {
            return ask.await;
        }
        let answer = self.0.known.try_get_with(digest, ask).await;
        let answer = answer.map_err(|refusal| (*refusal).clone())?;
        if !answer.may_be_remembered() || self.0.revoked.ends(&answer) {
            self.0.known.invalidate(&digest).await;
        }
        Ok(answer)
    }
}

/// Without what it remembers, and without its key.
impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard(..)")
    }
}
