//! Marks on devices.

use chassis::paging::Page;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::tag_service_server::TagService;
use proto::registry::{
    CreateTagRequest, DeleteTagRequest, DeleteTagResponse, GetTagRequest, ListTagsRequest,
    ListTagsResponse, Tag, UpdateTagRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::tag;
use crate::paged::paged;
use crate::{etag, ids};
use chassis::mask::{Fields, field};

/// What updates may change.
const FIELDS: Fields<Tag> = Fields {
    message: "tag",
    input: &[field!(display_name), field!(color)],
    output: &["id", "number", "create_time", "update_time", "etag"],
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
        Ok(Response::new(message(row)))
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
            tags: rows.into_iter().map(message).collect(),
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
    }
}
