//! AuthService: passwords and sessions in, tokens out.
//!
//! A token counts as issued when it was looked up whether its user may have
//! it, by the clock of the database: what ends later revokes it.

use aws_lc_rs::rand;
use chassis::caller::{Principal, TenantId};
use chassis::outbox::Outbox;
use chassis::revocation::Revocable;
use chassis::service_identity::OnBehalfOf;
use chassis::store::{Record, Store};
use chassis::time::timestamp;
use chassis::{Clock, Error, open_public, open_subject};
use chrono::{DateTime, TimeDelta, Utc};
use proto::identity::auth_service_server::AuthService;
use proto::identity::verify_user_request::Credential;
use proto::identity::{
    CheckUserRequest, CheckUserResponse, LoginRequest, LoginResponse, LogoutRequest,
    LogoutResponse, RefreshRequest, RefreshResponse, SelectTenantRequest, SelectTenantResponse,
    VerifyUserRequest, VerifyUserResponse,
};
use proto::tenancy::ResolveMemberResponse;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{session, user};
use crate::id;
use crate::memberships::Memberships;
use crate::passwords::{Password, Passwords};
use crate::session_token::SessionToken;
use crate::tokens::{BEARER, Tokens};

/// How long a user stays logged in.
const SESSION_LIFE: TimeDelta = TimeDelta::days(14);

/// The collection, as in the resource names of records.
const SESSIONS: &str = "sessions";

/// A session that goes on, and its user, who is active.
struct Live {
    session: session::Model,
    user: user::Model,
    /// When both were looked up, by the clock of the database.
    looked_up: DateTime<Utc>,
}

