//! TokenService: short-lived tokens that a program asks for by name.

use std::collections::BTreeSet;

use chassis::caller::Principal;
use chassis::error::Constraint;
use chassis::permissions::Permissions;
use chassis::revocation::Revocable;
use chassis::store::WriteTx;
use chassis::time::timestamp;
use chassis::token::Claims;
use chassis::{Caller, Error, Result, open, open_public};
use chrono::TimeDelta;
use proto::Violation;
use proto::access::{Permission, scope};
use proto::keys::token_service_server::TokenService;
use proto::keys::{
    GetIssuerRequest, GetIssuerResponse, GetJwksRequest, GetJwksResponse, IntrospectTokenRequest,
    IntrospectTokenResponse, IssueTokenRequest, ListTokensRequest, ListTokensResponse,
    RenewTokenRequest, RevokeAccessTokenRequest, RevokeAccessTokenResponse, RevokeTokenRequest,
    RevokeTokenResponse, RevokeTokensRequest, RevokeTokensResponse, Token,
};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{ActiveValue::Set, IntoActiveModel};
use tonic::metadata::MetadataValue;
use tonic::{Request, Response, Status};

use crate::Parts;
use crate::api_clients::API_CLIENTS;
use crate::entity::token::{ActiveModel, Model};
use crate::introspection;
use crate::issued;
use crate::lookup::Refusal;

pub(crate) struct Tokens(pub(crate) Parts);

