//! Queueing what is sent to many devices, some at a time.
//!
//! How far a batch is stands in its row, and is written with the commands that
//! were queued: whichever process goes on, after whatever has happened, no
//! device is left out and none is told twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chassis::caller::TenantId;
use chassis::store::{GlobalTx, Record, Store};
use chassis::{Clock, Error, Result, filter};
use proto::registry::command_batch::State;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tokio::sync::Notify;
use uuid::Uuid;

use super::order::Order;
use super::{send, whose};
use crate::entity::command_batch::{ActiveModel, Column, Entity, Model};
use crate::entity::{command_call, device, device_command, tag};
use crate::find::fields::Devices;
use crate::find::{pages, sql};

/// Devices that are told in one transaction: a row of a command has 24 values,
/// and PostgreSQL takes 65,535 of them in a statement.
const CHUNK: u64 = 500;
/// How often is looked for what another process has begun.
const PAUSE: Duration = Duration::from_secs(1);
/// Batches that get their turn one after the other.
const AT_ONCE: u64 = 20;

/// Works batches off for as long as the process lives. `begun` tells of new
/// ones.
pub(crate) async fn run(store: Store, clock: Clock, begun: Arc<Notify>) {
    loop {
        match round(&store, &clock).await {
            Ok(0) => {
                let _ = tokio::time::timeout(PAUSE, begun.notified()).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "what is sent to many devices waits");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Gives each batch a turn; answers how many there are.
async fn round(store: &Store, clock: &Clock) -> Result<usize> {
    let tx = store
        .global("find what is still to be sent to many devices")
        .await?;
    let running = Entity::find()
        .filter(Column::AfterNumber.is_not_null())
        .order_by_asc(Column::AfterNumber)
        .limit(AT_ONCE);
    let running = tx.all(running).await?;
    drop(tx);
    for batch in &running {
        let record = Record::by_service(
            "device-registry",
            batch.tenant_id,
            ("commandBatches", batch.id),
        );
        store
            .change_global(
                "queue what is sent to many devices",
                record,
                async |tx: &GlobalTx| some(tx, clock, batch.number).await,
            )
            .await?;
    }
    Ok(running.len())
}

/// Queues a batch for some more devices.
async fn some(tx: &GlobalTx, clock: &Clock, number: i64) -> Result<()> {
    // Of several processes, one goes on at a time.
    let batch = Entity::find()
        .filter(Column::Number.eq(number))
        .lock_exclusive();
    let Some(batch) = tx.one(batch).await? else {
        return Ok(());
    };
    let Some(after) = batch.after_number else {
        return Ok(());
    };
    let devices = device::Entity::find()
        .filter(device::Column::TenantId.eq(batch.tenant_id))
        .filter(device::Column::DeleteTime.is_null())
        .filter(device::Column::Number.gt(after))
        .filter(device::Column::Number.lte(batch.last_number))
        .filter(which(tx, &batch).await?)
        .order_by_asc(device::Column::Number)
        .limit(CHUNK);
    let devices = tx.all(devices).await?;
    let full = u64::try_from(devices.len()).unwrap_or_default() == CHUNK;
    let after = devices.last().map(|row| row.number).filter(|_| full);
    let found = devices.len();
    let told: Vec<_> = devices
        .into_iter()
        .filter(|row| whose::refuse_unused(row).is_ok())
        .map(|row| row.id)
        .collect();
    let now = tx.begin_time();
    let queued = i64::try_from(told.len()).unwrap_or_default();
    let skipped = i64::try_from(found - told.len()).unwrap_or_default();
    // What expires meanwhile is queued nevertheless: its end tells why nobody
    // got it.
    let order = order(&batch);
    let commands = told.iter().map(|device| device_command::ActiveModel {
        tenant_id: Set(batch.tenant_id),
        batch_id: Set(Some(batch.id)),
        ..send::command(&order, clock.new_id(), *device, &batch.sender, now)
    });
    tx.insert_many(commands.collect()).await?;
    let calls = told.iter().map(|device| command_call::ActiveModel {
        tenant_id: Set(batch.tenant_id),
        device_id: Set(*device),
        create_time: Set(now),
        ..Default::default()
    });
    tx.insert_many(calls.collect()).await?;
    let state = match after {
        Some(_) => State::Running,
        None => State::Done,
    };
    let change = ActiveModel {
        state: Set(send::batch_state(state)),
        after_number: Set(after),
        queued_count: Set(batch.queued_count + queued),
        skipped_count: Set(batch.skipped_count + skipped),
        update_time: Set(now),
        revision: Set(batch.revision + 1),
        ..Default::default()
    };
    let query = Entity::update_many()
        .set(change)
        .filter(Column::Number.eq(batch.number));
    tx.update_many(query).await.map(drop)
}

/// The devices that a batch is for.
async fn which(tx: &GlobalTx, batch: &Model) -> Result<Condition> {
    let named: Vec<Uuid> =
        serde_json::from_value(batch.device_ids.clone()).map_err(Error::internal)?;
    // Refused when it was sent, unless the language has changed since.
    let Some(filter) = filter::read(&Devices, &batch.filter)? else {
        return Ok(device::Column::Id.is_in(named).into());
    };
    let names = pages::tag_names(&filter);
    let tags = match names.is_empty() {
        true => Vec::new(),
        false => {
            let query = tag::Entity::find()
                .filter(tag::Column::TenantId.eq(batch.tenant_id))
                .filter(tag::Column::DisplayName.is_in(names));
            tx.all(query).await?
        }
    };
    let tags: HashMap<_, _> = tags.into_iter().map(|t| (t.display_name, t.id)).collect();
    let filter = pages::with_ids(filter, &tags);
    sql::whole(&filter, TenantId(batch.tenant_id)).ok_or_else(whose::unknown)
}

/// What a batch sends.
fn order(batch: &Model) -> Order {
    Order {
        command_id: batch.command_id,
        name: batch.name.clone(),
        parameters: batch.parameters.clone(),
        payload: batch.payload.clone(),
        not_before: batch.not_before,
        expire_time: batch.expire_time,
        max_attempts: batch.max_attempts,
    }
}
