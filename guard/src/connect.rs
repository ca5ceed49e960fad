//! Makes guards, and follows what is revoked for as long as there is one.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap};
use moka::future::Cache;
use proto::keys::WatchRevokedResponse;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic::{Status, Streaming};

use crate::ask::{Muster, PATIENCE, is_refused};
use crate::credential;
use crate::guard::{Guard, Inner, Source};
use crate::revoked::Revoked;

/// How long the stream of revocations may be silent, unless it is said.
const SILENCE: Duration = Duration::from_secs(10);
/// How many credentials are remembered, unless it is said.
const REMEMBERED: u64 = 100_000;
/// For how long, unless it is said: so often Muster learns that a key is in use.
const LIFE: Duration = Duration::from_secs(60);
/// For how long at most: a revocation itself is forgotten after an hour, and
/// must outlive whatever it ends.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * 60);

/// How long to wait before asking again for a stream that has ended.
const RETRY: Duration = Duration::from_millis(200);
/// How often a connection is asked whether it is alive, and how long it may
/// take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Configures a [`Guard`].
pub struct Builder {
    key: String,
    silence: Duration,
    remembered: u64,
    life: Duration,
    source: Source,
}

/// Why there is no guard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Muster's URL is none.
    #[error("the URL of Muster is not valid")]
    Url(#[source] tonic::transport::Error),
    /// The service's own key can be none.
    #[error("the service's own API key has characters that no key has")]
    Key,
    /// Muster does not take the service's own key, or it lacks `keys.verify`.
    #[error("Muster does not let the service's own API key verify others: {}", .0.message())]
    Refused(Box<Status>),
}

impl Builder {
    pub(crate) fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            silence: SILENCE,
            remembered: REMEMBERED,
            life: LIFE,
            source: Arc::new(credential::peer),
        }
    }

    /// How long Muster's stream of revocations may be silent until nothing
    /// that is remembered is used any more; ten seconds, unless it is said.
    #[must_use]
    pub fn silence(mut self, bound: Duration) -> Self {
        self.silence = bound;
        self
    }

    /// How many credentials are remembered, and for how long at most: 100 000
    /// for a minute, unless it is said; more than 30 minutes are 30 minutes.
    /// Muster counts a key's uses and notes its last one by the questions that
    /// it is asked.
    #[must_use]
    pub fn remember(mut self, credentials: u64, life: Duration) -> Self {
        self.remembered = credentials;
        self.life = life.min(LONGEST_LIFE);
        self
    }

    /// Where requests come from, for keys that may be used from some networks
    /// only. Unless it is said, the peer of the connection, where axum's
    /// `ConnectInfo<SocketAddr>` or tonic notes it. Behind a proxy, read the
    /// header that it writes, and make sure that nobody else can write it.
    #[must_use]
    pub fn source(
        mut self,
        source: impl Fn(&HeaderMap, &Extensions) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.source = Arc::new(source);
        self
    }

    /// Asks Muster at a URL. With `https`, it must have a certificate that the
    /// machine trusts.
    pub async fn connect(self, url: &str) -> Result<Guard, ConnectError> {
        let mut endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(ConnectError::Url)?
            .connect_timeout(PATIENCE)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        if endpoint.uri().scheme_str() == Some("https") {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(ConnectError::Url)?;
        }
        self.over(endpoint.connect_lazy()).await
    }

    /// Asks Muster over a channel, which may have TLS of any kind.
    pub async fn over(self, channel: Channel) -> Result<Guard, ConnectError> {
        let mut authorization = AsciiMetadataValue::try_from(format!("Bearer {}", self.key))
            .map_err(|_| ConnectError::Key)?;
        authorization.set_sensitive(true);
        let muster = Muster::new(channel, authorization);
        let first = match tokio::time::timeout(PATIENCE, muster.watch()).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(status)) if is_refused(&status) => {
                return Err(ConnectError::Refused(Box::new(status)));
            }
            Ok(Err(status)) => {
                tracing::warn!(%status, "Muster can't be reached yet; everybody is refused");
                None
            }
            Err(_) => None,
        };
        let revoked = Arc::new(Revoked::new(self.silence));
        let follower = tokio::spawn(follow(muster.clone(), revoked.clone(), first));
        let known = Cache::builder()
            .max_capacity(self.remembered)
            .time_to_live(self.life)
            .build();
        Ok(Guard::of(Inner {
            muster,
            revoked,
            known,
            source: self.source,
            follower: follower.abort_handle(),
        }))
    }
}

/// Follows the stream, and asks for it again whenever it ends.
async fn follow(
    muster: Muster,
    revoked: Arc<Revoked>,
    mut first: Option<Streaming<WatchRevokedResponse>>,
) {
    loop {
        if let Err(status) = follow_once(&muster, &revoked, first.take()).await {
            match revoked.is_live() {
                true => {
                    tracing::warn!(%status, "the stream of revocations has ended; asking again")
                }
                false => tracing::debug!(%status, "there is no stream of revocations yet"),
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(
    muster: &Muster,
    revoked: &Revoked,
    stream: Option<Streaming<WatchRevokedResponse>>,
) -> Result<(), Status> {
    // A stream that hangs is as bad as one that ends.
    let silent = |_| Status::deadline_exceeded("nothing was heard in time");
    // A bound of nothing is no reason not to listen.
    let bound = revoked.bound().max(SILENCE);
    let mut stream = match stream {
        Some(stream) => stream,
        None => tokio::time::timeout(bound, muster.watch())
            .await
            .map_err(silent)??,
    };
    loop {
        let next = tokio::time::timeout(bound, stream.message()).await;
        let Some(told) = next.map_err(silent)?? else {
            return Ok(());
        };
        revoked.take(&told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_for_longer_than_revocations_are() {
        let life = |life| Builder::new("key").remember(1000, life).life;
        assert_eq!(life(Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(life(Duration::MAX), LONGEST_LIFE);
    }
}
