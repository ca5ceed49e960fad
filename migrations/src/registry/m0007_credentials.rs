//! Devices have several credentials, of several kinds; and their changes can
//! be followed.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    binary, binary_len, binary_len_null, boolean, json_binary, small_integer, text,
    timestamp_with_time_zone_null, uuid, uuid_null,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{id, index, number, reference, revision, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (table, indexes) in [authorities(), credentials()] {
            manager.create_table(table).await?;
            for index in indexes {
                manager.create_index(index).await?;
            }
        }
        let connection = manager.get_connection();
        let (no, none) = match manager.get_database_backend() {
            DbBackend::Postgres => ("false", "'{}'::jsonb"),
            _ => ("0", "'{}'"),
        };
        let fold = format!(
            "INSERT INTO device_credentials (id, tenant_id, device_id, create_time, update_time,
                 revision, display_name, description, labels, secret_hash, disabled)
             SELECT id, tenant_id, device_id, create_time, create_time, 1, '', '', {none}, hash, {no}
             FROM device_secrets ORDER BY number"
        );
        connection.execute_unprepared(&fold).await?;
        let old = Table::drop().table("device_secrets").to_owned();
        manager.drop_table(old).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        manager.create_table(secrets()).await?;
        for index in [
            unique("device_secrets", &["tenant_id", "id"]),
            index("device_secrets", &["tenant_id", "device_id"]),
        ] {
            manager.create_index(index).await?;
        }
        let back = "INSERT INTO device_secrets (id, tenant_id, device_id, hash, create_time)
                    SELECT id, tenant_id, device_id, secret_hash, create_time
                    FROM device_credentials WHERE secret_hash IS NOT NULL ORDER BY number";
        connection.execute_unprepared(back).await?;
        for table in ["device_credentials", "device_authorities"] {
            let table = Table::drop().table(table).to_owned();
            manager.drop_table(table).await?;
        }
        Ok(())
    }
}

type TableAndIndexes = (TableCreateStatement, Vec<IndexCreateStatement>);

/// A row is a secret, a certificate or an authority: one of three columns says.
fn credentials() -> TableAndIndexes {
    let name = "device_credentials";
    let table = Table::create()
        .table(name)
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("device_id"))
        .col(time("create_time"))
        .col(time("update_time"))
        .col(revision())
        .col(text("display_name"))
        .col(text("description"))
        .col(json_binary("labels"))
        .col(binary_len_null("secret_hash", 32))
        .col(binary_len_null("certificate_sha256", 32))
        .col(uuid_null("authority_id"))
        .col(timestamp_with_time_zone_null("not_before"))
        .col(timestamp_with_time_zone_null("not_after"))
        .col(boolean("disabled"))
        .col(timestamp_with_time_zone_null("first_use_time"))
        .col(timestamp_with_time_zone_null("last_use_time"))
        .col(uuid_null("claim_key_id"))
        .foreign_key(reference(name, "device_id", "devices").on_delete(ForeignKeyAction::Cascade))
        .foreign_key(
            reference(name, "authority_id", "device_authorities")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned();
    let indexes = vec![
        unique(name, &["tenant_id", "id"]),
        unique(name, &["tenant_id", "certificate_sha256"]),
        index(name, &["tenant_id", "device_id", "number"]),
        index(name, &["tenant_id", "authority_id"]),
    ];
    (table, indexes)
}

fn authorities() -> TableAndIndexes {
    let name = "device_authorities";
    let table = Table::create()
        .table(name)
        .col(number())
        .col(id())
        .col(tenant())
        .col(time("create_time"))
        .col(time("update_time"))
        .col(revision())
        .col(text("display_name"))
        .col(binary("certificate"))
        .col(binary_len("certificate_sha256", 32))
        .col(text("subject"))
        .col(time("not_after"))
        .col(small_integer("named_by"))
        .col(small_integer("names"))
        .col(boolean("any_device"))
        .col(boolean("disabled"))
        .to_owned();
    let indexes = vec![
        unique(name, &["tenant_id", "id"]),
        unique(name, &["tenant_id", "certificate_sha256"]),
        index(name, &["tenant_id", "number"]),
    ];
    (table, indexes)
}

/// As it was.
fn secrets() -> TableCreateStatement {
    Table::create()
        .table("device_secrets")
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("device_id"))
        .col(binary_len("hash", 32))
        .col(time("create_time"))
        .foreign_key(
            reference("device_secrets", "device_id", "devices")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}
