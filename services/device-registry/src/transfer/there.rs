//! What there is already of what the devices of a chunk mean: a few
//! statements for all of them.

use std::collections::{HashMap, HashSet};

use chassis::Result;
use chassis::store::{ReadTx, WriteTx, in_one_order};
use proto::registry::Device;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select};
use uuid::Uuid;

use super::options::Options;
use super::row::{Key, Row};
use crate::device_row::message;
use crate::entity::device::{Column, Entity, Model};
use crate::entity::{site, tag};
use crate::{ids, references};

/// What there is.
pub(crate) struct There {
    /// The devices that are meant, by what they are matched by.
    matched: HashMap<String, Present>,
    /// Which device has which name.
    owners: HashMap<(Key, String), Uuid>,
    /// Ids that devices have, deleted ones too.
    ids: HashSet<Uuid>,
    tags: HashSet<Uuid>,
    tags_by_name: HashMap<String, Uuid>,
    sites: HashSet<Uuid>,
}

/// A device as it is.
pub(crate) struct Present {
    pub(crate) row: Model,
    pub(crate) tags: Vec<Uuid>,
}

impl There {
    pub(crate) async fn find(tx: &WriteTx, rows: &[&Row], options: &Options) -> Result<Self> {
        let key = Key::of(options.match_by);
        let matched = match key {
            Some(key) => matched(tx, rows, key).await?,
            None => HashMap::new(),
        };
        let (tags, tags_by_name) = tags(tx, rows).await?;
        Ok(Self {
            owners: owners(tx, rows).await?,
            ids: match key {
                // Whatever has it was matched.
                Some(Key::Id) => HashSet::new(),
                _ => taken_ids(tx, rows).await?,
            },
            sites: sites(tx, rows).await?,
            matched,
            tags,
            tags_by_name,
        })
    }

    pub(crate) fn matched(&self, key: &str) -> Option<&Present> {
        self.matched.get(key)
    }

    /// The device that has a name, if it is not deleted.
    pub(crate) fn owner(&self, key: Key, name: &str) -> Option<Uuid> {
        self.owners.get(&(key, name.to_owned())).copied()
    }

    pub(crate) fn has_id(&self, id: Uuid) -> bool {
        self.ids.contains(&id)
    }

    pub(crate) fn has_tag(&self, id: Uuid) -> bool {
        self.tags.contains(&id)
    }

    pub(crate) fn tag_named(&self, name: &str) -> Option<Uuid> {
        self.tags_by_name.get(name).copied()
    }

    pub(crate) fn has_site(&self, id: Uuid) -> bool {
        self.sites.contains(&id)
    }
}

impl Present {
    pub(crate) fn message(&self) -> Device {
        message(self.row.clone(), &self.tags)
    }
}

fn column(key: Key) -> Column {
    match key {
        Key::Id => Column::Id,
        Key::SerialNumber => Column::SerialNumber,
        Key::ExternalId => Column::ExternalId,
        Key::Code => Column::Code,
    }
}

/// What a row has of a name.
fn name(row: &Model, key: Key) -> Option<String> {
    match key {
        Key::Id => Some(row.id.to_string()),
        Key::SerialNumber => row.serial_number.clone(),
        Key::ExternalId => row.external_id.clone(),
        Key::Code => row.code.clone(),
    }
}

/// Texts, each once; those that are empty mean nothing. One with a NUL is no
/// name of anything, and PostgreSQL would refuse the question itself.
fn texts<'a>(all: impl Iterator<Item = &'a str>) -> Option<HashSet<&'a str>> {
    let is_name = |text: &&str| !text.is_empty() && !text.contains('\0');
    let texts: HashSet<_> = all.filter(is_name).collect();
    (!texts.is_empty()).then_some(texts)
}

fn named(rows: &[&Row], key: Key) -> Option<Select<Entity>> {
    if key == Key::Id {
        let ids: HashSet<_> = rows.iter().filter_map(|row| row.id).collect();
        let query = Entity::find().filter(Column::Id.is_in(ids.iter().copied()));
        return (!ids.is_empty()).then_some(query);
    }
    let names = texts(rows.iter().map(|row| key.value(&row.device)))?;
    let query = Entity::find().filter(column(key).is_in(names));
    Some(query.filter(Column::DeleteTime.is_null()))
}

