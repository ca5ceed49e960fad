//! Columns that every table has alike, on SQLite and PostgreSQL.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, timestamp_with_time_zone, uuid};
use sea_orm_migration::sea_orm::DbBackend;

/// Primary key: a short id that the database counts up and never gives twice.
pub(crate) fn number() -> ColumnDef {
    let mut column = ColumnDef::new("number");
    column
        .big_integer()
        .not_null()
        .auto_increment()
        .primary_key();
    column
}

/// The id that the contract shows.
pub(crate) fn id() -> ColumnDef {
    uuid("id")
}

/// The tenant that owns the row.
pub(crate) fn tenant() -> ColumnDef {
    uuid("tenant_id")
}

/// A time that is always known.
pub(crate) fn time(name: &'static str) -> ColumnDef {
    timestamp_with_time_zone(name)
}

/// Counts the changes of a row; the contract's etag.
pub(crate) fn revision() -> ColumnDef {
    big_integer("revision")
}

/// A unique index over columns of a tenant-owned table. Its name contains the
/// columns, by which a conflict is told to the client.
pub(crate) fn unique(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index
        .name(format!("{table}_{}_key", columns.join("_")))
        .table(table)
        .unique();
    for column in columns {
        index.col(*column);
    }
    index
}

/// An index over columns of a table.
pub(crate) fn index(table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create();
    index
        .name(format!("{table}_{}_idx", columns.join("_")))
        .table(table);
    for column in columns {
        index.col(*column);
    }
    index
}

/// A foreign key that can't point into another tenant.
pub(crate) fn reference(
    table: &'static str,
    column: &'static str,
    target: &'static str,
) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .name(format!("{table}_{column}_fkey"))
        .from(table, ("tenant_id", column))
        .to(target, ("tenant_id", "id"))
        .to_owned()
}

/// The transaction that wrote a row of a log, by which a reader on PostgreSQL
/// knows what may still appear below it. SQLite has one writer: 0.
pub(crate) fn transaction(manager: &SchemaManager) -> ColumnDef {
    let mut column = big_integer("transaction");
    match manager.get_database_backend() {
        DbBackend::Postgres => column.default(Expr::cust("pg_current_xact_id()::text::bigint")),
        _ => column.default(0),
    };
    column
}
