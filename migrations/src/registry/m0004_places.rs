//! Sites lie in each other and somewhere on earth; devices have sensors.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    boolean, double_null, integer, json_binary_null, text, text_null, uuid,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{id, index, number, reference, revision, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for column in location() {
            let table = Table::alter().table("sites").add_column(column).to_owned();
            manager.alter_table(table).await?;
        }
        for (table, indexes) in [ancestors(), sensors()] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            for column in ["code", "external_id"] {
                let sql =
                    format!("ALTER TABLE sensors ALTER COLUMN {column} TYPE text COLLATE \"C\"");
                connection.execute_unprepared(&sql).await?;
            }
        }
        for sql in [
            "CREATE UNIQUE INDEX sensors_tenant_id_device_id_fallback_key
               ON sensors (tenant_id, device_id, fallback) WHERE fallback",
            "CREATE INDEX devices_deleted ON devices (tenant_id, id) WHERE delete_time IS NOT NULL",
        ] {
            connection.execute_unprepared(sql).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop()
            .name("devices_deleted")
            .table("devices")
            .to_owned();
        manager.drop_index(index).await?;
        for table in ["sensors", "site_ancestors"] {
            let table = Table::drop().table(table).to_owned();
            manager.drop_table(table).await?;
        }
        for column in location().into_iter().rev() {
            let table = Table::alter()
                .table("sites")
                .drop_column(column.get_column_name())
                .to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

fn location() -> [ColumnDef; 4] {
    [
        double_null("latitude"),
        double_null("longitude"),
        double_null("altitude"),
        text_null("location_description"),
    ]
}

/// Each site with each site in which it lies, and how far out that is: 1 for
/// the one directly around it. Nothing can go in which others lie.
fn ancestors() -> TableAndIndexes {
    let table = Table::create()
        .table("site_ancestors")
        .col(number())
        .col(tenant())
        .col(uuid("site_id"))
        .col(uuid("ancestor_id"))
        .col(integer("distance"))
        .foreign_key(
            reference("site_ancestors", "site_id", "sites").on_delete(ForeignKeyAction::Cascade),
        )
        .foreign_key(&mut reference("site_ancestors", "ancestor_id", "sites"))
        .to_owned();
    let columns = ["tenant_id", "site_id", "ancestor_id"];
    let indexes = vec![
        unique("site_ancestors", &columns),
        // Each has all that is read, so that SQLite has no reason to take the other.
        index(
            "site_ancestors",
            &["tenant_id", "ancestor_id", "distance", "site_id"],
        ),
        index(
            "site_ancestors",
            &["tenant_id", "site_id", "distance", "ancestor_id"],
        ),
    ];
    (table, indexes)
}

fn sensors() -> TableAndIndexes {
    let table = Table::create()
        .table("sensors")
        .col(number())
        .col(id())
        .col(tenant())
        .col(time("create_time"))
        .col(time("update_time"))
        .col(revision())
        .col(uuid("device_id"))
        .col(text("code"))
        .col(text("description"))
        .col(text_null("external_id"))
        .col(text("brand"))
        .col(boolean("fallback"))
        .col(json_binary_null("attributes"))
        .foreign_key(
            reference("sensors", "device_id", "devices").on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned();
    let indexes = vec![
        unique("sensors", &["tenant_id", "id"]),
        unique("sensors", &["tenant_id", "device_id", "code"]),
        unique("sensors", &["tenant_id", "device_id", "external_id"]),
        index("sensors", &["tenant_id", "number"]),
        index("sensors", &["tenant_id", "device_id", "number"]),
        index("sensors", &["tenant_id", "code", "number"]),
        index("sensors", &["tenant_id", "external_id", "number"]),
    ];
    (table, indexes)
}
