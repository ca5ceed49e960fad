//! TenantService: the organisations that own everything else.

use std::collections::HashMap;

use chassis::caller::Principal;
use chassis::error::Constraint;
use chassis::outbox::Outbox;
use chassis::paging::Page;
use chassis::store::{Record, Store};
use chassis::time::timestamp;
use chassis::{Caller, Clock, Error, open, open_subject};
use proto::tenancy::tenant_service_server::TenantService;
use proto::tenancy::{
    CreateFirstTenantRequest, CreateTenantRequest, GetTenantRequest, ListMyTenantsRequest,
    ListMyTenantsResponse, MyTenant, ResumeTenantRequest, SuspendTenantRequest, Tenant,
};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{member, tenant};
use crate::id;
use crate::roles::Role;
use crate::tree;

/// The collection, as in the resource names of records.
const TENANTS: &str = "tenants";

pub(crate) struct Tenants {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) outbox: Outbox,
}

#[tonic::async_trait]
impl TenantService for Tenants {
    async fn suspend_tenant(
        &self,
        request: Request<SuspendTenantRequest>,
    ) -> Result<Response<Tenant>, Status> {
        let (caller, request) = open(request)?;
        let tenant = id("id", &request.id)?;
        let row = self.set_state(&caller, tenant, tenant::State::Suspended);
        Ok(Response::new(row.await?.into()))
    }

    async fn resume_tenant(
        &self,
        request: Request<ResumeTenantRequest>,
    ) -> Result<Response<Tenant>, Status> {
        let (caller, request) = open(request)?;
        let tenant = id("id", &request.id)?;
        let row = self.set_state(&caller, tenant, tenant::State::Active);
        Ok(Response::new(row.await?.into()))
    }

    async fn create_tenant(
        &self,
        request: Request<CreateTenantRequest>,
    ) -> Result<Response<Tenant>, Status> {
        let (caller, request) = open(request)?;
        let user = caller.subject().user()?;
        let new = match request.tenant_id.as_str() {
            "" => self.clock.new_id(),
            chosen => id("tenant_id", chosen)?,
        };
        let name = request.tenant.unwrap_or_default().display_name;
        let above = caller.tenant().0;
        let row = self.tenant(new, name, Some(above));
        let owner = self.owner(new, user);
        let record = Record::new(new, caller.principal(), (TENANTS, new));
        let row = self
            .store
            .change_global("create a tenant below the caller's", record, async |tx| {
                tree::may_grow(tx, above).await?;
                let row = tx.insert(row).await.map_err(taken)?;
                tx.insert(owner).await?;
                Ok(row)
            })
            .await?;
        Ok(Response::new(row.into()))
    }

    async fn get_tenant(
        &self,
        request: Request<GetTenantRequest>,
    ) -> Result<Response<Tenant>, Status> {
        let (caller, request) = open(request)?;
        let id = id("id", &request.id)?;
        let tx = self.store.read(&caller).await?;
        let query = tenant::Entity::find().filter(tenant::Column::TenantId.eq(id));
        let row = tx.one(query).await?;
        let row = row.ok_or_else(|| Error::not_found("tenant", id))?;
        Ok(Response::new(row.into()))
    }

    async fn list_my_tenants(
        &self,
        request: Request<ListMyTenantsRequest>,
    ) -> Result<Response<ListMyTenantsResponse>, Status> {
        let (subject, request) = open_subject(request)?;
        let page = Page::new(request.page_size, &request.page_token)?;
        let answer = match subject.principal() {
            Principal::User(user) => self.memberships(*user, page).await?,
            _ => self.only(&subject.scoped()?).await?,
        };
        Ok(Response::new(answer))
    }

    async fn create_first_tenant(
        &self,
        request: Request<CreateFirstTenantRequest>,
    ) -> Result<Response<Tenant>, Status> {
        let (subject, request) = open_subject(request)?;
        let new = id("tenant_id", &request.tenant_id)?;
        let owner = self.owner(new, id("owner", &request.owner)?);
        let row = self.tenant(new, request.display_name, None);
        let record = Record::new(new, subject.principal(), (TENANTS, new));
        let row = self
            .store
            .change_global("create the first tenant", record, async |tx| {
                let row = tx.insert(row).await.map_err(not_first)?;
                tx.insert(owner).await?;
                Ok(row)
            })
            .await?;
        Ok(Response::new(row.into()))
    }
}

