//! The tables of a service, as the databases describe them.

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use sea_orm::sqlx::sqlite::SqliteConnection;
use sea_orm::sqlx::{self, AssertSqlSafe, PgConnection, Row};

use super::value::Kind;
use crate::error::{Error, Result};

/// A table of a service.
#[derive(Clone, Debug)]
pub(super) struct Table {
    schema: String,
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The column by which rows are told apart, and its place among the columns.
    pub(super) key: String,
    pub(super) key_index: usize,
    /// What counts the key up.
    pub(super) sequence: Option<String>,
    /// Tables that must be filled before.
    after: HashSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    /// PostgreSQL's name of its type.
    kind_name: String,
    pub(super) kind: Kind,
}

const COLUMNS: &str = "
    SELECT a.attname::text, format_type(a.atttypid, NULL),
           COALESCE(a.attnum = ANY (k.conkey) AND cardinality(k.conkey) = 1, false),
           pg_get_serial_sequence(format('%I.%I', n.nspname, c.relname), a.attname)
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         -- What the database works out by itself can't be written.
         AND a.attgenerated = ''
    LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
    WHERE n.nspname = $1 AND c.relname = $2
    ORDER BY a.attnum";

const TABLES: &str = "
    SELECT c.relname::text,
           ARRAY(SELECT p.relname::text FROM pg_constraint f JOIN pg_class p ON p.oid = f.confrelid
                 WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.confrelid <> c.oid)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND c.relname <> 'seaql_migrations'
    ORDER BY c.relname";

/// The tables of a schema, first those that others refer to.
pub(super) async fn of_postgres(connection: &mut PgConnection, schema: &str) -> Result<Vec<Table>> {
    let found = sqlx::query(TABLES).bind(schema).fetch_all(&mut *connection);
    let mut left = Vec::new();
    for row in found.await.map_err(Error::internal)? {
        let name: String = row.try_get(0).map_err(Error::internal)?;
        let after: Vec<String> = row.try_get(1).map_err(Error::internal)?;
        left.push(describe(connection, schema, name, after).await?);
    }
    let mut ordered: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let waits =
            |table: &Table, left: &[Table]| left.iter().any(|t| table.after.contains(&t.name));
        let (later, now): (Vec<_>, Vec<_>) = left.iter().cloned().partition(|t| waits(t, &left));
        if now.is_empty() {
            return Err(Error::internal(format!(
                "the tables of {schema} refer to each other"
            )));
        }
        ordered.extend(now);
        left = later;
    }
    Ok(ordered)
}

async fn describe(
    connection: &mut PgConnection,
    schema: &str,
    name: String,
    after: Vec<String>,
) -> Result<Table> {
    let rows = sqlx::query(COLUMNS).bind(schema).bind(&name);
    let rows = rows.fetch_all(connection).await.map_err(Error::internal)?;
    let (mut columns, mut key) = (Vec::new(), None);
    for (index, row) in rows.iter().enumerate() {
        let column: String = row.try_get(0).map_err(Error::internal)?;
        let kind_name: String = row.try_get(1).map_err(Error::internal)?;
        let kind = Kind::of(&kind_name).ok_or_else(|| {
            let text =
                format!("{schema}.{name}.{column} is of a type that can't be copied: {kind_name}");
            Error::internal(text)
        })?;
        if row.try_get(2).map_err(Error::internal)? {
            let sequence: Option<String> = row.try_get(3).map_err(Error::internal)?;
            key = Some((quote(&column), index, sequence));
        }
        columns.push(Column {
            name: column,
            kind_name,
            kind,
        });
    }
    let (key, key_index, sequence) =
        key.ok_or_else(|| Error::internal(format!("{schema}.{name} has no key of one column")))?;
    Ok(Table {
        schema: schema.to_owned(),
        name,
        columns,
        key,
        key_index,
        sequence,
        after: after.into_iter().collect(),
    })
}

