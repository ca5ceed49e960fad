//! For tests: how SQLite finds devices of a tenant, which it decides without
//! knowing how many there are.

use chassis::Clock;
use chassis::store::{Store, TenantOwned};
use sea_orm::{ColumnTrait, ConnectionTrait, Database, DbBackend, QueryFilter, QueryTrait, Select};
use uuid::Uuid;

use crate::Migrator;

/// The steps of a query.
#[derive(Debug)]
pub(crate) struct Plan(Vec<String>);

impl Plan {
    /// Whether the devices are found by an index that knows the tenant and
    /// this column.
    pub(crate) fn looks_up(&self, column: &str) -> bool {
        let by = format!("(tenant_id=? AND {column}=?)");
        let mut steps = self.0.iter().filter(|step| step.contains("devices"));
        steps.all(|step| step.ends_with(&by))
    }
}

/// How a query is run for one tenant.
#[expect(clippy::disallowed_methods, reason = "explains, and reads no row")]
pub(crate) async fn on_sqlite<E: TenantOwned>(query: Select<E>) -> Plan {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("r.db");
    let store = Store::sqlite::<Migrator>(&file, &Clock::system()).await;
    let database = Database::connect(format!("sqlite://{}", file.display()));
    let (_store, database) = (store.unwrap(), database.await.unwrap());
    let query = query.filter(E::TENANT.eq(Uuid::nil()));
    let mut statement = query.build(DbBackend::Sqlite);
    statement.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
    let steps = database.query_all_raw(statement).await.unwrap();
    let steps: Vec<String> = steps
        .iter()
        .map(|step| step.try_get("", "detail").unwrap())
        .collect();
    assert!(
        steps.iter().any(|step| step.contains("devices")),
        "{steps:?}"
    );
    Plan(steps)
}