#[tonic::async_trait]
impl TokenService for Tokens {
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
        let scope = narrowed(&caller, &req.permissions)?;
        let wanted = req.ttl.and_then(|ttl| i32::try_from(ttl.seconds).ok());
        let now = self.0.clock.now();
        let (row, owner) = self
            .0
            .store
            .change(&caller, collection(client), async |tx| {
                let holder = issued::client(tx, client).await?;
                if holder.disabled {
                    return Err(Refusal::Disabled.into());
                }
                let ttl = wanted.map_or(holder.token_ttl, |ttl| ttl.min(holder.token_ttl));
                let row = ActiveModel {
                    id: Set(self.0.clock.new_id()),
                    client_id: Set(client),
                    generation: Set(caller.subject().secret()),
                    ttl: Set(ttl),
                    create_time: Set(now),
                    expire_time: Set(now + TimeDelta::seconds(ttl.into())),
                    permissions: Set(scope),
                    ..Default::default()
                };
                let row = tx.insert(row).await.map_err(|e| deleted(e, client))?;
                issued::purge(tx, row.number, now).await?;
                Ok((row, holder.owner))
            })
            .await?;
        let token = self.signed(&caller, &row, owner, now).await?;
        Ok(Response::new(token))
    }

    async fn renew_token(
        &self,
        request: Request<RenewTokenRequest>,
    ) -> Result<Response<Token>, Status> {
        let (caller, req) = open(request)?;
        let client = calling_client(&caller)?;
        may_name(&caller, req.number)?;
        let now = self.0.clock.now();
        let (row, owner) = self
            .0
            .store
            .change(&caller, named(client, req.number), async |tx| {
                let row = tx.one(issued::own(client, req.number)).await?;
                let row = row.filter(|row| row.revoke_time.is_none() && row.expire_time > now);
                let row = row.ok_or_else(|| Error::not_found("live token", req.number))?;
                let generation = issued::secret_for(tx, &caller, &row, now).await?;
                let expire_time = Set(now + TimeDelta::seconds(row.ttl.into()));
                let row = tx
                    .update(ActiveModel {
                        expire_time,
                        generation: Set(generation),
                        ..row.into_active_model()
                    })
                    .await?;
                Ok((row, issued::client(tx, client).await?.owner))
            })
            .await?;
        let token = self.signed(&caller, &row, owner, now).await?;
        Ok(Response::new(token))
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
                let row = tx.one(issued::own(client, req.number)).await?;
                let row = row.ok_or_else(|| Error::not_found("token", req.number))?;
                self.end(tx, row, now).await
            })
            .await?;
        Ok(Response::new(RevokeTokenResponse {}))
    }

    async fn introspect_token(
        &self,
        request: Request<IntrospectTokenRequest>,
    ) -> Result<Response<IntrospectTokenResponse>, Status> {
        let (caller, req) = open(request)?;
        let claims = self.of_tenant(&caller, &req.access_token).await?;
        let told = claims.filter(|claims| {
            let own = claims.sub == caller.principal().to_string();
            own || caller.holds(Permission::KeysVerify)
        });
        let Some(claims) = told else {
            return Ok(inactive());
        };
        let client_key = match Principal::parse(&claims.sub) {
            Some(Principal::Client(client)) => {
                let tx = self.0.store.read(&caller).await?;
                match issued::client(&tx, client).await {
                    Ok(row) => row.client_key,
                    // Deleted just now.
                    Err(Error::NotFound { .. }) => return Ok(inactive()),
                    Err(error) => return Err(error.into()),
                }
            }
            _ => String::new(),
        };
        let answer = introspection::active(claims, client_key, &req.access_token);
        Ok(Response::new(answer))
    }

    async fn revoke_access_token(
        &self,
        request: Request<RevokeAccessTokenRequest>,
    ) -> Result<Response<RevokeAccessTokenResponse>, Status> {
        let (caller, req) = open(request)?;
        let claims = self.of_tenant(&caller, &req.access_token).await?;
        if let Some(claims) = claims {
            self.revoke(&caller, claims).await?;
        }
        Ok(Response::new(RevokeAccessTokenResponse {}))
    }

    async fn list_tokens(
        &self,
        request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensResponse>, Status> {
        let (caller, req) = open(request)?;
        let tx = self.0.store.read(&caller).await?;
        let page = issued::list(&tx, &req, self.0.clock.now());
        Ok(Response::new(page.await?))
    }

    async fn revoke_tokens(
        &self,
        request: Request<RevokeTokensRequest>,
    ) -> Result<Response<RevokeTokensResponse>, Status> {
        let (caller, req) = open(request)?;
        let principal = Principal::parse(&req.principal);
        let principal = principal.ok_or_else(|| Error::invalid("principal", "has no UUID"))?;
        if let Some(more) = also_required(&principal)
            && !caller.holds(more)
        {
            let why = format!("the permission {} is required as well", scope(more));
            return Err(Error::denied("PERMISSION_DENIED", why).into());
        }
        let what = match &principal {
            Principal::Client(client) => (API_CLIENTS, client.to_string()),
            Principal::Key(key) => ("apiKeys", key.to_string()),
            other => ("members", other.id()),
        };
        self.0
            .store
            .change(&caller, what, async |tx| {
                self.0.end_all(tx, principal).await
            })
            .await?;
        Ok(Response::new(RevokeTokensResponse {}))
    }

    async fn get_issuer(
        &self,
        request: Request<GetIssuerRequest>,
    ) -> Result<Response<GetIssuerResponse>, Status> {
        open_public(request)?;
        let keys = self.0.signer.public().await?;
        let algorithms: BTreeSet<_> = keys.into_iter().map(|key| key.alg).collect();
        Ok(Response::new(GetIssuerResponse {
            issuer: self.0.settings.issuer.clone(),
            algorithms: algorithms.into_iter().collect(),
        }))
    }

    async fn get_jwks(
        &self,
        request: Request<GetJwksRequest>,
    ) -> Result<Response<GetJwksResponse>, Status> {
        open_public(request)?;
        let mut response = Response::new(GetJwksResponse {
            keys: self.0.signer.public().await?,
        });
        let cache = MetadataValue::from_static("public, max-age=300");
        response.metadata_mut().insert("cache-control", cache);
        Ok(response)
    }
}

