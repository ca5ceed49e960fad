//! Tables of the tests, after those of a real service.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, pk_auto, text, uuid};
use sea_orm_migration::sea_orm::DbBackend;

/// The history of the device registry's schema, and one migration more, that
/// says nothing of roles or policies.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut all = migrations::registry::Migrator::migrations();
        all.push(Box::new(Counters));
        all
    }
}

struct Counters;

impl MigrationName for Counters {
    fn name(&self) -> &'static str {
        "m9999_counters"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Counters {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let counters = Table::create()
            .table("counters")
            .col(pk_auto("number").big_integer())
            .col(uuid("tenant_id"))
            .col(text("name"))
            .col(big_integer("value"))
            .to_owned();
        manager.create_table(counters).await?;
        let names = Index::create()
            .name("counters_tenant_id_name_key")
            .table("counters")
            .col("tenant_id")
            .col("name")
            .unique()
            .to_owned();
        manager.create_index(names).await?;
        let mut transaction = big_integer("transaction");
        match manager.get_database_backend() {
            DbBackend::Postgres => {
                transaction.default(Expr::cust("pg_current_xact_id()::text::bigint"))
            }
            _ => transaction.default(0),
        };
        let notes = Table::create()
            .table("notes")
            .col(pk_auto("number").big_integer())
            .col(text("text"))
            .col(transaction)
            .to_owned();
        manager.create_table(notes).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["notes", "counters"] {
            let drop = Table::drop().table(table).to_owned();
            manager.drop_table(drop).await?;
        }
        Ok(())
    }
}

pub mod counter {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "counters")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub tenant_id: Uuid,
        pub name: String,
        pub value: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod note {
    use sea_orm::entity::prelude::*;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "notes")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub number: i64,
        pub text: String,
        pub transaction: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

muster_chassis::tenant_owned!(counter);
muster_chassis::log!(note);
