//! What the tests of other crates rely on.

#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use test_database::{Postgres, ROLES, try_postgres};

/// One test ends the server that the others use.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The server, or a word that it was not to be had.
fn server() -> Option<&'static Postgres> {
    try_postgres()
        .inspect_err(|why| {
            let told = format!("NOT RUN: a test of PostgreSQL: {why}");
            let _ = writeln!(std::io::stderr(), "{told}");
            let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!must, "{told}");
        })
        .ok()
}

async fn connect(url: &str) -> PgConnection {
    url.parse::<PgConnectOptions>()
        .unwrap()
        .connect()
        .await
        .unwrap()
}

async fn run(connection: &mut PgConnection, statements: String) -> Result<(), sqlx::Error> {
    let done = raw_sql(AssertSqlSafe(statements)).execute(connection).await;
    done.map(drop)
}

#[tokio::test]
async fn a_fresh_databases_login_may_do_what_a_migration_does_and_is_no_superuser() {
    let _alone = ALONE.lock().await;
    let Some(server) = server() else { return };
    let url = server.create_database().await;
    let mut owner = connect(&url).await;
    let forbidden = "CREATE ROLE somebody SUPERUSER".to_owned();
    run(&mut owner, forbidden).await.unwrap_err();
    for role in ROLES {
        let schema = role.trim_start_matches("muster_");
        run(
            &mut owner,
            format!(
                "CREATE SCHEMA {schema}; CREATE TABLE {schema}.t (id int);
            GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON {schema}.t TO {role}"
            ),
        )
        .await
        .unwrap();
        run(
            &mut owner,
            format!("SET ROLE {role}; SELECT * FROM {schema}.t; RESET ROLE"),
        )
        .await
        .unwrap();
    }
    owner.close().await.unwrap();
    let url = server.create_login(&url, "muster_tenancy").await;
    let mut service = connect(&url).await;
    run(&mut service, "SELECT * FROM tenancy.t".to_owned())
        .await
        .unwrap();
    for forbidden in [
        "SELECT * FROM identity.t",
        "CREATE SCHEMA other",
        "SET ROLE muster_identity",
    ] {
        run(&mut service, forbidden.to_owned()).await.unwrap_err();
    }
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_server_was_ended_and_started() {
    let _alone = ALONE.lock().await;
    let Some(server) = server() else { return };
    let url = server.create_database().await;
    let mut before = connect(&url).await;
    run(&mut before, "CREATE TABLE t AS SELECT 1 AS id".to_owned())
        .await
        .unwrap();
    if let Err(why) = server.stop().await {
        return assert!(
            std::env::var_os("MUSTER_TEST_DATABASE_URL").is_some(),
            "{why}"
        );
    }
    run(&mut before, "SELECT * FROM t".to_owned())
        .await
        .unwrap_err();
    let url: PgConnectOptions = url.parse().unwrap();
    url.connect().await.unwrap_err();
    server.start().await.unwrap();
    let mut after = url.connect().await.unwrap();
    run(&mut after, "SELECT * FROM t".to_owned()).await.unwrap();
}

/// Not a test of its own: the process that the next one kills.
#[tokio::test]
async fn holds_a_server_until_it_is_killed() {
    if std::env::var_os("MUSTER_TEST_HOLD").is_none() {
        return;
    }
    let address = server().map(Postgres::address).unwrap_or_default();
    let _ = writeln!(std::io::stderr(), "address={address}");
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
}

#[tokio::test]
async fn a_server_ends_with_its_test_process_also_when_that_is_killed() {
    let Some(ours) = server() else { return };
    let mut held = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "holds_a_server_until_it_is_killed",
            "--nocapture",
        ])
        .env("MUSTER_TEST_HOLD", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(held.stderr.take().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("address=").map(str::to_owned))
        .unwrap();
    if address == ours.address() {
        // Both are guests of a server that nobody here started.
        held.kill().unwrap();
        held.wait().unwrap();
        return;
    }
    std::net::TcpStream::connect(&address).unwrap();
    held.kill().unwrap();
    held.wait().unwrap();
    for _ in 0..300 {
        if std::net::TcpStream::connect(&address).is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{address} still answers");
}
