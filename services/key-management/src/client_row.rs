//! API clients as rows: how they are made, changed and shown.

use std::collections::HashSet;

use chassis::caller::Principal;
use chassis::mask::{Fields, field};
use chassis::permissions::Permissions;
use chassis::store::{ReadTx, WriteTx};
use chassis::time::timestamp;
use chassis::{Caller, Error, Result};
use proto::Violation;
use proto::keys::{ApiClient, ForeignSecret, UpdateApiClientRequest};
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, IntoActiveModel, QueryFilter,
};

use crate::api_keys::chosen;
use crate::entity::api_client::{ActiveModel, Column, Entity, Model};
use crate::entity::generation;
use crate::foreign;
use crate::grants;
use crate::rotation::Kept;
use crate::vault::Peppers;

/// How long tokens live if the client does not say, in seconds.
const DEFAULT_TTL: i32 = 600;

/// What updates may change. What is immutable may be named as it is.
const FIELDS: Fields<ApiClient> = Fields {
    message: "api_client",
    input: &[
        field!(client_key),
        field!(display_name),
        field!(permissions),
        field!(token_ttl),
        field!(disabled),
        field!(metadata),
        field!(owner),
    ],
    output: &[
        "id",
        "number",
        "creator",
        "create_time",
        "update_time",
        "last_use_time",
        "foreign",
    ],
};

/// What a change makes of a client.
pub(crate) struct Changed {
    pub(crate) row: ActiveModel,
    /// Whether what its tokens allow is no longer allowed.
    pub(crate) narrowed: bool,
}

/// The row of a new client.
pub(crate) fn new(
    caller: &Caller,
    client: ApiClient,
    id: Uuid,
    now: DateTimeUtc,
) -> Result<ActiveModel> {
    let granted = grants::granted(caller, &client.permissions, "api_client.permissions")?;
    Ok(ActiveModel {
        id: Set(id),
        tenant_number: Set(caller.tenant_number()),
        token_ttl: Set(ttl(&client)?),
        owner: Set(grants::owner(caller, &client.owner)?),
        client_key: Set(client.client_key),
        display_name: Set(client.display_name),
        permissions: Set(granted.to_scope()),
        metadata: Set(grants::stored(client.metadata)),
        creator: Set(caller.principal().to_string()),
        disabled: Set(client.disabled),
        is_foreign: Set(false),
        create_time: Set(now),
        update_time: Set(Some(now)),
        ..Default::default()
    })
}

fn ttl(client: &ApiClient) -> Result<i32> {
    let wanted = client.token_ttl.map(|ttl| i32::try_from(ttl.seconds));
    wanted.unwrap_or(Ok(DEFAULT_TTL)).map_err(Error::internal)
}

/// A client of the tenant, locked until the change is committed.
pub(crate) async fn locked(tx: &WriteTx, id: &str) -> Result<Model> {
    let query = Entity::find().filter(Column::Id.eq(chosen(id)));
    let row = tx.one(query).await?;
    row.ok_or_else(|| Error::not_found("API client", id))
}

/// Refuses everybody but the user who owns a client, if one does.
pub(crate) fn may_rotate(caller: &Caller, row: &Model) -> Result<()> {
    let owner = row.owner.map(Principal::User);
    match owner {
        Some(owner) if owner != *caller.principal() => Err(Error::denied(
            "OWNER_NOT_CALLER",
            "only the user who owns a client decides about its secrets",
        )),
        _ => Ok(()),
    }
}

