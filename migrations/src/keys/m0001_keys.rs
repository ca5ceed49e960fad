//! API keys, API clients, tokens, signing keys and revocations.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, boolean, integer, json, string, text, timestamp_with_time_zone_null, uuid,
    var_binary,
};

use crate::schema::{id, number, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// Length of an HMAC-SHA-256.
const HASH: u32 = 32;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            api_keys(),
            api_clients(),
            tokens(),
            signing_keys(),
            revocations(),
        ] {
            manager.create_table(table).await?;
        }
        for index in [
            unique("api_keys", &["tenant_id", "id"]),
            // A presented key is found by its id alone.
            unique("api_keys", &["id"]),
            live_names(),
            unique("api_clients", &["id"]),
            unique("api_clients", &["client_key"]),
            unique("tokens", &["tenant_id", "id"]),
            unique("signing_keys", &["kid"]),
        ] {
            manager.create_index(index).await?;
        }
        let forget = Index::create()
            .name("revocations_forget_time")
            .table("revocations")
            .col("forget_time")
            .take();
        manager.create_index(forget).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            "revocations",
            "signing_keys",
            "tokens",
            "api_clients",
            "api_keys",
        ] {
            manager
                .drop_table(Table::drop().table(table).take())
                .await?;
        }
        Ok(())
    }
}

fn api_keys() -> TableCreateStatement {
    Table::create()
        .table("api_keys")
        .col(number())
        .col(id())
        .col(tenant())
        .col(big_integer("tenant_number"))
        .col(string("display_name"))
        .col(text("description"))
        .col(text("permissions"))
        .col(json("metadata"))
        .col(string("creator"))
        .col(integer("pepper"))
        .col(var_binary("secret_hash", HASH))
        .col(time("create_time"))
        .col(timestamp_with_time_zone_null("expire_time"))
        .col(timestamp_with_time_zone_null("revoke_time"))
        .take()
}

/// A revoked key's name may be given again.
fn live_names() -> IndexCreateStatement {
    unique("api_keys", &["tenant_id", "display_name"])
        .and_where(Expr::col("revoke_time").is_null())
        .take()
}

fn api_clients() -> TableCreateStatement {
    Table::create()
        .table("api_clients")
        .col(number())
        .col(id())
        .col(tenant())
        .col(big_integer("tenant_number"))
        // Here, and not after: PostgreSQL wants it before what refers to it.
        .index(&mut unique("api_clients", &["tenant_id", "id"]))
        .col(string("client_key"))
        .col(string("display_name"))
        .col(text("permissions"))
        .col(json("metadata"))
        .col(string("creator"))
        .col(boolean("disabled"))
        .col(integer("token_ttl"))
        .col(integer("pepper"))
        .col(var_binary("secret_hash", HASH))
        .col(time("create_time"))
        .take()
}

fn tokens() -> TableCreateStatement {
    let client = ForeignKey::create()
        .name("tokens_client_fkey")
        .from("tokens", ("tenant_id", "client_id"))
        .to("api_clients", ("tenant_id", "id"))
        .on_delete(ForeignKeyAction::Cascade)
        .take();
    Table::create()
        .table("tokens")
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("client_id"))
        .col(integer("ttl"))
        .col(time("create_time"))
        .col(time("expire_time"))
        .col(timestamp_with_time_zone_null("revoke_time"))
        .foreign_key(&mut client.clone())
        .take()
}

fn signing_keys() -> TableCreateStatement {
    Table::create()
        .table("signing_keys")
        .col(number())
        .col(string("kid"))
        .col(string("algorithm"))
        .col(text("x"))
        .col(text("y"))
        .col(var_binary("wrapped", 1024))
        .col(time("create_time"))
        .take()
}

fn revocations() -> TableCreateStatement {
    Table::create()
        .table("revocations")
        .col(number())
        .col(string("subject"))
        .col(time("revoke_time"))
        .col(time("forget_time"))
        .take()
}
