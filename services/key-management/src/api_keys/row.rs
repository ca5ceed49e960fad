//! A key as a row and as a message.

use std::collections::HashSet;

use chassis::Result;
use chassis::caller::Principal;
use chassis::mask::{Fields, field};
use chassis::permissions::Permissions;
use chassis::store::ReadTx;
use chassis::time::timestamp;
use proto::keys::ApiKey;
use proto::keys::api_key::State;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};

use super::terms::Terms;
use crate::entity::api_key::{ActiveModel, Model};
use crate::entity::generation;
use crate::grants;

/// What updates may change. What only the service sets is refused rather than
/// ignored: nobody shall think that a key is active because he said so.
pub(super) const FIELDS: Fields<ApiKey> = Fields {
    message: "api_key",
    input: &[
        field!(display_name),
        field!(description),
        field!(permissions),
        field!(expire_time),
        field!(metadata),
        field!(allowed_networks),
        field!(disabled),
        field!(requests_per_minute),
    ],
    output: &["id"],
};

/// The columns that the creator of a key, or who changes it, sets.
pub(super) fn columns(key: ApiKey, terms: Terms, now: DateTimeUtc) -> ActiveModel {
    ActiveModel {
        display_name: Set(key.display_name),
        description: Set(key.description),
        permissions: Set(terms.permissions.to_scope()),
        metadata: Set(grants::stored(key.metadata)),
        expire_time: Set(terms.expire_time),
        allowed_networks: Set(terms.networks),
        disabled: Set(key.disabled),
        requests_per_minute: Set(key.requests_per_minute),
        update_time: Set(Some(now)),
        ..Default::default()
    }
}

/// The change that makes a row what a message says.
pub(super) fn changed(row: Model, key: ApiKey, terms: Terms, now: DateTimeUtc) -> ActiveModel {
    ActiveModel {
        number: Unchanged(row.number),
        ..columns(key, terms, now)
    }
}

/// A key as the contract has it.
pub(super) async fn shown(tx: &ReadTx, row: Model, now: DateTimeUtc) -> Result<ApiKey> {
    let rows = all_shown(tx, vec![row], now).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// Keys as the contract has them.
pub(super) async fn all_shown(
    tx: &ReadTx,
    rows: Vec<Model>,
    now: DateTimeUtc,
) -> Result<Vec<ApiKey>> {
    let foreign = rows.iter().filter(|row| row.foreign_format != 0);
    let foreign: Vec<Uuid> = foreign.map(|row| row.id).collect();
    let open = opened_by_foreign(tx, foreign, now).await?;
    let keys = rows.into_iter().map(|row| {
        let foreign_format = match open.contains(&row.id) {
            true => row.foreign_format,
            false => 0,
        };
        ApiKey {
            foreign_format,
            ..message(row, now)
        }
    });
    Ok(keys.collect())
}

/// Which of these keys a foreign secret still opens.
async fn opened_by_foreign(
    tx: &ReadTx,
    keys: Vec<Uuid>,
    now: DateTimeUtc,
) -> Result<HashSet<Uuid>> {
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    let query = generation::Entity::find()
        .filter(generation::Column::KeyId.is_in(keys))
        .filter(foreign_and_live(now));
    let rows = tx.all(query).await?;
    Ok(rows.into_iter().filter_map(|row| row.key_id).collect())
}

/// Secrets of other systems that work.
pub(super) fn foreign_and_live(now: DateTimeUtc) -> Condition {
    use generation::Column as G;
    let live = Condition::any()
        .add(G::EndTime.is_null())
        .add(G::EndTime.gt(now));
    Condition::all().add(G::Lookup.is_not_null()).add(live)
}

fn message(row: Model, now: DateTimeUtc) -> ApiKey {
    let owner = row.owner.map(|user| Principal::User(user).to_string());
    ApiKey {
        state: state(&row, now).into(),
        id: row.id.to_string(),
        number: row.number,
        display_name: row.display_name,
        description: row.description,
        permissions: Permissions::from_scope(&row.permissions)
            .names()
            .map(str::to_owned)
            .collect(),
        expire_time: row.expire_time.map(timestamp),
        metadata: grants::shown(row.metadata),
        creator: row.creator,
        create_time: Some(timestamp(row.create_time)),
        revoke_time: row.revoke_time.map(timestamp),
        owner: owner.unwrap_or_default(),
        environment: row.environment,
        allowed_networks: row
            .allowed_networks
            .split_whitespace()
            .map(str::to_owned)
            .collect(),
        disabled: row.disabled,
        requests_per_minute: row.requests_per_minute,
        revoke_reason: row.revoke_reason,
        last_use_time: row.last_use_time.map(timestamp),
        foreign_format: row.foreign_format,
        leak_time: row.leak_time.map(timestamp),
        leak_source: row.leak_source,
        update_time: row.update_time.map(timestamp),
    }
}

fn state(row: &Model, now: DateTimeUtc) -> State {
    match (row.revoke_time, row.expire_time) {
        (Some(_), _) => State::Revoked,
        (None, _) if row.disabled => State::Disabled,
        (None, Some(end)) if end <= now => State::Expired,
        _ => State::Active,
    }
}
