//! Keys and clients have generations of secrets, owners, networks and limits;
//! tenants have policies; peppers and signing keys can be rotated.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer, json_null, string, text,
    timestamp_with_time_zone_null, uuid_null, var_binary, var_binary_null,
};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{number, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Longest hash that is kept, in bytes: bcrypt's text has 60.
const HASH: u32 = 64;
/// Length of an HMAC-SHA-256.
const DIGEST: u32 = 32;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        // What tokens and generations refer to.
        manager
            .create_index(unique("api_clients", &["tenant_id", "number"]))
            .await?;
        manager
            .create_index(unique("api_keys", &["tenant_id", "number"]))
            .await?;
        for table in [generations(), uses(), policies(), tenants(), peppers()] {
            manager.create_table(table).await?;
        }
        for index in [
            // The ids of foreign keys are those of their system: of two such
            // systems, two tenants may have the same.
            unique("generations", &["tenant_id", "lookup"]),
            unique("generations", &["key_id", "generation"]),
            unique("generations", &["client_id", "generation"]),
            unique(
                "uses",
                &["tenant_id", "generation", "network", "user_agent"],
            ),
            unique("key_policies", &["tenant_id"]),
            unique("tenant_states", &["tenant_id"]),
        ] {
            manager.create_index(index).await?;
        }
        // Which tokens of a tenant are alive, and which have long ended.
        let ends = Index::create()
            .name("tokens_tenant_id_expire_time")
            .table("tokens")
            .col("tenant_id")
            .col("expire_time")
            .take();
        manager.create_index(ends).await?;
        let lookup = Index::create()
            .name("generations_lookup_idx")
            .table("generations")
            .col("lookup")
            .take();
        manager.create_index(lookup).await?;
        for (table, column) in more_columns() {
            let table = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(table).await?;
        }
        for sql in FORWARD {
            connection.execute_unprepared(sql).await?;
        }
        let json = match manager.get_database_backend() {
            DbBackend::Postgres => "::json",
            _ => "",
        };
        let jwk = format!(
            r#"UPDATE signing_keys SET activate_time = create_time,
               jwk = ('{{"kty":"EC","crv":"P-256","x":"' || x || '","y":"' || y || '"}}'){json}"#
        );
        connection.execute_unprepared(&jwk).await?;
        for (table, column) in replaced() {
            let table = Table::alter().table(table).drop_column(column).to_owned();
            manager.alter_table(table).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for (table, column) in [
            ("api_keys", integer("pepper").default(0).take()),
            (
                "api_keys",
                var_binary("secret_hash", DIGEST).default("").take(),
            ),
            ("api_clients", integer("pepper").default(0).take()),
            (
                "api_clients",
                var_binary("secret_hash", DIGEST).default("").take(),
            ),
            ("signing_keys", text("x").default("").take()),
            ("signing_keys", text("y").default("").take()),
        ] {
            let table = Table::alter().table(table).add_column(column).to_owned();
            manager.alter_table(table).await?;
        }
        for sql in BACK {
            connection.execute_unprepared(sql).await?;
        }
        for coordinate in ["x", "y"] {
            let sql = format!(
                "UPDATE signing_keys SET {coordinate} = jwk ->> '{coordinate}' WHERE jwk IS NOT NULL"
            );
            connection.execute_unprepared(&sql).await?;
        }
        for table in [
            "peppers",
            "tenant_states",
            "key_policies",
            "uses",
            "generations",
        ] {
            let table = Table::drop().table(table).take();
            manager.drop_table(table).await?;
        }
        for (table, column) in more_columns() {
            let name = column.get_column_name();
            let table = Table::alter().table(table).drop_column(name).to_owned();
            manager.alter_table(table).await?;
        }
        let ends = Index::drop()
            .name("tokens_tenant_id_expire_time")
            .table("tokens")
            .to_owned();
        manager.drop_index(ends).await?;
        for table in ["api_clients", "api_keys"] {
            let name = format!("{table}_tenant_id_number_key");
            let index = Index::drop().name(name).table(table).to_owned();
            manager.drop_index(index).await?;
        }
        Ok(())
    }
}

/// What was one secret of a key or client is its first generation; the first
/// pepper is derived from the master key, as before.
const FORWARD: [&str; 4] = [
    "INSERT INTO generations (tenant_id, key_id, generation, scheme, pepper, hash, create_time, use_count)
     SELECT tenant_id, id, 1, 'hmac', pepper, secret_hash, create_time, 0 FROM api_keys",
    "INSERT INTO generations (tenant_id, client_id, generation, scheme, pepper, hash, create_time, use_count)
     SELECT tenant_id, id, 1, 'hmac', pepper, secret_hash, create_time, 0 FROM api_clients",
    "UPDATE tokens SET generation = (SELECT g.number FROM generations g WHERE g.client_id = tokens.client_id)",
    "UPDATE api_keys SET update_time = create_time",
];

