//! ApiKeyService: long-lived secrets of one tenant.

mod import;
mod list;
mod row;
mod secrets;
mod terms;

use chassis::caller::Principal;
use chassis::revocation::Revocable;
use chassis::store::WriteTx;
use chassis::{Caller, Error, Result, open};
use proto::keys::api_key_service_server::ApiKeyService;
use proto::keys::{
    ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, DeleteApiKeyRequest, DeleteApiKeyResponse,
    ExtendApiKeyRotationRequest, FinishApiKeyRotationRequest, GetApiKeyRequest,
    GetApiKeyRotationRequest, ImportApiKeyRequest, ListApiKeysRequest, ListApiKeysResponse,
    RevokeApiKeyRequest, RotateApiKeyRequest, RotateApiKeyResponse, Rotation, UpdateApiKeyRequest,
    get_api_key_request,
};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::entity::api_key::{ActiveModel, Column, Entity, Model};
use crate::grants;
use crate::key_format;
use crate::policy;
use crate::rotation::{Holder, Kept};
use row::{FIELDS, shown};
use terms::Rules;

/// The collection, as in the resource names of records.
const API_KEYS: &str = "apiKeys";

pub(crate) struct ApiKeys(pub(crate) Parts);

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let key = req.api_key.unwrap_or_default();
        let id = chosen(&req.api_key_id).unwrap_or_else(|| self.0.clock.new_id());
        let secret = key_format::new_secret()?;
        let hash = self.0.vault.peppers().await?.hash(&secret)?;
        let new = New {
            id,
            owner: grants::owner(&caller, &key.owner)?,
            kept: hash.into(),
            foreign_format: 0,
        };
        let api_key = self.insert(&caller, &key, new).await?;
        let secret = key_format::write(&self.0.settings.key_prefix, &key.environment, id, &secret);
        Ok(Response::new(CreateApiKeyResponse {
            api_key: Some(api_key),
            secret,
        }))
    }

    async fn get_api_key(
        &self,
        request: Request<GetApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        use get_api_key_request::Key;
        let (caller, req) = open(request)?;
        let (query, asked) = match req.key {
            Some(Key::Id(id)) => (Column::Id.eq(chosen(&id)), id),
            Some(Key::Number(number)) => (Column::Number.eq(number), number.to_string()),
            None => return Err(Error::invalid("key", "one of its fields is required").into()),
        };
        let tx = self.0.store.read(&caller).await?;
        let row = tx.one(Entity::find().filter(query)).await?;
        let row = row.ok_or_else(|| Error::not_found("API key", asked))?;
        Ok(Response::new(shown(&tx, row, self.0.clock.now()).await?))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let (caller, req) = open(request)?;
        Ok(Response::new(self.list(&caller, &req).await?))
    }

    async fn update_api_key(
        &self,
        request: Request<UpdateApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .api_key
            .as_ref()
            .ok_or_else(|| Error::invalid("api_key", "must be set"))?;
        let now = self.0.clock.now();
        let changed = self
            .0
            .store
            .change(&caller, (API_KEYS, &wanted.id), async |tx| {
                let row = living(found(tx, &wanted.id).await?)?;
                let old = shown(tx, row.clone(), now).await?;
                let new = FIELDS.merge(req.update_mask.as_ref(), wanted, old.clone())?;
                if new == old {
                    return Ok(old);
                }
                let policy = policy::of(tx).await?;
                let rules = Rules {
                    policy: policy.as_ref(),
                    created: row.create_time,
                    now,
                };
                let terms = rules.of_changed(&caller, &old, &new)?;
                self.end_what_is_known(tx, row.id).await?;
                let row = tx.update(row::changed(row, new, terms, now)).await;
                shown(tx, row.map_err(name_taken)?, now).await
            });
        Ok(Response::new(changed.await?))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let (caller, req) = open(request)?;
        let now = self.0.clock.now();
        let revoked = self
            .0
            .store
            .change(&caller, (API_KEYS, &req.id), async |tx| {
                let row = found(tx, &req.id).await?;
                // Revoking twice is no error, and keeps the first time and reason.
                if row.revoke_time.is_some() {
                    return shown(tx, row, now).await;
                }
                self.end_what_is_known(tx, row.id).await?;
                let row = tx.update(ActiveModel {
                    revoke_time: Set(Some(now)),
                    revoke_reason: Set(req.reason),
                    update_time: Set(Some(now)),
                    ..row.into_active_model()
                });
                shown(tx, row.await?, now).await
            });
        Ok(Response::new(revoked.await?))
    }

    async fn delete_api_key(
        &self,
        request: Request<DeleteApiKeyRequest>,
    ) -> Result<Response<DeleteApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        // Its secrets and what is known of their use go with it: the schema says so.
        let query = Entity::delete_many().filter(Column::Id.eq(chosen(&req.id)));
        self.0
            .store
            .change(&caller, (API_KEYS, &req.id), async |tx| {
                let row = found(tx, &req.id).await?;
                self.end_what_is_known(tx, row.id).await?;
                tx.delete_found(query, || missing(&req.id)).await
            })
            .await?;
        Ok(Response::new(DeleteApiKeyResponse {}))
    }

    async fn rotate_api_key(
        &self,
        request: Request<RotateApiKeyRequest>,
    ) -> Result<Response<RotateApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        Ok(Response::new(self.rotate(&caller, &req).await?))
    }

    async fn get_api_key_rotation(
        &self,
        request: Request<GetApiKeyRotationRequest>,
    ) -> Result<Response<Rotation>, Status> {
        let (caller, req) = open(request)?;
        let tx = self.0.store.read(&caller).await?;
        let row = tx.one(by_id(&req.id)).await?;
        let row = row.ok_or_else(|| missing(&req.id))?;
        let now = self.0.clock.now();
        Ok(Response::new(Holder::Key(row.id).rotation(&tx, now).await?))
    }

    async fn finish_api_key_rotation(
        &self,
        request: Request<FinishApiKeyRotationRequest>,
    ) -> Result<Response<Rotation>, Status> {
        let (caller, req) = open(request)?;
        Ok(Response::new(self.finish(&caller, &req.id).await?))
    }

    async fn extend_api_key_rotation(
        &self,
        request: Request<ExtendApiKeyRotationRequest>,
    ) -> Result<Response<Rotation>, Status> {
        let (caller, req) = open(request)?;
        Ok(Response::new(self.extend(&caller, &req).await?))
    }

    async fn import_api_key(
        &self,
        request: Request<ImportApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let (caller, req) = open(request)?;
        Ok(Response::new(self.import(&caller, req).await?))
    }
}

