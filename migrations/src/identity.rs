//! Tables of identity.

mod m0001_users;

use sea_orm_migration::prelude::*;

/// The history.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_users::Migration),
            Box::new(crate::events::Migration),
            Box::new(crate::outbox::Migration),
            Box::new(crate::outbox::Attempts),
            Box::new(crate::events_order::Migration),
            Box::new(crate::numbers::Migration("users")),
        ]
    }
}
