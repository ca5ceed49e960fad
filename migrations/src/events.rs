//! The record of changes, which every service has.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{text, uuid_null};
use sea_orm_migration::sea_orm::DbBackend;

use crate::schema::{id, number, time, transaction, unique};

/// Who did what to which thing, in which request and from where.
pub(crate) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m0002_events"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table("events")
            .col(number())
            .col(id())
            .col(uuid_null("tenant_id"))
            .col(time("time"))
            .col(text("actor"))
            .col(text("method"))
            .col(text("collection"))
            .col(text("resource"))
            .col(text("request_id"))
            .col(text("source"))
            .col(transaction(manager))
            .to_owned();
        manager.create_table(table).await?;
        manager.create_index(unique("events", &["id"])).await?;
        // A tenant's record is read newest first; so are one actor's, one
        // thing's and one collection's.
        for filter in [None, Some("actor"), Some("resource"), Some("collection")] {
            let columns = ["tenant_id"]
                .into_iter()
                .chain(filter)
                .chain(["time", "id"]);
            let columns: Vec<_> = columns.collect();
            let mut index = Index::create();
            index
                .name(format!("events_{}_idx", columns.join("_")))
                .table("events");
            for column in columns {
                index.col(column);
            }
            manager.create_index(index).await?;
        }
        // What happened stays; in PostgreSQL, the service's role lacks the rights.
        if manager.get_database_backend() == DbBackend::Sqlite {
            for change in ["UPDATE", "DELETE"] {
                let sql = format!(
                    "CREATE TRIGGER events_no_{change} BEFORE {change} ON events
                     BEGIN SELECT RAISE(ABORT, 'what happened stays'); END"
                );
                manager.get_connection().execute_unprepared(&sql).await?;
            }
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("events").to_owned())
            .await
    }
}
