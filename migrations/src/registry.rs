//! Tables of the device registry: devices, what marks and proves them, where
//! they are, whose, and what they can be told.
use sea_orm_migration::prelude::*;

mod m0001_devices;
mod m0003_fleet;
mod m0004_places;
mod m0005_imports;
mod m0006_webhooks;
mod m0007_credentials;
mod m0008_claims;
mod m0009_device_commands;
mod m0010_customers;
mod m0011_quotas;

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
            Box::new(crate::events_order::Migration),
            Box::new(m0006_webhooks::Migration),
            Box::new(m0007_credentials::Migration),
            Box::new(m0008_claims::Migration),
            Box::new(m0009_device_commands::Migration),
            Box::new(m0010_customers::Migration),
            Box::new(m0011_quotas::Migration),
        ]
    }
}
