//! Tables of the key-management service.

mod m0001_keys;
mod m0003_revocations;
mod m0004_generations;
mod m0007_lists;
mod m0008_data_keys;

use sea_orm_migration::prelude::*;

/// The history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_keys::Migration),
            Box::new(crate::events::Migration),
            Box::new(m0003_revocations::Migration),
            Box::new(m0004_generations::Migration),
            Box::new(crate::events_order::Migration),
            Box::new(m0007_lists::Migration),
            Box::new(m0008_data_keys::Migration),
        ]
    }
}
