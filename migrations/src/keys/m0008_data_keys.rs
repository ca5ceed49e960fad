//! Services keep secrets encrypted, each with a key that is kept here.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{string_len, var_binary};

use crate::schema::{number, time, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("data_keys")
            .col(number())
            .col(string_len("service", 64))
            .col(var_binary("wrapped", 256))
            .col(time("create_time"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(unique("data_keys", &["service"]))
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::drop().table("data_keys").to_owned();
        manager.drop_table(table).await
    }
}
