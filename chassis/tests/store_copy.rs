//! Copying a service's SQLite file: everything, exactly, or nothing.

#![allow(missing_docs, clippy::unwrap_used)]

mod store_support;

use std::path::{Path, PathBuf};

use muster_chassis::store::copy::{Copied, Copy};
use muster_chassis::store::{Store, schema};
use muster_chassis::{Clock, Error, Result};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row, raw_sql};
use store_support::{Migrator, SCHEMA, close, plain, run, server, settings};

/// A file, and a migrated database without rows.
struct World {
    file: PathBuf,
    url: String,
    _folder: tempfile::TempDir,
}

impl World {
    /// The file holds what these statements made.
    async fn with(statements: &str) -> Option<Self> {
        let url = server()?.create_database().await;
        schema::up::<Migrator>(&settings(&url), SCHEMA)
            .await
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("r.sqlite");
        drop(
            Store::sqlite::<Migrator>(&file, &Clock::system())
                .await
                .unwrap(),
        );
        sqlite(&file, statements).await;
        Some(Self {
            file,
            url,
            _folder: folder,
        })
    }

    async fn copy(&self) -> Result<Vec<Copied>> {
        let mut copy = Copy::begin(&settings(&self.url), &[SCHEMA]).await?;
        copy.service::<Migrator>(&self.file, SCHEMA, |_| ()).await?;
        copy.finish().await
    }

    /// What a query of the target answers, as one text.
    async fn answer(&self, sql: &str) -> String {
        let mut owner = plain(&self.url).await;
        run(
            &mut owner,
            "SET muster.all_tenants = 'on'; SET search_path = device_registry",
        )
        .await
        .unwrap();
        let row = sqlx::query(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut owner)
            .await;
        let text = row.unwrap().get(0);
        close(owner).await;
        text
    }

    async fn has_no_rows(&self) {
        for table in ["counters", "notes", "events", "tags", "devices"] {
            let count = format!("SELECT count(*)::text FROM {table}");
            assert_eq!(self.answer(&count).await, "0", "{table}");
        }
    }
}

async fn sqlite(file: &Path, statements: &str) {
    let options = SqliteConnectOptions::new().filename(file);
    let mut connection = options.connect().await.unwrap();
    raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// Inserts so many counters.
fn counters(count: usize) -> String {
    format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
         INSERT INTO counters (tenant_id, name, value) SELECT randomblob(16), 'c' || i, i FROM n"
    )
}

#[track_caller]
fn fails<T: std::fmt::Debug>(done: Result<T>, because: &str) -> Error {
    let error = done.unwrap_err();
    assert!(error.to_string().contains(because), "{error}");
    error
}

#[tokio::test]
async fn values_are_the_same_to_the_last_bit() {
    let device =
        "INSERT INTO devices (id, tenant_id, create_time, update_time, revision, display_name,
          description, labels, attributes, latitude, longitude, state, last_seen_time)
        VALUES (x'00112233445566778899aabbccddeeff', x'00000000000000000000000000000001',
          '2026-01-02T03:04:05.123456789+00:00', '1969-12-31T23:59:59.999999999+00:00',
          9223372036854775807, char(92, 92, 110, 9, 10, 13, 34, 39), '', '{\"a\": \"\\\\N\"}',
          '{\"big\": 9007199254740993, \"d\": 1e-7}', 0.1, -179.99999999999997, 1, NULL);
        INSERT INTO device_credentials (id, tenant_id, device_id, create_time, update_time,
          revision, display_name, description, labels, secret_hash, disabled)
        VALUES (x'01', x'00000000000000000000000000000001', x'00112233445566778899aabbccddeeff',
          '2026-01-02T03:04:05+00:00', '2026-01-02T03:04:05+00:00', 1, '', '', '{}',
          x'00ff5c', 0)";
    let device = device.replace("x'01'", "x'00000000000000000000000000000009'");
    let Some(world) = World::with(&device).await else {
        return;
    };
    world.copy().await.unwrap();
    for (column, expected) in [
        ("id::text", "00112233-4455-6677-8899-aabbccddeeff"),
        (
            "to_char(create_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            "2026-01-02 03:04:05.123456",
        ),
        (
            "to_char(update_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
            "1969-12-31 23:59:59.999999",
        ),
        ("revision::text", "9223372036854775807"),
        ("display_name", "\\\\n\t\n\r\"'"),
        ("coalesce(description, 'NULL')", ""),
        ("labels->>'a'", "\\N"),
        ("attributes->>'big'", "9007199254740993"),
        ("latitude::text", "0.1"),
        ("longitude::text", "-179.99999999999997"),
        ("coalesce(altitude::text, 'NULL')", "NULL"),
        ("coalesce(last_seen_time::text, 'NULL')", "NULL"),
    ] {
        let answer = world.answer(&format!("SELECT {column} FROM devices")).await;
        assert_eq!(answer, expected, "{column}");
    }
    let hash = world
        .answer("SELECT encode(secret_hash, 'hex') FROM device_credentials")
        .await;
    assert_eq!(hash, "00ff5c");
}

