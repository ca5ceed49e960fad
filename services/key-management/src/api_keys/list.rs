//! Which keys a list shows.

use chassis::caller::{Principal, TenantId};
use chassis::paging::Page;
use chassis::time::date_time;
use chassis::{Caller, Error, Result};
use proto::keys::api_key::State;
use proto::keys::{ListApiKeysRequest, ListApiKeysResponse};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
};

use super::ApiKeys;
use super::row::{all_shown, foreign_and_live};
use crate::entity::api_key::{Column, Entity};
use crate::entity::generation;

impl ApiKeys {
    pub(super) async fn list(
        &self,
        caller: &Caller,
        req: &ListApiKeysRequest,
    ) -> Result<ListApiKeysResponse> {
        let now = self.0.clock.now();
        let page = Page::new(req.page_size, &req.page_token)?;
        let mut query = Entity::find()
            .filter(matching(req, caller.tenant(), now)?)
            .order_by_desc(Column::Number)
            .limit(page.limit());
        if let Some(after) = page.after {
            query = query.filter(Column::Number.lt(after));
        }
        let tx = self.0.store.read(caller).await?;
        let rows = tx.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(ListApiKeysResponse {
            api_keys: all_shown(&tx, rows, now).await?,
            next_page_token,
        })
    }
}

fn matching(req: &ListApiKeysRequest, tenant: TenantId, now: DateTimeUtc) -> Result<Condition> {
    let mut all = Condition::all().add(in_state(req.state(), req.show_revoked, now));
    if !req.creator.is_empty() {
        all = all.add(Column::Creator.eq(&req.creator));
    }
    if !req.owner.is_empty() {
        all = all.add(Column::Owner.eq(owner(&req.owner)?));
    }
    if let Some(end) = time(req.expire_before.as_ref(), "expire_before")? {
        all = all.add(Column::ExpireTime.lt(end));
    }
    if let Some(since) = time(req.unused_since.as_ref(), "unused_since")? {
        let unused = Condition::any()
            .add(Column::LastUseTime.is_null())
            .add(Column::LastUseTime.lt(since));
        all = all.add(unused);
    }
    if req.foreign {
        all = all.add(Column::Id.in_subquery(foreign(tenant, now)));
    }
    Ok(all)
}

/// As a key's state is shown.
fn in_state(state: State, show_revoked: bool, now: DateTimeUtc) -> Condition {
    let all = Condition::all();
    let living = || Condition::all().add(Column::RevokeTime.is_null());
    let enabled = || living().add(Column::Disabled.eq(false));
    match state {
        State::Unspecified if show_revoked => all,
        State::Unspecified => living(),
        State::Revoked => all.add(Column::RevokeTime.is_not_null()),
        State::Disabled => living().add(Column::Disabled.eq(true)),
        State::Expired => enabled().add(Column::ExpireTime.lte(now)),
        State::Active => {
            let lasting = Condition::any()
                .add(Column::ExpireTime.is_null())
                .add(Column::ExpireTime.gt(now));
            enabled().add(lasting)
        }
    }
}

fn owner(text: &str) -> Result<Uuid> {
    match Principal::parse(text) {
        Some(Principal::User(user)) => Ok(user),
        _ => Err(Error::invalid(
            "owner",
            "must be a user, such as `user:` and the user's id",
        )),
    }
}

fn time(time: Option<&prost_types::Timestamp>, field: &str) -> Result<Option<DateTimeUtc>> {
    let Some(time) = time else {
        return Ok(None);
    };
    let time = date_time(time).ok_or_else(|| Error::invalid(field, "is no time"))?;
    Ok(Some(time))
}

/// The ids of keys that a foreign secret opens. The store confines the
/// statement but not what is nested in it, so the tenant is named here.
fn foreign(tenant: TenantId, now: DateTimeUtc) -> SelectStatement {
    generation::Entity::find()
        .select_only()
        .column(generation::Column::KeyId)
        .filter(generation::Column::TenantId.eq(tenant.0))
        .filter(generation::Column::KeyId.is_not_null())
        .filter(foreign_and_live(now))
        .into_query()
}
