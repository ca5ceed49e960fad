//! What this service asks of key management: tokens for users whom it has
//! authenticated, and the end of tokens.

use chassis::peer::{Peer, Peers, ServiceName};
use chassis::revocation::{self, Revocable};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::time::timestamp;
use chassis::{Error, Result, Subject};
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
    /// A token that names the user and no tenant.
    pub(crate) async fn of_user(
        &self,
        user: Uuid,
        session: Option<Uuid>,
    ) -> Result<MintUserTokenResponse> {
        let request = wanted(user, session, Vec::new());
        self.mint(self.identity.request(request)?).await
    }

    /// A token for what the user may do in a tenant, in place of the one that
    /// was presented.
    pub(crate) async fn of_member(
        &self,
        tenant: OnBehalfOf,
        permissions: Vec<String>,
        user: Uuid,
        presented: &Subject,
    ) -> Result<MintUserTokenResponse> {
        let mut request = wanted(user, presented.session(), permissions);
        // Without a session, nothing else would end a chain of such tokens.
        if presented.session().is_none() {
            request.issue_time = Some(timestamp(presented.issue_time()));
        }
        self.mint(self.identity.request_for(tenant, &[], request)?)
            .await
    }

    /// Ends every token of a subject that was issued until now. To be called
    /// after the commit of what ends them.
    pub(crate) async fn revoke(&self, subject: &Revocable) {
        revocation::revoke(&self.peers, &self.identity, subject).await;
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

fn wanted(user: Uuid, session: Option<Uuid>, permissions: Vec<String>) -> MintUserTokenRequest {
    MintUserTokenRequest {
        user_id: user.to_string(),
        session_id: session.map(|id| id.to_string()).unwrap_or_default(),
        permissions,
        issue_time: None,
    }
}
