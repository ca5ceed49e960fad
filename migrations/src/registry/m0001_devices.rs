//! Sites, tags, commands and devices.
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    binary_len, double_null, json_binary, json_binary_null, small_integer, text, text_null,
    timestamp_with_time_zone_null, uuid, uuid_null,
};

use crate::schema::{id, index, number, reference, revision, tenant, time, unique};

/// First those that others refer to.
const TABLES: [&str; 6] = [
    "sites",
    "tags",
    "commands",
    "devices",
    "device_tags",
    "device_secrets",
];

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // A table's unique indexes come before the foreign keys that need them.
        for (table, indexes) in [
            sites(),
            tags(),
            commands(),
            devices(),
            device_tags(),
            device_secrets(),
        ] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.into_iter().rev() {
            manager
                .drop_table(Table::drop().table(table).to_owned())
                .await?;
        }
        Ok(())
    }
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

fn sites() -> TableAndIndexes {
    let mut table = resource("sites");
    table
        .col(text("display_name"))
        .col(text("address"))
        .col(text("contact_name"))
        .col(text("contact_phone"))
        .col(text("notes"));
    (table, indexes("sites", &["id", "display_name"]))
}

fn tags() -> TableAndIndexes {
    let mut table = resource("tags");
    table.col(text("display_name")).col(text("color"));
    (table, indexes("tags", &["id", "display_name"]))
}

fn commands() -> TableAndIndexes {
    let mut table = resource("commands");
    table
        .col(text("name"))
        .col(text("display_name"))
        .col(text("description"));
    (table, indexes("commands", &["id", "name"]))
}

fn devices() -> TableAndIndexes {
    let mut table = resource("devices");
    table
        .col(text("display_name"))
        .col(text_null("serial_number"))
        .col(text_null("external_id"))
        .col(text_null("code"))
        .col(text("description"))
        .col(json_binary("labels"))
        .col(json_binary_null("attributes"))
        .col(uuid_null("site_id"))
        .col(double_null("latitude"))
        .col(double_null("longitude"))
        .col(double_null("altitude"))
        .col(text_null("location_description"))
        .col(small_integer("state"))
        .col(timestamp_with_time_zone_null("last_seen_time"))
        .foreign_key(&mut reference("devices", "site_id", "sites"));
    let mut indexes = indexes("devices", &["id", "serial_number", "external_id", "code"]);
    indexes.push(index("devices", &["tenant_id", "display_name"]));
    indexes.push(index("devices", &["tenant_id", "site_id"]));
    (table, indexes)
}

fn device_tags() -> TableAndIndexes {
    let table = Table::create()
        .table("device_tags")
        .col(number())
        .col(tenant())
        .col(uuid("device_id"))
        .col(uuid("tag_id"))
        .foreign_key(reference("device_tags", "device_id", "devices").on_delete(CASCADE))
        .foreign_key(reference("device_tags", "tag_id", "tags").on_delete(CASCADE))
        .to_owned();
    let indexes = vec![
        unique("device_tags", &["tenant_id", "device_id", "tag_id"]),
        index("device_tags", &["tenant_id", "tag_id", "device_id"]),
    ];
    (table, indexes)
}

fn device_secrets() -> TableAndIndexes {
    let table = Table::create()
        .table("device_secrets")
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("device_id"))
        .col(binary_len("hash", 32))
        .col(time("create_time"))
        .foreign_key(reference("device_secrets", "device_id", "devices").on_delete(CASCADE))
        .to_owned();
    let indexes = vec![
        unique("device_secrets", &["tenant_id", "id"]),
        index("device_secrets", &["tenant_id", "device_id"]),
    ];
    (table, indexes)
}

const CASCADE: ForeignKeyAction = ForeignKeyAction::Cascade;

/// A table with the columns that every resource of the contract has.
fn resource(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(number())
        .col(id())
        .col(tenant())
        .col(time("create_time"))
        .col(time("update_time"))
        .col(revision())
        .to_owned()
}

/// Unique indexes over single columns within a tenant, and the one that lists are paged by.
fn indexes(table: &'static str, unique_columns: &[&'static str]) -> Vec<IndexCreateStatement> {
    let mut indexes: Vec<_> = unique_columns
        .iter()
        .map(|column| unique(table, &["tenant_id", column]))
        .collect();
    indexes.push(index(table, &["tenant_id", "number"]));
    indexes
}
