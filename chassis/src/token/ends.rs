//! When what began with a good token must end.

use std::time::Duration;

use super::{Verifier, expired};
use crate::caller::Principal;
use crate::error::Error;
use crate::revocation::MAX_TOKEN_LIFE;

/// How often it is looked whether a token was revoked.
const LOOK: Duration = Duration::from_secs(1);

impl Verifier {
    /// Waits until what a token was good for must end, though it began in time:
    /// it was revoked, or so old that it must be shown anew. It may expire
    /// before, since one that was traded lives much shorter than what it was
    /// traded for.
    pub(crate) async fn ends(&self, token: &str) -> Error {
        let known = match self.signed(token).await {
            Ok(known) => known,
            Err(error) => return error,
        };
        if let Principal::Service(_) = known.principal {
            return std::future::pending().await;
        }
        let last = known.claims.iat + MAX_TOKEN_LIFE.num_seconds();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.unrevoked(&known) {
                return error;
            }
            if last <= self.0.clock.now().timestamp() {
                return expired();
            }
        }
    }
}
