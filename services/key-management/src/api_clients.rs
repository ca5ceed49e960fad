//! ApiClientService: programs that trade a client key and secret for tokens.

use chassis::caller::Principal;
use chassis::paging::Page;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::{Caller, Error, Result, open};
use proto::keys::api_client_service_server::ApiClientService;
use proto::keys::{
    ApiClient, CreateApiClientRequest, CreateApiClientResponse, DeleteApiClientRequest,
    DeleteApiClientResponse, FinishApiClientRotationRequest, GetApiClientRequest,
    GetApiClientRotationRequest, ImportApiClientRequest, ListApiClientsRequest,
    ListApiClientsResponse, RotateApiClientRequest, RotateApiClientResponse, Rotation,
    UpdateApiClientRequest, get_api_client_request,
};
use sea_orm::prelude::Uuid;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::api_keys::chosen;
use crate::client_row::{self, all_shown, shown};
use crate::entity::api_client::{ActiveModel, Column, Entity};
use crate::entity::key_policy;
use crate::key_format;
use crate::lookup::is_secret;
use crate::rotation::{self, Holder, Kept};

/// 32 characters of 62: 190 bits.
const CLIENT_KEY: usize = 32;
/// 48 characters of 62: 285 bits.
const CLIENT_SECRET: usize = 48;

/// The collection, as in the resource names of records.
pub(crate) const API_CLIENTS: &str = "apiClients";

pub(crate) struct ApiClients(pub(crate) Parts);

#[tonic::async_trait]
impl ApiClientService for ApiClients {
    async fn create_api_client(
        &self,
        request: Request<CreateApiClientRequest>,
    ) -> Result<Response<CreateApiClientResponse>, Status> {
        let (caller, req) = open(request)?;
        let mut client = req.api_client.unwrap_or_default();
        client.client_key = given_or_random(client.client_key, CLIENT_KEY)?;
        let client_secret = given_or_random(req.client_secret, CLIENT_SECRET)?;
        let hash = self.0.vault.peppers().await?.hash(&client_secret)?;
        let id = chosen(&req.api_client_id).unwrap_or_else(|| self.0.clock.new_id());
        let row = client_row::new(&caller, client, id, self.0.clock.now())?;
        let client = self.insert(&caller, id, row, hash.into()).await?;
        Ok(Response::new(CreateApiClientResponse {
            api_client: Some(client),
            client_secret,
        }))
    }

    async fn import_api_client(
        &self,
        request: Request<ImportApiClientRequest>,
    ) -> Result<Response<ApiClient>, Status> {
        let (caller, req) = open(request)?;
        let client = req.api_client.unwrap_or_default();
        if client.client_key.is_empty() {
            let why = "is required: the one that the client's program has";
            return Err(Error::invalid("api_client.client_key", why).into());
        }
        let kept = client_row::imported(&self.0.vault.peppers().await?, req.secret)?;
        let id = chosen(&req.api_client_id).unwrap_or_else(|| self.0.clock.new_id());
        let row = ActiveModel {
            is_foreign: Set(true),
            ..client_row::new(&caller, client, id, self.0.clock.now())?
        };
        let client = self.insert(&caller, id, row, kept).await?;
        Ok(Response::new(client))
    }

    async fn get_api_client(
        &self,
        request: Request<GetApiClientRequest>,
    ) -> Result<Response<ApiClient>, Status> {
        let (caller, req) = open(request)?;
        let (query, wanted) = match req.client {
            Some(get_api_client_request::Client::Number(number)) => {
                (Column::Number.eq(number), number.to_string())
            }
            Some(get_api_client_request::Client::Id(id)) => (Column::Id.eq(chosen(&id)), id),
            Some(get_api_client_request::Client::ClientKey(key)) => {
                (Column::ClientKey.eq(&key), key)
            }
            None => return Err(Error::invalid("client", "is required").into()),
        };
        let tx = self.0.store.read(&caller).await?;
        let row = tx.one(Entity::find().filter(query)).await?;
        let row = row.ok_or_else(|| Error::not_found("API client", wanted))?;
        Ok(Response::new(shown(&tx, row, self.0.clock.now()).await?))
    }

