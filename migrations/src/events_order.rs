//! The record of changes in the order in which it is followed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

/// Indexes for whoever goes on where he was.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0006_events_order"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let of_tenant = ["tenant_id", "collection"];
        let order: &[&str] = match manager.get_database_backend() {
            DbBackend::Postgres => &["transaction", "number"],
            // Its order is that of the primary key.
            _ => &["number"],
        };
        let mut index = Index::create();
        index.name("events_tenant_order").table("events");
        for column in of_tenant.iter().chain(order) {
            index.col(*column);
        }
        manager.create_index(index).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            let mut index = Index::create();
            index.name("events_order").table("events");
            for column in order {
                index.col(*column);
            }
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut names = vec!["events_tenant_order"];
        if manager.get_database_backend() == DbBackend::Postgres {
            names.push("events_order");
        }
        for name in names {
            let index = Index::drop().name(name).table("events").to_owned();
            manager.drop_index(index).await?;
        }
        Ok(())
    }
}
