//! Times between the database's type and the contract's.

use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// A time as the contract has it.
pub fn timestamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}

/// From the year 1 to the year 9999, as google.protobuf.Timestamp has it, in
/// seconds since 1970.
const SECONDS: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A time of the contract; `None` if it is outside of what can be told.
pub fn date_time(time: &Timestamp) -> Option<DateTime<Utc>> {
    if !SECONDS.contains(&time.seconds) {
        return None;
    }
    DateTime::from_timestamp(time.seconds, u32::try_from(time.nanos).ok()?)
}
