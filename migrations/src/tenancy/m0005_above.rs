//! Whether a tenant above is suspended, so that all below it are refused.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::boolean;

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter()
            .table("tenants")
            .add_column(boolean("suspended_above").default(false).take())
            .to_owned();
        manager.alter_table(table).await?;
        manager.create_index(children()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop()
            .name("tenants_parent_idx")
            .table("tenants")
            .to_owned();
        manager.drop_index(index).await?;
        let table = Table::alter()
            .table("tenants")
            .drop_column("suspended_above")
            .to_owned();
        manager.alter_table(table).await
    }
}

/// By which the tenants below another are found.
fn children() -> IndexCreateStatement {
    Index::create()
        .name("tenants_parent_idx")
        .table("tenants")
        .col("parent")
        .to_owned()
}
