//! Places where devices are.

use chassis::error::Constraint;
use chassis::paging::Page;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::site_service_server::SiteService;
use proto::registry::{
    CreateSiteRequest, DeleteSiteRequest, DeleteSiteResponse, GetSiteRequest, ListSitesRequest,
    ListSitesResponse, Site, UpdateSiteRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::site;
use crate::paged::paged;
use crate::{etag, ids};
use chassis::mask::{Fields, field};

/// What updates may change.
const FIELDS: Fields<Site> = Fields {
    message: "site",
    input: &[
        field!(display_name),
        field!(address),
        field!(contact_name),
        field!(contact_phone),
        field!(notes),
    ],
    output: &["id", "number", "create_time", "update_time", "etag"],
};

/// Answers calls about sites.
pub(crate) struct Sites {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl SiteService for Sites {
    async fn create_site(
        &self,
        request: Request<CreateSiteRequest>,
    ) -> Result<Response<Site>, Status> {
        let (caller, req) = open(request)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("site_id", &req.site_id, &self.clock)?;
        let row = site::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(req.site.unwrap_or_default())
        };
        let row = self
            .store
            .change(&caller, ("sites", id), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(message(row)))
    }

    async fn get_site(&self, request: Request<GetSiteRequest>) -> Result<Response<Site>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)))
    }

    async fn list_sites(
        &self,
        request: Request<ListSitesRequest>,
    ) -> Result<Response<ListSitesResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let query = matching(&req);
        let tx = self.store.read(&caller).await?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let rows = tx.all(paged(query, site::Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListSitesResponse {
            sites: rows.into_iter().map(message).collect(),
            next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn update_site(
        &self,
        request: Request<UpdateSiteRequest>,
    ) -> Result<Response<Site>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .site
            .ok_or_else(|| Error::invalid("site", "must be set"))?;
        let id = ids::parse("site.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("sites", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            tx.update(site::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(merged)
            })
            .await
        });
        let row = updated.await.map_err(taken)?;
        Ok(Response::new(message(row)))
    }

    async fn delete_site(
        &self,
        request: Request<DeleteSiteRequest>,
    ) -> Result<Response<DeleteSiteResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = site::Entity::delete_many().filter(site::Column::Id.eq(id));
        self.store
            .change(&caller, ("sites", id), async |tx| {
                tx.delete_found(query, || missing(id)).await.map_err(in_use)
            })
            .await?;
        Ok(Response::new(DeleteSiteResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<site::Entity> {
    site::Entity::find().filter(site::Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("site", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[("display_name", "site.display_name"), ("id", "site_id")])
}

/// What the database refuses to delete is what devices still refer to.
fn in_use(error: Error) -> Error {
    match error {
        Error::Constraint(Constraint::Reference(_)) => {
            Error::precondition("IN_USE", "devices are still at this site")
        }
        other => other,
    }
}

/// The sites that a request asks for, on all pages.
fn matching(request: &ListSitesRequest) -> Select<site::Entity> {
    let name = (!request.display_name.is_empty()).then_some(request.display_name.as_str());
    let number = (request.number != 0).then_some(request.number);
    site::Entity::find()
        .apply_if(name, |query, name| {
            query.filter(site::Column::DisplayName.eq(name))
        })
        .apply_if(number, |query, number| {
            query.filter(site::Column::Number.eq(number))
        })
}

/// The columns that the creator of a site, or who changes it, sets.
fn columns(site: Site) -> site::ActiveModel {
    site::ActiveModel {
        display_name: Set(site.display_name),
        address: Set(site.address),
        contact_name: Set(site.contact_name),
        contact_phone: Set(site.contact_phone),
        notes: Set(site.notes),
        ..Default::default()
    }
}

/// A site as the contract has it.
fn message(row: site::Model) -> Site {
    Site {
        id: row.id.to_string(),
        number: row.number,
        display_name: row.display_name,
        address: row.address,
        contact_name: row.contact_name,
        contact_phone: row.contact_phone,
        notes: row.notes,
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    }
}