#[tokio::test]
async fn many_rows_are_counted_and_some_are_compared() {
    let Some(world) = World::with(&counters(25_000)).await else {
        return;
    };
    let mut steps = Vec::new();
    let mut copy = Copy::begin(&settings(&world.url), &[SCHEMA]).await.unwrap();
    let progress = |copied: &Copied| {
        if copied.table == "counters" {
            steps.push(copied.rows);
        }
    };
    copy.service::<Migrator>(&world.file, SCHEMA, progress)
        .await
        .unwrap();
    let copied = copy.finish().await.unwrap();
    let counters = copied.iter().find(|c| c.table == "counters").unwrap();
    assert_eq!((counters.rows, counters.total), (25_000, 25_000));
    assert!(counters.compared >= 100, "{counters:?}");
    assert!(steps.is_sorted() && steps.len() > 25, "{steps:?}");
    let sum = world.answer("SELECT sum(value)::text FROM counters").await;
    assert_eq!(sum, (25_000_u64 * 25_001 / 2).to_string());
    // Each table once, the empty ones too, but not the record of migrations.
    let mut tables: Vec<_> = copied.iter().map(|copied| copied.table.as_str()).collect();
    tables.sort_unstable();
    assert_eq!(
        tables,
        [
            "claim_keys",
            "command_batches",
            "command_calls",
            "commands",
            "counters",
            "customers",
            "device_authorities",
            "device_commands",
            "device_credentials",
            "device_labels",
            "device_quotas",
            "device_tags",
            "devices",
            "events",
            "imports",
            "notes",
            "page_keys",
            "requests",
            "sensors",
            "site_ancestors",
            "sites",
            "tags",
            "webhook_cursors",
            "webhook_deliveries",
            "webhooks"
        ]
    );
}