impl Tokens {
    /// A token counts as issued when the credential was looked up that it is
    /// issued for: what is revoked since then revokes it too.
    async fn signed(
        &self,
        caller: &Caller,
        row: &Model,
        owner: Option<Uuid>,
        now: DateTimeUtc,
    ) -> Result<Token> {
        let held = caller.permissions();
        let held = match row.permissions.as_str() {
            "" => held,
            scope => held.intersect(Permissions::from_scope(scope)),
        };
        let claims = Claims {
            sub: caller.principal().to_string(),
            jti: row.id.to_string(),
            scope: held.to_scope(),
            tid: Some(caller.tenant().0),
            tno: caller.tenant_number(),
            own: owner,
            tkn: Some(row.number),
            ..Claims::default()
        };
        let (looked_up, life) = (caller.subject().issue_time(), row.ttl.into());
        Ok(Token {
            number: row.number,
            access_token: self.0.signer.sign(claims, looked_up, now, life).await?,
            ttl: Some(prost_types::Duration {
                seconds: row.ttl.into(),
                nanos: 0,
            }),
            expire_time: Some(timestamp(row.expire_time)),
        })
    }

    /// What a token says that would be taken now, if it is of the caller's tenant.
    async fn of_tenant(&self, caller: &Caller, token: &str) -> Result<Option<Claims>> {
        match self.0.verifier.claims(token).await {
            Ok(claims) => Ok(Some(claims).filter(|c| c.tid == Some(caller.tenant().0))),
            Err(Error::Unauthenticated { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Revokes a token if it is the caller's own, or a client's and the caller
    /// may revoke those.
    async fn revoke(&self, caller: &Caller, claims: Claims) -> Result<()> {
        let client = match Principal::parse(&claims.sub) {
            Some(Principal::Client(client)) => Some(client),
            _ => None,
        };
        let own = claims.sub == caller.principal().to_string();
        let may = own || client.is_some() && caller.holds(Permission::ClientsWrite);
        if !may {
            return Ok(());
        }
        let now = self.0.clock.now();
        let (Some(client), Some(number)) = (client, claims.tkn) else {
            let token = Revocable::Token(claims.jti.clone());
            return self
                .0
                .store
                .change(caller, ("tokens", claims.jti), async |tx| {
                    self.0.revoker.write(tx, &token).await
                })
                .await;
        };
        self.0
            .store
            .change(caller, named(client, number), async |tx| {
                match tx.one(issued::own(client, number)).await? {
                    Some(row) => self.end(tx, row, now).await,
                    // Its client is being deleted, and it with that.
                    None => Ok(()),
                }
            })
            .await
    }

    /// Revokes a token that was issued by name.
    async fn end(&self, tx: &WriteTx, row: Model, now: DateTimeUtc) -> Result<()> {
        let token = Revocable::Token(row.id.to_string());
        let revoke_time = Set(Some(row.revoke_time.unwrap_or(now)));
        tx.update(ActiveModel {
            revoke_time,
            ..row.into_active_model()
        })
        .await?;
        self.0.revoker.write(tx, &token).await
    }
}

fn inactive() -> Response<IntrospectTokenResponse> {
    Response::new(IntrospectTokenResponse::default())
}

/// The permissions of a token, as a scope: empty for all of the client's.
fn narrowed(caller: &Caller, wanted: &[String]) -> Result<String> {
    let held = caller.permissions();
    let more = wanted.iter().enumerate().filter(|(_, name)| {
        let named = Permissions::from_names([name.as_str()]);
        !named.is_ok_and(|named| held.covers(named))
    });
    let violations: Vec<_> = more
        .map(|(i, _)| Violation {
            field: format!("permissions[{i}]"),
            rule: "subset",
            description: "is not one of the client's permissions".to_owned(),
        })
        .collect();
    match violations.is_empty() {
        true => Ok(Permissions::from_scope(&wanted.join(" ")).to_scope()),
        false => Err(Error::Invalid(violations)),
    }
}

/// What a caller must hold beside `clients.write` to end a principal's tokens.
fn also_required(principal: &Principal) -> Option<Permission> {
    match principal {
        Principal::Key(_) => Some(Permission::KeysWrite),
        Principal::User(_) => Some(Permission::MembersWrite),
        _ => None,
    }
}

/// A client that is deleted while a token is issued to it.
fn deleted(error: Error, client: Uuid) -> Error {
    match error {
        Error::Constraint(Constraint::Reference(_)) => Error::not_found("API client", client),
        error => error,
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
