//! CredentialService: tokens for credentials, and what must no longer be
//! accepted. Only other services call it.

use chassis::caller::Principal;
use chassis::context;
use chassis::peer::ServiceName;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::service_identity::OnBehalfOf;
use chassis::time::{date_time, timestamp};
use chassis::token::Claims;
use chassis::{Error, Result, open, open_subject, revocation};
use chrono::TimeDelta;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::identity::{VerifyUserRequest, VerifyUserResponse, verify_user_request};
use proto::keys::credential_service_server::CredentialService;
use proto::keys::exchange_request::Credential;
use proto::keys::{
    ExchangeRequest, ExchangeResponse, GetDataKeyRequest, GetDataKeyResponse,
    MintDeviceTokenRequest, MintDeviceTokenResponse, MintUserTokenRequest, MintUserTokenResponse,
    ReportUsesRequest, ReportUsesResponse, RevokeRequest, RevokeResponse, SetTenantStateRequest,
    SetTenantStateResponse, WatchRevocationsRequest, WatchRevocationsResponse,
};
use proto::tenancy::member_service_client::MemberServiceClient;
use proto::tenancy::{ResolveMemberRequest, ResolveMemberResponse};
use sea_orm::prelude::Uuid;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Response, Status};

use crate::Parts;
use crate::api_keys::chosen;
use crate::entity::tenant_state;
use crate::lookup::Known;
use crate::revocations;
use crate::usage::{Counted, Origin};

/// How long a token lives that was traded for a credential, in seconds: the
/// credential is still there, so it may be short.
const TRADED_LIFE: i64 = 300;
/// How long a user's token lives, in seconds: programs of other systems log in once
/// and work on, and a revocation ends it within a second anyway.
const USER_LIFE: i64 = 3600;

/// What a device may do with its own token: see itself, and take the commands
/// that are for it.
const DEVICE_SCOPE: &str = "devices.self commands.receive";

pub(crate) struct Credentials(pub(crate) Parts);

#[tonic::async_trait]
impl CredentialService for Credentials {
    async fn exchange(
        &self,
        request: Request<ExchangeRequest>,
    ) -> Result<Response<ExchangeResponse>, Status> {
        let (_, req) = open_subject(request)?;
        let source = context::current().and_then(|call| call.source);
        let answer = match req.credential {
            Some(Credential::ApiKey(key)) => {
                let known = self.0.lookup.key(&key, source).await?;
                self.trade(&*known.map_err(Error::from)?).await?
            }
            Some(Credential::Basic(basic)) if basic.name.contains('@') => {
                let password = verify_user_request::Password {
                    email: basic.name,
                    password: basic.secret,
                };
                self.of_user(verify_user_request::Credential::Password(password))
                    .await?
            }
            Some(Credential::Basic(basic)) => {
                let known = self.0.lookup.client(&basic.name, &basic.secret, source);
                self.trade(&*known.await?.map_err(Error::from)?).await?
            }
            Some(Credential::SessionToken(token)) => {
                self.of_user(verify_user_request::Credential::SessionToken(token))
                    .await?
            }
            None => return Err(Error::invalid("credential", "is required").into()),
        };
        Ok(Response::new(answer))
    }

    async fn report_uses(
        &self,
        request: Request<ReportUsesRequest>,
    ) -> Result<Response<ReportUsesResponse>, Status> {
        let (_, req) = open_subject(request)?;
        let now = self.0.clock.now();
        for used in req.uses {
            // Whose clock goes ahead has not used it in the future.
            let time = |time: Option<prost_types::Timestamp>| {
                let told = time.as_ref().and_then(date_time);
                told.map_or(now, |told| told.min(now))
            };
            let origin = Origin {
                generation: used.generation,
                network: used.network,
                user_agent: used.user_agent,
            };
            let counted = Counted {
                count: used.count,
                first: time(used.first_time),
                last: time(used.last_time),
            };
            self.0.usage.add(origin, counted);
        }
        Ok(Response::new(ReportUsesResponse {}))
    }

    async fn set_tenant_state(
        &self,
        request: Request<SetTenantStateRequest>,
    ) -> Result<Response<SetTenantStateResponse>, Status> {
        let (caller, req) = open(request)?;
        let tenant = caller.tenant().0;
        let own = || tenant_state::Entity::find().filter(tenant_state::Column::TenantId.eq(tenant));
        self.0
            .store
            .change(&caller, ("tenants", tenant), async |tx| {
                let known = tx.one(own()).await?;
                if known
                    .as_ref()
                    .is_some_and(|row| row.revision >= req.revision)
                {
                    return Ok(());
                }
                let row = tenant_state::ActiveModel {
                    suspended: Set(req.suspended),
                    revision: Set(req.revision),
                    ..known
                        .clone()
                        .map(IntoActiveModel::into_active_model)
                        .unwrap_or_default()
                };
                match known {
                    Some(_) => tx.update(row).await?,
                    None => tx.insert(row).await?,
                };
                if !req.suspended {
                    return Ok(());
                }
                self.0.revoker.write(tx, &Revocable::Tenant(tenant)).await
            })
            .await?;
        Ok(Response::new(SetTenantStateResponse {}))
    }

