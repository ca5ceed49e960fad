//! MemberService: who may do what on behalf of a tenant.

use chassis::outbox::{Letter, Outbox};
use chassis::paging::Page;
use chassis::peer::{Peers, ServiceName};
use chassis::revocation::Revocable;
use chassis::service_identity::ServiceIdentity;
use chassis::store::{ReadTx, Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Caller, Clock, Error, open, open_subject};
use proto::access::Permission;
use proto::identity::GetUserRequest;
use proto::identity::user_service_client::UserServiceClient;
use proto::tenancy::member_service_server::MemberService;
use proto::tenancy::{
    CreateMemberRequest, DeleteMemberRequest, DeleteMemberResponse, GetMemberRequest,
    ListMembersRequest, ListMembersResponse, ListRolesRequest, ListRolesResponse, Member,
    ResolveMemberRequest, ResolveMemberResponse, UpdateMemberRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use tonic::{Code, Request, Response, Status};
use uuid::Uuid;

use crate::entity::{member, tenant};
use crate::id;
use crate::roles::Role;
use crate::tree::suspended;

/// The collection, as in the resource names of records.
const MEMBERS: &str = "members";

pub(crate) struct Members {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) identity: ServiceIdentity,
    pub(crate) outbox: Outbox,
}

#[tonic::async_trait]
impl MemberService for Members {
    async fn create_member(
        &self,
        request: Request<CreateMemberRequest>,
    ) -> Result<Response<Member>, Status> {
        let (caller, request) = open(request)?;
        let (user, role) = wanted(request.member)?;
        caller.may_grant(role.permissions())?;
        self.is_managed(&caller, user).await?;
        let now = self.clock.now();
        let row = member::ActiveModel {
            user_id: Set(user),
            role: Set(role),
            create_time: Set(now),
            update_time: Set(now),
            ..Default::default()
        };
        let row = self
            .store
            .change(&caller, (MEMBERS, user), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(row.into()))
    }

