//! API keys are listed by whose they are and what became of them; tokens end
//! with their clients.

use sea_orm_migration::prelude::*;

use crate::schema::index;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// What an index is named after, its columns behind the tenant, and of which
/// keys it is.
const INDEXES: [(&str, &[&str], Option<&str>); 6] = [
    ("creator", &["creator", "number"], None),
    ("owner", &["owner", "number"], None),
    ("expire_time", &["expire_time"], None),
    ("living", &["number"], Some("revoke_time IS NULL")),
    (
        "disabled",
        &["number"],
        Some("revoke_time IS NULL AND disabled"),
    ),
    ("revoked", &["number"], Some("revoke_time IS NOT NULL")),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, columns, which) in INDEXES {
            let mut index = Index::create();
            index.name(named(name)).table("api_keys").col("tenant_id");
            for column in columns {
                index.col(*column);
            }
            if let Some(which) = which {
                index.and_where(Expr::cust(which));
            }
            manager.create_index(index).await?;
        }
        let of_client = index("tokens", &["tenant_id", "client_id"]);
        manager.create_index(of_client).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut of_client = Index::drop();
        of_client
            .name("tokens_tenant_id_client_id_idx")
            .table("tokens");
        manager.drop_index(of_client).await?;
        for (name, ..) in INDEXES {
            let index = Index::drop().name(named(name)).table("api_keys").to_owned();
            manager.drop_index(index).await?;
        }
        Ok(())
    }
}

fn named(name: &str) -> String {
    format!("api_keys_{name}")
}