/// What an update makes of a client.
pub(crate) fn update(
    caller: &Caller,
    req: &UpdateApiClientRequest,
    row: Model,
    now: DateTimeUtc,
) -> Result<Changed> {
    let wanted = req.api_client.clone().unwrap_or_default();
    let held = Permissions::from_scope(&row.permissions);
    let before = message(row.clone());
    let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, before.clone())?;
    let mut violations = widened(&merged.permissions, held);
    for (field, kept, wanted) in [
        ("client_key", &before.client_key, &merged.client_key),
        ("owner", &before.owner, &merged.owner),
    ] {
        if kept != wanted {
            violations.push(Violation {
                field: format!("api_client.{field}"),
                rule: "immutable",
                description: "can't be changed; make a new client".to_owned(),
            });
        }
    }
    if !violations.is_empty() {
        return Err(Error::Invalid(violations));
    }
    let permissions = Permissions::from_scope(&merged.permissions.join(" "));
    // Who lets a client do again what it could not, grants it.
    if before.disabled && !merged.disabled {
        caller.may_grant(permissions)?;
    }
    Ok(Changed {
        narrowed: permissions != held || merged.disabled && !before.disabled,
        row: ActiveModel {
            token_ttl: Set(ttl(&merged)?),
            display_name: Set(merged.display_name),
            permissions: Set(permissions.to_scope()),
            disabled: Set(merged.disabled),
            metadata: Set(grants::stored(merged.metadata)),
            update_time: Set(Some(now)),
            ..row.into_active_model()
        },
    })
}

/// Permissions that a client does not have can't be given to it: whoever made
/// it need not hold them any more, and whoever has its secret was not to.
fn widened(names: &[String], held: Permissions) -> Vec<Violation> {
    let more = names.iter().enumerate().filter(|(_, name)| {
        let named = Permissions::from_names([name.as_str()]);
        !named.is_ok_and(|named| held.covers(named))
    });
    more.map(|(i, _)| Violation {
        field: format!("api_client.permissions[{i}]"),
        rule: "narrow",
        description: "the client does not have it, and can't get it; make a new client".to_owned(),
    })
    .collect()
}

/// What is kept of the secret of an imported client, and whether it is there
/// in a form that is not ours.
pub(crate) fn imported(peppers: &Peppers, secret: Option<ForeignSecret>) -> Result<Kept> {
    let known = secret.and_then(|secret| secret.known);
    let known = known.ok_or_else(|| Error::invalid("secret", "is required"))?;
    foreign::secret(peppers, known)
}

/// A client as the contract has it.
pub(crate) async fn shown(tx: &ReadTx, row: Model, now: DateTimeUtc) -> Result<ApiClient> {
    let rows = all_shown(tx, vec![row], now).await?;
    Ok(rows.into_iter().next().unwrap_or_default())
}

/// Clients as the contract has them.
pub(crate) async fn all_shown(
    tx: &ReadTx,
    rows: Vec<Model>,
    now: DateTimeUtc,
) -> Result<Vec<ApiClient>> {
    let imported = rows.iter().filter(|row| row.is_foreign);
    let imported: Vec<Uuid> = imported.map(|row| row.id).collect();
    let open = opened_by_foreign(tx, imported, now).await?;
    let clients = rows.into_iter().map(|row| ApiClient {
        foreign: open.contains(&row.id),
        ..message(row)
    });
    Ok(clients.collect())
}

/// Which of these imported clients the secret still opens that they came with.
async fn opened_by_foreign(
    tx: &ReadTx,
    imported: Vec<Uuid>,
    now: DateTimeUtc,
) -> Result<HashSet<Uuid>> {
    use generation::Column as G;
    if imported.is_empty() {
        return Ok(HashSet::new());
    }
    let live = Condition::any()
        .add(G::EndTime.is_null())
        .add(G::EndTime.gt(now));
    let query = generation::Entity::find()
        .filter(G::ClientId.is_in(imported))
        // All later ones are ours.
        .filter(G::Generation.eq(1))
        .filter(live);
    let rows = tx.all(query).await?;
    Ok(rows.into_iter().filter_map(|row| row.client_id).collect())
}

fn message(row: Model) -> ApiClient {
    let owner = row.owner.map(|user| Principal::User(user).to_string());
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
        owner: owner.unwrap_or_default(),
        update_time: row.update_time.map(timestamp),
        last_use_time: row.last_use_time.map(timestamp),
        foreign: row.is_foreign,
    }
}
