//! Moving an installation from its SQLite files into a PostgreSQL database:
//! everything or nothing, in one transaction, and compared before it commits.
//!
//! Which tables and columns there are is read from the databases: what is new
//! in a migration is not forgotten here, and what is on one side only is an
//! error.

mod table;
mod value;

use std::path::Path;

use futures::TryStreamExt;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sea_orm::sqlx::{self, AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use sea_orm_migration::MigratorTrait;

use super::Postgres;
use super::schema::{self, Owner, Schema};
use crate::error::{Error, Result};
use table::Table;
use value::Value;

/// Rows that are inserted by one statement.
const BATCH: usize = 1000;
/// Rows of a table that are compared column by column, besides the first and the last.
const SAMPLE: u32 = 100;

/// How far the copy of a table is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The service's schema.
    pub schema: &'static str,
    /// The table.
    pub table: String,
    /// How many rows were copied.
    pub rows: u64,
    /// How many rows there are.
    pub total: u64,
    /// How many rows were read back and compared.
    pub compared: u64,
}

/// A copy that has begun. Nothing of it is there until [`Copy::finish`].
pub struct Copy {
    /// Holds the lock of those who migrate.
    _owner: Owner,
    tx: sqlx::Transaction<'static, sqlx::Postgres>,
    done: Vec<Copied>,
}

impl Copy {
    /// Begins, if none of the schemas' tables has a row. The schemas must be
    /// up to date. Nobody else writes to them until the end.
    pub async fn begin(to: &Postgres, schemas: &[Schema]) -> Result<Self> {
        let first = schemas
            .first()
            .ok_or_else(|| Error::internal("no schema to copy to"))?;
        let owner = Owner::connect(to, *first).await?;
        let pool = owner.0.get_postgres_connection_pool();
        let mut tx = pool.begin().await.map_err(Error::internal)?;
        for schema in schemas {
            for table in table::of_postgres(&mut tx, schema.name).await? {
                let name = table.qualified();
                run(
                    &mut tx,
                    format!("LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE"),
                )
                .await?;
                if count(&mut tx, &name).await? > 0 {
                    let text = format!(
                        "{}.{} has rows already, and only an empty database is copied to: \
                         name another one, or drop its schemas",
                        schema.name, table.name
                    );
                    return Err(Error::precondition("TARGET_NOT_EMPTY", text));
                }
            }
        }
        Ok(Self {
            _owner: owner,
            tx,
            done: Vec::new(),
        })
    }

    /// Copies and compares one service's file.
    pub async fn service<M: MigratorTrait>(
        &mut self,
        from: &Path,
        schema: Schema,
        mut progress: impl FnMut(&Copied),
    ) -> Result<()> {
        let mut source = open::<M>(from).await?;
        let tables = table::of_postgres(&mut self.tx, schema.name).await?;
        table::compare(&tables, &mut source).await?;
        for table in tables {
            let mut copied = Copied {
                schema: schema.name,
                table: table.name.clone(),
                rows: 0,
                total: table::count_of_sqlite(&mut source, &table.name).await?,
                compared: 0,
            };
            progress(&copied);
            self.rows(&mut source, &table, &mut copied, &mut progress)
                .await?;
            self.sequences(&mut source, &table).await?;
            self.compare(&mut source, &table, &mut copied).await?;
            progress(&copied);
            self.done.push(copied);
        }
        source.close().await.map_err(Error::internal)
    }

    /// Makes it so.
    pub async fn finish(self) -> Result<Vec<Copied>> {
        self.tx.commit().await.map_err(Error::internal)?;
        Ok(self.done)
    }

    async fn rows(
        &mut self,
        source: &mut SqliteConnection,
        table: &Table,
        copied: &mut Copied,
        progress: &mut impl FnMut(&Copied),
    ) -> Result<()> {
        let all = AssertSqlSafe(format!(
            "SELECT {} FROM {} ORDER BY {}",
            table.names(),
            table.quoted(),
            table.key
        ));
        let insert = table.insert();
        let mut rows = sqlx::query(all).fetch(source);
        loop {
            let mut columns = vec![Vec::with_capacity(BATCH); table.columns.len()];
            let mut size = 0;
            while size < BATCH
                && let Some(row) = rows.try_next().await.map_err(|e| table.fault(e))?
            {
                for (column, value) in columns.iter_mut().zip(read(table, &row)?) {
                    column.push(value.text());
                }
                size += 1;
            }
            if size == 0 {
                return Ok(());
            }
            let mut query = sqlx::query(AssertSqlSafe(insert.clone()));
            for column in columns {
                query = query.bind(column);
            }
            let done = query.execute(&mut *self.tx).await;
            copied.rows += done.map_err(|e| table.fault(e))?.rows_affected();
            progress(copied);
        }
    }

