//! Another token for a call whose own was refused: the service had heard of a
//! revocation before its caller did, and the credential that the token was
//! traded for may still be good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use tonic::Status;

/// How long a process may not have heard what another one has.
const HEARSAY: Duration = Duration::from_secs(1);
/// How long to wait before the second time: the first one, too, may have asked
/// a process that has not heard. Twice as long before the next.
const PAUSE: Duration = Duration::from_millis(30);

/// Asks again for as long as a process may not have heard what another one has.
#[derive(Default)]
pub struct Hearsay(Option<(Instant, Duration)>);

impl Hearsay {
    /// Whether to ask again, after a pause; the first time at once.
    pub async fn goes_on(&mut self) -> bool {
        match &mut self.0 {
            None => self.0 = Some((Instant::now(), PAUSE)),
            Some((first, pause)) if first.elapsed() + *pause > HEARSAY => return false,
            Some((_, pause)) => {
                tokio::time::sleep(*pause).await;
                *pause *= 2;
            }
        }
        true
    }
}

/// Gets other tokens for the credential of a request.
#[tonic::async_trait]
pub trait Renew: Send + Sync + 'static {
    /// The value of `authorization` that is to be sent instead of one that
    /// was refused; an error if the credential is no longer good itself.
    async fn renew(&self, refused: &HeaderValue) -> Result<HeaderValue, Status>;
}

/// Among the extensions of a request: how it gets another token. It is asked
/// for when nothing was made of the call because of the first one, by whoever
/// sends it over a wire, or by the service itself in memory.
#[derive(Clone)]
pub struct Renewal(Arc<dyn Renew>);

impl Renewal {
    /// Another token by these means.
    pub fn new(renew: impl Renew) -> Self {
        Self(Arc::new(renew))
    }
}

/// The token of a call, for as long as it is worth getting another one.
pub(crate) struct Token {
    renewal: Option<Renewal>,
    hearsay: Hearsay,
}

impl Token {
    pub(crate) fn of(extensions: &Extensions) -> Self {
        Self {
            renewal: extensions.get().cloned(),
            hearsay: Hearsay::default(),
        }
    }

    /// Puts another token in, if there can be one.
    pub(crate) async fn renew(&mut self, headers: &mut HeaderMap) -> Result<bool, Status> {
        let (renewal, value) = (&self.renewal, headers.get_mut(AUTHORIZATION));
        let Some((Renewal(renew), value)) = renewal.as_ref().zip(value) else {
            return Ok(false);
        };
        if !self.hearsay.goes_on().await {
            return Ok(false);
        }
        *value = renew.renew(value).await?;
        Ok(true)
    }
}
