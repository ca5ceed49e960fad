//! Keys by which new devices register themselves.

mod claim;
pub(crate) mod merged;
mod row;

use chassis::hash::sha256;
use chassis::paging::Page;
use chassis::store::{Store, WriteTx};
use chassis::{Clock, Error, Result, key_format, open, open_public};
use proto::registry::claim_key_service_server::ClaimKeyService;
use proto::registry::{
    ClaimDeviceRequest, ClaimDeviceResponse, ClaimKey, CreateClaimKeyRequest,
    CreateClaimKeyResponse, DeleteClaimKeyRequest, DeleteClaimKeyResponse, Device,
    GetClaimKeyRequest, ListClaimKeysRequest, ListClaimKeysResponse, UpdateClaimKeyRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::claim_key::{ActiveModel, Column, Entity};
use crate::paged::paged;
use crate::{Settings, etag, ids, references};
use row::{FIELDS, columns, message};

/// What claim keys begin with.
const PREFIX: &str = "musterclaim";

/// Answers calls about claim keys, and of who presents one.
pub(crate) struct Claims {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
}

#[tonic::async_trait]
impl ClaimKeyService for Claims {
    async fn create_claim_key(
        &self,
        request: Request<CreateClaimKeyRequest>,
    ) -> Result<Response<CreateClaimKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.claim_key.unwrap_or_default();
        let now = self.clock.now();
        let id = ids::chosen_or_new("claim_key_id", &req.claim_key_id, &self.clock)?;
        let secret = key_format::new_secret()?;
        let row = ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            use_count: Set(0),
            secret_hash: Set(sha256(secret.as_bytes()).to_vec()),
            ..columns(&wanted)?
        };
        let created = self.store.change(&caller, ("claimKeys", id), async |tx| {
            check_template(tx, &wanted).await?;
            tx.insert(row).await.map_err(taken)
        });
        Ok(Response::new(CreateClaimKeyResponse {
            claim_key: Some(message(created.await?)?),
            secret: key_format::write(PREFIX, "", id, &secret),
        }))
    }

    async fn get_claim_key(
        &self,
        request: Request<GetClaimKeyRequest>,
    ) -> Result<Response<ClaimKey>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)?))
    }

    async fn list_claim_keys(
        &self,
        request: Request<ListClaimKeysRequest>,
    ) -> Result<Response<ListClaimKeysResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let query = paged(Entity::find(), Column::Number, &page);
        let rows = self.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let claim_keys = rows.into_iter().map(message).collect::<Result<_>>()?;
        Ok(Response::new(ListClaimKeysResponse {
            claim_keys,
            next_page_token,
        }))
    }

    async fn update_claim_key(
        &self,
        request: Request<UpdateClaimKeyRequest>,
    ) -> Result<Response<ClaimKey>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .claim_key
            .ok_or_else(|| Error::invalid("claim_key", "must be set"))?;
        let id = ids::parse("claim_key.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("claimKeys", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let stored = message(row)?;
            let template = stored.template.clone();
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, stored)?;
            // One whose tag or site is gone can be disabled all the same.
            if merged.template != template {
                check_template(tx, &merged).await?;
            }
            tx.update(ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(&merged)?
            })
            .await
        });
        Ok(Response::new(message(updated.await?)?))
    }

    async fn delete_claim_key(
        &self,
        request: Request<DeleteClaimKeyRequest>,
    ) -> Result<Response<DeleteClaimKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = Entity::delete_many().filter(Column::Id.eq(id));
        self.store
            .change(&caller, ("claimKeys", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteClaimKeyResponse {}))
    }

    async fn claim_device(
        &self,
        request: Request<ClaimDeviceRequest>,
    ) -> Result<Response<ClaimDeviceResponse>, Status> {
        let req = open_public(request)?;
        Ok(Response::new(self.claim(req).await?))
    }
}

/// Refuses a template that refers to what is not there.
async fn check_template(tx: &WriteTx, key: &ClaimKey) -> Result<()> {
    let template = key.template.clone().unwrap_or_default();
    let device = Device {
        tag_ids: template.tag_ids,
        site_id: template.site_id,
        ..Default::default()
    };
    let checked = references::existing(tx, &device).await;
    checked.map(drop).map_err(|error| match error {
        Error::Invalid(mut wrong) => {
            for violation in &mut wrong {
                let part = violation.field.trim_start_matches("device.").to_owned();
                violation.field = format!("claim_key.template.{part}");
            }
            Error::Invalid(wrong)
        }
        error => error,
    })
}

fn by_id(id: Uuid) -> Select<Entity> {
    Entity::find().filter(Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("claim key", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[("id", "claim_key_id")])
}
