//! Keys by which new devices register themselves.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary, binary_len, boolean, text, timestamp_with_time_zone_null,
};

use crate::schema::{id, index, number, revision, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("claim_keys")
            .col(number())
            .col(id())
            .col(tenant())
            .col(time("create_time"))
            .col(time("update_time"))
            .col(revision())
            .col(text("display_name"))
            .col(text("description"))
            .col(binary_len("secret_hash", 32))
            .col(big_integer_null("max_uses"))
            .col(big_integer("use_count"))
            .col(timestamp_with_time_zone_null("expire_time"))
            .col(text("networks"))
            .col(binary("template"))
            .col(boolean("disabled"))
            .col(timestamp_with_time_zone_null("last_use_time"))
            .to_owned();
        manager.create_table(table).await?;
        manager
            .create_index(unique("claim_keys", &["tenant_id", "id"]))
            .await?;
        // Lists; and a key that is presented, of whichever tenant.
        for columns in [&["tenant_id", "number"][..], &["id"]] {
            manager.create_index(index("claim_keys", columns)).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("claim_keys").to_owned())
            .await
    }
}
