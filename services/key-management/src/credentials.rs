//! CredentialService: tokens for credentials, and what must no longer be
//! accepted. Only other services call it.

use std::sync::Arc;

use chassis::caller::Principal;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::store::Store;
use chassis::time::{date_time, timestamp};
use chassis::token::Claims;
use chassis::{Clock, Error, Result, open_subject, revocation};
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::{VerifyUserRequest, VerifyUserResponse, verify_user_request};
use proto::keys::credential_service_server::CredentialService;
use proto::keys::exchange_request::Credential;
use proto::keys::{
    ExchangeRequest, ExchangeResponse, MintUserTokenRequest, MintUserTokenResponse, RevokeRequest,
    RevokeResponse, WatchRevocationsRequest, WatchRevocationsResponse,
};
use proto::tenancy::member_service_client::MemberServiceClient;
use proto::tenancy::{ResolveMemberRequest, ResolveMemberResponse};
use sea_orm::prelude::Uuid;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::api_keys::chosen;
use crate::entity::{api_client, api_key};
use crate::key_format;
use crate::master_key::MasterKey;
use crate::revocations::Revoker;
use crate::signer::Signer;

/// How long a token lives that was traded for a credential, in seconds: the
/// credential is still there, so it may be short.
const TRADED_LIFE: i64 = 300;
/// How long a user's token lives, in seconds: programs of other systems log in once
/// and work on, and a revocation ends it within a second anyway.
const USER_LIFE: i64 = 3600;

pub(crate) struct Credentials {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) signer: Signer,
    pub(crate) revoker: Revoker,
    pub(crate) peers: Peers,
    pub(crate) identity: ServiceIdentity,
}

