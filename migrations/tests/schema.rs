//! The history makes the same schema on SQLite and on PostgreSQL, backwards
//! and forwards, and however many begin at once.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use chassis::peer::ServiceName;
use chassis::store::schema::{self, Schema};
use chassis::store::{Postgres, Store};
use chassis::{Clock, Result};
use muster_migrations::{identity, keys, registry, tenancy};
use sea_orm_migration::sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, Statement,
};
use sea_orm_migration::{MigratorTrait, SchemaManager};

/// Runs a generic function for every service.
macro_rules! for_each_service {
    ($run:ident($($argument:expr),*)) => {
        $run::<identity::Migrator>(ServiceName::Identity, $($argument),*).await;
        $run::<tenancy::Migrator>(ServiceName::Tenancy, $($argument),*).await;
        $run::<registry::Migrator>(ServiceName::DeviceRegistry, $($argument),*).await;
        $run::<keys::Migrator>(ServiceName::KeyManagement, $($argument),*).await;
    };
}

/// What both databases can tell: tables, columns and whether they may be
/// null, and unique indexes.
type Shape = BTreeSet<String>;

const OF_SQLITE: &str = "
    SELECT m.name || '.' || c.name || ' ' ||
           CASE WHEN c.\"notnull\" OR c.pk THEN 'not null' ELSE 'null' END
    FROM sqlite_schema m JOIN pragma_table_info(m.name) c
    WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
    UNION ALL
    SELECT m.name || ' unique ' || CASE WHEN i.partial THEN 'partial ' ELSE '' END || (
             SELECT group_concat(coalesce(name, '?'), ',') FROM (SELECT name FROM pragma_index_info(i.name) ORDER BY seqno))
    FROM sqlite_schema m JOIN pragma_index_list(m.name) i
    WHERE m.type = 'table' AND i.\"unique\" AND i.origin <> 'pk'";

const OF_POSTGRES: &str = "
    SELECT c.relname || '.' || a.attname || ' ' || CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         AND a.attgenerated = ''
    WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'r'
    UNION ALL
    SELECT c.relname || ' unique ' || CASE WHEN i.indpred IS NOT NULL THEN 'partial ' ELSE '' END || (
             SELECT string_agg(coalesce(a.attname, '?'), ',' ORDER BY k.n)
             FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, n)
             LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum)
    FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
    WHERE c.relnamespace = '{schema}'::regnamespace AND i.indisunique AND NOT i.indisprimary";

fn settings(url: &str) -> Postgres {
    Postgres {
        statement_timeout: Duration::ZERO,
        ..Postgres::new(url)
    }
}

/// An empty database; none, and says so loudly, if there is no server.
async fn empty() -> Option<String> {
    match test_database::try_postgres() {
        Ok(server) => Some(server.create_database().await),
        Err(why) => {
            let told = format!("NOT RUN: migrations of PostgreSQL: {why}");
            let _ = writeln!(std::io::stderr(), "{told}");
            let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!must, "{told}");
            None
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "looks at what a store made")]
async fn connect(url: &str) -> DatabaseConnection {
    let options = ConnectOptions::new(url).max_connections(1).to_owned();
    Database::connect(options).await.unwrap()
}

async fn shape(database: &DatabaseConnection, sql: &str) -> Shape {
    let query = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all_raw(query).await.unwrap();
    let lines = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    let lines: Shape = lines.collect();
    lines
        .into_iter()
        .filter(|line| !line.starts_with("seaql"))
        .collect()
}

async fn shape_of_postgres(url: &str, schema: Schema) -> Shape {
    let database = connect(url).await;
    let shape = shape(&database, &OF_POSTGRES.replace("{schema}", schema.name)).await;
    database.close().await.unwrap();
    shape
}

async fn shape_of_sqlite<M: MigratorTrait>(folder: &tempfile::TempDir) -> Shape {
    let file = folder.path().join("s.sqlite");
    drop(Store::sqlite::<M>(&file, &Clock::system()).await.unwrap());
    let database = connect(&format!("sqlite://{}", file.display())).await;
    let shape = shape(&database, OF_SQLITE).await;
    database.close().await.unwrap();
    shape
}

