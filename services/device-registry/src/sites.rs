//! Places where devices are.

use chassis::caller::TenantId;
use chassis::error::Constraint;
use chassis::paging::Page;
use chassis::store::{ReadTx, Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::site_service_server::SiteService;
use proto::registry::{
    CreateSiteRequest, DeleteSiteRequest, DeleteSiteResponse, GetSiteRequest, ListSitesRequest,
    ListSitesResponse, Location, Site, UpdateSiteRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{device, site};
use crate::paged::paged;
use crate::{attributes, counts, etag, ids, site_tree};
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
        field!(parent_id),
        field!(location),
        field!(attributes),
    ],
    output: &[
        "id",
        "number",
        "create_time",
        "update_time",
        "etag",
        "ancestor_ids",
        "device_count",
    ],
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
        let wanted = req.site.unwrap_or_default();
        let parent = ids::parse_optional("site.parent_id", &wanted.parent_id)?;
        let row = site::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(wanted)?
        };
        let created = self.store.change(&caller, ("sites", id), async |tx| {
            let row = tx.insert(row).await.map_err(taken)?;
            let around = site_tree::plant(tx, id, parent).await?;
            Ok(message(row, &around))
        });
        Ok(Response::new(created.await?))
    }

    async fn get_site(&self, request: Request<GetSiteRequest>) -> Result<Response<Site>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        let mut shown = shown(&tx, vec![row], req.count_devices).await?;
        Ok(Response::new(shown.remove(0)))
    }

    async fn list_sites(
        &self,
        request: Request<ListSitesRequest>,
    ) -> Result<Response<ListSitesResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let tx = self.store.read(&caller).await?;
        let query = matching(&req, tx.tenant())?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let rows = tx.all(paged(query, site::Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListSitesResponse {
            sites: shown(&tx, rows, req.count_devices).await?,
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
            let mut around = site_tree::ancestors_of(tx, id).await?;
            let before = message(row, &around);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, before)?;
            let parent = ids::parse_optional("site.parent_id", &merged.parent_id)?;
            if parent.as_ref() != around.last() {
                around = site_tree::transplant(tx, id, parent).await?;
            }
            let row = tx.update(site::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(merged)?
            });
            Ok(message(row.await.map_err(taken)?, &around))
        });
        Ok(Response::new(updated.await?))
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
                leave(tx, id).await?;
                tx.delete_found(query, || missing(id)).await.map_err(in_use)
            })
            .await?;
        Ok(Response::new(DeleteSiteResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<site::Entity> {
    site::Entity::find().filter(site::Column::Id.eq(id))
}

/// Sites as the contract has them.
async fn shown(tx: &ReadTx, rows: Vec<site::Model>, count: bool) -> Result<Vec<Site>> {
    let ids = || rows.iter().map(|row| row.id);
    let around = site_tree::ancestors(tx, ids()).await?;
    let counts = match count {
        true => Some(counts::at_sites(tx, ids()).await?),
        false => None,
    };
    let shown = rows.into_iter().map(|row| {
        let id = row.id;
        let count = counts.as_ref().map(|c| c.get(&id).copied());
        Site {
            device_count: count.map(|n| n.unwrap_or_default().cast_signed()),
            ..message(row, around.get(&id).map(Vec::as_slice).unwrap_or_default())
        }
    });
    Ok(shown.collect())
}

/// Devices that are deleted hold no site back: one that is brought back is
/// nowhere then.
async fn leave(tx: &WriteTx, site: Uuid) -> Result<()> {
    let query = device::Entity::update_many()
        .col_expr(device::Column::SiteId, Expr::value(None::<Uuid>))
        .filter(device::Column::SiteId.eq(site))
        .filter(device::Column::DeleteTime.is_not_null());
    tx.update_many(query).await.map(drop)
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
            let text = "devices are still at this site, or other sites in it";
            Error::precondition("IN_USE", text)
        }
        other => other,
    }
}

/// The sites that a request asks for, on all pages.
fn matching(request: &ListSitesRequest, tenant: TenantId) -> Result<Select<site::Entity>> {
    let name = (!request.display_name.is_empty()).then_some(request.display_name.as_str());
    let number = (request.number != 0).then_some(request.number);
    let parent = ids::parse_optional("parent_id", &request.parent_id)?;
    let ancestor = ids::parse_optional("ancestor_id", &request.ancestor_id)?;
    Ok(site::Entity::find()
        .apply_if(name, |query, name| {
            query.filter(site::Column::DisplayName.eq(name))
        })
        .apply_if(number, |query, number| {
            query.filter(site::Column::Number.eq(number))
        })
        .apply_if(parent, |query, parent| {
            let inside = site_tree::inside(tenant, parent, true);
            query.filter(site::Column::Id.in_subquery(inside))
        })
        .apply_if(ancestor, |query, ancestor| {
            let inside = site_tree::inside(tenant, ancestor, false);
            query.filter(site::Column::Id.in_subquery(inside))
        })
        .apply_if(request.outermost.then_some(()), |query, ()| {
            query.filter(site::Column::Id.not_in_subquery(site_tree::anywhere(tenant)))
        }))
}

/// The columns that the creator of a site, or who changes it, sets.
fn columns(site: Site) -> Result<site::ActiveModel> {
    let attributes = attributes::column("site.attributes", site.attributes.as_ref())?;
    let location = site.location.unwrap_or_default();
    let place = location.description;
    Ok(site::ActiveModel {
        display_name: Set(site.display_name),
        address: Set(site.address),
        contact_name: Set(site.contact_name),
        contact_phone: Set(site.contact_phone),
        notes: Set(site.notes),
        latitude: Set(location.latitude),
        longitude: Set(location.longitude),
        altitude: Set(location.altitude),
        location_description: Set((!place.is_empty()).then_some(place)),
        attributes: Set(attributes),
        ..Default::default()
    })
}

/// A site as the contract has it, which lies in some others.
fn message(row: site::Model, around: &[Uuid]) -> Site {
    let location = Location {
        latitude: row.latitude,
        longitude: row.longitude,
        altitude: row.altitude,
        description: row.location_description.unwrap_or_default(),
    };
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
        attributes: row.attributes.as_ref().map(attributes::from_json),
        parent_id: around.last().map(Uuid::to_string).unwrap_or_default(),
        ancestor_ids: around.iter().map(Uuid::to_string).collect(),
        location: (location != Location::default()).then_some(location),
        device_count: None,
    }
}
