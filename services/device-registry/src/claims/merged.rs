//! What becomes of claim keys when tags become one.

use chassis::Result;
use chassis::store::{WriteTx, in_one_order};
use chrono::{DateTime, Utc};
use prost::Message;
use proto::registry::DeviceTemplate;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::row::template;
use crate::entity::claim_key::{ActiveModel, Column, Entity, Model};
use crate::ids;

/// Templates that name tags that go name the one that stays instead: a claim
/// key goes on as if it had named that one from the start. Answers which claim
/// keys were changed.
pub(crate) async fn name_instead(
    tx: &WriteTx,
    gone: &[Uuid],
    stays: Uuid,
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    let mut changed = Vec::new();
    for row in tx.all(in_one_order(Entity::find())).await? {
        if instead(&row, gone, stays)?.is_none() {
            continue;
        }
        // Locked, and as it is by now: somebody may have changed it meanwhile.
        let query = Entity::find().filter(Column::Number.eq(row.number));
        let Some(row) = tx.one(query).await? else {
            continue;
        };
        let Some(template) = instead(&row, gone, stays)? else {
            continue;
        };
        let change = ActiveModel {
            number: Unchanged(row.number),
            template: Set(template.encode_to_vec()),
            update_time: Set(now),
            revision: Set(row.revision + 1),
            ..Default::default()
        };
        changed.push(tx.update(change).await?.id);
    }
    Ok(changed)
}

/// The template of a claim key with the tag that stays, once; nothing if it
/// names none that goes.
fn instead(row: &Model, gone: &[Uuid], stays: Uuid) -> Result<Option<DeviceTemplate>> {
    let template = template(row)?;
    let named = ids::parse_all("claim_key.template.tag_ids", &template.tag_ids)?;
    if !named.iter().any(|id| gone.contains(id)) {
        return Ok(None);
    }
    let mut tag_ids = Vec::new();
    for id in named {
        let id = match gone.contains(&id) {
            true => stays.to_string(),
            false => id.to_string(),
        };
        if !tag_ids.contains(&id) {
            tag_ids.push(id);
        }
    }
    Ok(Some(DeviceTemplate {
        tag_ids,
        ..template
    }))
}