impl Tenants {
    fn tenant(&self, id: Uuid, display_name: String, parent: Option<Uuid>) -> tenant::ActiveModel {
        let now = self.clock.now();
        tenant::ActiveModel {
            tenant_id: Set(id),
            display_name: Set(display_name),
            parent: Set(parent),
            state: Set(tenant::State::Active),
            suspended_above: Set(false),
            revision: Set(0),
            create_time: Set(now),
            update_time: Set(now),
            ..Default::default()
        }
    }

    fn owner(&self, tenant: Uuid, user: Uuid) -> member::ActiveModel {
        let now = self.clock.now();
        member::ActiveModel {
            tenant_id: Set(tenant),
            user_id: Set(user),
            role: Set(Role::Owner),
            create_time: Set(now),
            update_time: Set(now),
            ..Default::default()
        }
    }

    /// Suspends or resumes a tenant below the caller's, and what is below it.
    async fn set_state(
        &self,
        caller: &Caller,
        id: Uuid,
        state: tenant::State,
    ) -> Result<tenant::Model, Error> {
        let now = self.clock.now();
        let above = caller.tenant().0;
        let record = Record::new(id, caller.principal(), (TENANTS, id));
        let (row, letters) = self
            .store
            .change_global("suspend or resume a tenant below", record, async |tx| {
                tree::set_state(tx, above, id, state, now).await
            })
            .await?;
        self.outbox.deliver(letters).await;
        Ok(row)
    }

    /// One page of the tenants that a user is a member of.
    async fn memberships(&self, user: Uuid, page: Page) -> Result<ListMyTenantsResponse, Error> {
        let tx = self.store.global("list a user's own memberships").await?;
        let query = member::Entity::find()
            .filter(member::Column::UserId.eq(user))
            .filter(member::Column::Number.gt(page.after.unwrap_or_default()))
            .order_by_asc(member::Column::Number)
            .limit(page.limit());
        let (members, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        let ids = members.iter().map(|row| row.tenant_id);
        let query = tenant::Entity::find().filter(tenant::Column::TenantId.is_in(ids));
        let mut tenants: HashMap<_, _> = tx
            .all(query)
            .await?
            .into_iter()
            .map(|row| (row.tenant_id, row))
            .collect();
        let tenants = members.iter().filter_map(|row| {
            Some(MyTenant {
                tenant: Some(tenants.remove(&row.tenant_id)?.into()),
                role: row.role.name().to_owned(),
            })
        });
        Ok(ListMyTenantsResponse {
            tenants: tenants.collect(),
            next_page_token,
        })
    }

    /// The one tenant of a caller that is no user.
    async fn only(&self, caller: &Caller) -> Result<ListMyTenantsResponse, Error> {
        let tx = self.store.read(caller).await?;
        let rows = tx.all(tenant::Entity::find()).await?;
        let tenants = rows.into_iter().map(|row| MyTenant {
            tenant: Some(row.into()),
            role: String::new(),
        });
        Ok(ListMyTenantsResponse {
            tenants: tenants.collect(),
            next_page_token: String::new(),
        })
    }
}

/// The schema has room for one tenant without a parent.
fn not_first(error: Error) -> Error {
    match error {
        Error::Constraint(Constraint::Unique(_)) => Error::precondition(
            "FIRST_TENANT_EXISTS",
            "the installation has its first tenant already",
        ),
        other => other,
    }
}

fn taken(error: Error) -> Error {
    error.unique(&[("tenant_id", "tenant_id")])
}

impl From<tenant::Model> for Tenant {
    fn from(row: tenant::Model) -> Self {
        let state = if row.is_refused() {
            proto::tenancy::tenant::State::Suspended
        } else {
            proto::tenancy::tenant::State::Active
        };
        Self {
            id: row.tenant_id.to_string(),
            number: row.number,
            display_name: row.display_name,
            parent: row.parent.map(|id| id.to_string()).unwrap_or_default(),
            state: state.into(),
            create_time: Some(timestamp(row.create_time)),
            update_time: Some(timestamp(row.update_time)),
        }
    }
}
