//! ApiClientService: programs that trade a client key and secret for tokens.

use chassis::caller::Principal;
use chassis::paging::Page;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::time::timestamp;
use chassis::{Error, Result, open};
use proto::keys::api_client_service_server::ApiClientService;
use proto::keys::{
    ApiClient, CreateApiClientRequest, CreateApiClientResponse, DeleteApiClientRequest,
    DeleteApiClientResponse, GetApiClientRequest, ListApiClientsRequest, ListApiClientsResponse,
    get_api_client_request,
};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::api_keys::chosen;
use crate::entity::api_client::{ActiveModel, Column, Entity, Model};
use crate::grants;
use crate::key_format;
use crate::rotation::Holder;

/// How long tokens live if the client does not say, in seconds.
const DEFAULT_TTL: i32 = 600;
/// 32 characters of 62: 190 bits.
const CLIENT_KEY: usize = 32;
/// 48 characters of 62: 285 bits.
const CLIENT_SECRET: usize = 48;

/// The collection, as in the resource names of records.
pub(crate) const API_CLIENTS: &str = "apiClients";

pub(crate) struct ApiClients(pub(crate) Parts);

#[tonic::async_trait]
impl ApiClientService for ApiClients {
    async fn update_api_client(
        &self,
        _: Request<proto::keys::UpdateApiClientRequest>,
    ) -> Result<Response<proto::keys::ApiClient>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn rotate_api_client(
        &self,
        _: Request<proto::keys::RotateApiClientRequest>,
    ) -> Result<Response<proto::keys::RotateApiClientResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_api_client_rotation(
        &self,
        _: Request<proto::keys::GetApiClientRotationRequest>,
    ) -> Result<Response<proto::keys::Rotation>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn finish_api_client_rotation(
        &self,
        _: Request<proto::keys::FinishApiClientRotationRequest>,
    ) -> Result<Response<proto::keys::Rotation>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn import_api_client(
        &self,
        _: Request<proto::keys::ImportApiClientRequest>,
    ) -> Result<Response<proto::keys::ApiClient>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn create_api_client(
        &self,
        request: Request<CreateApiClientRequest>,
    ) -> Result<Response<CreateApiClientResponse>, Status> {
        let (caller, req) = open(request)?;
        let client = req.api_client.unwrap_or_default();
        let granted = grants::granted(&caller, &client.permissions, "api_client.permissions")?;
        let client_secret = given_or_random(req.client_secret, CLIENT_SECRET)?;
        let hash = self.0.vault.peppers().await?.hash(&client_secret)?;
        let ttl = client
            .token_ttl
            .map_or(Ok(DEFAULT_TTL), |ttl| i32::try_from(ttl.seconds));
        let id = chosen(&req.api_client_id).unwrap_or_else(|| self.0.clock.new_id());
        let row = ActiveModel {
            id: Set(id),
            tenant_number: Set(caller.tenant_number()),
            client_key: Set(given_or_random(client.client_key, CLIENT_KEY)?),
            display_name: Set(client.display_name),
            permissions: Set(granted.to_scope()),
            metadata: Set(grants::stored(client.metadata)),
            creator: Set(caller.principal().to_string()),
            disabled: Set(client.disabled),
            token_ttl: Set(ttl.map_err(Error::internal)?),
            is_foreign: Set(false),
            create_time: Set(self.0.clock.now()),
            ..Default::default()
        };
        let row = self
            .0
            .store
            .change(&caller, (API_CLIENTS, id), async |tx| {
                let row = tx.insert(row).await?;
                let now = self.0.clock.now();
                Holder::Client(id).begin(tx, hash.into(), now).await?;
                Ok(row)
            })
            .await
            .map_err(|e| {
                e.unique(&[
                    ("client_key", "api_client.client_key"),
                    ("id", "api_client_id"),
                ])
            })?;
        Ok(Response::new(CreateApiClientResponse {
            api_client: Some(shown(row)),
            client_secret,
        }))
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
            None => return Err(Error::invalid("client", "is required").into()),
        };
        let row = self
            .0
            .store
            .read(&caller)
            .await?
            .one(Entity::find().filter(query))
            .await?;
        Ok(Response::new(shown(
            row.ok_or_else(|| Error::not_found("API client", wanted))?,
        )))
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
        let total = tx.count(Entity::find()).await?;
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        Ok(Response::new(ListApiClientsResponse {
            api_clients: rows.into_iter().map(shown).collect(),
            next_page_token,
            total_size: i64::try_from(total).unwrap_or(i64::MAX),
        }))
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

fn given_or_random(given: String, length: usize) -> Result<String> {
    if given.is_empty() {
        key_format::random(length)
    } else {
        Ok(given)
    }
}

fn shown(row: Model) -> ApiClient {
    ApiClient {
        id: row.id.to_string(),
        number: row.number,
        client_key: row.client_key,
        display_name: row.display_name,
        permissions: Permissions::from_scope(&row.permissions)
            .names()
            .map(str::to_owned)
            .collect(),
        token_ttl: Some(prost_types::Duration {
            seconds: row.token_ttl.into(),
            nanos: 0,
        }),
        disabled: row.disabled,
        metadata: grants::shown(row.metadata),
        creator: row.creator,
        create_time: Some(timestamp(row.create_time)),
        ..ApiClient::default()
    }
}
