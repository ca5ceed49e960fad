//! Tables of tenancy.

mod m0001_tenants;

use sea_orm_migration::prelude::*;

/// The history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tenants::Migration),
            Box::new(crate::events::Migration),
        ]
    }
}
