//! Tokens that were issued by name, as rows.

use chassis::caller::Principal;
use chassis::paging::Page;
use chassis::revocation::Revocable;
use chassis::store::{ReadTx, WriteTx};
use chassis::time::timestamp;
use chassis::{Caller, Error, Result};
use chrono::TimeDelta;
use proto::keys::{IssuedToken, ListTokensRequest, ListTokensResponse};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use crate::Parts;
use crate::entity::token::{Column, Entity, Model};
use crate::entity::{api_client, api_key, generation};

/// How long a token that has ended is kept.
const KEPT: TimeDelta = TimeDelta::days(1);
/// Every so manieth token takes old ones with it, and at most so many: the
/// others cost their issue nothing.
const PURGE_EVERY: i64 = 16;
const PURGED: u64 = 200;

/// A client's token.
pub(crate) fn own(client: Uuid, number: i64) -> Select<Entity> {
    Entity::find()
        .filter(Column::ClientId.eq(client))
        .filter(Column::Number.eq(number))
}

/// The client that tokens are issued to: not locked, for many are issued at once.
pub(crate) async fn client(tx: &ReadTx, id: Uuid) -> Result<api_client::Model> {
    let query = api_client::Entity::find().filter(api_client::Column::Id.eq(id));
    let row = tx.one(query).await?;
    row.ok_or_else(|| Error::not_found("API client", id))
}

/// The secret that a renewed token belongs to: the one that the caller has
/// just presented, or the token's own, which must work still.
pub(crate) async fn secret_for(
    tx: &ReadTx,
    caller: &Caller,
    token: &Model,
    now: DateTimeUtc,
) -> Result<Option<i64>> {
    use generation::Column as G;
    if caller.subject().token_number().is_none() {
        return Ok(caller.subject().secret());
    }
    let query = generation::Entity::find()
        .filter(G::Number.eq(token.generation))
        .filter(G::ClientId.eq(token.client_id));
    let secret = tx.one(query).await?;
    match secret.is_some_and(|row| row.end_time.is_none_or(|end| end > now)) {
        true => Ok(token.generation),
        false => Err(Error::precondition(
            "SECRET_ENDED",
            "the secret that the token was issued for has ended; issue a new one",
        )),
    }
}

/// Deletes tokens of the tenant that have long ended, now and then.
pub(crate) async fn purge(tx: &WriteTx, number: i64, now: DateTimeUtc) -> Result<()> {
    if number % PURGE_EVERY != 0 {
        return Ok(());
    }
    let old = Entity::find()
        .filter(Column::ExpireTime.lt(now - KEPT))
        .limit(PURGED);
    let old = tx.all(old).await?;
    let numbers = old.into_iter().map(|row| row.number);
    let old = Entity::delete_many().filter(Column::Number.is_in(numbers));
    tx.delete(old).await.map(drop)
}

/// One page of the tokens that are alive, newest first.
pub(crate) async fn list(
    tx: &ReadTx,
    req: &ListTokensRequest,
    now: DateTimeUtc,
) -> Result<ListTokensResponse> {
    let page = Page::new(req.page_size, &req.page_token)?;
    let mut query = Entity::find()
        .filter(Column::RevokeTime.is_null())
        .filter(Column::ExpireTime.gt(now))
        .order_by_desc(Column::Number)
        .limit(page.limit());
    if let Some(after) = page.after {
        query = query.filter(Column::Number.lt(after));
    }
    match Principal::parse(&req.principal) {
        Some(Principal::Client(client)) => query = query.filter(Column::ClientId.eq(client)),
        None if req.principal.is_empty() => {}
        // Tokens are issued by name to clients only.
        Some(_) => return Ok(ListTokensResponse::default()),
        None => {
            let form = "must be such as client:0189…";
            return Err(Error::invalid("principal", form));
        }
    }
    let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
    Ok(ListTokensResponse {
        tokens: rows.into_iter().map(shown).collect(),
        next_page_token,
    })
}

fn shown(row: Model) -> IssuedToken {
    IssuedToken {
        number: row.number,
        principal: Principal::Client(row.client_id).to_string(),
        id: row.id.to_string(),
        create_time: Some(timestamp(row.create_time)),
        expire_time: Some(timestamp(row.expire_time)),
    }
}

/// Notes that all tokens of these clients have ended.
async fn mark(tx: &WriteTx, clients: Vec<Uuid>, now: DateTimeUtc) -> Result<()> {
    let living = Entity::update_many()
        .col_expr(Column::RevokeTime, Expr::value(now))
        .filter(Column::ClientId.is_in(clients))
        .filter(Column::RevokeTime.is_null());
    tx.update_many(living).await.map(drop)
}

impl Parts {
    /// Ends all tokens of a client, whatever issued them.
    pub(crate) async fn end_tokens(
        &self,
        tx: &WriteTx,
        client: Uuid,
        now: DateTimeUtc,
    ) -> Result<()> {
        mark(tx, vec![client], now).await?;
        let client = Revocable::Principal(Principal::Client(client));
        self.revoker.write(tx, &client).await
    }

    /// Revokes all tokens of a client, key or member of the tenant.
    pub(crate) async fn end_all(&self, tx: &WriteTx, principal: Principal) -> Result<()> {
        let now = self.clock.now();
        match principal {
            Principal::Client(id) => {
                client(tx, id).await?;
                self.end_tokens(tx, id, now).await
            }
            Principal::Key(key) => {
                let query = api_key::Entity::find().filter(api_key::Column::Id.eq(key));
                let row = tx.one(query).await?;
                row.ok_or_else(|| Error::not_found("API key", key))?;
                let key = Revocable::Principal(principal);
                self.revoker.write(tx, &key).await
            }
            Principal::User(user) => {
                let owned = api_client::Column::Owner.eq(user);
                let owned = tx.all(api_client::Entity::find().filter(owned)).await?;
                let owned = owned.into_iter().map(|client| client.id).collect();
                mark(tx, owned, now).await?;
                let tenant = tx.tenant().0;
                let member = Revocable::Member { tenant, user };
                self.revoker.write(tx, &member).await
            }
            // A device's end with the device, and soon anyway.
            Principal::Device(_) => Err(Error::invalid("principal", "is a device")),
            Principal::Service(_) => Err(Error::invalid("principal", "is a service")),
        }
    }
}
