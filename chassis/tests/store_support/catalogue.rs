//! Tables as PostgreSQL describes them, and a row for any of them.

use muster_chassis::store::schema::Schema;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    columns: Vec<Column>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    kind: String,
    /// Filled by the database.
    has_default: bool,
    /// Refers to a tenant, rather than to something of one.
    names_tenant: bool,
}

/// A session as the store opens it.
pub(crate) async fn session(url: &str, schema: Schema) -> PgConnection {
    let settings = [("search_path", schema.name), ("role", schema.role)];
    let options = url.parse::<PgConnectOptions>().unwrap().options(settings);
    options.connect().await.unwrap()
}

/// The tables of a schema, but for the record of migrations.
pub(crate) async fn tables(connection: &mut PgConnection, schema: &str) -> Vec<Table> {
    let sql = format!(
        "SELECT c.relname, a.attname, format_type(a.atttypid, NULL), a.atthasdef OR a.attidentity <> '',
                a.attname = 'tenant_id' OR EXISTS (
                  SELECT FROM pg_constraint f
                  JOIN pg_attribute r ON r.attrelid = f.confrelid AND r.attnum = f.confkey[1]
                  WHERE f.conrelid = c.oid AND f.contype = 'f' AND f.conkey = ARRAY[a.attnum]
                    AND r.attname = 'tenant_id')
         FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r'
           AND c.relname <> 'seaql_migrations' AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY c.relname, a.attnum"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await;
    let mut tables = Vec::<Table>::new();
    for row in rows.unwrap() {
        let name: String = row.get(0);
        if tables.last().is_none_or(|table| table.name != name) {
            tables.push(Table {
                name,
                columns: Vec::new(),
            });
        }
        tables.last_mut().unwrap().columns.push(Column {
            name: row.get(1),
            kind: row.get(2),
            has_default: row.get(3),
            names_tenant: row.get(4),
        });
    }
    tables
}

impl Table {
    pub(crate) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|c| c.name == column)
    }

    /// A row of a tenant, whose ids and texts no other tenant has. It refers
    /// to the tenant's other rows: each thing of a tenant has the same id.
    pub(crate) fn insert(&self, tenant: Uuid) -> String {
        let columns = self.columns.iter().filter(|column| !column.has_default);
        let (names, values): (Vec<_>, Vec<_>) = columns
            .map(|column| (column.name.as_str(), column.value(tenant)))
            .unzip();
        let (names, values) = (names.join(", "), values.join(", "));
        format!("INSERT INTO {} ({names}) VALUES ({values})", self.name)
    }
}

impl Column {
    fn value(&self, tenant: Uuid) -> String {
        let thing = Uuid::from_u128(tenant.as_u128() + 1000);
        match self.kind.as_str() {
            "uuid" if self.names_tenant => format!("'{tenant}'"),
            "uuid" => format!("'{thing}'"),
            "text" | "character varying" => format!("'text {}'", tenant.as_u128()),
            // The number of a row that the database has numbered.
            "bigint" if self.name == "generation" => {
                "(SELECT coalesce(max(number), 0) FROM generations)".to_owned()
            }
            "smallint" | "integer" | "bigint" | "double precision" => "1".to_owned(),
            "boolean" => "false".to_owned(),
            "json" | "jsonb" => "'{}'".to_owned(),
            "bytea" => "'\\x00'".to_owned(),
            "timestamp with time zone" => "now()".to_owned(),
            other => panic!("{} is of a type without a value: {other}", self.name),
        }
    }
}
