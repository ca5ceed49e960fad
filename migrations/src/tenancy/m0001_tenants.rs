//! Tenants and their members.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{string_len, uuid, uuid_null};

use crate::schema::{number, tenant, time, unique};

/// There is one tenant without a parent, however many are created at once.
/// In words, because the builder knows no index over an expression.
const FIRST_TENANT: &str = "CREATE UNIQUE INDEX tenants_first_key ON tenants ((parent IS NULL)) \
     WHERE parent IS NULL";

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(tenants()).await?;
        let connection = manager.get_connection();
        connection.execute_unprepared(FIRST_TENANT).await?;
        manager.create_table(members()).await?;
        manager
            .create_index(unique("members", &["tenant_id", "user_id"]))
            .await?;
        manager.create_index(memberships()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("members").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("tenants").to_owned())
            .await
    }
}

/// A tenant owns its own row: `tenant_id` is the row's id too.
fn tenants() -> TableCreateStatement {
    Table::create()
        .table("tenants")
        .col(number())
        .col(tenant())
        .col(string_len("display_name", 200))
        .col(uuid_null("parent"))
        .col(string_len("state", 16))
        .col(time("create_time"))
        .col(time("update_time"))
        // Here, and not after: PostgreSQL wants it before what refers to it.
        .index(&mut unique("tenants", &["tenant_id"]))
        .foreign_key(
            ForeignKey::create()
                .from("tenants", "parent")
                .to("tenants", "tenant_id"),
        )
        .to_owned()
}

fn members() -> TableCreateStatement {
    Table::create()
        .table("members")
        .col(number())
        .col(tenant())
        .col(uuid("user_id"))
        .col(string_len("role", 16))
        .col(time("create_time"))
        .col(time("update_time"))
        .foreign_key(
            ForeignKey::create()
                .from("members", "tenant_id")
                .to("tenants", "tenant_id"),
        )
        .to_owned()
}

/// By which a user's memberships are listed.
fn memberships() -> IndexCreateStatement {
    Index::create()
        .name("members_user_id_number_idx")
        .table("members")
        .col("user_id")
        .col("number")
        .to_owned()
}
