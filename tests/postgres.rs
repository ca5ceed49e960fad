//! The whole-system tests on `muster up` on PostgreSQL.

#![allow(missing_docs, clippy::unwrap_used)]
#![recursion_limit = "256"]

#[macro_use]
mod support;

mod lists;
mod suite;

const SHAPE: support::Shape = support::Shape::Postgres;
