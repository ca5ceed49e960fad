//! Bringing commands to their end: acknowledged, failed or taken back.

use chassis::store::{Store, WriteTx};
use chassis::{Caller, Clock, Error, Result};
use chrono::{DateTime, Utc};
use proto::registry::DeviceCommand;
use proto::registry::device_command::State;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, EntityTrait, JsonValue, QueryFilter};
use uuid::Uuid;

use super::state::{self, Change};
use super::{calls, whose};
use crate::entity::device_command::{ActiveModel, Column, Entity};

/// An end.
#[derive(Clone, Default)]
pub(crate) struct End {
    pub(crate) state: State,
    pub(crate) result: Option<JsonValue>,
    pub(crate) error: Option<String>,
}

/// Brings a command to its end. A device does so with its own only.
pub(crate) async fn one(
    store: &Store,
    clock: &Clock,
    caller: &Caller,
    id: Uuid,
    end: End,
) -> Result<DeviceCommand> {
    let own = whose::own_device(caller.principal());
    let ended = store.change(caller, ("deviceCommands", id), async |tx| {
        let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
        let row = row.filter(|row| own.is_none_or(|own| own == row.device_id));
        let row = row.ok_or_else(|| Error::not_found("deviceCommand", id))?;
        let now = tx.begin_time();
        if state::change(state::at(&row, now), end.state)? == Change::Nothing {
            return Ok(row);
        }
        let change = ActiveModel {
            number: Unchanged(row.number),
            state: Set(state::stored(end.state)),
            next_time: Set(None),
            end_time: Set(now),
            keep_from: Set(Some(now)),
            result: Set(end.result),
            error: Set(end.error),
            ..Default::default()
        };
        let row = tx.update(change).await?;
        calls::call(tx, row.device_id).await?;
        Ok(row)
    });
    Ok(state::message(ended.await?, clock.now()))
}

/// Takes back what has not come to its end; answers how many commands.
pub(crate) async fn cancel(tx: &WriteTx, which: Condition, now: DateTime<Utc>) -> Result<u64> {
    let query = Entity::update_many()
        .col_expr(Column::State, Expr::value(state::stored(State::Cancelled)))
        .col_expr(Column::NextTime, Expr::value(None::<DateTime<Utc>>))
        .col_expr(Column::EndTime, Expr::value(now))
        .col_expr(Column::KeepFrom, Expr::value(now))
        .filter(which)
        .filter(Column::NextTime.is_not_null())
        .filter(Column::EndTime.gt(now));
    tx.update_many(query).await
}
