//! Devices have a life, can be found by whatever they hold, and come back when
//! they were deleted.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_len, text, timestamp_with_time_zone_null, uuid,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{number, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

/// Texts that lists are ordered by, or found by how they begin. PostgreSQL
/// compares them byte by byte from now on, as SQLite does.
const TEXTS: [&str; 4] = ["display_name", "serial_number", "external_id", "code"];
/// Unique among devices that are not deleted.
const UNIQUE: [&str; 3] = ["serial_number", "external_id", "code"];
/// What lists are ordered by, beside the position that breaks ties.
const ORDERS: [&str; 9] = [
    "display_name",
    "serial_number",
    "external_id",
    "code",
    "create_time",
    "update_time",
    "last_seen_time",
    "state",
    "site_id",
];
/// Indexes that those with the position replace.
const REPLACED: [&str; 2] = [
    "devices_tenant_id_display_name_idx",
    "devices_tenant_id_site_id_idx",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        for column in ["delete_time", "purge_time"] {
            let table = Table::alter()
                .table("devices")
                .add_column(timestamp_with_time_zone_null(column))
                .to_owned();
            manager.alter_table(table).await?;
        }
        connection.execute_unprepared(position(manager)).await?;
        for index in REPLACED {
            drop_index(manager, index).await?;
        }
        for column in UNIQUE {
            drop_index(manager, &unique_name(column)).await?;
        }
        for column in TEXTS.into_iter().filter(|_| postgres) {
            let sql = format!("ALTER TABLE devices ALTER COLUMN {column} TYPE text COLLATE \"C\"");
            connection.execute_unprepared(&sql).await?;
        }
        for column in UNIQUE {
            let name = unique_name(column);
            let sql = format!(
                "CREATE UNIQUE INDEX {name} ON devices (tenant_id, {column}) WHERE delete_time IS NULL"
            );
            connection.execute_unprepared(&sql).await?;
        }
        for column in ORDERS {
            let mut index = Index::create();
            index
                .name(format!("devices_{column}_order"))
                .table("devices")
                .col("tenant_id")
                .col(column)
                .col("position");
            manager.create_index(index).await?;
        }
        let positions = "CREATE INDEX devices_position_order ON devices (tenant_id, position)";
        connection.execute_unprepared(positions).await?;
        let purge =
            "CREATE INDEX devices_purge_time ON devices (purge_time) WHERE purge_time IS NOT NULL";
        connection.execute_unprepared(purge).await?;
        for (table, indexes) in [labels(), requests(), quotas(), page_keys()] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        for column in ["key", "value"].into_iter().filter(|_| postgres) {
            let sql =
                format!("ALTER TABLE device_labels ALTER COLUMN {column} TYPE text COLLATE \"C\"");
            connection.execute_unprepared(&sql).await?;
        }
        let labels = match postgres {
            true => "jsonb_each_text(devices.labels)",
            false => "json_each(devices.labels)",
        };
        let fill = format!(
            "INSERT INTO device_labels (tenant_id, device_id, key, value)
             SELECT tenant_id, devices.id, label.key, label.value FROM devices, {labels} AS label"
        );
        connection.execute_unprepared(&fill).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for table in ["page_keys", "device_quotas", "requests", "device_labels"] {
            let table = Table::drop().table(table).to_owned();
            manager.drop_table(table).await?;
        }
        // What is deleted would come back.
        let gone = "DELETE FROM devices WHERE delete_time IS NOT NULL";
        connection.execute_unprepared(gone).await?;
        drop_index(manager, "devices_purge_time").await?;
        drop_index(manager, "devices_position_order").await?;
        for column in ORDERS {
            drop_index(manager, &format!("devices_{column}_order")).await?;
        }
        for column in UNIQUE {
            drop_index(manager, &unique_name(column)).await?;
            manager
                .create_index(unique("devices", &["tenant_id", column]))
                .await?;
        }
        for (name, column) in REPLACED.into_iter().zip(["display_name", "site_id"]) {
            let index = Index::create()
                .name(name)
                .table("devices")
                .col("tenant_id")
                .col(column)
                .to_owned();
            manager.create_index(index).await?;
        }
        for column in ["position", "purge_time", "delete_time"] {
            let table = Table::alter()
                .table("devices")
                .drop_column(column)
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}

/// The number of a device once more, for lists to be ordered by. The primary
/// key has the number of all tenants' devices: a database that reads it in
/// order, because most devices are one tenant's, may wade through all those of
/// others first. This is only in an index that begins with the tenant.
fn position(manager: &SchemaManager<'_>) -> &'static str {
    match manager.get_database_backend() {
        DbBackend::Postgres => {
            "ALTER TABLE devices ADD COLUMN position bigint GENERATED ALWAYS AS (number) STORED"
        }
        _ => "ALTER TABLE devices ADD COLUMN position integer GENERATED ALWAYS AS (number) VIRTUAL",
    }
}

fn unique_name(column: &str) -> String {
    format!("devices_tenant_id_{column}_key")
}

async fn drop_index(manager: &SchemaManager<'_>, name: &str) -> Result<(), DbErr> {
    let index = Index::drop().name(name).table("devices").to_owned();
    manager.drop_index(index).await
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

/// The labels of devices, a row each, to find devices by.
fn labels() -> TableAndIndexes {
    let device = ForeignKey::create()
        .name("device_labels_device_id_fkey")
        .from("device_labels", ("tenant_id", "device_id"))
        .to("devices", ("tenant_id", "id"))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    let table = Table::create()
        .table("device_labels")
        .col(number())
        .col(tenant())
        .col(uuid("device_id"))
        .col(text("key"))
        .col(text("value"))
        .foreign_key(&mut device.clone())
        .to_owned();
    let mut find = Index::create();
    find.name("device_labels_key_value_idx")
        .table("device_labels")
        .col("tenant_id")
        .col("key")
        .col("value")
        .col("device_id");
    let indexes = vec![
        unique("device_labels", &["tenant_id", "device_id", "key"]),
        find,
    ];
    (table, indexes)
}

/// What was created by requests that may come again.
fn requests() -> TableAndIndexes {
    let table = Table::create()
        .table("requests")
        .col(number())
        .col(tenant())
        .col(uuid("request_id"))
        .col(binary_len("hash", 32))
        .col(uuid("resource_id"))
        .col(time("create_time"))
        .to_owned();
    let mut old = Index::create();
    old.name("requests_create_time")
        .table("requests")
        .col("create_time");
    let indexes = vec![unique("requests", &["tenant_id", "request_id"]), old];
    (table, indexes)
}

/// How many devices a tenant may have, and has, if that is limited.
fn quotas() -> TableAndIndexes {
    let table = Table::create()
        .table("device_quotas")
        .col(number())
        .col(tenant())
        .col(big_integer_null("device_limit"))
        .col(big_integer("device_count"))
        .to_owned();
    (table, vec![unique("device_quotas", &["tenant_id"])])
}

/// What page tokens are signed with: one key, which never leaves the database
/// but for the processes of the service.
fn page_keys() -> TableAndIndexes {
    let table = Table::create()
        .table("page_keys")
        .col(number())
        .col(binary_len("key", 32))
        .to_owned();
    (table, Vec::new())
}
