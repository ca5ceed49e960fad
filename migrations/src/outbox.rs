//! What other services must be told of changes, which some services have.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean_null, text, timestamp_with_time_zone_null, uuid_null,
};

use crate::schema::{number, time};

/// What is to be revoked, or what has become of a tenant, until it was told.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0003_outbox"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Not `tenant_id`: the rows are the service's own, and are read across tenants.
        let table = Table::create()
            .table("outbox")
            .col(number())
            .col(text("subject"))
            .col(uuid_null("tenant"))
            .col(boolean_null("suspended"))
            .col(big_integer_null("revision"))
            .col(time("create_time"))
            .to_owned();
        manager.create_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("outbox").to_owned())
            .await
    }
}

/// How often a letter was refused, and until when it is put off for that.
pub(crate) struct Attempts;

impl MigrationName for Attempts {
    fn name(&self) -> &str {
        "m0004_outbox_attempts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Attempts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let attempts = big_integer("attempts").default(0).take();
        // SQLite adds one column at a time.
        for column in [attempts, timestamp_with_time_zone_null("due_time")] {
            let table = Table::alter().table("outbox").add_column(column).to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in ["attempts", "due_time"] {
            let table = Table::alter()
                .table("outbox")
                .drop_column(column)
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}