async fn is_alike<M: MigratorTrait>(service: ServiceName, url: &str) {
    let schema = Schema::of(service);
    schema::up::<M>(&settings(url), schema).await.unwrap();
    let sqlite = shape_of_sqlite::<M>(&tempfile::tempdir().unwrap()).await;
    let postgres = shape_of_postgres(url, schema).await;
    let differ: Vec<_> = sqlite.symmetric_difference(&postgres).collect();
    assert!(differ.is_empty(), "{service:?}: {differ:#?}");
    // Each has things of its own, and a record of changes.
    assert!(sqlite.len() > 20, "{sqlite:?}");
    assert!(sqlite.contains("events.id not null") && sqlite.contains("events unique id"));
}

#[tokio::test]
async fn both_databases_have_the_same_tables_columns_and_unique_indexes() {
    let Some(url) = empty().await else { return };
    for_each_service!(is_alike(&url));
}

async fn goes_back<M: MigratorTrait>(service: ServiceName, url: &str) {
    let (database, schema) = (settings(url), Schema::of(service));
    let applied = schema::up::<M>(&database, schema).await.unwrap();
    assert_eq!(applied.len(), M::migrations().len());
    let whole = shape_of_postgres(url, schema).await;
    let steps = u32::try_from(applied.len()).unwrap();
    let mut gone = schema::down::<M>(&database, schema, steps).await.unwrap();
    gone.sort();
    let mut names = applied.clone();
    names.sort();
    assert_eq!(gone, names);
    assert!(shape_of_postgres(url, schema).await.is_empty());
    let status = schema::status::<M>(&database, schema).await.unwrap();
    assert!(status.iter().all(|migration| !migration.applied));
    assert_eq!(schema::up::<M>(&database, schema).await.unwrap(), applied);
    assert_eq!(shape_of_postgres(url, schema).await, whole);
    assert!(schema::up::<M>(&database, schema).await.unwrap().is_empty());
}

#[tokio::test]
async fn on_postgresql_the_history_goes_back_and_forth() {
    let Some(url) = empty().await else { return };
    for_each_service!(goes_back(&url));
}

async fn goes_back_on_sqlite<M: MigratorTrait>(service: ServiceName) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.sqlite");
    let whole = shape_of_sqlite::<M>(&folder).await;
    let database = connect(&format!("sqlite://{}", file.display())).await;
    M::down(&database, None).await.unwrap();
    assert!(shape(&database, OF_SQLITE).await.is_empty(), "{service:?}");
    assert!(
        !SchemaManager::new(&database)
            .has_table("events")
            .await
            .unwrap()
    );
    M::up(&database, None).await.unwrap();
    assert_eq!(shape(&database, OF_SQLITE).await, whole, "{service:?}");
}

#[tokio::test]
async fn on_sqlite_the_history_goes_back_and_forth() {
    for_each_service!(goes_back_on_sqlite());
}

async fn up_all(url: &str) -> Result<()> {
    let database = settings(url);
    let place = Schema::of;
    schema::up::<identity::Migrator>(&database, place(ServiceName::Identity)).await?;
    schema::up::<tenancy::Migrator>(&database, place(ServiceName::Tenancy)).await?;
    schema::up::<registry::Migrator>(&database, place(ServiceName::DeviceRegistry)).await?;
    schema::up::<keys::Migrator>(&database, place(ServiceName::KeyManagement)).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_who_migrate_at_once_do_it_once() {
    let (Some(together), Some(alone)) = (empty().await, empty().await) else {
        return;
    };
    let migrating: Vec<_> = (0..10)
        .map(|_| {
            let url = together.clone();
            tokio::spawn(async move { up_all(&url).await })
        })
        .collect();
    for one in migrating {
        one.await.unwrap().unwrap();
    }
    up_all(&alone).await.unwrap();
    for schema in ServiceName::ALL.map(Schema::of) {
        let made = shape_of_postgres(&together, schema).await;
        assert_eq!(made, shape_of_postgres(&alone, schema).await);
        assert!(!made.is_empty());
    }
}
