//! UserService: people who log in.

use chassis::caller::Principal;
use chassis::outbox::{Letter, Outbox};
use chassis::paging::Page;
use chassis::revocation::Revocable;
use chassis::store::{GlobalTx, Record, Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Clock, Error, open, open_subject};
use chrono::{DateTime, Utc};
use proto::identity::user_service_server::UserService;
use proto::identity::{
    ChangePasswordRequest, ChangePasswordResponse, CreateUserRequest, DisableUserRequest,
    EnableUserRequest, GetMeRequest, GetMeResponse, GetUserRequest, ListUsersRequest,
    ListUsersResponse, User,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{session, user};
use crate::id;
use crate::memberships::Memberships;
use crate::passwords::Passwords;

/// The collection, as in the resource names of records.
const USERS: &str = "users";

pub(crate) struct Users {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) passwords: Passwords,
    pub(crate) outbox: Outbox,
    pub(crate) memberships: Memberships,
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_me(
        &self,
        request: Request<GetMeRequest>,
    ) -> Result<Response<GetMeResponse>, Status> {
        let (subject, _) = open_subject(request)?;
        let principal = subject.principal();
        let user = match principal {
            Principal::User(id) => of_id(&self.store, *id).await?.map(User::from),
            _ => None,
        };
        let tenant = subject.tenant().map(|tenant| tenant.0.to_string());
        Ok(Response::new(GetMeResponse {
            principal_kind: principal.kind().to_owned(),
            principal_id: principal.id(),
            user,
            current_tenant: tenant.unwrap_or_default(),
            permissions: subject.permissions().names().map(str::to_owned).collect(),
        }))
    }

    async fn create_user(
        &self,
        request: Request<CreateUserRequest>,
    ) -> Result<Response<User>, Status> {
        let (caller, request) = open(request)?;
        let new = match request.user_id.as_str() {
            "" => self.clock.new_id(),
            chosen => id("user_id", chosen)?,
        };
        let password_hash = match request.password {
            none if none.is_empty() => None,
            password => Some(self.passwords.hash(password.into()).await?),
        };
        let wanted = request.user.unwrap_or_default();
        let now = self.clock.now();
        let row = user::ActiveModel {
            id: Set(new),
            email: Set(wanted.email.to_lowercase()),
            display_name: Set(wanted.display_name),
            password_hash: Set(password_hash),
            state: Set(user::State::Active),
            create_time: Set(now),
            update_time: Set(now),
            ..Default::default()
        };
        let row = self
            .store
            .change(&caller, (USERS, new), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(row.into()))
    }

    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let (caller, request) = open(request)?;
        let id = id("id", &request.id)?;
        let tx = self.store.read(&caller).await?;
        let query = user::Entity::find().filter(user::Column::Id.eq(id));
        let row = tx.one(query).await?;
        Ok(Response::new(row.ok_or_else(|| unknown(id))?.into()))
    }

    async fn list_users(
        &self,
        request: Request<ListUsersRequest>,
    ) -> Result<Response<ListUsersResponse>, Status> {
        let (caller, request) = open(request)?;
        let page = Page::new(request.page_size, &request.page_token)?;
        let tx = self.store.read(&caller).await?;
        let query = user::Entity::find()
            .filter(user::Column::Number.gt(page.after.unwrap_or_default()))
            .order_by_asc(user::Column::Number)
            .limit(page.limit());
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        Ok(Response::new(ListUsersResponse {
            users: rows.into_iter().map(User::from).collect(),
            next_page_token,
        }))
    }

    async fn disable_user(
        &self,
        request: Request<DisableUserRequest>,
    ) -> Result<Response<User>, Status> {
        let (caller, request) = open(request)?;
        let id = id("id", &request.id)?;
        if *caller.principal() == Principal::User(id) {
            return Err(Error::precondition(
                "OWN_ACCOUNT",
                "nobody disables himself; let another administrator do it",
            )
            .into());
        }
        self.memberships.not_above(&caller, id).await?;
        let now = self.clock.now();
        let user = Revocable::Principal(Principal::User(id));
        let (row, letter) = self
            .store
            .change(&caller, (USERS, id), async |tx| {
                let row = set_state(tx, id, user::State::Disabled, now).await?;
                tx.update_many(end_sessions(id, now)).await?;
                Ok((row, Outbox::revoke(tx, &user).await?))
            })
            .await?;
        self.outbox.deliver([letter]).await;
        Ok(Response::new(row.into()))
    }

    async fn enable_user(
        &self,
        request: Request<EnableUserRequest>,
    ) -> Result<Response<User>, Status> {
        let (caller, request) = open(request)?;
        let id = id("id", &request.id)?;
        self.memberships.not_above(&caller, id).await?;
        let now = self.clock.now();
        let row = self
            .store
            .change(&caller, (USERS, id), async |tx| {
                set_state(tx, id, user::State::Active, now).await
            })
            .await?;
        Ok(Response::new(row.into()))
    }

    async fn change_password(
        &self,
        request: Request<ChangePasswordRequest>,
    ) -> Result<Response<ChangePasswordResponse>, Status> {
        let (subject, request) = open_subject(request)?;
        let id = subject.user()?;
        let user = of_id(&self.store, id).await?.ok_or_else(|| unknown(id))?;
        let current = user.password_hash.clone();
        let password = request.current_password.into();
        if !self.passwords.verify(password, current).await? {
            return Err(wrong_password().into());
        }
        let hash = self.passwords.hash(request.new_password.into()).await?;
        let now = self.clock.now();
        let record = Record::new(user.tenant_id, subject.principal(), (USERS, id));
        let letters = self
            .store
            .change_global("change the caller's own password", record, async |tx| {
                set_password(tx, &user, &hash, now).await?;
                end_other_sessions(tx, id, subject.session(), now).await
            })
            .await?;
        self.outbox.deliver(letters).await;
        Ok(Response::new(ChangePasswordResponse {}))
    }
}

