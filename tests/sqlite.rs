//! The whole-system tests on `muster up` on embedded SQLite.

#![allow(missing_docs, clippy::unwrap_used)]
#![recursion_limit = "256"]

#[macro_use]
mod support;

mod embedded;
mod suite;

const SHAPE: support::Shape = support::Shape::Sqlite;
