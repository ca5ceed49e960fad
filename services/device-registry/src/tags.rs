//! Marks on devices.

use std::collections::HashMap;

use chassis::error::Constraint;
use chassis::paging::Page;
use chassis::store::{ReadTx, Resource, Store, WriteTx, in_one_order};
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::tag_service_server::TagService;
use proto::registry::{
    CreateTagRequest, DeleteTagRequest, DeleteTagResponse, GetTagRequest, ListTagsRequest,
    ListTagsResponse, MergeTagsRequest, Tag, UpdateTagRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::claims::merged;
use crate::entity::{device_tag, tag};
use crate::paged::paged;
use crate::{counts, etag, ids};
use chassis::mask::{Fields, field};

/// What updates may change.
const FIELDS: Fields<Tag> = Fields {
    message: "tag",
    input: &[field!(display_name), field!(color)],
    output: &[
        "id",
        "number",
        "create_time",
        "update_time",
        "etag",
        "device_count",
    ],
};

/// Answers calls about tags.
pub(crate) struct Tags {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl TagService for Tags {
    async fn create_tag(
        &self,
        request: Request<CreateTagRequest>,
    ) -> Result<Response<Tag>, Status> {
        let (caller, req) = open(request)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("tag_id", &req.tag_id, &self.clock)?;
        let row = tag::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(req.tag.unwrap_or_default())
        };
        let row = self
            .store
            .change(&caller, ("tags", id), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(message(row)))
    }

    async fn get_tag(&self, request: Request<GetTagRequest>) -> Result<Response<Tag>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        let mut shown = shown(&tx, vec![row], req.count_devices).await?;
        Ok(Response::new(shown.remove(0)))
    }

    async fn list_tags(
        &self,
        request: Request<ListTagsRequest>,
    ) -> Result<Response<ListTagsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let query = matching(&req);
        let tx = self.store.read(&caller).await?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let rows = tx.all(paged(query, tag::Column::Number, &page)).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListTagsResponse {
            tags: shown(&tx, rows, req.count_devices).await?,
            next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn update_tag(
        &self,
        request: Request<UpdateTagRequest>,
    ) -> Result<Response<Tag>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .tag
            .ok_or_else(|| Error::invalid("tag", "must be set"))?;
        let id = ids::parse("tag.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("tags", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            tx.update(tag::ActiveModel {
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

    async fn delete_tag(
        &self,
        request: Request<DeleteTagRequest>,
    ) -> Result<Response<DeleteTagResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        // It comes off every device: the schema says so.
        let query = tag::Entity::delete_many().filter(tag::Column::Id.eq(id));
        self.store
            .change(&caller, ("tags", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteTagResponse {}))
    }

    async fn merge_tags(
        &self,
        request: Request<MergeTagsRequest>,
    ) -> Result<Response<Tag>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let others = ids::parse_all("tag_ids", &req.tag_ids)?;
        let now = self.clock.now();
        let merged = self.store.change_found(&caller, async |tx| {
            let row = both(tx, id, &others).await?;
            if others.contains(&id) {
                let text = "the tag that stays can't be among those that go";
                return Err(Error::invalid("tag_ids", text));
            }
            etag::check(&req.etag, row.revision)?;
            for other in &others {
                move_devices(tx, *other, id).await?;
            }
            let gone = tag::Column::Id.is_in(others.iter().copied());
            tx.delete(tag::Entity::delete_many().filter(gone)).await?;
            let change = tag::ActiveModel {
                number: Unchanged(row.number),
                update_time: Set(now),
                revision: Set(row.revision + 1),
                ..Default::default()
            };
            let row = tx.update(change).await?;
            let keys = merged::name_instead(tx, &others, id, now).await?;
            Ok((row, changed(id, &others, &keys)))
        });
        Ok(Response::new(message(merged.await?)))
    }
}