/// A user by its own id: a user's token may be scoped to another tenant than
/// the one that manages the account.
async fn of_id(store: &Store, id: Uuid) -> Result<Option<user::Model>, Error> {
    let tx = store.global("read the caller's own user").await?;
    let query = user::Entity::find().filter(user::Column::Id.eq(id));
    tx.one(query).await
}

async fn set_state(
    tx: &WriteTx,
    id: Uuid,
    state: user::State,
    now: DateTime<Utc>,
) -> Result<user::Model, Error> {
    let query = user::Entity::find().filter(user::Column::Id.eq(id));
    let row = tx.one(query).await?.ok_or_else(|| unknown(id))?;
    let changed = user::ActiveModel {
        number: Unchanged(row.number),
        state: Set(state),
        update_time: Set(now),
        ..Default::default()
    };
    tx.update(changed).await
}

/// Only if the password is still the one that was verified.
async fn set_password(
    tx: &GlobalTx,
    user: &user::Model,
    hash: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let query = user::Entity::update_many()
        .col_expr(user::Column::PasswordHash, Expr::value(hash))
        .col_expr(user::Column::UpdateTime, Expr::value(now))
        .filter(user::Column::Number.eq(user.number))
        .filter(user::Column::PasswordHash.eq(user.password_hash.clone()));
    match tx.update_many(query).await? {
        0 => Err(wrong_password()),
        _ => Ok(()),
    }
}

/// Ends the user's sessions but one, and what came from the old password.
async fn end_other_sessions(
    tx: &GlobalTx,
    user: Uuid,
    kept: Option<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<Letter>, Error> {
    let kept = kept.unwrap_or_default();
    let query = session::Entity::find()
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::EndTime.is_null())
        .filter(session::Column::Id.ne(kept));
    let ended = tx.all(query).await?;
    let query = end_sessions(user, now).filter(session::Column::Id.ne(kept));
    tx.update_many(query).await?;
    let mut letters = vec![Outbox::revoke(tx, &Revocable::password(user)).await?];
    for session in ended {
        letters.push(Outbox::revoke(tx, &Revocable::Session(session.id)).await?);
    }
    Ok(letters)
}

/// Ends all sessions of a user.
fn end_sessions(user: Uuid, now: DateTime<Utc>) -> UpdateMany<session::Entity> {
    session::Entity::update_many()
        .col_expr(session::Column::EndTime, Expr::value(now))
        .filter(session::Column::UserId.eq(user))
        .filter(session::Column::EndTime.is_null())
}

fn unknown(id: Uuid) -> Error {
    Error::not_found("user", id)
}

fn wrong_password() -> Error {
    Error::denied("BAD_CREDENTIALS", "the current password is wrong")
}

fn taken(error: Error) -> Error {
    error.unique(&[("email", "user.email"), ("id", "user_id")])
}

impl From<user::Model> for User {
    fn from(row: user::Model) -> Self {
        let state = match row.state {
            user::State::Active => proto::identity::user::State::Active,
            user::State::Disabled => proto::identity::user::State::Disabled,
        };
        Self {
            id: row.id.to_string(),
            email: row.email,
            display_name: row.display_name,
            state: state.into(),
            create_time: Some(timestamp(row.create_time)),
            update_time: Some(timestamp(row.update_time)),
        }
    }
}
