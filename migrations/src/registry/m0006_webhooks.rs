//! Webhooks, what is on its way to them, and how far the records of changes
//! were read for them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, integer_null, small_integer, string, text, text_null,
    timestamp_with_time_zone_null, uuid, uuid_null,
};

use crate::schema::{id, number, revision, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, indexes) in [webhooks(), deliveries(), cursors()] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        for (name, columns) in [
            ("due_time", "due_time"),
            ("webhook_due_time", "tenant_id, webhook_id, due_time"),
        ] {
            let sql = format!(
                "CREATE INDEX webhook_deliveries_{name} ON webhook_deliveries ({columns})
                 WHERE due_time IS NOT NULL"
            );
            manager.get_connection().execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["webhook_cursors", "webhook_deliveries", "webhooks"] {
            let table = Table::drop().table(table).to_owned();
            manager.drop_table(table).await?;
        }
        Ok(())
    }
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

fn webhooks() -> TableAndIndexes {
    let table = Table::create()
        .table("webhooks")
        .col(number())
        .col(id())
        .col(tenant())
        .col(time("create_time"))
        .col(time("update_time"))
        .col(revision())
        .col(text("url"))
        .col(text("description"))
        .col(text("event_types"))
        .col(boolean("disabled"))
        .col(text("disabled_reason"))
        .col(timestamp_with_time_zone_null("failing_since"))
        .col(text("secret"))
        .col(text_null("old_secret"))
        .col(timestamp_with_time_zone_null("old_secret_end_time"))
        .to_owned();
    let mut page = Index::create();
    page.name("webhooks_tenant_id_number_idx")
        .table("webhooks")
        .col("tenant_id")
        .col("number");
    (table, vec![unique("webhooks", &["tenant_id", "id"]), page])
}

fn deliveries() -> TableAndIndexes {
    let mut webhook = ForeignKey::create();
    webhook
        .name("webhook_deliveries_webhook_id_fkey")
        .from("webhook_deliveries", ("tenant_id", "webhook_id"))
        .to("webhooks", ("tenant_id", "id"))
        .on_delete(ForeignKeyAction::Cascade);
    let table = Table::create()
        .table("webhook_deliveries")
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("webhook_id"))
        .col(uuid("event_id"))
        .col(text("event_type"))
        .col(text("resource"))
        .col(text("body"))
        .col(small_integer("state"))
        .col(big_integer("attempts"))
        .col(time("create_time"))
        .col(timestamp_with_time_zone_null("due_time"))
        .col(timestamp_with_time_zone_null("last_attempt_time"))
        .col(integer_null("status_code"))
        .col(text("error"))
        .foreign_key(&mut webhook)
        .to_owned();
    let index = |name: &'static str, columns: &[&'static str]| {
        let mut index = Index::create();
        index.name(name).table("webhook_deliveries");
        for column in columns {
            index.col(*column);
        }
        index
    };
    let indexes = vec![
        unique("webhook_deliveries", &["tenant_id", "id"]),
        index(
            "webhook_deliveries_list",
            &["tenant_id", "webhook_id", "number"],
        ),
        index(
            "webhook_deliveries_state",
            &["tenant_id", "webhook_id", "state", "number"],
        ),
        index("webhook_deliveries_create_time", &["create_time"]),
    ];
    (table, indexes)
}

/// How far the record of each service was read, and which process reads it.
fn cursors() -> TableAndIndexes {
    let table = Table::create()
        .table("webhook_cursors")
        .col(number())
        .col(string("service"))
        .col(text("position"))
        .col(uuid_null("holder"))
        .col(timestamp_with_time_zone_null("lease_time"))
        .to_owned();
    (table, vec![unique("webhook_cursors", &["service"])])
}
