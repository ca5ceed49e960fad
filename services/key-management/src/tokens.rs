//! TokenService: short-lived tokens that a program asks for by name.

use chassis::caller::Principal;
use chassis::revocation::Revocable;
use chassis::time::timestamp;
use chassis::token::Claims;
use chassis::{Caller, Error, Result, open, open_public};
use chrono::TimeDelta;
use proto::keys::token_service_server::TokenService;
use proto::keys::{
    GetJwksRequest, GetJwksResponse, IssueTokenRequest, RenewTokenRequest, RevokeTokenRequest,
    RevokeTokenResponse, Token,
};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, Select};
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::api_clients::API_CLIENTS;
use crate::entity::api_client;
use crate::entity::token::{ActiveModel, Column, Entity, Model};

pub(crate) struct Tokens(pub(crate) Parts);

#[tonic::async_trait]
impl TokenService for Tokens {
    async fn introspect_token(
        &self,
        _: Request<proto::keys::IntrospectTokenRequest>,
    ) -> Result<Response<proto::keys::IntrospectTokenResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn revoke_access_token(
        &self,
        _: Request<proto::keys::RevokeAccessTokenRequest>,
    ) -> Result<Response<proto::keys::RevokeAccessTokenResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn list_tokens(
        &self,
        _: Request<proto::keys::ListTokensRequest>,
    ) -> Result<Response<proto::keys::ListTokensResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn revoke_tokens(
        &self,
        _: Request<proto::keys::RevokeTokensRequest>,
    ) -> Result<Response<proto::keys::RevokeTokensResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn get_issuer(
        &self,
        _: Request<proto::keys::GetIssuerRequest>,
    ) -> Result<Response<proto::keys::GetIssuerResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn issue_token(
        &self,
        request: Request<IssueTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        let (caller, req) = open(request)?;
        let client = calling_client(&caller)?;
        // Else a token could beget tokens for ever, without the client's secret.
        if caller.subject().token_number().is_some() {
            return Err(Error::denied(
                "CLIENT_SECRET_REQUIRED",
                "present the client key and secret, not a token",
            )
            .into());
        }
        let tx = self.0.store.read(&caller).await?;
        let found = tx
            .one(api_client::Entity::find().filter(api_client::Column::Id.eq(client)))
            .await?;
        let allowed = found
            .ok_or_else(|| Error::not_found("API client", client))?
            .token_ttl;
        drop(tx);
        let wanted = req.ttl.and_then(|ttl| i32::try_from(ttl.seconds).ok());
        let ttl = wanted.map_or(allowed, |wanted| wanted.min(allowed));
        let now = self.0.clock.now();
        let row = ActiveModel {
            id: Set(self.0.clock.new_id()),
            client_id: Set(client),
            ttl: Set(ttl),
            create_time: Set(now),
            expire_time: Set(now + TimeDelta::seconds(ttl.into())),
            ..Default::default()
        };
        let row = self
            .0
            .store
            .change(&caller, collection(client), async |tx| tx.insert(row).await)
            .await?;
        Ok(Response::new(self.signed(&caller, &row, now).await?))
    }

    async fn renew_token(
        &self,
        request: Request<RenewTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        let (caller, req) = open(request)?;
        let client = calling_client(&caller)?;
        may_name(&caller, req.number)?;
        let now = self.0.clock.now();
        let row = self
            .0
            .store
            .change(&caller, named(client, req.number), async |tx| {
                let row = tx.one(own(client, req.number)).await?;
                let row = row.filter(|row| row.revoke_time.is_none() && row.expire_time > now);
                let row = row.ok_or_else(|| Error::not_found("live token", req.number))?;
                let expire_time = Set(now + TimeDelta::seconds(row.ttl.into()));
                tx.update(ActiveModel {
                    expire_time,
                    ..row.into_active_model()
                })
                .await
            })
            .await?;
        Ok(Response::new(self.signed(&caller, &row, now).await?))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        let (caller, req) = open(request)?;
        let client = calling_client(&caller)?;
        may_name(&caller, req.number)?;
        let now = self.0.clock.now();
        self.0
            .store
            .change(&caller, named(client, req.number), async |tx| {
                let row = tx.one(own(client, req.number)).await?;
                let row = row.ok_or_else(|| Error::not_found("token", req.number))?;
                let id = row.id;
                let revoke_time = Set(Some(row.revoke_time.unwrap_or(now)));
                tx.update(ActiveModel {
                    revoke_time,
                    ..row.into_active_model()
                })
                .await?;
                self.0
                    .revoker
                    .write(tx, &Revocable::Token(id.to_string()))
                    .await
            })
            .await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn get_jwks(
        &self,
        request: Request<GetJwksRequest>,
    ) -> Result<Response<GetJwksResponse>, Status> {
        open_public(request)?;
        Ok(Response::new(GetJwksResponse {
            keys: self.0.signer.public().await?,
        }))
    }
}

impl Tokens {
    async fn signed(&self, caller: &Caller, row: &Model, now: DateTimeUtc) -> Result<Token> {
        let claims = Claims {
            sub: caller.principal().to_string(),
            jti: row.id.to_string(),
            scope: caller.permissions().to_scope(),
            tid: Some(caller.tenant().0),
            tno: caller.tenant_number(),
            tkn: Some(row.number),
            ..Claims::default()
        };
        Ok(Token {
            number: row.number,
            access_token: self.0.signer.sign(claims, now, now, row.ttl.into()).await?,
            ttl: Some(prost_types::Duration {
                seconds: row.ttl.into(),
                nanos: 0,
            }),
            expire_time: Some(timestamp(row.expire_time)),
        })
    }
}

fn calling_client(caller: &Caller) -> Result<Uuid> {
    match caller.principal() {
        Principal::Client(id) => Ok(*id),
        _ => Err(Error::denied(
            "CLIENT_REQUIRED",
            "only an API client may do this: present its key and secret",
        )),
    }
}

/// A token speaks for itself only; the client's secret speaks for them all.
fn may_name(caller: &Caller, number: i64) -> Result<()> {
    match caller.subject().token_number() {
        Some(own) if own != number => Err(Error::not_found("token", number)),
        _ => Ok(()),
    }
}

/// A client's tokens, as in the resource names of records.
fn collection(client: Uuid) -> (&'static str, String) {
    (API_CLIENTS, format!("{client}/tokens"))
}

fn named(client: Uuid, number: i64) -> (&'static str, String) {
    (API_CLIENTS, format!("{client}/tokens/{number}"))
}

fn own(client: Uuid, number: i64) -> Select<Entity> {
    Entity::find()
        .filter(Column::ClientId.eq(client))
        .filter(Column::Number.eq(number))
}
