//! What a device refers to: its tags and its site.

use std::collections::{HashMap, HashSet};

use chassis::store::{ReadTx, WriteTx, in_one_order};
use chassis::{Error, Result};
use proto::Violation;
use proto::registry::Device;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::entity::{device_tag, site, tag};
use crate::ids;

/// The tags that a device is to have, each once, in the order in which they
/// were named. Everything that the device refers to but does not exist is
/// told at once.
pub(crate) async fn existing(tx: &ReadTx, device: &Device) -> Result<Vec<Uuid>> {
    let tag_ids = tag_ids(device)?;
    let mut missing = missing_tags(tx, &tag_ids).await?;
    missing.extend(missing_site(tx, device).await?);
    if !missing.is_empty() {
        return Err(Error::Invalid(missing));
    }
    let mut seen = HashSet::new();
    Ok(tag_ids.into_iter().filter(|id| seen.insert(*id)).collect())
}

fn tag_ids(device: &Device) -> Result<Vec<Uuid>> {
    let ids = device.tag_ids.iter().enumerate();
    ids.map(|(i, id)| ids::parse(&format!("device.tag_ids[{i}]"), id))
        .collect()
}

async fn missing_tags(tx: &ReadTx, tag_ids: &[Uuid]) -> Result<Vec<Violation>> {
    if tag_ids.is_empty() {
        return Ok(Vec::new());
    }
    let query = tag::Entity::find().filter(tag::Column::Id.is_in(tag_ids.iter().copied()));
    let found: HashSet<Uuid> = tx.all(query).await?.into_iter().map(|tag| tag.id).collect();
    let missing = tag_ids
        .iter()
        .enumerate()
        .filter(|(_, id)| !found.contains(id))
        .map(|(i, _)| violation(format!("device.tag_ids[{i}]"), "there is no such tag"))
        .collect();
    Ok(missing)
}

async fn missing_site(tx: &ReadTx, device: &Device) -> Result<Option<Violation>> {
    let Some(id) = ids::parse_optional("device.site_id", &device.site_id)? else {
        return Ok(None);
    };
    let query = site::Entity::find().filter(site::Column::Id.eq(id));
    Ok(match tx.one(query).await? {
        Some(_) => None,
        None => Some(violation(
            "device.site_id".to_owned(),
            "there is no such site",
        )),
    })
}

fn violation(field: String, description: &str) -> Violation {
    Violation {
        field,
        rule: "reference",
        description: description.to_owned(),
    }
}

/// Puts tags on a device.
pub(crate) async fn put_tags(tx: &WriteTx, device: Uuid, tags: &[Uuid]) -> Result<()> {
    let rows = tags.iter().map(|tag| device_tag::ActiveModel {
        device_id: Set(device),
        tag_id: Set(*tag),
        ..Default::default()
    });
    tx.insert_many(rows.collect()).await
}

/// Takes all tags off a device.
pub(crate) async fn take_tags_off(tx: &WriteTx, device: Uuid) -> Result<()> {
    let query = device_tag::Entity::delete_many().filter(device_tag::Column::DeviceId.eq(device));
    tx.delete(query).await.map(drop)
}

/// The tags on a device, in the order in which they were put there.
pub(crate) async fn tags_on(tx: &ReadTx, device: Uuid) -> Result<Vec<Uuid>> {
    let mut tags = tags_on_all(tx, [device]).await?;
    Ok(tags.remove(&device).unwrap_or_default())
}

/// The tags on each of some devices, with one query for all of them.
pub(crate) async fn tags_on_all(
    tx: &ReadTx,
    devices: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, Vec<Uuid>>> {
    let query = device_tag::Entity::find().filter(device_tag::Column::DeviceId.is_in(devices));
    let mut tags = HashMap::<_, Vec<_>>::new();
    for row in tx.all(in_one_order(query)).await? {
        tags.entry(row.device_id).or_default().push(row.tag_id);
    }
    Ok(tags)
}