/// The tag that stays, after all that are merged were locked.
async fn both(tx: &WriteTx, id: Uuid, others: &[Uuid]) -> Result<tag::Model> {
    let wanted = others.iter().copied().chain([id]);
    let query = tag::Entity::find().filter(tag::Column::Id.is_in(wanted));
    let mut rows: HashMap<_, _> = tx
        .all(in_one_order(query).lock_exclusive())
        .await?
        .into_iter()
        .map(|row| (row.id, row))
        .collect();
    if let Some(other) = others.iter().find(|other| !rows.contains_key(other)) {
        return Err(missing(*other));
    }
    rows.remove(&id).ok_or_else(|| missing(id))
}

/// What a merge changes: the tag that stays, those that go, and claim keys.
fn changed(id: Uuid, others: &[Uuid], keys: &[Uuid]) -> Vec<Resource> {
    let tags = [&[id], others].concat();
    let tags = tags.into_iter().map(|id| Resource::from(("tags", id)));
    let keys = keys.iter().map(|id| Resource::from(("claimKeys", *id)));
    tags.chain(keys).collect()
}

/// Devices with one tag have another one instead. Those that have both keep
/// the first until it is deleted.
async fn move_devices(tx: &WriteTx, from: Uuid, to: Uuid) -> Result<()> {
    use device_tag::Column as On;
    // Asked of each device: a list of all that have the other tag may not fit
    // into PostgreSQL's memory, and would be gone through for each.
    // The store confines the statement but not what is nested in it.
    let there = Query::select()
        .expr(Expr::val(1))
        .from_as(device_tag::Entity, "other")
        .and_where(Expr::col(("other", On::TenantId)).eq(tx.tenant().0))
        .and_where(Expr::col(("other", On::TagId)).eq(to))
        .and_where(Expr::col(("other", On::DeviceId)).equals((device_tag::Entity, On::DeviceId)))
        .to_owned();
    let query = device_tag::Entity::update_many()
        .col_expr(On::TagId, Expr::value(to))
        .filter(On::TagId.eq(from))
        .filter(Expr::not_exists(there));
    match tx.update_many(query).await {
        // Somebody put the tag on one of them at the same time.
        Err(Error::Constraint(Constraint::Unique(_))) => Err(Error::Contention),
        done => done.map(drop),
    }
}

/// Tags as the contract has them.
async fn shown(tx: &ReadTx, rows: Vec<tag::Model>, count: bool) -> Result<Vec<Tag>> {
    let counts = match count {
        true => Some(counts::with_tags(tx, rows.iter().map(|row| row.id)).await?),
        false => None,
    };
    let shown = rows.into_iter().map(|row| {
        let count = counts.as_ref().map(|c| c.get(&row.id).copied());
        Tag {
            device_count: count.map(|n| n.unwrap_or_default().cast_signed()),
            ..message(row)
        }
    });
    Ok(shown.collect())
}

fn by_id(id: Uuid) -> Select<tag::Entity> {
    tag::Entity::find().filter(tag::Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("tag", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[("display_name", "tag.display_name"), ("id", "tag_id")])
}

/// The tags that a request asks for, on all pages.
fn matching(request: &ListTagsRequest) -> Select<tag::Entity> {
    let name = (!request.display_name.is_empty()).then_some(request.display_name.as_str());
    tag::Entity::find().apply_if(name, |query, name| {
        query.filter(tag::Column::DisplayName.eq(name))
    })
}

/// The columns that the creator of a tag, or who changes it, sets.
fn columns(tag: Tag) -> tag::ActiveModel {
    tag::ActiveModel {
        display_name: Set(tag.display_name),
        color: Set(tag.color),
        ..Default::default()
    }
}

/// A tag as the contract has it.
fn message(row: tag::Model) -> Tag {
    Tag {
        id: row.id.to_string(),
        number: row.number,
        display_name: row.display_name,
        color: row.color,
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
        device_count: None,
    }
}
