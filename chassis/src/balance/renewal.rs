//! Another token for a call whose own was refused: the service had heard of a
//! revocation before its caller did, and the credential that the token was
//! traded for may still be good.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use http::header::AUTHORIZATION;
use http::request::Parts;
use tonic::Status;

/// How long a process may not have heard what another one has.
const HEARSAY: Duration = Duration::from_secs(1);
/// How long to wait before a second token is asked for: it was made by a
/// process that has not heard either.
const PAUSE: Duration = Duration::from_millis(30);

/// Gets other tokens for the credential of a request.
#[tonic::async_trait]
pub trait Renew: Send + Sync + 'static {
    /// The value of `authorization` that is to be sent instead of one that
    /// was refused; an error if the credential is no longer good itself.
    async fn renew(&self, refused: &HeaderValue) -> Result<HeaderValue, Status>;
}

/// Among the extensions of a request: how it gets another token. Whoever
/// sends it over a wire does so when nothing was made of the call because of
/// the first one.
#[derive(Clone)]
pub struct Renewal(Arc<dyn Renew>);

impl Renewal {
    /// Another token by these means.
    pub fn new(renew: impl Renew) -> Self {
        Self(Arc::new(renew))
    }
}

/// The token of a call, for as long as it is worth getting another one.
pub(super) struct Token {
    renewal: Option<Renewal>,
    refused: Option<Instant>,
}

impl Token {
    pub(super) fn of(parts: &mut Parts) -> Self {
        Self {
            renewal: parts.extensions.remove(),
            refused: None,
        }
    }

    /// Puts another token in, if there can be one.
    pub(super) async fn renew(&mut self, parts: &mut Parts) -> Result<bool, Status> {
        let (renewal, value) = (&self.renewal, parts.headers.get_mut(AUTHORIZATION));
        let Some((Renewal(renew), value)) = renewal.as_ref().zip(value) else {
            return Ok(false);
        };
        match self.refused {
            None => self.refused = Some(Instant::now()),
            Some(first) if first.elapsed() > HEARSAY => return Ok(false),
            Some(_) => tokio::time::sleep(PAUSE).await,
        }
        *value = renew.renew(value).await?;
        Ok(true)
    }
}