pub(crate) struct Auth {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) passwords: Passwords,
    pub(crate) tokens: Tokens,
    pub(crate) outbox: Outbox,
    pub(crate) memberships: Memberships,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn check_user(
        &self,
        request: Request<CheckUserRequest>,
    ) -> Result<Response<CheckUserResponse>, Status> {
        let (_, request) = open_subject(request)?;
        let (user, _) = self.active_user(id("user_id", &request.user_id)?).await?;
        Ok(Response::new(CheckUserResponse {
            active: user.is_some(),
        }))
    }

    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        let request = open_public(request)?;
        let user = self
            .authenticate(&request.email, request.password.into())
            .await?;
        let (session, session_token, looked_up) = self.begin_session(&user).await?;
        let token = self.tokens.of_session(user.id, session.id, looked_up);
        let token = token.await?;
        Ok(Response::new(LoginResponse {
            access_token: token.access_token,
            token_type: BEARER.to_owned(),
            expires_in: token.expires_in,
            session_token: session_token.reveal(),
            session_expire_time: Some(timestamp(session.expire_time)),
        }))
    }

    async fn refresh(
        &self,
        request: Request<RefreshRequest>,
    ) -> Result<Response<RefreshResponse>, Status> {
        let request = open_public(request)?;
        let live = self.session_of(&request.session_token).await?;
        let (user, session) = (live.user.id, live.session.id);
        let token = self.tokens.of_session(user, session, live.looked_up);
        let token = token.await?;
        Ok(Response::new(RefreshResponse {
            access_token: token.access_token,
            token_type: BEARER.to_owned(),
            expires_in: token.expires_in,
        }))
    }

    async fn logout(
        &self,
        request: Request<LogoutRequest>,
    ) -> Result<Response<LogoutResponse>, Status> {
        let (subject, _) = open_subject(request)?;
        let session = subject.session().ok_or_else(|| {
            Error::precondition("NO_SESSION", "the token did not come from a session")
        })?;
        let query = session::Entity::update_many()
            .col_expr(session::Column::EndTime, Expr::value(self.clock.now()))
            .filter(session::Column::Id.eq(session))
            .filter(session::Column::EndTime.is_null());
        let live = match self.live_session(session).await {
            Ok(live) => Some(live.session),
            Err(Error::Unauthenticated { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let record =
            live.map(|row| Record::new(row.tenant_id, subject.principal(), (SESSIONS, session)));
        // What came from a session that has ended already is to end all the same.
        let letter = self
            .store
            .change_global("end the caller's own session", record, async |tx| {
                tx.update_many(query).await?;
                Outbox::revoke(tx, &Revocable::Session(session)).await
            })
            .await?;
        self.outbox.deliver([letter]).await;
        Ok(Response::new(LogoutResponse {}))
    }

    async fn select_tenant(
        &self,
        request: Request<SelectTenantRequest>,
    ) -> Result<Response<SelectTenantResponse>, Status> {
        let (subject, request) = open_subject(request)?;
        let user = subject.user()?;
        let tenant = TenantId(id("tenant_id", &request.tenant_id)?);
        // Before the membership: when it ends, this is older.
        let looked_up = self.is_live(user, subject.session()).await?;
        let member = self.member(tenant, user).await?;
        let scope = OnBehalfOf {
            tenant: tenant.0,
            number: member.tenant_number,
        };
        let permissions = member.permissions;
        let token = self
            .tokens
            .of_member(scope, permissions, user, &subject, looked_up)
            .await?;
        Ok(Response::new(SelectTenantResponse {
            access_token: token.access_token,
            token_type: BEARER.to_owned(),
            expires_in: token.expires_in,
        }))
    }

    async fn verify_user(
        &self,
        request: Request<VerifyUserRequest>,
    ) -> Result<Response<VerifyUserResponse>, Status> {
        let (_, request) = open_subject(request)?;
        let (user, session) = match request.credential {
            Some(Credential::Password(of)) => {
                let user = self.authenticate(&of.email, of.password.into()).await?;
                (user, None)
            }
            Some(Credential::SessionToken(token)) => {
                let live = self.session_of(&token).await?;
                (live.user, Some(live.session.id))
            }
            None => return Err(Error::invalid("credential", "is required").into()),
        };
        Ok(Response::new(VerifyUserResponse {
            user_id: user.id.to_string(),
            home_tenant: user.tenant_id.to_string(),
            session_id: session.map(|id| id.to_string()).unwrap_or_default(),
        }))
    }
}

impl Auth {
    /// The user of an e-mail address and password. Whatever is wrong with
    /// them, the answer and the time that it takes are the same.
    async fn authenticate(&self, email: &str, password: Password) -> Result<user::Model, Error> {
        let found = self.user_of_email(email).await?;
        let hash = found.as_ref().and_then(|user| user.password_hash.clone());
        let right = self.passwords.verify(password, hash).await?;
        found
            .filter(|user| right && is_active(user))
            .ok_or_else(bad_credentials)
    }

    async fn user_of_email(&self, email: &str) -> Result<Option<user::Model>, Error> {
        let tx = self
            .store
            .global("find the user who presents a password")
            .await?;
        let query = user::Entity::find().filter(user::Column::Email.eq(email.to_lowercase()));
        tx.one(query).await
    }

    /// Begins a session for a user who has just presented the password; answers
    /// also when it was seen that he may have it.
    async fn begin_session(
        &self,
        user: &user::Model,
    ) -> Result<(session::Model, SessionToken, DateTime<Utc>), Error> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(Error::internal)?;
        let token = SessionToken::new(self.clock.new_id(), secret);
        let now = self.clock.now();
        let row = session::ActiveModel {
            id: Set(token.id),
            tenant_id: Set(user.tenant_id),
            user_id: Set(user.id),
            secret_hash: Set(token.hash().to_vec()),
            create_time: Set(now),
            expire_time: Set(now + SESSION_LIFE),
            ..Default::default()
        };
        // Locked, because a user who was disabled, or whose password was
        // changed, while the password was verified gets no session.
        let unchanged = user::Entity::find_by_id(user.number)
            .filter(user::Column::State.eq(user::State::Active))
            .filter(user::Column::PasswordHash.eq(user.password_hash.clone()))
            .lock_exclusive();
        let expired = session::Entity::delete_many()
            .filter(session::Column::UserId.eq(user.id))
            .filter(session::Column::ExpireTime.lt(now));
        let actor = Principal::User(user.id);
        let record = Record::new(user.tenant_id, &actor, (SESSIONS, token.id));
        let (row, looked_up) = self
            .store
            .change_global("begin a session", record, async |tx| {
                let found = tx.one(unchanged).await?;
                found.ok_or_else(bad_credentials)?;
                tx.delete(expired).await?;
                Ok((tx.insert(row).await?, tx.begin_time()))
            })
            .await?;
        Ok((row, token, looked_up))
    }

    /// The live session whose token a client presents, and its user.
    async fn session_of(&self, token: &str) -> Result<Live, Error> {
        let token = SessionToken::parse(token).ok_or_else(no_session)?;
        let live = self.live_session(token.id).await?;
        if token.proves(&live.session.secret_hash) {
            Ok(live)
        } else {
            Err(no_session())
        }
    }

    /// A session that goes on, and its user, who is active.
    async fn live_session(&self, id: Uuid) -> Result<Live, Error> {
        let tx = self.store.global("find a user's own session").await?;
        let query = session::Entity::find().filter(session::Column::Id.eq(id));
        let session = tx.one(query).await?;
        let now = self.clock.now();
        let session = session.filter(|session| session.is_live(now));
        let session = session.ok_or_else(no_session)?;
        let query = user::Entity::find().filter(user::Column::Id.eq(session.user_id));
        let user = tx.one(query).await?.filter(is_active);
        Ok(Live {
            session,
            user: user.ok_or_else(no_session)?,
            looked_up: tx.begin_time(),
        })
    }

    /// Refuses a token to whoever has been logged out or disabled. Answers when
    /// that was looked up.
    async fn is_live(&self, user: Uuid, session: Option<Uuid>) -> Result<DateTime<Utc>, Error> {
        if let Some(session) = session {
            return Ok(self.live_session(session).await?.looked_up);
        }
        let (user, looked_up) = self.active_user(user).await?;
        user.map(|_| looked_up).ok_or_else(no_session)
    }

    /// A user who is not disabled, if there is one of this id; and when that
    /// was looked up.
    async fn active_user(&self, id: Uuid) -> Result<(Option<user::Model>, DateTime<Utc>), Error> {
        let tx = self
            .store
            .global("say whether a user may act at all")
            .await?;
        let query = user::Entity::find().filter(user::Column::Id.eq(id));
        let user = tx.one(query).await?.filter(is_active);
        Ok((user, tx.begin_time()))
    }

    /// What a user may do in a tenant. Whoever is no member does not learn
    /// whether there is such a tenant.
    async fn member(&self, tenant: TenantId, user: Uuid) -> Result<ResolveMemberResponse, Error> {
        let member = self.memberships.of(tenant, user).await?;
        member.ok_or_else(|| {
            Error::denied(
                "NOT_A_MEMBER",
                "the caller is not a member of this tenant, or it is not in use",
            )
        })
    }
}

fn is_active(user: &user::Model) -> bool {
    user.state == user::State::Active
}

fn bad_credentials() -> Error {
    Error::Unauthenticated {
        reason: "BAD_CREDENTIALS",
        message: "the e-mail address or the password is wrong".into(),
    }
}

fn no_session() -> Error {
    Error::Unauthenticated {
        reason: "NO_SESSION",
        message: "there is no such session, or it has ended; log in again".into(),
    }
}
