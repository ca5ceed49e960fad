//! Whoever follows a log gets every committed row once, and no other.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use muster_chassis::store::{Log, Store, Tail, WriteTx, event};
use muster_chassis::{Caller, Error};
use sea_orm::{ActiveValue::Set, EntityTrait};

use crate::store_support::{PATIENCE, World, close, note, open, plain, run};

crate::on_both_databases!(
    every_committed_row_is_given_once_and_no_other,
    who_follows_late_gets_what_was_there_before,
    a_follower_waits_until_something_is_written,
);

const WRITERS: usize = 8;
const EACH: usize = 25;

/// Appends a note, and takes its time in the middle of it.
async fn write(store: &Store, caller: &Caller, text: &str, fails: bool) {
    let sleeps = [(); 2].map(|()| Duration::from_micros(fastrand::u64(0..4000)));
    let row = note::ActiveModel {
        text: Set(text.to_owned()),
        ..Default::default()
    };
    let done = store.change(caller, ("notes", text), async |tx: &WriteTx| {
        tokio::time::sleep(sleeps[0]).await;
        tx.append(row.clone()).await?;
        tokio::time::sleep(sleeps[1]).await;
        match fails {
            true => Err(Error::precondition("NOT_NOW", "not now")),
            false => Ok(()),
        }
    });
    assert_eq!(done.await.is_err(), fails);
}

/// Follows until so many rows were given, and then a little longer.
async fn follow<E: Log>(mut tail: Tail<E>, count: usize) -> Vec<E::Model> {
    let mut rows = Vec::new();
    let all = async {
        while rows.len() < count {
            rows.extend(tail.next().await.unwrap());
        }
        // Twice: the rest of the bells, and a poll.
        for _ in 0..2 {
            rows.extend(tail.next().await.unwrap());
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, all).await;
    assert!(in_time.is_ok(), "{} of {count} rows", rows.len());
    rows
}

async fn every_committed_row_is_given_once_and_no_other(world: World) {
    let World {
        store, alice, bob, ..
    } = &world;
    let mut committed = HashSet::new();
    let mut plan = Vec::new();
    for writer in 0..WRITERS {
        let texts = (0..EACH).map(|n| (format!("{writer}/{n}"), (writer + n) % 3 == 0));
        let texts: Vec<_> = texts.collect();
        let kept = texts.iter().filter(|(_, fails)| !fails);
        committed.extend(kept.map(|(text, _)| text.clone()));
        plan.push(texts);
    }
    let writers = plan.iter().enumerate().map(|(writer, texts)| async move {
        let caller = if writer % 2 == 0 { alice } else { bob };
        for (text, fails) in texts {
            write(store, caller, text, *fails).await;
        }
    });
    let count = committed.len();
    let early = tokio::spawn(follow(store.tail::<note::Entity>(), count));
    let records = tokio::spawn(follow(store.tail::<event::Entity>(), count));
    join_all(writers).await;
    let late = follow(store.tail::<note::Entity>(), count).await;
    for notes in [early.await.unwrap(), late] {
        assert_eq!(notes.len(), count, "each once");
        let texts: HashSet<_> = notes.into_iter().map(|note| note.text).collect();
        assert_eq!(texts, committed);
    }
    let records = records.await.unwrap();
    assert_eq!(records.len(), count, "each once");
    let things = records.into_iter().map(|record| record.resource);
    let things: HashSet<_> = things.map(|name| name.replacen("notes/", "", 1)).collect();
    assert_eq!(things, committed);
}

async fn who_follows_late_gets_what_was_there_before(world: World) {
    let World { store, alice, .. } = &world;
    for text in ["a", "b"] {
        write(store, alice, text, false).await;
    }
    let mut tail = store.tail::<note::Entity>();
    let first = tail.next().await.unwrap();
    let texts: Vec<_> = first.iter().map(|note| note.text.as_str()).collect();
    assert_eq!(texts, ["a", "b"]);
    write(store, alice, "c", false).await;
    assert_eq!(until(&mut tail).await, ["c"]);
}

async fn a_follower_waits_until_something_is_written(world: World) {
    let World { store, alice, .. } = &world;
    let mut tail = store.tail::<note::Entity>();
    assert!(tail.next().await.unwrap().is_empty());
    let (heard, ()) = tokio::join!(until(&mut tail), write(store, alice, "a", false));
    assert_eq!(heard, ["a"]);
    assert!(tail.next().await.unwrap().is_empty());
}

/// The texts of the next rows that there are.
async fn until(tail: &mut Tail<note::Entity>) -> Vec<String> {
    let some = async {
        loop {
            let rows = tail.next().await.unwrap();
            if !rows.is_empty() {
                return rows.into_iter().map(|note| note.text).collect();
            }
        }
    };
    tokio::time::timeout(PATIENCE, some).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_hears_of_a_change() {
    let Some(world) = World::postgres().await else {
        return;
    };
    let other = open(world.url.as_ref().unwrap()).await;
    let mut tail = other.tail::<note::Entity>();
    assert!(tail.next().await.unwrap().is_empty());
    for text in ["a", "b", "c"] {
        write(&world.store, &world.alice, text, false).await;
        assert_eq!(until(&mut tail).await, [text]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_rang_for_is_found_by_polling() {
    let Some(world) = World::postgres().await else {
        return;
    };
    let mut tail = world.store.tail::<note::Entity>();
    assert!(tail.next().await.unwrap().is_empty());
    let mut owner = plain(world.url.as_ref().unwrap()).await;
    let sql = "INSERT INTO device_registry.notes (text) VALUES ('quiet')";
    run(&mut owner, sql).await.unwrap();
    close(owner).await;
    assert_eq!(until(&mut tail).await, ["quiet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_listening_connection_was_cut_hears_all_the_same() {
    let Some(world) = World::postgres().await else {
        return;
    };
    let other = open(world.url.as_ref().unwrap()).await;
    let mut tail = other.tail::<note::Entity>();
    assert!(tail.next().await.unwrap().is_empty());
    let mut owner = plain(world.url.as_ref().unwrap()).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    for text in ["a", "b"] {
        run(&mut owner, cut).await.unwrap();
        write(&world.store, &world.alice, text, false).await;
        assert_eq!(until(&mut tail).await, [text]);
    }
    close(owner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_below_others_that_were_given_is_not_missed() {
    let Some(world) = World::postgres().await else {
        return;
    };
    let World { store, alice, .. } = &world;
    let (mut tail, mut slow) = (
        store.tail::<note::Entity>(),
        plain(world.url.as_ref().unwrap()).await,
    );
    let insert = "BEGIN; INSERT INTO device_registry.notes (text) VALUES ('slow')";
    run(&mut slow, insert).await.unwrap();
    write(store, alice, "fast", false).await;
    assert_eq!(until(&mut tail).await, ["fast"]);
    assert!(tail.next().await.unwrap().is_empty());
    run(&mut slow, "COMMIT").await.unwrap();
    close(slow).await;
    assert_eq!(until(&mut tail).await, ["slow"]);
    let tx = store.read(alice).await.unwrap();
    let records = tx.all(event::Entity::find()).await.unwrap();
    assert_eq!(records.len(), 1);
}