/// The devices that are meant, locked: two imports of the same devices wait for
/// one another.
async fn matched(tx: &WriteTx, rows: &[&Row], key: Key) -> Result<HashMap<String, Present>> {
    let Some(query) = named(rows, key) else {
        return Ok(HashMap::new());
    };
    let found = tx.all(in_one_order(query).lock_exclusive()).await?;
    let mut tags = references::tags_on_all(tx, found.iter().map(|row| row.id)).await?;
    let present = found.into_iter().filter_map(|row| {
        let tags = tags.remove(&row.id).unwrap_or_default();
        Some((name(&row, key)?, Present { row, tags }))
    });
    Ok(present.collect())
}

async fn owners(tx: &ReadTx, rows: &[&Row]) -> Result<HashMap<(Key, String), Uuid>> {
    let mut owners = HashMap::new();
    // A statement each: an index knows each, and none knows either of two.
    for key in Key::UNIQUE {
        let Some(query) = named(rows, key) else {
            continue;
        };
        let found = tx.all(query).await?.into_iter();
        owners.extend(found.filter_map(|row| Some(((key, name(&row, key)?), row.id))));
    }
    Ok(owners)
}

async fn taken_ids(tx: &ReadTx, rows: &[&Row]) -> Result<HashSet<Uuid>> {
    let Some(query) = named(rows, Key::Id) else {
        return Ok(HashSet::new());
    };
    let found = tx.all(query).await?.into_iter();
    Ok(found.map(|row| row.id).collect())
}

async fn tags(tx: &ReadTx, rows: &[&Row]) -> Result<(HashSet<Uuid>, HashMap<String, Uuid>)> {
    let (mut known, mut by_name) = (HashSet::new(), HashMap::new());
    let given = rows.iter().flat_map(|row| &row.device.tag_ids);
    let given: HashSet<Uuid> = given.filter_map(|id| id.parse().ok()).collect();
    if !given.is_empty() {
        let query = tag::Entity::find().filter(tag::Column::Id.is_in(given));
        known.extend(tx.all(query).await?.into_iter().map(|tag| tag.id));
    }
    let names = rows.iter().flat_map(|row| &row.tag_names);
    if let Some(names) = texts(names.map(String::as_str)) {
        let query = tag::Entity::find().filter(tag::Column::DisplayName.is_in(names));
        for tag in tx.all(query).await? {
            known.insert(tag.id);
            by_name.insert(tag.display_name, tag.id);
        }
    }
    Ok((known, by_name))
}

async fn sites(tx: &ReadTx, rows: &[&Row]) -> Result<HashSet<Uuid>> {
    let given = rows.iter().map(|row| &row.device.site_id);
    let given: HashSet<Uuid> = given.filter_map(|id| ids::parse("", id).ok()).collect();
    if given.is_empty() {
        return Ok(HashSet::new());
    }
    let query = site::Entity::find().filter(site::Column::Id.is_in(given));
    Ok(tx.all(query).await?.into_iter().map(|s| s.id).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[tokio::test]
    async fn sqlite_looks_the_devices_of_a_chunk_up() {
        let row = |n: u128| Row {
            index: 0,
            device: Device {
                serial_number: n.to_string(),
                external_id: n.to_string(),
                code: n.to_string(),
                ..Default::default()
            },
            id: Some(Uuid::from_u128(n)),
            tag_names: Vec::new(),
        };
        let rows: Vec<_> = (0..500).map(row).collect();
        let rows: Vec<_> = rows.iter().collect();
        for (key, column) in [
            (Key::Id, "id"),
            (Key::SerialNumber, "serial_number"),
            (Key::ExternalId, "external_id"),
            (Key::Code, "code"),
        ] {
            let query = in_one_order(named(&rows, key).unwrap());
            assert!(plan::on_sqlite(query).await.looks_up(column), "{column}");
        }
    }
}
