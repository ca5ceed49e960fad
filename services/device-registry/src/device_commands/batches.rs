//! What many devices are told at once.

use chassis::store::{ReadTx, Resource, Store, WriteTx};
use chassis::time::timestamp;
use chassis::{Caller, Error, Result};
use proto::registry::command_batch::State;
use proto::registry::device_command::State as CommandState;
use proto::registry::{CommandBatch, CommandCounts};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::send::batch_state;
use super::{settle, state};
use crate::attributes;
use crate::entity::command_batch::{ActiveModel, Column, Entity, Model};
use crate::entity::device_command;

/// Commands of a batch that are looked at in one transaction to be taken back:
/// all of a large one would take longer than the database waits.
const CHUNK: u64 = 1000;

/// A batch of the tenant.
pub(crate) async fn by_id(tx: &ReadTx, id: Uuid) -> Result<Model> {
    let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
    row.ok_or_else(|| missing(id))
}

/// What became of a batch.
pub(crate) async fn counts(tx: &ReadTx, id: Uuid) -> Result<CommandCounts> {
    let now = tx.begin_time();
    let count = async |wanted: CommandState| {
        let query = device_command::Entity::find()
            .filter(device_command::Column::BatchId.eq(id))
            .filter(state::is(wanted, now));
        Ok::<_, Error>(tx.count(query).await?.cast_signed())
    };
    Ok(CommandCounts {
        queued: count(CommandState::Queued).await?,
        delivered: count(CommandState::Delivered).await?,
        acknowledged: count(CommandState::Acknowledged).await?,
        failed: count(CommandState::Failed).await?,
        expired: count(CommandState::Expired).await?,
        cancelled: count(CommandState::Cancelled).await?,
    })
}

/// Tells no more devices, and takes back what has not come to its end: of a
/// large batch some at a time, so that whoever is cut off may ask again, and it
/// goes on.
pub(crate) async fn cancel(store: &Store, caller: &Caller, id: Uuid) -> Result<()> {
    let mut last = end(store, caller, id).await?;
    while let Some(after) = last {
        last = go_on(store, caller, id, after).await?;
    }
    Ok(())
}

/// Tells no more devices, and takes back the first commands: a small batch is
/// cancelled as a whole or not at all. Answers as [`take_back`].
async fn end(store: &Store, caller: &Caller, id: Uuid) -> Result<Option<i64>> {
    store
        .change(caller, ("commandBatches", id), async |tx| {
            // Locked: nobody queues more of it meanwhile.
            let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
            let row = row.ok_or_else(|| missing(id))?;
            let change = ActiveModel {
                number: Unchanged(row.number),
                state: Set(batch_state(State::Cancelled)),
                after_number: Set(None),
                update_time: Set(tx.begin_time()),
                revision: Set(row.revision + 1),
                ..Default::default()
            };
            tx.update(change).await?;
            let (last, _) = take_back(tx, id, 0).await?;
            Ok(last)
        })
        .await
}

/// Takes back the next commands of a batch that is cancelled. If all of them
/// have come to their end, there is nothing to record.
async fn go_on(store: &Store, caller: &Caller, id: Uuid, after: i64) -> Result<Option<i64>> {
    store
        .change_found(caller, async |tx| {
            let (last, count) = take_back(tx, id, after).await?;
            let what = (count > 0).then(|| Resource::from(("commandBatches", id)));
            Ok((last, Vec::from_iter(what)))
        })
        .await
}

/// Takes back what has not come to its end among the next commands behind a
/// number. Answers the number of the last one, or none if there are no more;
/// and how many were taken back.
async fn take_back(tx: &WriteTx, id: Uuid, after: i64) -> Result<(Option<i64>, u64)> {
    use device_command::Column as Of;
    let some = Condition::all()
        .add(Of::BatchId.eq(id))
        .add(Of::Number.gt(after));
    // Whatever has become of them: no transaction looks at more than a chunk.
    let last = device_command::Entity::find()
        .filter(some.clone())
        .order_by_asc(Of::Number)
        .offset(CHUNK - 1)
        .limit(1);
    let last = tx.all(last).await?.first().map(|row| row.number);
    let some = some.add_option(last.map(|last| Of::Number.lte(last)));
    let count = settle::cancel(tx, some, tx.begin_time()).await?;
    Ok((last, count))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("commandBatch", id)
}

/// A batch as the contract has it.
pub(crate) fn message(row: Model, counts: Option<CommandCounts>) -> CommandBatch {
    CommandBatch {
        id: row.id.to_string(),
        number: row.number,
        command_id: row.command_id.map(|id| id.to_string()).unwrap_or_default(),
        name: row.name,
        parameters: row.parameters.as_ref().map(attributes::from_json),
        filter: row.filter,
        state: row.state.into(),
        device_count: row.device_count,
        queued_count: row.queued_count,
        skipped_count: row.skipped_count,
        counts,
        sender: row.sender,
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        not_before: row.not_before.map(timestamp),
        expire_time: Some(timestamp(row.expire_time)),
    }
}
