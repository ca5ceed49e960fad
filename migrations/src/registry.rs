//! Tables of the device registry: devices, what marks and proves them, where
//! they are and what they can be told.
use sea_orm_migration::prelude::*;

mod m0001_devices;
mod m0003_fleet;
mod m0004_places;
mod m0005_imports;

/// The history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_devices::Migration),
            Box::new(crate::events::Migration),
            Box::new(m0003_fleet::Migration),
            Box::new(m0004_places::Migration),
            Box::new(m0005_imports::Migration),
        ]
    }
}
