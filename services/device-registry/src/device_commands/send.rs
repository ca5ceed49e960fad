//! Sending: to one device at once, to many by a batch that is worked off.

use chassis::store::{Resource, Store, WriteTx};
use chassis::{Caller, Clock, Error, Result, filter};
use chrono::{DateTime, Utc};
use proto::registry::command_batch::State as BatchState;
use proto::registry::device_command::State;
use proto::registry::{DeviceCommand, SendCommandRequest, SendCommandsRequest};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::json;
use uuid::Uuid;

use super::order::{Asked, Order};
use super::{by_id, calls, state, whose};
use crate::entity::{command_batch, device, device_command};
use crate::find::fields::Devices;
use crate::ids;
use crate::requests::Repeatable;

/// Sends a command to one device.
pub(crate) async fn to_one(
    store: &Store,
    clock: &Clock,
    caller: &Caller,
    mut req: SendCommandRequest,
) -> Result<DeviceCommand> {
    let request_id = std::mem::take(&mut req.request_id);
    let repeatable = Repeatable::read(&request_id, &req)?;
    let device = ids::parse("device_id", &req.device_id)?;
    let tx = store.read(caller).await?;
    for row in whose::existing(&tx, &[device]).await? {
        whose::refuse_unused(&row)?;
    }
    let order = Order::read(&tx, Asked::from(req)).await?;
    drop(tx);
    let id = clock.new_id();
    let sender = caller.principal().to_string();
    let sent = store.change_found(caller, async |tx| {
        if let Some(repeatable) = &repeatable
            && let Some(sent) = repeatable.created(tx).await?
        {
            return Ok((by_id(tx, sent).await?, Vec::new()));
        }
        let row = command(&order, id, device, &sender, tx.begin_time());
        let row = tx.insert(row).await?;
        calls::call(tx, device).await?;
        note(tx, repeatable.as_ref(), id).await?;
        Ok((row, vec![Resource::from(("deviceCommands", id))]))
    });
    Ok(state::message(sent.await?, clock.now()))
}

/// Begins to send a command to many devices.
pub(crate) async fn to_many(
    store: &Store,
    clock: &Clock,
    caller: &Caller,
    mut req: SendCommandsRequest,
) -> Result<command_batch::Model> {
    let request_id = std::mem::take(&mut req.request_id);
    let repeatable = Repeatable::read(&request_id, &req)?;
    let named = ids::parse_all("device_ids", &req.device_ids)?;
    let tx = store.read(caller).await?;
    let which = match (filter::read(&Devices, &req.filter)?, named.is_empty()) {
        (Some(filter), true) => whose::condition(&tx, filter).await?,
        (None, false) => {
            for row in whose::existing(&tx, &named).await? {
                whose::refuse_unused(&row)?;
            }
            device::Column::Id.is_in(named.iter().copied()).into()
        }
        (None, true) => return Err(Error::invalid("filter", "or device_ids must be set")),
        (Some(_), false) => {
            return Err(Error::invalid(
                "filter",
                "is not for devices that are named",
            ));
        }
    };
    let devices = device::Entity::find()
        .filter(which)
        .filter(device::Column::DeleteTime.is_null());
    let device_count = tx.count(devices.clone()).await?.cast_signed();
    let last = devices.order_by_desc(device::Column::Number).limit(1);
    let last_number = tx.one(last).await?.map_or(0, |row| row.number);
    let filter = std::mem::take(&mut req.filter);
    let order = Order::read(&tx, Asked::from(req)).await?;
    drop(tx);
    let id = clock.new_id();
    let now = clock.now();
    let row = command_batch::ActiveModel {
        id: Set(id),
        create_time: Set(now),
        update_time: Set(now),
        revision: Set(1),
        command_id: Set(order.command_id),
        name: Set(order.name),
        parameters: Set(order.parameters),
        payload: Set(order.payload),
        sender: Set(caller.principal().to_string()),
        not_before: Set(order.not_before),
        expire_time: Set(order.expire_time),
        max_attempts: Set(order.max_attempts),
        state: Set(batch_state(BatchState::Running)),
        filter: Set(filter),
        device_ids: Set(json!(named)),
        device_count: Set(device_count),
        queued_count: Set(0),
        skipped_count: Set(0),
        after_number: Set(Some(0)),
        last_number: Set(last_number),
        ..Default::default()
    };
    store
        .change_found(caller, async |tx| {
            if let Some(repeatable) = &repeatable
                && let Some(sent) = repeatable.created(tx).await?
            {
                return Ok((super::batches::by_id(tx, sent).await?, Vec::new()));
            }
            let row = tx.insert(row).await?;
            note(tx, repeatable.as_ref(), id).await?;
            Ok((row, vec![Resource::from(("commandBatches", id))]))
        })
        .await
}

async fn note(tx: &WriteTx, repeatable: Option<&Repeatable>, created: Uuid) -> Result<()> {
    match repeatable {
        Some(repeatable) => repeatable.note(tx, created).await,
        None => Ok(()),
    }
}

/// As it is stored.
pub(crate) fn batch_state(state: BatchState) -> i16 {
    i16::try_from(i32::from(state)).unwrap_or_default()
}

/// A new command for a device.
pub(crate) fn command(
    order: &Order,
    id: Uuid,
    device: Uuid,
    sender: &str,
    now: DateTime<Utc>,
) -> device_command::ActiveModel {
    device_command::ActiveModel {
        id: Set(id),
        create_time: Set(now),
        device_id: Set(device),
        batch_id: Set(None),
        command_id: Set(order.command_id),
        name: Set(order.name.clone()),
        parameters: Set(order.parameters.clone()),
        payload: Set(order.payload.clone()),
        sender: Set(sender.to_owned()),
        receiver: Set(String::new()),
        not_before: Set(order.not_before),
        expire_time: Set(order.expire_time),
        max_attempts: Set(order.max_attempts),
        attempt_count: Set(0),
        state: Set(state::stored(State::Queued)),
        deliver_time: Set(None),
        next_time: Set(Some(order.not_before.unwrap_or(now).max(now))),
        end_time: Set(order.expire_time),
        end_state: Set(state::stored(State::Expired)),
        keep_from: Set(None),
        result: Set(None),
        error: Set(None),
        ..Default::default()
    }
}
