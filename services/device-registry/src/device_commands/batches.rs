//! What many devices are told at once.

use chassis::store::{ReadTx, Store};
use chassis::time::timestamp;
use chassis::{Caller, Error, Result};
use proto::registry::command_batch::State;
use proto::registry::device_command::State as CommandState;
use proto::registry::{CommandBatch, CommandCounts};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::send::batch_state;
use super::{settle, state};
use crate::attributes;
use crate::entity::command_batch::{ActiveModel, Column, Entity, Model};
use crate::entity::device_command;

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

/// Tells no more devices, and takes back what has not come to its end.
pub(crate) async fn cancel(store: &Store, caller: &Caller, id: Uuid) -> Result<()> {
    store
        .change(caller, ("commandBatches", id), async |tx| {
            // Locked: nobody queues more of it meanwhile.
            let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
            let row = row.ok_or_else(|| missing(id))?;
            let now = tx.begin_time();
            let which = device_command::Column::BatchId.eq(id).into();
            settle::cancel(tx, which, now).await?;
            let change = ActiveModel {
                number: Unchanged(row.number),
                state: Set(batch_state(State::Cancelled)),
                after_number: Set(None),
                update_time: Set(now),
                revision: Set(row.revision + 1),
                ..Default::default()
            };
            tx.update(change).await.map(drop)
        })
        .await
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
