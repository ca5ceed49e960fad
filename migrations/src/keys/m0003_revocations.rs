//! The log of revocations can be followed on PostgreSQL too.

use sea_orm_migration::prelude::*;

use crate::schema::transaction;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("revocations")
            .add_column(transaction(manager))
            .to_owned();
        manager.alter_table(table).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("revocations")
            .drop_column("transaction")
            .to_owned();
        manager.alter_table(table).await
    }
}