    /// No number is given twice, not even one whose row is gone.
    async fn sequences(&mut self, source: &mut SqliteConnection, table: &Table) -> Result<()> {
        let highest = table::highest_number(source, table).await?;
        if let (Some(sequence), Some(highest)) = (&table.sequence, highest) {
            let sql = "SELECT setval($1::text::regclass, $2)";
            let query = sqlx::query(sql).bind(sequence).bind(highest);
            let done = query.execute(&mut *self.tx).await;
            done.map_err(|e| table.fault(e))?;
        }
        Ok(())
    }

    /// Reads back what was written, as the program would.
    async fn compare(
        &mut self,
        source: &mut SqliteConnection,
        table: &Table,
        copied: &mut Copied,
    ) -> Result<()> {
        let there = count(&mut self.tx, &table.qualified()).await?;
        if there != copied.total || copied.rows != copied.total {
            let text = format!("{} rows became {there}", copied.total);
            return Err(table.fault(text));
        }
        let (from, key) = (table.quoted(), &table.key);
        let sample = AssertSqlSafe(format!(
            "SELECT {} FROM {from} WHERE {key} IN (SELECT {key} FROM {from} ORDER BY random() LIMIT {SAMPLE})
               OR {key} = (SELECT min({key}) FROM {from}) OR {key} = (SELECT max({key}) FROM {from})
             ORDER BY {key}",
            table.names()
        ));
        let rows = sqlx::query(sample).fetch_all(source).await;
        for row in rows.map_err(|e| table.fault(e))? {
            let expected = read(table, &row)?;
            let number = expected
                .get(table.key_index)
                .and_then(Value::number)
                .ok_or_else(|| table.fault("a row without a number"))?;
            let query = sqlx::query(AssertSqlSafe(table.select_one())).bind(number);
            let row = query.fetch_one(&mut *self.tx).await;
            let row = row.map_err(|e| table.fault(e))?;
            for (index, (column, expected)) in table.columns.iter().zip(expected).enumerate() {
                let found = value::of_postgres(&row, index, column.kind);
                if found.map_err(|e| table.fault(e))? != expected {
                    let text = format!("{} of row {number} became something else", column.name);
                    return Err(table.fault(text));
                }
            }
            copied.compared += 1;
        }
        Ok(())
    }
}

/// A file with the schema of this version.
async fn open<M: MigratorTrait>(file: &Path) -> Result<SqliteConnection> {
    let told = |e: sqlx::Error| Error::internal(format!("can't read {}: {e}", file.display()));
    let options = SqliteConnectOptions::new().filename(file);
    let mut source = options.connect().await.map_err(told)?;
    let applied = sqlx::query("SELECT version FROM seaql_migrations").fetch_all(&mut source);
    let applied = applied.await.map_err(told)?;
    let applied = applied.iter().map(|row| row.try_get::<String, _>(0));
    let applied = applied.collect::<Result<Vec<_>, _>>().map_err(told)?;
    let known = schema::names::<M>();
    let (older, newer) = (
        known.iter().find(|name| !applied.contains(name)),
        applied.iter().find(|name| !known.contains(name)),
    );
    let why = match (older, newer) {
        (Some(lacks), _) => {
            format!("lacks {lacks}: start and stop `muster up` of this version on it once")
        }
        (None, Some(has)) => {
            format!("has {has}, which this version does not know: use the newer one")
        }
        (None, None) => return Ok(source),
    };
    let text = format!("{} {why}", file.display());
    Err(Error::precondition("OTHER_VERSION", text))
}

/// The values of a row, in the order of the table's columns.
fn read(table: &Table, row: &SqliteRow) -> Result<Vec<Value>> {
    let columns = table.columns.iter().enumerate();
    columns
        .map(|(index, column)| {
            let value = value::of_sqlite(row, index, column.kind);
            value.map_err(|e| table.fault(format!("{}: {e}", column.name)))
        })
        .collect()
}

async fn run(connection: &mut PgConnection, sql: String) -> Result<()> {
    let done = sqlx::query(AssertSqlSafe(sql)).execute(connection).await;
    done.map(drop).map_err(Error::internal)
}

async fn count(connection: &mut PgConnection, table: &str) -> Result<u64> {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    let row = sqlx::query(sql).fetch_one(connection).await;
    let rows: i64 = row
        .and_then(|row| row.try_get(0))
        .map_err(Error::internal)?;
    u64::try_from(rows).map_err(Error::internal)
}
