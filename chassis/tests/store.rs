//! What the store promises, on SQLite and on PostgreSQL alike.

#![allow(missing_docs, clippy::unwrap_used)]

mod store_support;

#[path = "store_support/change.rs"]
mod change;
#[path = "store_support/tail.rs"]
mod tail;
