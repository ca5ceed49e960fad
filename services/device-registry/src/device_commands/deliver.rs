//! Handing commands out: each to one receiver at a time, and again if it is
//! not acknowledged in time.

use chassis::store::{Resource, Store, in_one_order};
use chassis::{Caller, Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use proto::registry::device_command::State;
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::state;
use super::whose::Whose;
use crate::entity::device_command::{ActiveModel, Column, Entity, Model};

/// What was handed out.
pub(crate) struct Handed {
    pub(crate) rows: Vec<Model>,
    /// As of when.
    pub(crate) time: DateTime<Utc>,
    /// When there is something again, if nobody sends anything.
    pub(crate) next: Option<DateTime<Utc>>,
}

/// Hands out what waits, in the order in which it may be had: at most so many. Whoever does not
/// acknowledge them within `patience` may be handed them again.
pub(crate) async fn hand_out(
    store: &Store,
    caller: &Caller,
    whose: &Whose,
    patience: TimeDelta,
    most: u64,
) -> Result<Handed> {
    loop {
        let tx = store.read(caller).await?;
        let time = tx.begin_time();
        let theirs = Entity::find().filter(whose.theirs(&tx).await?);
        let due = theirs.clone().filter(state::due(time));
        let due = due
            .order_by_asc(Column::NextTime)
            .order_by_asc(Column::Number)
            .limit(most);
        let due = tx.all(due).await?;
        if due.is_empty() {
            let next = theirs
                .filter(Column::NextTime.gt(time))
                .order_by_asc(Column::NextTime)
                .limit(1);
            let next = tx.one(next).await?.and_then(|row| row.next_time);
            let rows = due;
            return Ok(Handed { rows, time, next });
        }
        drop(tx);
        match take(store, caller, &due, patience).await {
            // Another receiver was faster.
            Err(Error::Aborted { .. }) => {}
            taken => {
                let (rows, time) = taken?;
                let next = None;
                return Ok(Handed { rows, time, next });
            }
        }
    }
}

/// Takes all of these, or none if one is no longer there to be taken: what is
/// recorded must be what is done.
async fn take(
    store: &Store,
    caller: &Caller,
    due: &[Model],
    patience: TimeDelta,
) -> Result<(Vec<Model>, DateTime<Utc>)> {
    let records = due
        .iter()
        .map(|row| Resource::from(("deviceCommands", row.id)));
    let records: Vec<_> = records.collect();
    let receiver = caller.principal().to_string();
    store
        .change_many(caller, records, async |tx| {
            let now = tx.begin_time();
            let query = Entity::find()
                .filter(Column::Number.is_in(due.iter().map(|row| row.number)))
                .filter(state::due(now));
            let rows = tx.all(in_one_order(query).lock_exclusive()).await?;
            if rows.len() != due.len() {
                let message = "another receiver was faster".into();
                return Err(Error::Aborted { message });
            }
            let mut taken = Vec::with_capacity(rows.len());
            for row in rows {
                taken.push(
                    tx.update(handed(&row, now, now + patience, &receiver))
                        .await?,
                );
            }
            taken.sort_by_key(|row| due.iter().position(|one| one.number == row.number));
            Ok((taken, now))
        })
        .await
}

/// A command that is handed out, until a deadline. If it is the last time, it
/// has failed then.
fn handed(row: &Model, now: DateTime<Utc>, deadline: DateTime<Utc>, receiver: &str) -> ActiveModel {
    let attempts = row.attempt_count + 1;
    let last = attempts >= row.max_attempts && deadline < row.end_time;
    let (end_time, end_state) = match last {
        true => (deadline, state::stored(State::Failed)),
        false => (row.end_time, row.end_state),
    };
    ActiveModel {
        number: Unchanged(row.number),
        state: Set(state::stored(State::Delivered)),
        attempt_count: Set(attempts),
        deliver_time: Set(Some(now)),
        receiver: Set(receiver.to_owned()),
        next_time: Set(Some(deadline.min(end_time))),
        end_time: Set(end_time),
        end_state: Set(end_state),
        ..Default::default()
    }
}