    async fn list_api_clients(
        &self,
        request: Request<ListApiClientsRequest>,
    ) -> Result<Response<ListApiClientsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let mut query = Entity::find()
            .order_by_asc(Column::Number)
            .limit(page.limit())
            .offset(page.skip);
        if let Some(after) = page.after {
            query = query.filter(Column::Number.gt(after));
        }
        let tx = self.0.store.read(&caller).await?;
        let total = match req.count_total {
            true => tx.count(Entity::find()).await?,
            false => 0,
        };
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        Ok(Response::new(ListApiClientsResponse {
            api_clients: all_shown(&tx, rows, self.0.clock.now()).await?,
            next_page_token,
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
        }))
    }

    async fn update_api_client(
        &self,
        request: Request<UpdateApiClientRequest>,
    ) -> Result<Response<ApiClient>, Status> {
        let (caller, req) = open(request)?;
        let id = req.api_client.as_ref().map(|client| client.id.clone());
        let id = id.unwrap_or_default();
        let now = self.0.clock.now();
        let client = self
            .0
            .store
            .change(&caller, (API_CLIENTS, &id), async |tx| {
                let row = client_row::locked(tx, &id).await?;
                let client = row.id;
                let changed = client_row::update(&caller, &req, row, now)?;
                if changed.narrowed {
                    self.0.end_tokens(tx, client, now).await?;
                }
                shown(tx, tx.update(changed.row).await?, now).await
            })
            .await?;
        Ok(Response::new(client))
    }

    async fn rotate_api_client(
        &self,
        request: Request<RotateApiClientRequest>,
    ) -> Result<Response<RotateApiClientResponse>, Status> {
        let (caller, req) = open(request)?;
        let is_present = self.is_present(&caller, &req).await?;
        let client_secret = given_or_random(req.client_secret, CLIENT_SECRET)?;
        let hash = self.0.vault.peppers().await?.hash(&client_secret)?;
        let now = self.0.clock.now();
        let (client, rotation) = self
            .0
            .store
            .change(&caller, (API_CLIENTS, &req.id), async |tx| {
                let mut row = client_row::locked(tx, &req.id).await?;
                client_row::may_rotate(&caller, &row)?;
                // Whoever gets its secret may do what it may.
                caller.may_grant(Permissions::from_scope(&row.permissions))?;
                let holder = Holder::Client(row.id);
                if !is_present {
                    let policy = tx.one(key_policy::Entity::find()).await?;
                    let overlap =
                        rotation::overlap(req.overlap.as_ref(), policy.as_ref(), "overlap")?;
                    let revoker = &self.0.revoker;
                    holder
                        .rotate(tx, revoker, hash.into(), overlap, now)
                        .await?;
                    let changed = ActiveModel {
                        update_time: Set(Some(now)),
                        ..row.into_active_model()
                    };
                    row = tx.update(changed).await?;
                }
                let client = shown(tx, row, now).await?;
                Ok((client, holder.rotation(tx, now).await?))
            })
            .await?;
        Ok(Response::new(RotateApiClientResponse {
            api_client: Some(client),
            client_secret,
            rotation: Some(rotation),
        }))
    }

    async fn get_api_client_rotation(
        &self,
        request: Request<GetApiClientRotationRequest>,
    ) -> Result<Response<Rotation>, Status> {
        let (caller, req) = open(request)?;
        let tx = self.0.store.read(&caller).await?;
        let query = Entity::find().filter(Column::Id.eq(chosen(&req.id)));
        let row = tx.one(query).await?;
        let row = row.ok_or_else(|| Error::not_found("API client", req.id))?;
        let rotation = Holder::Client(row.id).rotation(&tx, self.0.clock.now());
        Ok(Response::new(rotation.await?))
    }

    async fn finish_api_client_rotation(
        &self,
        request: Request<FinishApiClientRotationRequest>,
    ) -> Result<Response<Rotation>, Status> {
        let (caller, req) = open(request)?;
        let now = self.0.clock.now();
        let rotation = self
            .0
            .store
            .change(&caller, (API_CLIENTS, &req.id), async |tx| {
                let row = client_row::locked(tx, &req.id).await?;
                client_row::may_rotate(&caller, &row)?;
                let holder = Holder::Client(row.id);
                holder.end_overlap(tx, &self.0.revoker, now, now).await?;
                holder.rotation(tx, now).await
            })
            .await?;
        Ok(Response::new(rotation))
    }

    async fn delete_api_client(
        &self,
        request: Request<DeleteApiClientRequest>,
    ) -> Result<Response<DeleteApiClientResponse>, Status> {
        let (caller, req) = open(request)?;
        self.0
            .store
            .change(&caller, (API_CLIENTS, &req.id), async |tx| {
                let this = Entity::delete_many().filter(Column::Id.eq(chosen(&req.id)));
                let missing = || Error::not_found("API client", &req.id);
                tx.delete_found(this, missing).await?;
                let client = Principal::Client(chosen(&req.id).unwrap_or_default());
                self.0
                    .revoker
                    .write(tx, &Revocable::Principal(client))
                    .await
            })
            .await?;
        Ok(Response::new(DeleteApiClientResponse {}))
    }
}

impl ApiClients {
    /// Stores a new client with its first secret.
    async fn insert(
        &self,
        caller: &Caller,
        id: Uuid,
        row: ActiveModel,
        kept: Kept,
    ) -> Result<ApiClient> {
        let now = self.0.clock.now();
        let inserted = self
            .0
            .store
            .change(caller, (API_CLIENTS, id), async |tx| {
                let row = tx.insert(row).await?;
                Holder::Client(id).begin(tx, kept, now).await?;
                shown(tx, row, now).await
            })
            .await;
        inserted.map_err(|e| {
            e.unique(&[
                ("client_key", "api_client.client_key"),
                ("id", "api_client_id"),
            ])
        })
    }

    /// Whether a client has the secret already that it shall be given.
    async fn is_present(&self, caller: &Caller, req: &RotateApiClientRequest) -> Result<bool> {
        if req.client_secret.is_empty() {
            return Ok(false);
        }
        let tx = self.0.store.read(caller).await?;
        let newest = Holder::Client(chosen(&req.id).unwrap_or_default()).newest(&tx);
        let Some(newest) = newest.await? else {
            return Ok(false);
        };
        let peppers = self.0.vault.peppers_with(newest.pepper).await?;
        is_secret(&peppers, &newest, &req.client_secret).await
    }
}

fn given_or_random(given: String, length: usize) -> Result<String> {
    if given.is_empty() {
        key_format::random(length)
    } else {
        Ok(given)
    }
}
