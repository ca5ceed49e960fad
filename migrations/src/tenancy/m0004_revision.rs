//! Counts how often a tenant was suspended or resumed.

use sea_orm_migration::prelude::*;

use crate::schema::revision;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("tenants")
            .add_column(revision().default(0).take())
            .to_owned();
        manager.alter_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("tenants")
            .drop_column("revision")
            .to_owned();
        manager.alter_table(table).await
    }
}