#[tokio::test]
async fn a_number_is_not_given_again_though_its_row_is_gone() {
    let statements = format!(
        "{}; DELETE FROM counters WHERE value > 2; {}",
        counters(5),
        NOTES
    );
    let Some(world) = World::with(&statements).await else {
        return;
    };
    world.copy().await.unwrap();
    for (insert, number) in [
        ("INSERT INTO counters (tenant_id, name, value) VALUES (gen_random_uuid(), 'x', 0)", "6"),
        ("INSERT INTO notes (text) VALUES ('x')", "4"),
        ("INSERT INTO tags (id, tenant_id, create_time, update_time, revision, display_name, color)
          VALUES (gen_random_uuid(), gen_random_uuid(), now(), now(), 1, 'x', '')", "1"),
    ] {
        let next = format!("{insert} RETURNING number::text");
        assert_eq!(world.answer(&next).await, number, "{insert}");
    }
}

/// A log all of whose rows are gone.
const NOTES: &str = "INSERT INTO notes (text) VALUES ('a'), ('b'), ('c'); DELETE FROM notes";

#[tokio::test]
async fn a_copied_log_goes_on() {
    let Some(world) = World::with("INSERT INTO notes (text) VALUES ('old')").await else {
        return;
    };
    world.copy().await.unwrap();
    let store = store_support::open(&world.url).await;
    let mut tail = store.tail::<store_support::note::Entity>();
    let old = tail.next().await.unwrap();
    assert_eq!((old[0].text.as_str(), old[0].transaction), ("old", 0));
    let mut owner = plain(&world.url).await;
    run(
        &mut owner,
        "INSERT INTO device_registry.notes (text) VALUES ('new')",
    )
    .await
    .unwrap();
    close(owner).await;
    let new = async {
        loop {
            let rows = tail.next().await.unwrap();
            if !rows.is_empty() {
                return rows;
            }
        }
    };
    let new = tokio::time::timeout(store_support::PATIENCE, new)
        .await
        .unwrap();
    assert_eq!((new.len(), new[0].text.as_str()), (1, "new"));
}

#[tokio::test]
async fn a_copy_that_fails_or_is_cut_short_leaves_nothing() {
    // PostgreSQL has no such text; it comes after rows that it takes.
    let bad = format!(
        "{}; UPDATE counters SET name = 'a' || char(0) WHERE value = 2500",
        counters(3000)
    );
    let Some(world) = World::with(&bad).await else {
        return;
    };
    fails(world.copy().await, "device_registry.counters");
    world.has_no_rows().await;
    sqlite(
        &world.file,
        "UPDATE counters SET name = 'a' WHERE value = 2500",
    )
    .await;
    let mut copy = Copy::begin(&settings(&world.url), &[SCHEMA]).await.unwrap();
    copy.service::<Migrator>(&world.file, SCHEMA, |_| ())
        .await
        .unwrap();
    drop(copy);
    world.has_no_rows().await;
    // And then it can be done.
    world.copy().await.unwrap();
    let refused = fails(
        world.copy().await,
        "device_registry.counters has rows already",
    );
    assert!(matches!(
        refused,
        Error::Precondition {
            reason: "TARGET_NOT_EMPTY",
            ..
        }
    ));
}

#[tokio::test]
async fn what_is_on_one_side_only_is_refused() {
    let Some(world) = World::with("SELECT 1").await else {
        return;
    };
    sqlite(&world.file, "ALTER TABLE counters ADD COLUMN here TEXT").await;
    fails(
        world.copy().await,
        "counters.here is in one of the databases only",
    );
    let mut owner = plain(&world.url).await;
    for add in [
        "ALTER TABLE device_registry.counters ADD COLUMN here text",
        "ALTER TABLE device_registry.counters ADD COLUMN there text",
    ] {
        run(&mut owner, add).await.unwrap();
    }
    close(owner).await;
    fails(
        world.copy().await,
        "counters.there is in one of the databases only",
    );
    sqlite(
        &world.file,
        "ALTER TABLE counters ADD COLUMN there TEXT; CREATE TABLE more (n INTEGER)",
    )
    .await;
    fails(world.copy().await, "more.n is in one of the databases only");
    sqlite(&world.file, "DROP TABLE more").await;
    world.copy().await.unwrap();
}

#[tokio::test]
async fn a_file_of_another_version_is_refused() {
    let Some(world) =
        World::with("DELETE FROM seaql_migrations WHERE version = 'm9999_counters'").await
    else {
        return;
    };
    fails(world.copy().await, "lacks m9999_counters");
    let newer = "INSERT INTO seaql_migrations VALUES ('m9999_counters', 0), ('m99999_more', 0)";
    sqlite(&world.file, newer).await;
    fails(world.copy().await, "has m99999_more");
    world.has_no_rows().await;
}