/// Refuses tables and columns that are in one of the databases only.
pub(super) async fn compare(tables: &[Table], source: &mut SqliteConnection) -> Result<()> {
    let columns = "SELECT m.name, c.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
                   WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
                     AND m.name <> 'seaql_migrations'";
    let rows = sqlx::query(columns).fetch_all(source).await;
    let here = rows.map_err(Error::internal)?;
    let here = here
        .iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
    let here = here.collect::<Result<BTreeSet<(String, String)>, sqlx::Error>>();
    let here = here.map_err(Error::internal)?;
    let there: BTreeSet<_> = tables
        .iter()
        .flat_map(|t| t.columns.iter().map(|c| (t.name.clone(), c.name.clone())))
        .collect();
    match here.symmetric_difference(&there).next() {
        None => Ok(()),
        Some((table, column)) => {
            let text = format!("the column {table}.{column} is in one of the databases only");
            Err(Error::precondition("SCHEMAS_DIFFER", text))
        }
    }
}

/// How many rows the file has in a table.
pub(super) async fn count_of_sqlite(source: &mut SqliteConnection, table: &str) -> Result<u64> {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {}", quote(table)));
    let row = sqlx::query(sql).fetch_one(source).await;
    let rows: i64 = row
        .and_then(|row| row.try_get(0))
        .map_err(Error::internal)?;
    u64::try_from(rows).map_err(Error::internal)
}

/// The highest number that the file ever gave to a row, also to one that is gone.
pub(super) async fn highest_number(
    source: &mut SqliteConnection,
    table: &Table,
) -> Result<Option<i64>> {
    let counts = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'";
    let counts = sqlx::query(counts).fetch_optional(&mut *source).await;
    let ever = match counts.map_err(Error::internal)? {
        Some(_) => "SELECT seq FROM sqlite_sequence WHERE name = $1",
        None => "SELECT NULL WHERE $1 IS NULL",
    };
    let sql = AssertSqlSafe(format!(
        "WITH t(n) AS ({ever} UNION ALL SELECT max({}) FROM {}) \
         SELECT max(n) FROM t WHERE n > 0",
        table.key,
        table.quoted()
    ));
    let row = sqlx::query(sql).bind(&table.name).fetch_one(source).await;
    let highest = row.and_then(|row| row.try_get(0));
    highest.map_err(|e| table.fault(e))
}

impl Table {
    pub(super) fn quoted(&self) -> String {
        quote(&self.name)
    }

    pub(super) fn qualified(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }

    /// All columns.
    pub(super) fn names(&self) -> String {
        self.each(|column| quote(&column.name))
    }

    /// Inserts rows from a list of texts for each column.
    pub(super) fn insert(&self) -> String {
        let (mut lists, mut casts) = (Vec::new(), Vec::new());
        for (index, column) in (1..).zip(&self.columns) {
            lists.push(format!("${index}::text[]"));
            casts.push(format!("c{index}::{}", column.kind_name));
        }
        let aliases = (1..=self.columns.len()).map(|index| format!("c{index}"));
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM unnest({}) AS t ({})",
            self.qualified(),
            self.names(),
            casts.join(", "),
            lists.join(", "),
            aliases.collect::<Vec<_>>().join(", ")
        )
    }

    /// The row with a key, to be read by [`of_postgres`](super::value::of_postgres).
    pub(super) fn select_one(&self) -> String {
        let columns = self.each(|column| format!("{}{}", quote(&column.name), column.kind.cast()));
        format!(
            "SELECT {columns} FROM {} WHERE {} = $1",
            self.qualified(),
            self.key
        )
    }

    /// What went wrong with this table.
    pub(super) fn fault(&self, why: impl fmt::Display) -> Error {
        Error::internal(format!("{}.{}: {why}", self.schema, self.name))
    }

    fn each(&self, part: impl Fn(&Column) -> String) -> String {
        self.columns.iter().map(part).collect::<Vec<_>>().join(", ")
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
