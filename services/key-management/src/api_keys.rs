//! ApiKeyService: long-lived secrets of one tenant.

use std::sync::Arc;

use chassis::caller::Principal;
use chassis::paging::Page;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::store::Store;
use chassis::time::{date_time, timestamp};
use chassis::{Clock, Error, Result, open};
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

use crate::entity::api_key::{ActiveModel, Column, Entity, Model};
use crate::grants;
use crate::key_format;
use crate::master_key::{MasterKey, PEPPER};
use crate::revocations::Revoker;

/// The collection, as in the resource names of records.
const API_KEYS: &str = "apiKeys";

pub(crate) struct ApiKeys {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) master: Arc<MasterKey>,
    pub(crate) revoker: Revoker,
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeys {
    async fn create_api_key(
        &self,
        request: Request<CreateApiKeyRequest>,
    ) -> Result<Response<CreateApiKeyResponse>, Status> {
        let (caller, req) = open(request)?;
        let key = req.api_key.unwrap_or_default();
        let granted = grants::granted(&caller, &key.permissions, "api_key.permissions")?;
        let expire_time = self.expiry(key.expire_time.as_ref())?;
        let id = chosen(&req.api_key_id).unwrap_or_else(|| self.clock.new_id());
        let secret = key_format::new_secret()?;
        let row = ActiveModel {
            id: Set(id),
            tenant_number: Set(caller.tenant_number()),
            display_name: Set(key.display_name),
            description: Set(key.description),
            permissions: Set(granted.to_scope()),
            metadata: Set(grants::stored(key.metadata)),
            creator: Set(caller.principal().to_string()),
            pepper: Set(PEPPER),
            secret_hash: Set(self.master.hash(&secret)),
            create_time: Set(self.clock.now()),
            expire_time: Set(expire_time),
            ..Default::default()
        };
        let row = self
            .store
            .change(&caller, (API_KEYS, id), async |tx| tx.insert(row).await)
            .await
            .map_err(|e| {
                e.unique(&[
                    ("display_name", "api_key.display_name"),
                    ("id", "api_key_id"),
                ])
            })?;
        let api_key = Some(shown(row, self.clock.now()));
        Ok(Response::new(CreateApiKeyResponse {
            api_key,
            secret: key_format::write(id, &secret),
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
            .store
            .read(&caller)
            .await?
            .one(Entity::find().filter(query))
            .await?;
        let row = row.ok_or_else(|| Error::not_found("API key", wanted))?;
        Ok(Response::new(shown(row, self.clock.now())))
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
        let rows = self.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let now = self.clock.now();
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
        let now = self.clock.now();
        let row = self
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
                self.revoker.write(tx, &key).await?;
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
            Some(time) if time > self.clock.now() => Ok(Some(time)),
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
    }
}
