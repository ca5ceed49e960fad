//! Where a command is: QUEUED → DELIVERED → ACKNOWLEDGED or FAILED, unless it
//! is CANCELLED or EXPIRES before.
//!
//! A command whose time is over has come to an end at that moment, whether or
//! not anybody has noted it: what is read here is exact, and the sweeper only
//! writes it down.

use chassis::time::timestamp;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};
use proto::registry::DeviceCommand;
use proto::registry::device_command::State;
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, Condition};

use crate::attributes;
use crate::entity::device_command::{Column, Model};

use State::{Acknowledged, Cancelled, Delivered, Expired, Failed, Queued, Unspecified};

/// Why a command failed that was handed out as often as it may.
pub(crate) const NEVER_ACKNOWLEDGED: &str =
    "it was handed out as often as it may be, and never acknowledged";

/// As it is stored.
pub(crate) fn stored(state: State) -> i16 {
    i16::try_from(i32::from(state)).unwrap_or_default()
}

/// What is stored.
fn read(state: i16) -> State {
    State::try_from(i32::from(state)).unwrap_or_default()
}

/// Where a command is at a moment.
pub(crate) fn at(row: &Model, now: DateTime<Utc>) -> State {
    match row.next_time {
        Some(_) if row.end_time <= now => read(row.end_state),
        _ => read(row.state),
    }
}

/// Whether it has come to an end.
pub(crate) fn is_final(state: State) -> bool {
    matches!(state, Acknowledged | Failed | Expired | Cancelled)
}

/// What a change of state does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The command comes to its end.
    End,
    /// It is there already: whoever says so again has not heard the answer.
    Nothing,
}

/// The change from one state to an end.
pub(crate) fn change(from: State, to: State) -> Result<Change> {
    let ends = match to {
        Acknowledged | Failed => from == Delivered,
        Cancelled => matches!(from, Queued | Delivered),
        _ => false,
    };
    match ends {
        true => Ok(Change::End),
        false if from == to => Ok(Change::Nothing),
        false => {
            let text = format!(
                "a command can't go from {} to {}",
                from.as_str_name(),
                to.as_str_name()
            );
            Err(Error::precondition("STATE_TRANSITION", text))
        }
    }
}

/// The commands that are in a state at a moment.
pub(crate) fn is(state: State, now: DateTime<Utc>) -> Condition {
    let is = Column::State.eq(stored(state));
    match state {
        Unspecified => Condition::all(),
        Queued | Delivered => Condition::all().add(is).add(Column::EndTime.gt(now)),
        Acknowledged | Cancelled => Condition::all().add(is),
        Failed | Expired => Condition::any().add(is).add(
            Column::NextTime
                .is_not_null()
                .and(Column::EndTime.lte(now))
                .and(Column::EndState.eq(stored(state))),
        ),
    }
}

/// The commands that may be handed out at a moment.
pub(crate) fn due(now: DateTime<Utc>) -> Condition {
    Condition::all()
        .add(Column::NextTime.lte(now))
        .add(Column::EndTime.gt(now))
}

/// A command as the contract has it, at a moment.
pub(crate) fn message(row: Model, now: DateTime<Utc>) -> DeviceCommand {
    let state = at(&row, now);
    let unnoted = row.next_time.is_some() && state == Failed;
    let error = unnoted.then(|| NEVER_ACKNOWLEDGED.to_owned()).or(row.error);
    let deadline = row.next_time.filter(|_| state == Delivered);
    DeviceCommand {
        id: row.id.to_string(),
        number: row.number,
        device_id: row.device_id.to_string(),
        batch_id: row.batch_id.map(|id| id.to_string()).unwrap_or_default(),
        command_id: row.command_id.map(|id| id.to_string()).unwrap_or_default(),
        name: row.name,
        parameters: row.parameters.as_ref().map(attributes::from_json),
        payload: row.payload.unwrap_or_default(),
        state: state.into(),
        attempt_count: row.attempt_count,
        max_attempts: row.max_attempts,
        sender: row.sender,
        receiver: row.receiver,
        create_time: Some(timestamp(row.create_time)),
        not_before: row.not_before.map(timestamp),
        expire_time: Some(timestamp(row.expire_time)),
        deliver_time: row.deliver_time.map(timestamp),
        acknowledge_deadline: deadline.map(timestamp),
        end_time: is_final(state).then(|| timestamp(row.end_time)),
        result: row.result.as_ref().map(attributes::from_json),
        error: error.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_ends_in_the_ways_that_it_may_only() {
        let all = [Queued, Delivered, Acknowledged, Failed, Expired, Cancelled];
        let ways = [
            (Delivered, Acknowledged),
            (Delivered, Failed),
            (Delivered, Cancelled),
            (Queued, Cancelled),
        ];
        for from in all {
            for to in [Acknowledged, Failed, Cancelled] {
                let want = match (from == to, ways.contains(&(from, to))) {
                    (true, _) => Some(Change::Nothing),
                    (_, true) => Some(Change::End),
                    _ => None,
                };
                assert_eq!(change(from, to).ok(), want, "{from:?} {to:?}");
            }
        }
    }
}
