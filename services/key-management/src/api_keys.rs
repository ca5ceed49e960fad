//! ApiKeyService: long-lived secrets of one tenant.

use chassis::caller::Principal;
use chassis::paging::Page;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::time::{date_time, timestamp};
use chassis::{Error, Result, open};
use proto::keys::api_key::State;
use proto::keys::api_key_service_server::ApiKeyService;
use proto::keys::{
    ApiKey, CreateApiKeyRequest, CreateApiKeyResponse, GetApiKeyRequest, ListApiKeysRequest,
    ListApiKeysResponse, RevokeApiKeyRequest, get_api_key_request,
};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::entity::api_key::{ActiveModel, Column, Entity, Model};
use crate::grants;
use crate::key_format;
use crate::rotation::Holder;

/// The collection, as in the resource names of records.
const API_KEYS: &str = "apiKeys";

pub(crate) struct ApiKeys(pub(crate) Parts);

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn update_api_key(
        &self,
        _: Request<proto::keys::UpdateApiKeyRequest>,
    ) -> Result<Response<proto::keys::ApiKey>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn delete_api_key(
        &self,
        _: Request<proto::keys::DeleteApiKeyRequest>,
    ) -> Result<Response<proto::keys::DeleteApiKeyResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn rotate_api_key(
        &self,
        _: Request<proto::keys::RotateApiKeyRequest>,
    ) -> Result<Response<proto::keys::RotateApiKeyResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_api_key_rotation(
        &self,
        _: Request<proto::keys::GetApiKeyRotationRequest>,
    ) -> Result<Response<proto::keys::Rotation>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn finish_api_key_rotation(
        &self,
        _: Request<proto::keys::FinishApiKeyRotationRequest>,
    ) -> Result<Response<proto::keys::Rotation>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn extend_api_key_rotation(
        &self,
        _: Request<proto::keys::ExtendApiKeyRotationRequest>,
    ) -> Result<Response<proto::keys::Rotation>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn import_api_key(
        &self,
        _: Request<proto::keys::ImportApiKeyRequest>,
    ) -> Result<Response<proto::keys::ApiKey>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let key = req.api_key.unwrap_or_default();
        let granted = grants::granted(&caller, &key.permissions, "api_key.permissions")?;
        let expire_time = self.expiry(key.expire_time.as_ref())?;
        let id = chosen(&req.api_key_id).unwrap_or_else(|| self.0.clock.new_id());
        let secret = key_format::new_secret()?;
        let hash = self.0.vault.peppers().await?.hash(&secret)?;
        let row = ActiveModel {
            id: Set(id),
            tenant_number: Set(caller.tenant_number()),
            display_name: Set(key.display_name),
            description: Set(key.description),
            permissions: Set(granted.to_scope()),
            metadata: Set(grants::stored(key.metadata)),
            creator: Set(caller.principal().to_string()),
            prefix: Set(self.0.settings.key_prefix.clone()),
            environment: Set(key.environment.clone()),
            allowed_networks: Set(key.allowed_networks.join(" ")),
            disabled: Set(key.disabled),
            requests_per_minute: Set(key.requests_per_minute),
            revoke_reason: Set(String::new()),
            foreign_format: Set(0),
            leak_source: Set(String::new()),
            create_time: Set(self.0.clock.now()),
            expire_time: Set(expire_time),
            ..Default::default()
        };
        let row = self
            .0
            .store
            .change(&caller, (API_KEYS, id), async |tx| {
                let row = tx.insert(row).await?;
                let now = self.0.clock.now();
                Holder::Key(id).begin(tx, hash.into(), now).await?;
                Ok(row)
            })
            .await
            .map_err(|e| {
                e.unique(&[
                    ("display_name", "api_key.display_name"),
                    ("id", "api_key_id"),
                ])
            })?;
        let api_key = Some(shown(row, self.0.clock.now()));
        Ok(Response::new(CreateApiKeyResponse {
            api_key,
            secret: key_format::write(&self.0.settings.key_prefix, &key.environment, id, &secret),
        }))
    }

    async fn get_api_key(
        &self,
        request: Request<GetApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let (caller, req) = open(request)?;
        let (query, wanted) = match req.key {
            Some(get_api_key_request::Key::Number(number)) => {
                (Column::Number.eq(number), number.to_string())
            }
            Some(get_api_key_request::Key::Id(id)) => (Column::Id.eq(chosen(&id)), id),
            None => return Err(Error::invalid("key", "is required").into()),
        };
        let row = self
            .0
            .store
            .read(&caller)
            .await?
            .one(Entity::find().filter(query))
            .await?;
        let row = row.ok_or_else(|| Error::not_found("API key", wanted))?;
        Ok(Response::new(shown(row, self.0.clock.now())))
    }

    async fn list_api_keys(
        &self,
        request: Request<ListApiKeysRequest>,
    ) -> Result<Response<ListApiKeysResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let mut query = Entity::find()
            .order_by_desc(Column::Number)
            .limit(page.limit());
        if let Some(after) = page.after {
            query = query.filter(Column::Number.lt(after));
        }
        if !req.show_revoked {
            query = query.filter(Column::RevokeTime.is_null());
        }
        let rows = self.0.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let now = self.0.clock.now();
        let api_keys = rows.into_iter().map(|row| shown(row, now)).collect();
        Ok(Response::new(ListApiKeysResponse {
            api_keys,
            next_page_token,
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<ApiKey>, Status> {
        let (caller, req) = open(request)?;
        let now = self.0.clock.now();
        let row = self
            .0
            .store
            .change(&caller, (API_KEYS, &req.id), async |tx| {
                let found = tx
                    .one(Entity::find().filter(Column::Id.eq(chosen(&req.id))))
                    .await?;
                let row = found.ok_or_else(|| Error::not_found("API key", &req.id))?;
                // Revoking twice is no error, and keeps the first time.
                let revoke_time = row.revoke_time.unwrap_or(now);
                let id = row.id;
                let changed = ActiveModel {
                    revoke_time: Set(Some(revoke_time)),
                    ..row.into_active_model()
                };
                let key = Revocable::Principal(Principal::Key(id));
                self.0.revoker.write(tx, &key).await?;
                tx.update(changed).await
            })
            .await?;
        Ok(Response::new(shown(row, now)))
    }
}

impl ApiKeys {
    fn expiry(&self, wanted: Option<&prost_types::Timestamp>) -> Result<Option<DateTimeUtc>> {
        let Some(wanted) = wanted else {
            return Ok(None);
        };
        match date_time(wanted) {
            Some(time) if time > self.0.clock.now() => Ok(Some(time)),
            _ => Err(Error::invalid(
                "api_key.expire_time",
                "must be in the future",
            )),
        }
    }
}

/// An id of a request, whose form the contract's rules have checked.
pub(crate) fn chosen(id: &str) -> Option<Uuid> {
    id.parse().ok()
}

fn shown(row: Model, now: DateTimeUtc) -> ApiKey {
    let state = match (row.revoke_time, row.expire_time) {
        (Some(_), _) => State::Revoked,
        (None, Some(end)) if end <= now => State::Expired,
        _ => State::Active,
    };
    ApiKey {
        id: row.id.to_string(),
        number: row.number,
        display_name: row.display_name,
        description: row.description,
        permissions: Permissions::from_scope(&row.permissions)
            .names()
            .map(str::to_owned)
            .collect(),
        expire_time: row.expire_time.map(timestamp),
        state: state.into(),
        metadata: grants::shown(row.metadata),
        creator: row.creator,
        create_time: Some(timestamp(row.create_time)),
        revoke_time: row.revoke_time.map(timestamp),
        ..ApiKey::default()
    }
}
