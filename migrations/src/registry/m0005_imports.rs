//! How far imports have come, so that they can go on.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, uuid};

use crate::schema::{number, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("imports")
            .col(number())
            .col(tenant())
            .col(uuid("import_id"))
            .col(big_integer("next_index"))
            .col(time("update_time"))
            .to_owned();
        manager.create_table(table).await?;
        let import = unique("imports", &["tenant_id", "import_id"]);
        manager.create_index(import).await?;
        let mut old = Index::create();
        old.name("imports_update_time")
            .table("imports")
            .col("update_time");
        manager.create_index(old).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::drop().table("imports").to_owned();
        manager.drop_table(table).await
    }
}