/// Only the newest secret goes back; what is not ours or not ES256 can't.
const BACK: [&str; 4] = [
    "DELETE FROM generations WHERE scheme <> 'hmac' OR EXISTS (SELECT 1 FROM generations g
     WHERE g.generation > generations.generation AND (g.key_id = generations.key_id OR g.client_id = generations.client_id))",
    "UPDATE api_keys SET pepper = (SELECT g.pepper FROM generations g WHERE g.key_id = api_keys.id),
     secret_hash = (SELECT g.hash FROM generations g WHERE g.key_id = api_keys.id)
     WHERE EXISTS (SELECT 1 FROM generations g WHERE g.key_id = api_keys.id)",
    "UPDATE api_clients SET pepper = (SELECT g.pepper FROM generations g WHERE g.client_id = api_clients.id),
     secret_hash = (SELECT g.hash FROM generations g WHERE g.client_id = api_clients.id)
     WHERE EXISTS (SELECT 1 FROM generations g WHERE g.client_id = api_clients.id)",
    "DELETE FROM signing_keys WHERE algorithm <> 'ES256'",
];

/// What generations and the JWK replace.
fn replaced() -> [(&'static str, &'static str); 6] {
    [
        ("api_keys", "pepper"),
        ("api_keys", "secret_hash"),
        ("api_clients", "pepper"),
        ("api_clients", "secret_hash"),
        ("signing_keys", "x"),
        ("signing_keys", "y"),
    ]
}

fn more_columns() -> Vec<(&'static str, ColumnDef)> {
    let zero = |column: &'static str| integer(column).default(0).take();
    let empty = |column: &'static str| text(column).default("").take();
    let null = timestamp_with_time_zone_null;
    vec![
        ("api_keys", uuid_null("owner")),
        ("api_keys", string("prefix").default("muster").take()),
        ("api_keys", string("environment").default("").take()),
        ("api_keys", empty("allowed_networks")),
        ("api_keys", boolean("disabled").default(false).take()),
        ("api_keys", zero("requests_per_minute")),
        ("api_keys", empty("revoke_reason")),
        ("api_keys", zero("foreign_format")),
        ("api_keys", null("last_use_time")),
        ("api_keys", null("leak_time")),
        ("api_keys", empty("leak_source")),
        ("api_keys", null("update_time")),
        ("api_clients", uuid_null("owner")),
        ("api_clients", boolean("is_foreign").default(false).take()),
        ("api_clients", null("last_use_time")),
        ("api_clients", null("update_time")),
        ("tokens", empty("permissions")),
        ("tokens", big_integer_null("generation")),
        ("revocations", null("told_time")),
        ("revocations", uuid_null("tenant")),
        ("signing_keys", json_null("jwk")),
        ("signing_keys", null("activate_time")),
        ("signing_keys", null("revoke_time")),
    ]
}

/// The secrets of keys and clients.
fn generations() -> TableCreateStatement {
    let key = |name: &str, column: &'static str, table: &'static str| {
        ForeignKey::create()
            .name(name)
            .from("generations", ("tenant_id", column))
            .to(table, ("tenant_id", "id"))
            .on_delete(ForeignKeyAction::Cascade)
            .take()
    };
    Table::create()
        .table("generations")
        .col(number())
        .col(tenant())
        .col(uuid_null("key_id"))
        .col(uuid_null("client_id"))
        .col(integer("generation"))
        .col(string("scheme"))
        .col(integer("pepper"))
        .col(var_binary("hash", HASH))
        .col(var_binary_null("lookup", DIGEST))
        .col(time("create_time"))
        .col(timestamp_with_time_zone_null("end_time"))
        .col(timestamp_with_time_zone_null("last_use_time"))
        .col(big_integer("use_count"))
        .index(&mut unique("generations", &["tenant_id", "number"]))
        .foreign_key(&mut key("generations_key_fkey", "key_id", "api_keys"))
        .foreign_key(&mut key(
            "generations_client_fkey",
            "client_id",
            "api_clients",
        ))
        .take()
}

/// From where and by what a secret is used.
fn uses() -> TableCreateStatement {
    let generation = ForeignKey::create()
        .name("uses_generation_fkey")
        .from("uses", ("tenant_id", "generation"))
        .to("generations", ("tenant_id", "number"))
        .on_delete(ForeignKeyAction::Cascade)
        .take();
    Table::create()
        .table("uses")
        .col(number())
        .col(tenant())
        .col(big_integer("generation"))
        .col(string("network"))
        .col(string("user_agent"))
        .col(time("first_time"))
        .col(time("last_time"))
        .col(big_integer("count"))
        .foreign_key(&mut generation.clone())
        .take()
}

fn policies() -> TableCreateStatement {
    Table::create()
        .table("key_policies")
        .col(number())
        .col(tenant())
        .col(big_integer_null("max_life"))
        .col(boolean("expiry_required"))
        .col(text("allowed_permissions"))
        .col(big_integer_null("max_overlap"))
        .col(integer("leak_action"))
        .col(time("update_time"))
        .take()
}

/// Which tenants are suspended, as tenancy says.
fn tenants() -> TableCreateStatement {
    Table::create()
        .table("tenant_states")
        .col(number())
        .col(tenant())
        .col(boolean("suspended"))
        .col(big_integer("revision"))
        .take()
}

/// What hashes of secrets are keyed with; wrapped by the master key.
fn peppers() -> TableCreateStatement {
    Table::create()
        .table("peppers")
        .col(number())
        .col(var_binary("wrapped", 256))
        .col(time("create_time"))
        .take()
}
