//! When devices were last heard of, as a stream tells it.
//!
//! A sighting is an observation, no change that somebody decided: it leaves
//! the etag and the time of the last update alone, and there is no record of
//! it (`Store::observe`). Devices report by the thousand a second; an auditor
//! who looks for who did what would find nothing else.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use chassis::store::{Store, WriteTx, in_one_order};
use chassis::time::date_time;
use chassis::{Caller, Clock, Error, Messages, Result};
use chrono::{DateTime, Utc};
use proto::registry::record_sightings_request::Device;
use proto::registry::{RecordSightingsRequest, RecordSightingsResponse};
use sea_orm::sea_query::{CaseStatement, LockType};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, Select};
use tokio_stream::StreamExt;
use uuid::Uuid;

use crate::entity::sighting::{Column, Entity, Model};
use crate::ids;

/// How many sightings are written in one transaction.
const BATCH: usize = 500;
/// How long a sighting waits for others.
const PAUSE: Duration = Duration::from_secs(1);
/// How many unknown devices are named in the answer.
const NAMED: usize = 100;

/// A device that was heard of.
struct Sighting {
    name: Name,
    time: DateTime<Utc>,
}

/// What a message names a device by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Id(Uuid),
    SerialNumber(String),
    ExternalId(String),
}

/// Writes what a stream tells until it ends. What came before it broke off, or
/// before a message that is wrong, stays written.
pub(crate) async fn record(
    store: &Store,
    clock: &Clock,
    caller: &Caller,
    messages: Messages<RecordSightingsRequest>,
) -> Result<RecordSightingsResponse> {
    let mut indexes = 0..;
    let sightings = messages.map(|message| {
        let index = indexes.next().unwrap_or(usize::MAX);
        Sighting::new(index, message?, clock.now())
    });
    let mut batches = pin!(sightings.chunks_timeout(BATCH, PAUSE));
    let mut told = RecordSightingsResponse::default();
    while let Some(batch) = batches.next().await {
        // Nothing comes after an error.
        let (sightings, errors): (Vec<_>, Vec<_>) = batch.into_iter().partition(Result::is_ok);
        let sightings: Vec<_> = sightings.into_iter().flatten().collect();
        let known = write(store, caller, &sightings).await?;
        tell(&sightings, &known, &mut told);
        for error in errors {
            error?;
        }
    }
    Ok(told)
}

impl Sighting {
    /// What the message at an index of the stream says.
    fn new(index: usize, message: RecordSightingsRequest, now: DateTime<Utc>) -> Result<Self> {
        let at = |field: &str| format!("[{index}].{field}");
        let name = match message.device {
            Some(Device::Id(id)) => Name::Id(ids::parse(&at("id"), &id)?),
            Some(Device::SerialNumber(number)) => Name::SerialNumber(number),
            Some(Device::ExternalId(id)) => Name::ExternalId(id),
            None => return Err(Error::invalid(at("device"), "must be set")),
        };
        let time = match &message.seen_time {
            // A clock that runs ahead must not make later sightings worthless.
            Some(time) => date_time(time).map(|time| time.min(now)),
            None => Some(now),
        };
        let time = time.ok_or_else(|| {
            Error::invalid(at("seen_time"), "must be between the years 1 and 9999")
        })?;
        Ok(Self { name, time })
    }
}

/// Writes a batch; answers the names of devices that there are.
async fn write(store: &Store, caller: &Caller, batch: &[Sighting]) -> Result<HashSet<Name>> {
    let mut latest = HashMap::<&Name, DateTime<Utc>>::new();
    for sighting in batch {
        let time = latest.entry(&sighting.name).or_insert(sighting.time);
        *time = sighting.time.max(*time);
    }
    if latest.is_empty() {
        return Ok(HashSet::new());
    }
    store
        .observe("note when devices were last heard of", caller, async |tx| {
            let rows = lock(tx, latest.keys().copied()).await?;
            advance(tx, &rows, &latest).await?;
            Ok(rows.iter().flat_map(names).collect())
        })
        .await
}

