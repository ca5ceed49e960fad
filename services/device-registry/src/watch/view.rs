//! What a reader sees: the devices that a filter is true of.

use std::collections::{HashMap, HashSet};

use chassis::filter::{self, Filter};
use chassis::store::{ReadTx, Reading, event};
use chassis::{Error, Result};
use proto::registry::removed_device::Reason;
use proto::registry::{Device, RemovedDevice};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select};
use uuid::Uuid;

use super::place::Place;
use crate::device_row::message;
use crate::entity::device;
use crate::find::fields::{Devices, Field};
use crate::find::matches::matches;
use crate::find::order::position;
use crate::find::{pages, sql};
use crate::read_mask::ReadMask;
use crate::references;

/// What a filter shows.
pub(crate) struct View {
    filter: Option<Filter<Field>>,
    mask: ReadMask,
}

/// What became of a device.
pub(crate) enum Change {
    There(Box<Device>),
    Removed(RemovedDevice),
}

/// A device after a change; nothing if it is gone.
pub(crate) struct Changed {
    pub(crate) id: Uuid,
    pub(crate) now: Option<(device::Model, Vec<Uuid>)>,
}

/// Some of what there is behind a place.
pub(crate) struct Page {
    pub(crate) changes: Vec<Change>,
    pub(crate) place: Place,
    /// Whether nothing was left.
    pub(crate) all: bool,
}

impl View {
    /// Understands a filter. Names of tags become ids, as they are now.
    pub(crate) async fn read(tx: &ReadTx, filter: &str, mask: ReadMask) -> Result<Self> {
        let filter = match filter::read(&Devices, filter)? {
            Some(filter) => Some(pages::with_tag_ids(tx, filter).await?),
            None => None,
        };
        Ok(Self { filter, mask })
    }

    fn shows(&self, row: &device::Model, tags: &[Uuid]) -> bool {
        let fits = |filter| matches(filter, row, tags);
        row.delete_time.is_none() && self.filter.as_ref().is_none_or(fits)
    }

    /// What the reader is told of a device.
    pub(crate) fn change(&self, changed: &Changed) -> Change {
        let reason = match &changed.now {
            Some((row, tags)) if self.shows(row, tags) => {
                let device = self.mask.apply(message(row.clone(), tags));
                return Change::There(Box::new(device));
            }
            Some((row, _)) if row.delete_time.is_none() => Reason::Filtered,
            Some(_) => Reason::Deleted,
            None => Reason::Purged,
        };
        Change::Removed(RemovedDevice {
            id: changed.id.to_string(),
            reason: reason.into(),
        })
    }

    /// Looks at so many devices, or changes, behind a place.
    pub(crate) async fn page(&self, tx: &ReadTx, place: Place, limit: u64) -> Result<Page> {
        match place {
            Place::List { from, number } => {
                let mut query = device::Entity::find()
                    .filter(device::Column::DeleteTime.is_null())
                    .filter(position().gt(number));
                if let Some(filter) = &self.filter {
                    query = query.filter(sql::narrow(tx, filter).await?.narrow);
                }
                let query = query.order_by(position(), Order::Asc).limit(Some(limit));
                let rows = tx.all(query).await?;
                let all = u64::try_from(rows.len()).unwrap_or(u64::MAX) < limit;
                let last = rows.last().map_or(number, |row| row.number);
                let mut tags = references::tags_on_all(tx, rows.iter().map(|row| row.id)).await?;
                let mut changes = Vec::new();
                for row in rows {
                    let tags = tags.remove(&row.id).unwrap_or_default();
                    if self.shows(&row, &tags) {
                        let device = self.mask.apply(message(row, &tags));
                        changes.push(Change::There(Box::new(device)));
                    }
                }
                let place = match all {
                    true => Place::Record(from.into()),
                    false => Place::List { from, number: last },
                };
                // What the record says since is left.
                Ok(Page {
                    changes,
                    place,
                    all: false,
                })
            }
            Place::Record(reading) => {
                let (changed, reading, all) = since(tx, reading, limit).await?;
                let changes = changed.iter().map(|changed| self.change(changed));
                Ok(Page {
                    changes: changes.collect(),
                    place: Place::Record(reading),
                    all,
                })
            }
        }
    }
}

/// The part of the record that is about devices.
pub(crate) fn of_devices() -> Select<event::Entity> {
    event::Entity::find().filter(event::Column::Collection.eq("devices"))
}

/// The devices that changes are of, each once, in the order of their last changes.
pub(crate) fn ids(events: &[event::Model]) -> Vec<Uuid> {
    let ids = events.iter().rev().filter_map(|event| {
        let (_, id) = event.resource.split_once('/')?;
        id.parse::<Uuid>().ok()
    });
    let mut seen = HashSet::new();
    let mut ids: Vec<_> = ids.filter(|id| seen.insert(*id)).collect();
    ids.reverse();
    ids
}

/// The devices that were changed, as they are now.
async fn since(
    tx: &ReadTx,
    reading: Reading,
    limit: u64,
) -> Result<(Vec<Changed>, Reading, bool), Error> {
    let found = tx.appeared(of_devices(), reading, limit).await?;
    let ids = ids(&found.rows);
    let mut changed = Vec::new();
    if !ids.is_empty() {
        let query = device::Entity::find().filter(device::Column::Id.is_in(ids.iter().copied()));
        let rows = tx.all(query).await?;
        let tags = references::tags_on_all(tx, ids.iter().copied()).await?;
        changed = together(ids, rows, tags);
    }
    Ok((changed, found.reading, found.all))
}

/// Devices with their tags, in the order of the ids.
pub(crate) fn together(
    ids: Vec<Uuid>,
    rows: Vec<device::Model>,
    mut tags: HashMap<Uuid, Vec<Uuid>>,
) -> Vec<Changed> {
    let rows = rows.into_iter().map(|row| (row.id, row));
    let mut rows: HashMap<_, _> = rows.collect();
    let now = |id| {
        let row = rows.remove(&id)?;
        Some((row, tags.remove(&id).unwrap_or_default()))
    };
    let mut now = now;
    ids.into_iter()
        .map(|id| Changed { id, now: now(id) })
        .collect()
}
