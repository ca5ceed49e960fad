//! Times between the database's type and the contract's.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// A time as the contract has it.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// A time of the contract; `None` if it is outside of what can be told.
pub fn date_time(time: &Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}
