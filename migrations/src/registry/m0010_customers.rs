//! Customers, and what programs keep with sites and webhooks.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{json_binary_null, text};

use crate::schema::{id, number, revision, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

/// What has attributes from now on.
const KEEPERS: [&str; 2] = ["sites", "webhooks"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let customers = Table::create()
            .table("customers")
            .col(number())
            .col(id())
            .col(tenant())
            .col(time("create_time"))
            .col(time("update_time"))
            .col(revision())
            .col(text("display_name"))
            .col(text("contact_info"))
            .col(text("notes"))
            .col(json_binary_null("attributes"))
            .to_owned();
        manager.create_table(customers).await?;
        for column in ["id", "display_name"] {
            manager
                .create_index(unique("customers", &["tenant_id", column]))
                .await?;
        }
        let listed = Index::create()
            .name("customers_tenant_id_number_idx")
            .table("customers")
            .col("tenant_id")
            .col("number")
            .to_owned();
        manager.create_index(listed).await?;
        for table in KEEPERS {
            let table = Table::alter()
                .table(table)
                .add_column(json_binary_null("attributes"))
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in KEEPERS {
            let table = Table::alter()
                .table(table)
                .drop_column("attributes")
                .to_owned();
            manager.alter_table(table).await?;
        }
        manager
            .drop_table(Table::drop().table("customers").to_owned())
            .await
    }
}