    async fn mint_user_token(
        &self,
        request: Request<MintUserTokenRequest>,
    ) -> Result<Response<MintUserTokenResponse>, Status> {
        let (service, req) = open_subject(request)?;
        let user =
            chosen(&req.user_id).ok_or_else(|| Error::invalid("user_id", "must be a UUID"))?;
        let session = chosen(&req.session_id);
        let now = self.0.clock.now();
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
        let access_token = self
            .0
            .signer
            .sign(claims, issued, issued.min(now), USER_LIFE)
            .await?;
        Ok(Response::new(MintUserTokenResponse {
            access_token,
            expires_in: USER_LIFE,
        }))
    }

    async fn mint_device_token(
        &self,
        request: Request<MintDeviceTokenRequest>,
    ) -> Result<Response<MintDeviceTokenResponse>, Status> {
        let (caller, req) = open(request)?;
        let device =
            chosen(&req.device_id).ok_or_else(|| Error::invalid("device_id", "must be a UUID"))?;
        let now = self.0.clock.now();
        let looked_up = req.lookup_time.as_ref().and_then(date_time);
        let left = req.end_time.as_ref().and_then(date_time);
        let left = left.map_or(i64::MAX, |end| (end - now).num_seconds());
        let life = left.clamp(0, TRADED_LIFE);
        let claims = Claims {
            sub: Principal::Device(device).to_string(),
            jti: self.0.clock.new_id().to_string(),
            scope: Permissions::from_scope(DEVICE_SCOPE).to_scope(),
            tid: Some(caller.tenant().0),
            tno: caller.tenant_number(),
            ..Claims::default()
        };
        let access_token = self
            .0
            .signer
            .sign(claims, looked_up.unwrap_or(now).min(now), now, life)
            .await?;
        Ok(Response::new(MintDeviceTokenResponse {
            access_token,
            expire_time: Some(timestamp(now + TimeDelta::seconds(life))),
        }))
    }

    async fn get_data_key(
        &self,
        request: Request<GetDataKeyRequest>,
    ) -> Result<Response<GetDataKeyResponse>, Status> {
        let (service, _) = open_subject(request)?;
        let Principal::Service(name) = service.principal() else {
            return Err(Error::unauthenticated("only a service has a data key").into());
        };
        let key = self.0.data_keys.of(name).await?;
        Ok(Response::new(GetDataKeyResponse { key }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let (_, req) = open_subject(request)?;
        self.0.revoker.revoke(req.subject).await?;
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
        tokio::spawn(self.0.revoker.clone().watch(to, revocations::response));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

impl Credentials {
    /// A token for a key or client. It counts as issued when its credential
    /// was looked up: what is revoked later revokes it too.
    async fn trade(&self, known: &Known) -> Result<ExchangeResponse> {
        let now = self.0.clock.now();
        let left = known
            .end_time
            .map_or(i64::MAX, |end| (end - now).num_seconds());
        let claims = Claims {
            sub: known.principal.to_string(),
            jti: self.0.clock.new_id().to_string(),
            scope: known.permissions.to_scope(),
            tid: Some(known.tenant),
            tno: known.tenant_number,
            own: known.owner,
            r#gen: Some(known.generation),
            ..Claims::default()
        };
        let life = left.min(TRADED_LIFE);
        let access_token = self
            .0
            .signer
            .sign(claims, known.looked_up, now, life)
            .await?;
        Ok(ExchangeResponse {
            access_token,
            expire_time: Some(timestamp(now + TimeDelta::seconds(life))),
            generation: known.generation,
            allowed_networks: known.networks.iter().map(ToString::to_string).collect(),
            requests_per_minute: known.requests_per_minute,
            credential_end_time: known.end_time.map(timestamp),
            superseded: known.superseded,
        })
    }

    /// A user acts for the tenant that manages the account, if a member of it.
    async fn of_user(
        &self,
        credential: verify_user_request::Credential,
    ) -> Result<ExchangeResponse> {
        // Before anything is looked up.
        let looked_up = self.0.lookup.now().await?;
        let request = self.0.identity.request(VerifyUserRequest {
            credential: Some(credential),
        })?;
        let mut client = AuthServiceClient::new(self.0.peers.get(ServiceName::Identity));
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
        let now = self.0.clock.now();
        let access_token = self
            .0
            .signer
            .sign(claims, looked_up, now, TRADED_LIFE)
            .await?;
        Ok(ExchangeResponse {
            access_token,
            expire_time: Some(timestamp(now + TimeDelta::seconds(TRADED_LIFE))),
            ..ExchangeResponse::default()
        })
    }

    /// A user's token comes from a session, or from the password itself, whose
    /// tokens end together.
    fn jti(&self, user: Uuid, session: Option<Uuid>) -> String {
        match session {
            Some(_) => self.0.clock.new_id().to_string(),
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
        let request =
            self.0
                .identity
                .request_for(OnBehalfOf { tenant, number: 0 }, &[], message)?;
        let mut client = MemberServiceClient::new(self.0.peers.get(ServiceName::Tenancy));
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
