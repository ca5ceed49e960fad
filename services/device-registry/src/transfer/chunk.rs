//! Some devices of an import, in one transaction.

use std::collections::HashSet;

use chassis::store::WriteTx;
use chassis::{Clock, Error, Result};
use proto::registry::Device;
use proto::{Path, Validate, Violation};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::options::Options;
use super::outcome::Outcome;
use super::row::{Key, Row};
use super::there::{Present, There};
use crate::device_row::{FIELDS, columns};
use crate::entity::{device, device_label, device_tag};
use crate::quota::Room;
use crate::{etag, ids, labels, lifecycle, quota};

/// Rows of one statement: the widest has some 20 values, and SQLite takes
/// 32,766 of them, PostgreSQL 65,535.
const AT_ONCE: usize = 1000;

/// What is the same for all devices of a chunk.
pub(crate) struct Plan<'a> {
    pub(crate) options: &'a Options,
    pub(crate) clock: &'a Clock,
    /// How many devices a tenant may have that has no limit of its own.
    pub(crate) device_limit: Option<i64>,
    /// Devices that would have been created before, had it not only been tried.
    pub(crate) tried: i64,
}

/// What is to be written of a chunk.
#[derive(Default)]
struct Work {
    created: Vec<device::ActiveModel>,
    updated: Vec<device::ActiveModel>,
    /// Their numbers: a statement changes each once.
    changed: HashSet<i64>,
    /// Devices whose labels or tags are others than before.
    relabelled: Vec<Uuid>,
    retagged: Vec<Uuid>,
    labels: Vec<device_label::ActiveModel>,
    tags: Vec<device_tag::ActiveModel>,
    /// Names that devices of this chunk are to have.
    claimed: HashSet<(Key, String)>,
    room: Option<Room>,
}

impl Plan<'_> {
    /// Does what the devices say; answers what became of each. What the
    /// database refuses of it fails as a whole.
    pub(crate) async fn carry_out(&self, tx: &WriteTx, rows: &[&Row]) -> Result<Vec<Outcome>> {
        let there = There::find(tx, rows, self.options).await?;
        let mut work = Work {
            room: quota::room(tx, self.device_limit).await?,
            ..Work::default()
        };
        if let Some(room) = &mut work.room {
            room.left -= self.tried;
        }
        let done = rows.iter().map(|row| self.one(row, &there, &mut work));
        let outcomes = done.map(|done| done.unwrap_or_else(Outcome::Refused));
        let outcomes = outcomes.collect();
        self.write(tx, work).await?;
        Ok(outcomes)
    }

    fn one(&self, row: &Row, there: &There, work: &mut Work) -> Result<Outcome> {
        let mut wanted = row.device.clone();
        if self.options.tags_by_name {
            wanted.tag_ids = tags_by_name(&row.tag_names, there)?;
        }
        let key = Key::of(self.options.match_by);
        match key.and_then(|key| there.matched(key.value(&row.device))) {
            Some(present) => self.update(&wanted, present, there, work),
            None => self.create(row.id, wanted, there, work),
        }
    }

    fn create(
        &self,
        id: Option<Uuid>,
        mut wanted: Device,
        there: &There,
        work: &mut Work,
    ) -> Result<Outcome> {
        // Only the service says when it changes.
        wanted.etag.clear();
        let mut violations = Vec::new();
        wanted.validate(&Path::Root.field("device"), &mut violations);
        references(&wanted, None, there, &mut violations);
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        wanted.set_state(lifecycle::begin(wanted.state())?);
        if id.is_some_and(|id| there.has_id(id)) {
            return Err(Key::Id.taken());
        }
        if let Some(room) = work.room.filter(|room| room.left <= 0) {
            return Err(quota::exhausted(room.limit));
        }
        let columns = columns(&wanted)?;
        work.claim(None, &wanted, there)?;
        if let Some(room) = &mut work.room {
            room.left -= 1;
        }
        let id = id.unwrap_or_else(|| self.clock.new_id());
        let now = self.clock.now();
        work.created.push(device::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns
        });
        work.mark(id, &wanted)?;
        Ok(Outcome::Created(id))
    }

    fn update(
        &self,
        wanted: &Device,
        present: &Present,
        there: &There,
        work: &mut Work,
    ) -> Result<Outcome> {
        let row = &present.row;
        if row.delete_time.is_some() {
            let text = "the device is deleted; undelete it first";
            return Err(Error::precondition("DELETED", text));
        }
        etag::check(&wanted.etag, row.revision)?;
        let current = present.message();
        let mask = self.options.update_mask.as_ref();
        let mut merged = FIELDS.merge(mask, wanted, current.clone())?;
        merged.set_state(lifecycle::change(current.state(), merged.state())?);
        let mut violations = Vec::new();
        references(&merged, Some(&current), there, &mut violations);
        if !violations.is_empty() {
            return Err(Error::Invalid(violations));
        }
        if merged == current {
            return Ok(Outcome::Unchanged(row.id));
        }
        if !work.changed.insert(row.number) {
            let key = Key::of(self.options.match_by);
            return Err(key.unwrap_or(Key::Id).twice());
        }
        let columns = columns(&merged)?;
        work.claim(Some(&current), &merged, there)?;
        work.updated.push(device::ActiveModel {
            number: Set(row.number),
            id: Set(row.id),
            create_time: Set(row.create_time),
            update_time: Set(self.clock.now()),
            revision: Set(row.revision + 1),
            last_seen_time: Set(row.last_seen_time),
            delete_time: Set(row.delete_time),
            purge_time: Set(row.purge_time),
            ..columns
        });
        if merged.labels != current.labels {
            work.relabelled.push(row.id);
            work.labels.extend(labels::rows(row.id, &merged));
        }
        if merged.tag_ids != current.tag_ids {
            work.retagged.push(row.id);
            work.tags.extend(tags(row.id, &merged)?);
        }
        Ok(Outcome::Updated(row.id))
    }

    async fn write(&self, tx: &WriteTx, work: Work) -> Result<()> {
        let created = i64::try_from(work.created.len()).unwrap_or(i64::MAX);
        for some in groups(work.updated) {
            tx.replace_many(some).await?;
        }
        insert(tx, work.created).await?;
        if created > 0 {
            quota::take(tx, created, self.device_limit).await?;
        }
        if !work.relabelled.is_empty() {
            let old = device_label::Column::DeviceId.is_in(work.relabelled);
            let old = device_label::Entity::delete_many().filter(old);
            tx.delete(old).await?;
        }
        if !work.retagged.is_empty() {
            let old = device_tag::Column::DeviceId.is_in(work.retagged);
            let old = device_tag::Entity::delete_many().filter(old);
            tx.delete(old).await?;
        }
        insert(tx, work.labels).await?;
        insert(tx, work.tags).await
    }
}

