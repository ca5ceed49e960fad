//! What this service asks of key management: tokens for users whom it has
//! authenticated.

use chassis::peer::{Peer, Peers, ServiceName};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::time::timestamp;
use chassis::{Error, Result, Subject};
use chrono::{DateTime, Utc};
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::{MintUserTokenRequest, MintUserTokenResponse};
use uuid::Uuid;

/// How a token is to be sent (RFC 6749).
pub(crate) const BEARER: &str = "Bearer";

/// Asks key management. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tokens {
    pub(crate) peers: Peers,
    pub(crate) identity: ServiceIdentity,
}

impl Tokens {
    /// A token that names the user and no tenant, of a session that was
    /// `looked_up` then.
    pub(crate) async fn of_session(
        &self,
        user: Uuid,
        session: Uuid,
        looked_up: DateTime<Utc>,
    ) -> Result<MintUserTokenResponse> {
        let request = wanted(user, Some(session), Vec::new(), looked_up);
        self.mint(self.identity.request(request)?).await
    }

    /// A token for what the user may do in a tenant, in place of the one that
    /// was presented. All of it was good when it was `looked_up`.
    pub(crate) async fn of_member(
        &self,
        tenant: OnBehalfOf,
        permissions: Vec<String>,
        user: Uuid,
        presented: &Subject,
        looked_up: DateTime<Utc>,
    ) -> Result<MintUserTokenResponse> {
        let session = presented.session();
        // Without a session, nothing else would end a chain of such tokens.
        let issued = match session {
            Some(_) => looked_up,
            None => looked_up.min(presented.issue_time()),
        };
        let request = wanted(user, session, permissions, issued);
        self.mint(self.identity.request_for(tenant, &[], request)?)
            .await
    }

    async fn mint(
        &self,
        request: tonic::Request<MintUserTokenRequest>,
    ) -> Result<MintUserTokenResponse> {
        let answer = self.keys().mint_user_token(request).await;
        Ok(answer.map_err(Error::from)?.into_inner())
    }

    fn keys(&self) -> CredentialServiceClient<Peer> {
        CredentialServiceClient::new(self.peers.get(ServiceName::KeyManagement))
    }
}

fn wanted(
    user: Uuid,
    session: Option<Uuid>,
    permissions: Vec<String>,
    issued: DateTime<Utc>,
) -> MintUserTokenRequest {
    MintUserTokenRequest {
        user_id: user.to_string(),
        session_id: session.map(|id| id.to_string()).unwrap_or_default(),
        permissions,
        issue_time: Some(timestamp(issued)),
    }
}
