//! Values that mean the same in both databases.

use chrono::{DateTime, Utc};
use sea_orm::sqlx::Row;
use sea_orm::sqlx::error::BoxDynError;
use sea_orm::sqlx::postgres::PgRow;
use sea_orm::sqlx::sqlite::SqliteRow;
use serde_json::Value as Json;
use uuid::Uuid;

/// What a column holds, whatever a database calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Uuid,
    Text,
    Integer,
    Double,
    Boolean,
    Json,
    Bytes,
    Time,
}

impl Kind {
    /// By the name of PostgreSQL's type.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "uuid" => Self::Uuid,
            "text" | "character varying" => Self::Text,
            "smallint" | "integer" | "bigint" => Self::Integer,
            "double precision" => Self::Double,
            "boolean" => Self::Boolean,
            "json" | "jsonb" => Self::Json,
            "bytea" => Self::Bytes,
            "timestamp with time zone" => Self::Time,
            _ => return None,
        })
    }

    /// The type that a value is read as.
    pub(super) fn cast(self) -> &'static str {
        match self {
            Self::Text | Self::Json => "::text",
            Self::Integer => "::bigint",
            _ => "",
        }
    }
}

/// A value, exactly; but a time to the microsecond, as PostgreSQL keeps it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Uuid(Uuid),
    Text(String),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    /// As it was written, and what it means.
    Json(String, Json),
    Bytes(Vec<u8>),
    Time(DateTime<Utc>),
}

/// Reading is alike, but each database's rows are of another type.
macro_rules! reader {
    ($name:ident, $row:ty) => {
        pub(super) fn $name(row: &$row, index: usize, kind: Kind) -> Result<Value, BoxDynError> {
            Ok(match kind {
                Kind::Uuid => some(row.try_get(index)?, Value::Uuid),
                Kind::Text => some(row.try_get(index)?, Value::Text),
                Kind::Integer => some(row.try_get(index)?, Value::Integer),
                Kind::Double => some(row.try_get(index)?, Value::Double),
                Kind::Boolean => some(row.try_get(index)?, Value::Boolean),
                Kind::Bytes => some(row.try_get(index)?, Value::Bytes),
                Kind::Time => some(row.try_get(index)?, Value::Time),
                Kind::Json => match row.try_get::<Option<String>, _>(index)? {
                    Some(text) => {
                        let meaning = serde_json::from_str(&text)?;
                        Value::Json(text, meaning)
                    }
                    None => Value::Null,
                },
            })
        }
    };
}

reader!(of_sqlite, SqliteRow);
reader!(of_postgres, PgRow);

fn some<T>(value: Option<T>, as_value: impl FnOnce(T) -> Value) -> Value {
    value.map_or(Value::Null, as_value)
}

impl Value {
    /// As PostgreSQL reads it.
    pub(super) fn text(self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Uuid(id) => id.to_string(),
            Self::Text(text) | Self::Json(text, _) => text,
            Self::Integer(number) => number.to_string(),
            // `Debug` writes an exponent where there is one: shorter, and as exact.
            Self::Double(number) => format!("{number:?}"),
            Self::Boolean(so) => so.to_string(),
            Self::Bytes(bytes) => hex(&bytes),
            // Cut, as the program's own times are, rather than rounded.
            Self::Time(time) => time.format("%Y-%m-%d %H:%M:%S%.6f+00").to_string(),
        })
    }

    pub(super) fn number(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let start = String::from("\\x");
    bytes.iter().fold(start, |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Uuid(a), Self::Uuid(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Integer(a), Self::Integer(b)) => a == b,
            (Self::Double(a), Self::Double(b)) => a.to_bits() == b.to_bits(),
            (Self::Boolean(a), Self::Boolean(b)) => a == b,
            (Self::Json(_, a), Self::Json(_, b)) => means_the_same(a, b),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Time(a), Self::Time(b)) => a.timestamp_micros() == b.timestamp_micros(),
            _ => false,
        }
    }
}

/// PostgreSQL keeps a number of JSON, and not how it was written.
fn means_the_same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| means_the_same(a, b))
        }
        (Json::Object(a), Json::Object(b)) => {
            let same = |(name, a)| b.get(name).is_some_and(|b| means_the_same(a, b));
            a.len() == b.len() && a.iter().all(same)
        }
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_postgresql_reads_them() {
        let time = "2026-01-02T03:04:05.123456789Z".parse().unwrap();
        let json = r#"{"a": [1, "\"x"]}"#;
        for (value, text) in [
            (Value::Null, None),
            (Value::Text("a\"\\\tb".to_owned()), Some("a\"\\\tb")),
            (Value::Double(1e300), Some("1e300")),
            (Value::Double(-0.1), Some("-0.1")),
            (Value::Integer(i64::MIN), Some("-9223372036854775808")),
            (Value::Bytes(vec![0, 255]), Some("\\x00ff")),
            (Value::Boolean(true), Some("true")),
            (Value::Time(time), Some("2026-01-02 03:04:05.123456+00")),
            (Value::Json(json.to_owned(), Json::Null), Some(json)),
        ] {
            assert_eq!(value.text().as_deref(), text);
        }
    }

    #[test]
    fn json_is_compared_by_what_it_means() {
        let same = |a: &str, b: &str| {
            let [a, b] = [a, b].map(|text| serde_json::from_str(text).unwrap());
            means_the_same(&a, &b)
        };
        assert!(same(
            r#"{"a": 1e2, "b": [null]}"#,
            r#"{"b": [null], "a": 100}"#
        ));
        for (a, b) in [
            ("[1]", "[2]"),
            ("[1]", "[1, 1]"),
            (r#"{"a": 1}"#, r#"{"b": 1}"#),
            (r#"{"a": 1}"#, r#"{"a": 1, "b": 1}"#),
            ("\"1\"", "1"),
            ("null", "0"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
