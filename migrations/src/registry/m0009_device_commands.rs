//! What devices are told: one by one and many at once; and what commands take.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, binary_null, integer, integer_null, json_binary,
    json_binary_null, small_integer, text, text_null, timestamp_with_time_zone_null, uuid,
    uuid_null,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{id, index, number, revision, tenant, time, transaction, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

/// Those that others refer to, last.
const TABLES: [&str; 3] = ["command_calls", "device_commands", "command_batches"];

/// Lists are in the order of numbers, of whichever of these is asked for.
const LISTS: [&str; 3] = ["device_id", "name", "state"];

/// Indexes of some rows only, such as those for which there is work: the index,
/// the table, its columns, and which column is null of all other rows.
const SOME: [[&str; 4]; 6] = [
    [
        "device_commands_batch",
        "device_commands",
        "tenant_id, batch_id, number",
        "batch_id",
    ],
    [
        "device_commands_batch_state",
        "device_commands",
        "tenant_id, batch_id, state",
        "batch_id",
    ],
    [
        "device_commands_next",
        "device_commands",
        "tenant_id, device_id, next_time",
        "next_time",
    ],
    [
        "device_commands_open",
        "device_commands",
        "end_time",
        "next_time",
    ],
    [
        "device_commands_ended",
        "device_commands",
        "keep_from",
        "keep_from",
    ],
    [
        "command_batches_running",
        "command_batches",
        "after_number",
        "after_number",
    ],
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let postgres = manager.get_database_backend() == DbBackend::Postgres;
        for column in catalogue() {
            let table = Table::alter()
                .table("commands")
                .add_column(column)
                .to_owned();
            manager.alter_table(table).await?;
        }
        for (table, indexes) in [batches(), commands(), calls(manager)] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        if postgres {
            let sql = "ALTER TABLE device_commands ALTER COLUMN name TYPE text COLLATE \"C\"";
            connection.execute_unprepared(sql).await?;
        }
        for [name, table, columns, some] in SOME {
            let sql =
                format!("CREATE INDEX {name} ON {table} ({columns}) WHERE {some} IS NOT NULL");
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES {
            let table = Table::drop().table(table).to_owned();
            manager.drop_table(table).await?;
        }
        for column in catalogue() {
            let table = Table::alter()
                .table("commands")
                .drop_column(column.get_column_name())
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

/// What a command of the catalogue takes, and how it is sent.
fn catalogue() -> [ColumnDef; 3] {
    [
        json_binary_null("parameters"),
        big_integer_null("default_ttl_seconds"),
        integer_null("default_max_attempts"),
    ]
}

/// What is sent, once or to many.
fn sent(table: &'static str) -> TableCreateStatement {
    Table::create()
        .table(table)
        .col(number())
        .col(id())
        .col(tenant())
        .col(time("create_time"))
        .col(uuid_null("command_id"))
        .col(text("name"))
        .col(json_binary_null("parameters"))
        .col(binary_null("payload"))
        .col(text("sender"))
        .col(timestamp_with_time_zone_null("not_before"))
        .col(time("expire_time"))
        .col(integer("max_attempts"))
        .col(small_integer("state"))
        .to_owned()
}

fn batches() -> TableAndIndexes {
    let mut table = sent("command_batches");
    table
        .col(time("update_time"))
        .col(revision())
        .col(text("filter"))
        .col(json_binary("device_ids"))
        .col(big_integer("device_count"))
        .col(big_integer("queued_count"))
        .col(big_integer("skipped_count"))
        // The last device that was told; null when all were.
        .col(big_integer_null("after_number"))
        // The last device that is to be told.
        .col(big_integer("last_number"));
    let indexes = vec![
        unique("command_batches", &["tenant_id", "id"]),
        index("command_batches", &["tenant_id", "number"]),
        // Which ended long ago.
        index("command_batches", &["update_time"]),
    ];
    (table, indexes)
}

fn commands() -> TableAndIndexes {
    let mut device = ForeignKey::create();
    device
        .name("device_commands_device_id_fkey")
        .from("device_commands", ("tenant_id", "device_id"))
        .to("devices", ("tenant_id", "id"))
        .on_delete(ForeignKeyAction::Cascade);
    let mut batch = ForeignKey::create();
    batch
        .name("device_commands_batch_id_fkey")
        .from("device_commands", ("tenant_id", "batch_id"))
        .to("command_batches", ("tenant_id", "id"));
    let mut table = sent("device_commands");
    table
        .col(uuid("device_id"))
        .col(uuid_null("batch_id"))
        .col(integer("attempt_count"))
        .col(text("receiver"))
        .col(timestamp_with_time_zone_null("deliver_time"))
        // When it may be handed out next; null when it has come to an end.
        .col(timestamp_with_time_zone_null("next_time"))
        // When it comes to an end by itself, and in which state; or when it did.
        .col(time("end_time"))
        .col(small_integer("end_state"))
        // For how long it is kept counts from here; null until it has ended.
        .col(timestamp_with_time_zone_null("keep_from"))
        .col(json_binary_null("result"))
        .col(text_null("error"))
        .foreign_key(&mut device)
        .foreign_key(&mut batch);
    let mut indexes = vec![
        unique("device_commands", &["tenant_id", "id"]),
        index("device_commands", &["tenant_id", "number"]),
        index("device_commands", &["tenant_id", "create_time"]),
    ];
    for column in LISTS {
        indexes.push(index("device_commands", &["tenant_id", column, "number"]));
    }
    (table, indexes)
}

/// The devices for which something was queued, as a log that wakes receivers.
fn calls(manager: &SchemaManager) -> TableAndIndexes {
    let table = Table::create()
        .table("command_calls")
        .col(number())
        .col(tenant())
        .col(uuid("device_id"))
        .col(time("create_time"))
        .col(transaction(manager))
        .to_owned();
    let indexes = vec![
        index("command_calls", &["transaction", "number"]),
        index("command_calls", &["create_time"]),
    ];
    (table, indexes)
}