/// The devices of these names, locked: two streams about the same devices wait
/// for one another.
async fn lock(tx: &WriteTx, names: impl Iterator<Item = &Name>) -> Result<Vec<Model>> {
    let found = match &named(names)[..] {
        [one] => one.clone(),
        several => {
            let mut numbers = Vec::new();
            for query in several {
                numbers.extend(tx.all(query.clone()).await?.iter().map(|row| row.number));
            }
            // One may be deleted by now.
            Entity::find()
                .filter(Column::Number.is_in(numbers))
                .filter(Column::DeleteTime.is_null())
        }
    };
    // Not exclusive: what refers to a device need not wait.
    tx.all(in_one_order(found).lock(LockType::NoKeyUpdate))
        .await
}

/// A query for each kind of names: an index knows each kind, and none two.
fn named<'a>(names: impl Iterator<Item = &'a Name>) -> Vec<Select<Entity>> {
    let (mut ids, mut serial_numbers, mut external_ids) = (Vec::new(), Vec::new(), Vec::new());
    for name in names {
        match name {
            Name::Id(id) => ids.push(*id),
            Name::SerialNumber(number) => serial_numbers.push(number.as_str()),
            Name::ExternalId(id) => external_ids.push(id.as_str()),
        }
    }
    let kinds = [
        (!ids.is_empty()).then(|| Column::Id.is_in(ids)),
        (!serial_numbers.is_empty()).then(|| Column::SerialNumber.is_in(serial_numbers)),
        (!external_ids.is_empty()).then(|| Column::ExternalId.is_in(external_ids)),
    ];
    let there = || Entity::find().filter(Column::DeleteTime.is_null());
    let kinds = kinds.into_iter().flatten();
    kinds.map(|kind| there().filter(kind)).collect()
}

/// Everything that a device may be named by.
fn names(row: &Model) -> impl Iterator<Item = Name> {
    let serial_number = row.serial_number.clone().map(Name::SerialNumber);
    let external_id = row.external_id.clone().map(Name::ExternalId);
    [Some(Name::Id(row.id)), serial_number, external_id]
        .into_iter()
        .flatten()
}

/// Writes what is later than what is known, in one statement.
async fn advance(
    tx: &WriteTx,
    rows: &[Model],
    latest: &HashMap<&Name, DateTime<Utc>>,
) -> Result<()> {
    let mut times = CaseStatement::new();
    let mut later = Vec::new();
    for row in rows {
        let seen = names(row).filter_map(|name| latest.get(&name).copied());
        let Some(seen) = seen.max() else { continue };
        if row.last_seen_time.is_none_or(|known| known < seen) {
            times = times.case(Column::Number.eq(row.number), seen);
            later.push(row.number);
        }
    }
    if later.is_empty() {
        return Ok(());
    }
    let query = Entity::update_many()
        .col_expr(Column::LastSeenTime, times.into())
        .filter(Column::Number.is_in(later));
    tx.update_many(query).await.map(drop)
}

/// Counts a batch, and names the first devices that there are not.
fn tell(batch: &[Sighting], known: &HashSet<Name>, told: &mut RecordSightingsResponse) {
    for sighting in batch {
        if known.contains(&sighting.name) {
            told.known_count += 1;
            continue;
        }
        told.unknown_count += 1;
        if told.unknown_devices.len() < NAMED {
            let name = sighting.name.to_string();
            if !told.unknown_devices.contains(&name) {
                told.unknown_devices.push(name);
            }
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::SerialNumber(name) | Self::ExternalId(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan;

    #[tokio::test]
    async fn sqlite_looks_the_devices_of_a_batch_up() {
        let (id, text) = (Name::Id(Uuid::nil()), || "x".to_owned());
        for (name, column) in [
            (id, "id"),
            (Name::SerialNumber(text()), "serial_number"),
            (Name::ExternalId(text()), "external_id"),
        ] {
            let many = vec![name; 500];
            let query = in_one_order(named(many.iter()).remove(0));
            assert!(plan::on_sqlite(query).await.looks_up(column), "{column}");
        }
    }
}
