//! A store on a database of its own, callers of two tenants, and two tables
//! that no service has: counters that belong to tenants, and a log of notes.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    clippy::unwrap_used,
    reason = "each test file uses its part"
)]

mod callers;
mod tables;

use std::io::Write;
use std::time::Duration;

use muster_chassis::store::schema::{self, Schema};
use muster_chassis::store::{self, Store};
use muster_chassis::{Caller, Clock};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use test_database::Postgres;
use uuid::Uuid;

pub use tables::{Migrator, counter, note};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const SCHEMA: Schema = Schema {
    name: "device_registry",
    role: "muster_device_registry",
};

/// The server, if there is one; else says loudly that a test did not run.
pub fn server() -> Option<&'static Postgres> {
    test_database::try_postgres()
        .inspect_err(|why| not_run(why))
        .ok()
}

/// Where everything must run, fails.
#[track_caller]
pub fn not_run(why: &str) {
    let test = std::thread::current();
    let told = format!("NOT RUN: {}: {why}", test.name().unwrap_or("a test"));
    let _ = writeln!(std::io::stderr(), "{told}");
    let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!must, "{told}");
}

/// Runs each of these functions on a SQLite file and on PostgreSQL.
#[macro_export]
macro_rules! on_both_databases {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::store_support::World::sqlite().await).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(world) = $crate::store_support::World::postgres().await {
                    super::$name(world).await;
                }
            })*
        }
    };
}

/// A store, and who uses it.
pub struct World {
    pub store: Store,
    /// Of the first tenant.
    pub alice: Caller,
    /// Of the second tenant.
    pub bob: Caller,
    /// The owner's, if it is PostgreSQL.
    pub url: Option<String>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.sqlite");
        let store = Store::sqlite::<Migrator>(&file, &Clock::system()).await;
        Self::of(store.unwrap(), None, folder).await
    }

    pub async fn postgres() -> Option<Self> {
        let url = server()?.create_database().await;
        schema::up::<Migrator>(&settings(&url), SCHEMA)
            .await
            .unwrap();
        let store = open(&url).await;
        Some(Self::of(store, Some(url), tempfile::tempdir().unwrap()).await)
    }

    async fn of(store: Store, url: Option<String>, folder: tempfile::TempDir) -> Self {
        Self {
            store,
            alice: callers::of_tenant(Uuid::from_u128(1)).await,
            bob: callers::of_tenant(Uuid::from_u128(2)).await,
            url,
            _folder: folder,
        }
    }
}

/// How the tests use a PostgreSQL database.
pub fn settings(url: &str) -> store::Postgres {
    store::Postgres::new(url)
}

/// One more process's store on a PostgreSQL database.
pub async fn open(url: &str) -> Store {
    let store = Store::postgres::<Migrator>(&settings(url), SCHEMA, &Clock::system()).await;
    store.unwrap()
}

/// A connection without the store.
pub async fn plain(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap()
}

/// Runs statements without the store.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    let done = raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

pub async fn close(connection: PgConnection) {
    connection.close().await.unwrap();
}
