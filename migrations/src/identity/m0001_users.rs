//! Users and their sessions.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    binary, string_len, string_null, timestamp_with_time_zone_null, uuid,
};

use crate::schema::{id, number, tenant, time, unique};

#[derive(DeriveMigrationName)]
pub(super) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(users()).await?;
        manager
            .create_index(unique("users", &["tenant_id", "id"]))
            .await?;
        // Unique in the installation: a login names no tenant.
        manager.create_index(unique("users", &["id"])).await?;
        manager.create_index(unique("users", &["email"])).await?;
        manager.create_table(sessions()).await?;
        manager
            .create_index(unique("sessions", &["tenant_id", "id"]))
            .await?;
        manager.create_index(unique("sessions", &["id"])).await?;
        manager.create_index(sessions_of_user()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("sessions").to_owned())
            .await?;
        manager
            .drop_table(Table::drop().table("users").to_owned())
            .await
    }
}

/// `tenant_id` is the tenant that manages the account.
fn users() -> TableCreateStatement {
    Table::create()
        .table("users")
        .col(number())
        .col(id())
        .col(tenant())
        .col(string_len("email", 254))
        .col(string_len("display_name", 200))
        .col(string_null("password_hash"))
        .col(string_len("state", 16))
        .col(time("create_time"))
        .col(time("update_time"))
        .to_owned()
}

fn sessions() -> TableCreateStatement {
    Table::create()
        .table("sessions")
        .col(number())
        .col(id())
        .col(tenant())
        .col(uuid("user_id"))
        .col(binary("secret_hash"))
        .col(time("create_time"))
        .col(time("expire_time"))
        .col(timestamp_with_time_zone_null("end_time"))
        .foreign_key(
            ForeignKey::create()
                .from("sessions", ("tenant_id", "user_id"))
                .to("users", ("tenant_id", "id")),
        )
        .to_owned()
}

/// By which a user's sessions are ended.
fn sessions_of_user() -> IndexCreateStatement {
    Index::create()
        .name("sessions_user_id_idx")
        .table("sessions")
        .col("user_id")
        .to_owned()
}
