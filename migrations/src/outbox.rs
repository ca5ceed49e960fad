//! What other services must be told of changes, which some services have.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer_null, boolean_null, text, uuid_null};

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