/// What a new key has besides what its creator wants it to be.
#[derive(Clone)]
struct New {
    id: Uuid,
    owner: Option<Uuid>,
    kept: Kept,
    foreign_format: i32,
}

impl ApiKeys {
    /// Adds a key and its first secret.
    async fn insert(&self, caller: &Caller, key: &ApiKey, new: New) -> Result<ApiKey> {
        let now = self.0.clock.now();
        let created = self.0.store.change(caller, (API_KEYS, new.id), async |tx| {
            let policy = policy::of(tx).await?;
            let rules = Rules {
                policy: policy.as_ref(),
                created: now,
                now,
            };
            let terms = rules.of_new(caller, key)?;
            let row = tx.insert(ActiveModel {
                id: Set(new.id),
                tenant_number: Set(caller.tenant_number()),
                creator: Set(caller.principal().to_string()),
                owner: Set(new.owner),
                prefix: Set(self.0.settings.key_prefix.clone()),
                environment: Set(key.environment.clone()),
                foreign_format: Set(new.foreign_format),
                revoke_reason: Set(String::new()),
                leak_source: Set(String::new()),
                create_time: Set(now),
                ..row::columns(key.clone(), terms, now)
            });
            let row = row.await.map_err(name_taken)?;
            Holder::Key(new.id).begin(tx, new.kept, now).await?;
            shown(tx, row, now).await
        });
        created.await
    }

    /// What is known of the key anywhere, and its tokens, is as it was before.
    async fn end_what_is_known(&self, tx: &WriteTx, id: Uuid) -> Result<()> {
        let key = Revocable::Principal(Principal::Key(id));
        self.0.revoker.write(tx, &key).await
    }
}

/// An id of a request, whose form the contract's rules have checked.
pub(crate) fn chosen(id: &str) -> Option<Uuid> {
    id.parse().ok()
}

fn by_id(id: &str) -> sea_orm::Select<Entity> {
    Entity::find().filter(Column::Id.eq(chosen(id)))
}

/// The key, locked until the change is committed.
async fn found(tx: &WriteTx, id: &str) -> Result<Model> {
    tx.one(by_id(id)).await?.ok_or_else(|| missing(id))
}

/// The key, if it is not revoked: that is for good.
fn living(row: Model) -> Result<Model> {
    match row.revoke_time {
        None => Ok(row),
        Some(_) => Err(Error::precondition(
            "KEY_REVOKED",
            "the key is revoked, and that is for good: create a new one",
        )),
    }
}

/// The key, if it is not revoked and has not expired.
fn usable(row: Model, now: DateTimeUtc) -> Result<Model> {
    let row = living(row)?;
    match row.expire_time {
        Some(end) if end <= now => Err(Error::precondition(
            "KEY_EXPIRED",
            "the key has expired: let it expire later first, or create a new one",
        )),
        _ => Ok(row),
    }
}

fn missing(id: &str) -> Error {
    Error::not_found("API key", id)
}

fn name_taken(error: Error) -> Error {
    error.unique(&[
        ("display_name", "api_key.display_name"),
        ("id", "api_key_id"),
    ])
}
