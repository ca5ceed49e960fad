//! What is to be sent, understood: a command of the catalogue or a free one.

use chassis::store::ReadTx;
use chassis::time::date_time;
use chassis::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use prost::Message;
use prost_types::{Duration, Struct, Timestamp};
use proto::registry::{SendCommandRequest, SendCommandsRequest};
use sea_orm::{ColumnTrait, Condition, EntityTrait, JsonValue, QueryFilter};
use uuid::Uuid;

use super::parameters;
use crate::entity::command;

/// For how long a device may receive a command, unless somebody says otherwise.
const TTL: TimeDelta = TimeDelta::days(1);
/// How far ahead a command may be sent, and its time be over.
const AHEAD: TimeDelta = TimeDelta::days(365);
/// How often a command is handed out, unless somebody says otherwise.
const ATTEMPTS: i32 = 5;
/// Bytes that parameters may take.
const LARGEST: usize = 64 << 10;

/// What a request says is to be sent.
pub(crate) struct Asked {
    command: String,
    name: String,
    parameters: Option<Struct>,
    payload: Vec<u8>,
    ttl: Option<Duration>,
    expire_time: Option<Timestamp>,
    max_attempts: i32,
    not_before: Option<Timestamp>,
}

/// Both requests have the same fields.
macro_rules! asked {
    ($($request:ident),*) => {$(
        impl From<$request> for Asked {
            fn from(request: $request) -> Self {
                Self {
                    command: request.command,
                    name: request.name,
                    parameters: request.parameters,
                    payload: request.payload,
                    ttl: request.ttl,
                    expire_time: request.expire_time,
                    max_attempts: request.max_attempts,
                    not_before: request.not_before,
                }
            }
        }
    )*};
}
asked!(SendCommandRequest, SendCommandsRequest);

/// What is to be sent.
#[derive(Clone)]
pub(crate) struct Order {
    pub(crate) command_id: Option<Uuid>,
    pub(crate) name: String,
    pub(crate) parameters: Option<JsonValue>,
    pub(crate) payload: Option<Vec<u8>>,
    pub(crate) not_before: Option<DateTime<Utc>>,
    pub(crate) expire_time: DateTime<Utc>,
    pub(crate) max_attempts: i32,
}

impl Order {
    /// Understands what is to be sent, as the catalogue is now.
    pub(crate) async fn read(tx: &ReadTx, asked: Asked) -> Result<Self> {
        let known = match (asked.command.as_str(), asked.name.as_str()) {
            ("", "") => return Err(Error::invalid("command", "or name must be set")),
            ("", _) => None,
            (command, "") => Some(known(tx, command).await?),
            _ => return Err(Error::invalid("name", "is not for a command that is named")),
        };
        let size = asked.parameters.as_ref().map_or(0, Message::encoded_len);
        if size > LARGEST {
            let text = format!("must not take more than {LARGEST} bytes");
            return Err(Error::invalid("parameters", text));
        }
        let takes = known.as_ref().and_then(|known| known.parameters.clone());
        let takes = parameters::from_json(takes);
        let wrong = parameters::check(&takes, asked.parameters.as_ref());
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        let now = tx.begin_time();
        let not_before = moment("not_before", asked.not_before.as_ref())?;
        let known = known.as_ref();
        let ttl = asked.ttl.map(|ttl| span(&ttl)).or_else(|| {
            let seconds = known.and_then(|known| known.default_ttl_seconds)?;
            TimeDelta::try_seconds(seconds)
        });
        let expire_time = match moment("expire_time", asked.expire_time.as_ref())? {
            Some(_) if asked.ttl.is_some() => {
                return Err(Error::invalid(
                    "expire_time",
                    "is not for a request with ttl",
                ));
            }
            Some(time) => time,
            None => not_before.unwrap_or(now).max(now) + ttl.unwrap_or(TTL),
        };
        if expire_time <= not_before.unwrap_or(now).max(now) || expire_time > now + AHEAD * 2 {
            let text = "must be in the future, behind not_before, and at most a year ahead";
            return Err(Error::invalid("expire_time", text));
        }
        if not_before.is_some_and(|time| time > now + AHEAD) {
            return Err(Error::invalid("not_before", "must be at most a year ahead"));
        }
        let default = known.and_then(|known| known.default_max_attempts);
        Ok(Self {
            command_id: known.map(|known| known.id),
            name: known.map_or(asked.name, |known| known.name.clone()),
            parameters: parameters::stored(asked.parameters.as_ref(), "parameters")?,
            payload: (!asked.payload.is_empty()).then_some(asked.payload),
            not_before,
            expire_time,
            max_attempts: match asked.max_attempts {
                0 => default.unwrap_or(ATTEMPTS),
                attempts => attempts,
            },
        })
    }
}

/// The command of the catalogue with this id or name.
async fn known(tx: &ReadTx, named: &str) -> Result<command::Model> {
    let mut which = Condition::any().add(command::Column::Name.eq(named));
    if let Ok(id) = named.parse::<Uuid>() {
        which = which.add(command::Column::Id.eq(id));
    }
    let found = tx.all(command::Entity::find().filter(which)).await?;
    // An id goes before a name that looks like one.
    let by_id = found.iter().position(|row| row.id.to_string() == named);
    let mut found = found.into_iter().skip(by_id.unwrap_or_default());
    found
        .next()
        .ok_or_else(|| Error::not_found("command", named))
}

/// A time of a request.
pub(crate) fn moment(field: &str, time: Option<&Timestamp>) -> Result<Option<DateTime<Utc>>> {
    let Some(time) = time else { return Ok(None) };
    match date_time(time) {
        Some(time) => Ok(Some(time)),
        None => Err(Error::invalid(
            field,
            "must be between the years 1 and 9999",
        )),
    }
}

/// A span that keeps the contract's rules.
pub(crate) fn span(duration: &Duration) -> TimeDelta {
    let seconds = TimeDelta::try_seconds(duration.seconds).unwrap_or(TimeDelta::MAX);
    seconds + TimeDelta::nanoseconds(duration.nanos.into())
}