impl Work {
    /// Refuses names that other devices have, or are to have.
    fn claim(&mut self, current: Option<&Device>, wanted: &Device, there: &There) -> Result<()> {
        let new = |key: &Key| {
            let name = key.value(wanted);
            !name.is_empty() && current.is_none_or(|current| key.value(current) != name)
        };
        let claimed = Key::UNIQUE.into_iter().filter(new);
        let claimed: Vec<_> = claimed
            .map(|key| (key, key.value(wanted).to_owned()))
            .collect();
        let id = (current.is_none() && !wanted.id.is_empty()).then(|| (Key::Id, wanted.id.clone()));
        let claimed: Vec<_> = claimed.into_iter().chain(id).collect();
        for claim in &claimed {
            if there.owner(claim.0, &claim.1).is_some() || self.claimed.contains(claim) {
                return Err(claim.0.taken());
            }
        }
        self.claimed.extend(claimed);
        Ok(())
    }

    /// Notes the labels and tags of a new device.
    fn mark(&mut self, id: Uuid, device: &Device) -> Result<()> {
        self.labels.extend(labels::rows(id, device));
        self.tags.extend(tags(id, device)?);
        Ok(())
    }
}

/// Adds rows, as many at once as a statement takes.
async fn insert<A>(tx: &WriteTx, rows: Vec<A>) -> Result<()>
where
    A: sea_orm::ActiveModelTrait + sea_orm::ActiveModelBehavior + Send,
    A::Entity: chassis::store::TenantOwned,
{
    for some in groups(rows) {
        tx.insert_many(some).await?;
    }
    Ok(())
}

fn groups<A>(rows: Vec<A>) -> impl Iterator<Item = Vec<A>> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let some: Vec<_> = rows.by_ref().take(AT_ONCE).collect();
        (!some.is_empty()).then_some(some)
    })
}

fn tags(id: Uuid, device: &Device) -> Result<Vec<device_tag::ActiveModel>> {
    let tags = ids::parse_all("device.tag_ids", &device.tag_ids)?;
    let row = |tag| device_tag::ActiveModel {
        device_id: Set(id),
        tag_id: Set(tag),
        ..Default::default()
    };
    Ok(tags.into_iter().map(row).collect())
}

/// The ids of tags that are given by name.
fn tags_by_name(names: &[String], there: &There) -> Result<Vec<String>> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (i, name) in names.iter().enumerate() {
        match there.tag_named(name) {
            Some(id) => found.push(id.to_string()),
            None => missing.push(violation(
                format!("device.tag_ids[{i}]"),
                "there is no tag of this name; create it first",
            )),
        }
    }
    match missing.is_empty() {
        true => Ok(found),
        false => Err(Error::Invalid(missing)),
    }
}

/// What a device refers to, and did not before, must be there. What is no id
/// is a violation already.
fn references(
    device: &Device,
    current: Option<&Device>,
    there: &There,
    violations: &mut Vec<Violation>,
) {
    for (i, id) in device.tag_ids.iter().enumerate() {
        let had = current.is_some_and(|current| current.tag_ids.contains(id));
        if !had && id.parse().is_ok_and(|id| !there.has_tag(id)) {
            let field = format!("device.tag_ids[{i}]");
            violations.push(violation(field, "there is no such tag"));
        }
    }
    let had = current.is_some_and(|current| current.site_id == device.site_id);
    if !had && device.site_id.parse().is_ok_and(|id| !there.has_site(id)) {
        let field = "device.site_id".to_owned();
        violations.push(violation(field, "there is no such site"));
    }
}

fn violation(field: String, description: &str) -> Violation {
    Violation {
        field,
        rule: "reference",
        description: description.to_owned(),
    }
}