    async fn get_member(
        &self,
        request: Request<GetMemberRequest>,
    ) -> Result<Response<Member>, Status> {
        let (caller, request) = open(request)?;
        let user = id("user_id", &request.user_id)?;
        let tx = self.store.read(&caller).await?;
        Ok(Response::new(find(&tx, user).await?.into()))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<ListMembersResponse>, Status> {
        let (caller, request) = open(request)?;
        let page = Page::new(request.page_size, &request.page_token)?;
        let tx = self.store.read(&caller).await?;
        let query = member::Entity::find()
            .filter(member::Column::Number.gt(page.after.unwrap_or_default()))
            .order_by_asc(member::Column::Number)
            .limit(page.limit());
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        Ok(Response::new(ListMembersResponse {
            members: rows.into_iter().map(Member::from).collect(),
            next_page_token,
        }))
    }

    async fn update_member(
        &self,
        request: Request<UpdateMemberRequest>,
    ) -> Result<Response<Member>, Status> {
        let (caller, request) = open(request)?;
        let (user, role) = wanted(request.member)?;
        caller.may_grant(role.permissions())?;
        let now = self.clock.now();
        let (row, letter) = self
            .store
            .change(&caller, (MEMBERS, user), async |tx| {
                let member = tx.one(of(user)).await?.ok_or_else(|| missing(user))?;
                caller.may_grant(member.role.permissions())?;
                if role != Role::Owner {
                    is_not_last_owner(tx, user).await?;
                }
                let row = member::ActiveModel {
                    number: Unchanged(member.number),
                    role: Set(role),
                    update_time: Set(now),
                    ..Default::default()
                };
                Ok((tx.update(row).await?, revoke(tx, user).await?))
            })
            .await?;
        self.outbox.deliver([letter]).await;
        Ok(Response::new(row.into()))
    }

    async fn delete_member(
        &self,
        request: Request<DeleteMemberRequest>,
    ) -> Result<Response<DeleteMemberResponse>, Status> {
        let (caller, request) = open(request)?;
        let user = id("user_id", &request.user_id)?;
        let letter = self
            .store
            .change(&caller, (MEMBERS, user), async |tx| {
                let member = tx.one(of(user)).await?.ok_or_else(|| missing(user))?;
                caller.may_grant(member.role.permissions())?;
                is_not_last_owner(tx, user).await?;
                tx.delete(member::Entity::delete_many().filter(is(user)))
                    .await?;
                revoke(tx, user).await
            })
            .await?;
        self.outbox.deliver([letter]).await;
        Ok(Response::new(DeleteMemberResponse {}))
    }

    async fn list_roles(
        &self,
        request: Request<ListRolesRequest>,
    ) -> Result<Response<ListRolesResponse>, Status> {
        open_subject(request)?;
        let roles = Role::ALL.map(|role| proto::tenancy::Role {
            name: role.name().to_owned(),
            permissions: names(role),
        });
        Ok(Response::new(ListRolesResponse {
            roles: roles.into(),
        }))
    }

    async fn resolve_member(
        &self,
        request: Request<ResolveMemberRequest>,
    ) -> Result<Response<ResolveMemberResponse>, Status> {
        let (caller, request) = open(request)?;
        let user = id("user_id", &request.user_id)?;
        let tx = self.store.read(&caller).await?;
        let member = find(&tx, user).await?;
        let tenant = active_tenant(&tx).await?;
        Ok(Response::new(ResolveMemberResponse {
            role: member.role.name().to_owned(),
            permissions: names(member.role),
            tenant_number: tenant.number,
        }))
    }
}

impl Members {
    /// Refuses users whose accounts the caller's tenant does not manage.
    async fn is_managed(&self, caller: &Caller, user: Uuid) -> Result<(), Error> {
        let request = GetUserRequest {
            id: user.to_string(),
        };
        let request = self
            .identity
            .request_for(caller, &[Permission::UsersRead], request)?;
        let mut users = UserServiceClient::new(self.peers.get(ServiceName::Identity));
        match users.get_user(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::NotFound => Err(Error::invalid(
                "member.user_id",
                "must be a user whom this tenant manages",
            )),
            Err(status) => Err(status.into()),
        }
    }
}

/// Ends the tokens that came from a membership.
async fn revoke(tx: &WriteTx, user: Uuid) -> Result<Letter, Error> {
    let tenant = tx.tenant().0;
    Outbox::revoke(tx, &Revocable::Member { tenant, user }).await
}

/// The user and role that a request names.
fn wanted(member: Option<Member>) -> Result<(Uuid, Role), Error> {
    let member = member.unwrap_or_default();
    let user = id("member.user_id", &member.user_id)?;
    let role = Role::parse(&member.role)
        .ok_or_else(|| Error::invalid("member.role", "must be a built-in role"))?;
    Ok((user, role))
}

fn is(user: Uuid) -> sea_orm::sea_query::Expr {
    member::Column::UserId.eq(user)
}

fn of(user: Uuid) -> Select<member::Entity> {
    member::Entity::find().filter(is(user))
}

async fn find(tx: &ReadTx, user: Uuid) -> Result<member::Model, Error> {
    tx.one(of(user)).await?.ok_or_else(|| missing(user))
}

fn missing(user: Uuid) -> Error {
    Error::not_found("member", user)
}

/// Refuses to leave a tenant without an owner.
async fn is_not_last_owner(tx: &WriteTx, user: Uuid) -> Result<(), Error> {
    let owners = tx.all(owners()).await?;
    match owners.as_slice() {
        [last] if last.user_id == user => Err(Error::precondition(
            "LAST_OWNER",
            "a tenant keeps at least one owner; make somebody else one first",
        )),
        _ => Ok(()),
    }
}

/// Locked, so that of two owners who leave at once only one can.
fn owners() -> Select<member::Entity> {
    member::Entity::find()
        .filter(member::Column::Role.eq(Role::Owner))
        .order_by_asc(member::Column::Number)
        .lock_exclusive()
}

/// The tenant that is acted for, unless it may not be used.
async fn active_tenant(tx: &ReadTx) -> Result<tenant::Model, Error> {
    let tenant = tx.one(tenant::Entity::find()).await?;
    let tenant = tenant.ok_or_else(|| Error::internal("a member's tenant has no row"))?;
    if tenant.is_refused() {
        return Err(suspended());
    }
    Ok(tenant)
}

fn names(role: Role) -> Vec<String> {
    role.permissions().names().map(str::to_owned).collect()
}

fn taken(error: Error) -> Error {
    error.unique(&[("user_id", "member.user_id")])
}

impl From<member::Model> for Member {
    fn from(row: member::Model) -> Self {
        Self {
            user_id: row.user_id.to_string(),
            role: row.role.name().to_owned(),
            create_time: Some(timestamp(row.create_time)),
            update_time: Some(timestamp(row.update_time)),
        }
    }
}
