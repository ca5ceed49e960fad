//! The database goes away and comes back. In a process of its own, whose
//! PostgreSQL server no other test uses; and one test after the other.

#![allow(missing_docs, clippy::unwrap_used)]

mod store_support;

use muster_chassis::error::Error;
use muster_chassis::store::schema::Schema;
use muster_chassis::store::{Postgres, Store, Tail, event};
use muster_chassis::{Caller, Clock, Result};
use sea_orm::{ActiveValue::Set, EntityTrait};
use store_support::{
    Migrator, PATIENCE, World, close, counter, not_run, note, open, plain, run, server, settings,
};
use tokio::sync::{Mutex, MutexGuard};

/// A world whose server nobody else uses meanwhile, and that may be stopped.
async fn alone() -> Option<(World, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::const_new(());
    let turn = ONE.lock().await;
    Some((World::postgres().await?, turn))
}

/// Ends the server; one that is not ours to end, says so.
async fn stopped() -> Option<&'static test_database::Postgres> {
    let server = server()?;
    match server.stop().await {
        Ok(()) => Some(server),
        Err(why) => {
            not_run(&why);
            None
        }
    }
}

async fn create(store: &Store, caller: &Caller, name: &str) -> Result<()> {
    let row = counter::ActiveModel {
        name: Set(name.to_owned()),
        value: Set(0),
        ..Default::default()
    };
    let note = note::ActiveModel {
        text: Set(name.to_owned()),
        ..Default::default()
    };
    let done = store.change(caller, ("counters", name), async |tx| {
        tx.insert(row.clone()).await?;
        tx.append(note.clone()).await
    });
    done.await.map(drop)
}

async fn names(store: &Store, caller: &Caller) -> Result<Vec<String>> {
    let tx = store.read(caller).await?;
    let rows = tx.all(counter::Entity::find()).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

async fn texts(tail: &mut Tail<note::Entity>, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    let all = async {
        while texts.len() < count {
            // An error is no end: the next call goes on.
            let rows = tail.next().await.unwrap_or_default();
            texts.extend(rows.into_iter().map(|note| note.text));
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    texts
}

#[track_caller]
fn is_away<T: std::fmt::Debug>(done: Result<T>) {
    assert!(matches!(done, Err(Error::Unavailable { .. })), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_it_is_said_so_and_then_all_goes_on() {
    let Some((world, _turn)) = alone().await else {
        return;
    };
    let World { store, alice, .. } = &world;
    let mut tail = store.tail::<note::Entity>();
    create(store, alice, "before").await.unwrap();
    assert_eq!(texts(&mut tail, 1).await, ["before"]);
    let Some(server) = stopped().await else {
        return;
    };
    is_away(create(store, alice, "meanwhile").await);
    is_away(names(store, alice).await);
    is_away(store.ready().await);
    is_away(store.global("a test").await.map(drop));
    is_away(tail.next().await);
    server.start().await.unwrap();
    // The first call already: what was lost is replaced.
    create(store, alice, "after").await.unwrap();
    assert_eq!(names(store, alice).await.unwrap(), ["before", "after"]);
    store.ready().await.unwrap();
    assert_eq!(texts(&mut tail, 1).await, ["after"]);
    let records = store.read(alice).await.unwrap();
    let records = records.count(event::Entity::find()).await.unwrap();
    assert_eq!(records, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_outage_cuts_is_not_made() {
    let Some((world, _turn)) = alone().await else {
        return;
    };
    let World { store, alice, .. } = &world;
    let row = |name: &str| counter::ActiveModel {
        name: Set(name.to_owned()),
        value: Set(0),
        ..Default::default()
    };
    let cut = store.change(alice, ("counters", "c"), async |tx| {
        tx.insert(row("first")).await?;
        stopped().await;
        tx.insert(row("second")).await
    });
    let cut = cut.await;
    if let Err(why) = server().unwrap().start().await {
        return not_run(&why);
    }
    is_away(cut);
    assert!(names(store, alice).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_may_be_opened_before_its_database_is_there() {
    let Some((world, _turn)) = alone().await else {
        return;
    };
    let Some(server) = stopped().await else {
        return;
    };
    let early = open(world.url.as_ref().unwrap()).await;
    is_away(early.ready().await);
    server.start().await.unwrap();
    early.ready().await.unwrap();
    create(&early, &world.alice, "c").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_ended_while_idle_is_replaced() {
    let Some((world, _turn)) = alone().await else {
        return;
    };
    let World { store, alice, .. } = &world;
    let mut owner = plain(world.url.as_ref().unwrap()).await;
    for round in 0..5 {
        create(store, alice, &round.to_string()).await.unwrap();
        names(store, alice).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND pid <> pg_backend_pid()";
        run(&mut owner, end).await.unwrap();
    }
    assert_eq!(names(store, alice).await.unwrap().len(), 5);
    close(owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_not_migrated_is_not_ready_and_says_what_to_do() {
    let Some((world, _turn)) = alone().await else {
        return;
    };
    let empty = server().unwrap().create_database().await;
    // Nor has the server the role yet.
    let nowhere = Schema {
        name: "nowhere",
        role: "muster_nobody",
    };
    for schema in [store_support::SCHEMA, nowhere] {
        let database: Postgres = settings(&empty);
        let store = Store::postgres::<Migrator>(&database, schema, &Clock::system()).await;
        let refused = store.unwrap().ready().await.unwrap_err();
        assert!(
            matches!(
                &refused,
                Error::Precondition { reason, message }
                    if *reason == "DATABASE_NOT_MIGRATED" && message.contains("muster migrate up")
            ),
            "{}: {refused:?}",
            schema.name
        );
    }
    world.store.ready().await.unwrap();
}