#[tonic::async_trait]
impl CredentialService for Credentials {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let (_, req) = open_subject(request)?;
        let now = self.clock.now();
        let (claims, life) = match req.credential {
            Some(Credential::ApiKey(key)) => self.of_key(&key).await?,
            Some(Credential::Basic(basic)) if basic.name.contains('@') => {
                let password = verify_user_request::Password {
                    email: basic.name,
                    password: basic.secret,
                };
                self.of_user(verify_user_request::Credential::Password(password))
                    .await?
            }
            Some(Credential::Basic(basic)) => self.of_client(&basic.name, &basic.secret).await?,
            Some(Credential::SessionToken(token)) => {
                self.of_user(verify_user_request::Credential::SessionToken(token))
                    .await?
            }
            None => return Err(Error::invalid("credential", "is required").into()),
        };
        let expire_time = Some(timestamp(now + chrono::TimeDelta::seconds(life)));
        let access_token = self.signer.sign(claims, now, life).await?;
        Ok(Response::new(ExchangeResponse {
            access_token,
            expire_time,
        }))
    }

    async fn mint_user_token(
        &self,
        request: Request<MintUserTokenRequest>,
    ) -> Result<Response<MintUserTokenResponse>, Status> {
        let (service, req) = open_subject(request)?;
        let user =
            chosen(&req.user_id).ok_or_else(|| Error::invalid("user_id", "must be a UUID"))?;
        let session = chosen(&req.session_id);
        let now = self.clock.now();
        let issued = req.issue_time.as_ref().and_then(date_time).unwrap_or(now);
        let claims = Claims {
            sub: Principal::User(user).to_string(),
            jti: self.jti(user, session),
            scope: req.permissions.join(" "),
            tid: service.tenant().map(|t| t.0),
            tno: service.tenant_number(),
            sid: session,
            ..Claims::default()
        };
        let issued = issued.min(now);
        let access_token = self.signer.sign(claims, issued, USER_LIFE).await?;
        Ok(Response::new(MintUserTokenResponse {
            access_token,
            expires_in: USER_LIFE,
        }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let (_, req) = open_subject(request)?;
        self.revoker.revoke(req.subject).await?;
        Ok(Response::new(RevokeResponse {}))
    }

    type WatchRevocationsStream = ReceiverStream<Result<WatchRevocationsResponse, Status>>;

    async fn watch_revocations(
        &self,
        request: Request<WatchRevocationsRequest>,
    ) -> Result<Response<Self::WatchRevocationsStream>, Status> {
        open_subject(request)?;
        // One ahead: a reader that is slow slows the sender, not the memory.
        let (to, stream) = mpsc::channel(1);
        tokio::spawn(self.revoker.clone().watch(to));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Credentials {
    /// The claims of an API key's token, and its life in seconds.
    async fn of_key(&self, key: &str) -> Result<(Claims, i64)> {
        let presented = key_format::parse(key).ok_or_else(refused)?;
        let found = self.store.global("a key that was just presented").await?;
        let found = found
            .one(api_key::Entity::find().filter(api_key::Column::Id.eq(presented.id)))
            .await?;
        // An unknown key costs the same as a wrong one.
        let hash = found
            .as_ref()
            .map(|row| row.secret_hash.as_slice())
            .unwrap_or(&[0; 32]);
        let right = self.master.verify(presented.secret, hash);
        let row = found.filter(|_| right).ok_or_else(refused)?;
        if row.revoke_time.is_some() {
            return Err(ended("KEY_REVOKED", "the API key has been revoked"));
        }
        let left = row
            .expire_time
            .map_or(i64::MAX, |end| (end - self.clock.now()).num_seconds());
        if left <= 0 {
            return Err(ended("KEY_EXPIRED", "the API key has expired"));
        }
        let claims = Claims {
            sub: Principal::Key(row.id).to_string(),
            jti: self.clock.new_id().to_string(),
            scope: row.permissions,
            tid: Some(row.tenant_id),
            tno: row.tenant_number,
            ..Claims::default()
        };
        Ok((claims, left.min(TRADED_LIFE)))
    }

    async fn of_client(&self, key: &str, secret: &str) -> Result<(Claims, i64)> {
        let found = self
            .store
            .global("a client key that was just presented")
            .await?;
        let found = found
            .one(api_client::Entity::find().filter(api_client::Column::ClientKey.eq(key)))
            .await?;
        let hash = found
            .as_ref()
            .map(|row| row.secret_hash.as_slice())
            .unwrap_or(&[0; 32]);
        let right = self.master.verify(secret, hash);
        let row = found
            .filter(|row| right && !row.disabled)
            .ok_or_else(refused)?;
        let claims = Claims {
            sub: Principal::Client(row.id).to_string(),
            jti: self.clock.new_id().to_string(),
            scope: row.permissions,
            tid: Some(row.tenant_id),
            tno: row.tenant_number,
            ..Claims::default()
        };
        Ok((claims, TRADED_LIFE))
    }

    /// A user acts for the tenant that manages the account, if a member of it.
    async fn of_user(&self, credential: verify_user_request::Credential) -> Result<(Claims, i64)> {
        let request = self.identity.request(VerifyUserRequest {
            credential: Some(credential),
        })?;
        let mut client = AuthServiceClient::new(self.peers.get(ServiceName::Identity));
        let user = client.verify_user(request).await?.into_inner();
        let id = chosen(&user.user_id).ok_or_else(|| Error::internal("a user without an id"))?;
        let session = chosen(&user.session_id);
        let jti = self.jti(id, session);
        let mut claims = Claims {
            sub: Principal::User(id).to_string(),
            jti,
            sid: session,
            ..Claims::default()
        };
        if let Some((tenant, member)) = self.home(&user).await? {
            claims.tid = Some(tenant);
            claims.tno = member.tenant_number;
            claims.scope = member.permissions.join(" ");
        }
        Ok((claims, TRADED_LIFE))
    }

    /// A user's token comes from a session, or from the password itself, whose
    /// tokens end together.
    fn jti(&self, user: Uuid, session: Option<Uuid>) -> String {
        match session {
            Some(_) => self.clock.new_id().to_string(),
            None => revocation::password_jti(user),
        }
    }

    async fn home(
        &self,
        user: &VerifyUserResponse,
    ) -> Result<Option<(Uuid, ResolveMemberResponse)>> {
        let Some(tenant) = chosen(&user.home_tenant) else {
            return Ok(None);
        };
        let message = ResolveMemberRequest {
            user_id: user.user_id.clone(),
        };
        let request = self
            .identity
            .request_for(OnBehalfOf { tenant, number: 0 }, &[], message)?;
        let mut client = MemberServiceClient::new(self.peers.get(ServiceName::Tenancy));
        match client.resolve_member(request).await {
            Ok(member) => Ok(Some((tenant, member.into_inner()))),
            // Not a member, or the tenant is suspended: a user without a tenant.
            Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                Ok(None)
            }
            Err(status) => Err(status.into()),
        }
    }
}

fn refused() -> Error {
    ended("BAD_CREDENTIALS", "the credential is wrong")
}

fn ended(reason: &'static str, message: &'static str) -> Error {
    Error::Unauthenticated {
        reason,
        message: message.into(),
    }
}
