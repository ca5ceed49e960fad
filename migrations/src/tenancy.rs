//! Tables of tenancy.

mod m0001_tenants;
mod m0004_revision;
mod m0005_above;

use sea_orm_migration::prelude::*;

/// The history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenants::Migration),
            Box::new(crate::events::Migration),
            Box::new(crate::outbox::Migration),
            Box::new(m0004_revision::Migration),
            Box::new(crate::outbox::Attempts),
            Box::new(m0005_above::Migration),
            Box::new(crate::events_order::Migration),
            Box::new(crate::numbers::Migration("members")),
        ]
    }
}
