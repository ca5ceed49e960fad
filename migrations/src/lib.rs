//! The history of the schema, a module a service.
//!
//! Each service migrates its own database and reads no other's. A migration
//! that has been released is never edited: add one that goes on from it.

mod events;
mod events_order;
pub mod identity;
pub mod keys;
mod numbers;
mod outbox;
pub mod registry;
mod schema;
pub mod tenancy;
