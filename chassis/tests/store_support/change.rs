//! Changes take effect one after the other, each with a record.

use futures::future::join_all;
use muster_chassis::error::Constraint;
use muster_chassis::store::{Store, WriteTx, event};
use muster_chassis::{Caller, Error, Result};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::store_support::{World, counter, note};

crate::on_both_databases!(
    two_changes_of_one_row_at_once_both_count,
    many_changes_of_one_row_at_once_all_count,
    what_was_read_and_locked_still_holds_when_the_change_is_committed,
    a_change_that_fails_leaves_nothing_and_no_record,
    a_change_and_its_record_are_one_transaction,
    a_record_says_who_changed_what,
    a_reader_sees_one_snapshot,
    a_tenant_neither_sees_nor_changes_what_is_anothers,
    a_broken_rule_of_the_schema_is_told_by_its_column,
);

async fn create(store: &Store, caller: &Caller, name: &str) -> Result<counter::Model> {
    let row = counter::ActiveModel {
        name: Set(name.to_owned()),
        value: Set(0),
        ..Default::default()
    };
    store
        .change(caller, ("counters", name), async |tx| {
            tx.insert(row.clone()).await
        })
        .await
}

fn named(name: &str) -> sea_orm::Select<counter::Entity> {
    counter::Entity::find().filter(counter::Column::Name.eq(name))
}

async fn value(store: &Store, caller: &Caller, name: &str) -> i64 {
    let tx = store.read(caller).await.unwrap();
    tx.one(named(name)).await.unwrap().unwrap().value
}

async fn records(store: &Store, caller: &Caller) -> u64 {
    let tx = store.read(caller).await.unwrap();
    tx.count(event::Entity::find()).await.unwrap()
}

/// Reads first, and then writes what follows from it.
async fn count_up(tx: &WriteTx, name: &str) -> Result<()> {
    let row = tx.one(named(name)).await?.unwrap();
    tokio::task::yield_now().await;
    let row = counter::ActiveModel {
        number: Set(row.number),
        value: Set(row.value + 1),
        ..Default::default()
    };
    tx.update(row).await.map(drop)
}

async fn count_at_once(world: &World, at_once: usize, rounds: i64) {
    let World { store, alice, .. } = world;
    create(store, alice, "c").await.unwrap();
    let one = || store.change(alice, ("counters", "c"), async |tx| count_up(tx, "c").await);
    for _ in 0..rounds {
        for done in join_all((0..at_once).map(|_| one())).await {
            done.unwrap();
        }
    }
    let total = rounds * i64::try_from(at_once).unwrap();
    assert_eq!(value(store, alice, "c").await, total);
    // What was tried again is recorded once; one more is of the creation.
    assert_eq!(
        records(store, alice).await,
        u64::try_from(total).unwrap() + 1
    );
}

async fn two_changes_of_one_row_at_once_both_count(world: World) {
    count_at_once(&world, 2, 100).await;
}

async fn many_changes_of_one_row_at_once_all_count(world: World) {
    count_at_once(&world, 8, 10).await;
}

/// Each would be right alone: one counter is raised if none is.
async fn what_was_read_and_locked_still_holds_when_the_change_is_committed(world: World) {
    let World { store, alice, .. } = &world;
    for round in 0..20 {
        let names = [format!("a{round}"), format!("b{round}")];
        for name in &names {
            create(store, alice, name).await.unwrap();
        }
        let raise_if_none_is = |mine: usize| {
            let names = &names;
            store.change(alice, ("counters", round), async move |tx: &WriteTx| {
                let all = counter::Entity::find().filter(counter::Column::Name.is_in(names));
                let all = all.order_by_asc(counter::Column::Number).lock_exclusive();
                if tx.all(all).await?.iter().all(|row| row.value == 0) {
                    count_up(tx, &names[mine]).await?;
                }
                Ok(())
            })
        };
        let (first, second) = tokio::join!(raise_if_none_is(0), raise_if_none_is(1));
        first.unwrap();
        second.unwrap();
        let raised = value(store, alice, &names[0]).await + value(store, alice, &names[1]).await;
        assert_eq!(raised, 1, "round {round}");
    }
}

async fn a_change_that_fails_leaves_nothing_and_no_record(world: World) {
    let World { store, alice, .. } = &world;
    let refused: Result<()> = store
        .change(alice, ("counters", "c"), async |tx| {
            let row = counter::ActiveModel {
                name: Set("c".to_owned()),
                value: Set(0),
                ..Default::default()
            };
            tx.insert(row).await?;
            Err(Error::precondition("NOT_NOW", "not now"))
        })
        .await;
    assert!(matches!(refused, Err(Error::Precondition { .. })));
    let tx = store.read(alice).await.unwrap();
    assert_eq!(tx.one(named("c")).await.unwrap(), None);
    drop(tx);
    assert_eq!(records(store, alice).await, 0);
}

async fn a_change_and_its_record_are_one_transaction(world: World) {
    let World { store, alice, .. } = &world;
    let note = store.change(alice, ("notes", "n"), async |tx| {
        let before = tx.count(event::Entity::find()).await?;
        assert_eq!(before, 0, "the record is written when the work is done");
        let row = note::ActiveModel {
            text: Set("n".to_owned()),
            ..Default::default()
        };
        tx.append(row).await
    });
    let note = note.await.unwrap();
    let tx = store.read(alice).await.unwrap();
    let record = tx.one(event::Entity::find()).await.unwrap().unwrap();
    assert_eq!(record.transaction, note.transaction);
    // SQLite has none to tell.
    assert_eq!(record.transaction > 0, world.url.is_some());
}

async fn a_record_says_who_changed_what(world: World) {
    let World { store, alice, .. } = &world;
    let call = muster_chassis::context::Call {
        method: "muster.registry.v1.DeviceService/CreateDevice".to_owned(),
        request_id: "request-1".to_owned(),
        source: Some([192, 0, 2, 1].into()),
        ..muster_chassis::context::Call::default()
    };
    let created = muster_chassis::context::scope(call, create(store, alice, "c"));
    created.await.unwrap();
    let tx = store.read(alice).await.unwrap();
    let record = tx.one(event::Entity::find()).await.unwrap().unwrap();
    assert_eq!(record.tenant_id, Some(alice.tenant().0));
    assert_eq!(
        [
            record.actor,
            record.method,
            record.resource,
            record.request_id,
            record.source
        ],
        [
            "service:tester",
            "muster.registry.v1.DeviceService/CreateDevice",
            "counters/c",
            "request-1",
            "192.0.2.1"
        ]
    );
}

async fn a_reader_sees_one_snapshot(world: World) {
    let World { store, alice, .. } = &world;
    create(store, alice, "c").await.unwrap();
    let tx = store.read(alice).await.unwrap();
    let before = tx.one(named("c")).await.unwrap();
    let raised = store.change(alice, ("counters", "c"), async |tx| count_up(tx, "c").await);
    raised.await.unwrap();
    assert_eq!(tx.one(named("c")).await.unwrap(), before);
    drop(tx);
    assert_eq!(value(store, alice, "c").await, 1);
}

async fn a_tenant_neither_sees_nor_changes_what_is_anothers(world: World) {
    let World {
        store, alice, bob, ..
    } = &world;
    let hers = create(store, alice, "c").await.unwrap();
    let his = create(store, bob, "c").await.unwrap();
    assert_ne!(hers.tenant_id, his.tenant_id);
    let tx = store.read(bob).await.unwrap();
    assert_eq!(
        tx.all(counter::Entity::find()).await.unwrap(),
        std::slice::from_ref(&his)
    );
    drop(tx);
    let by_number = counter::ActiveModel {
        number: Set(hers.number),
        value: Set(7),
        ..Default::default()
    };
    let changed = store.change(bob, ("counters", "c"), async |tx| {
        tx.update(by_number.clone()).await
    });
    assert!(changed.await.is_err());
    let gone = store.change(bob, ("counters", "c"), async |tx| {
        tx.delete(counter::Entity::delete_many()).await
    });
    assert_eq!(gone.await.unwrap(), 1);
    // A row that names another tenant goes to its maker's own.
    let smuggled = counter::ActiveModel {
        tenant_id: Set(alice.tenant().0),
        name: Set("smuggled".to_owned()),
        value: Set(0),
        ..Default::default()
    };
    let made = store.change(bob, ("counters", "c"), async |tx| {
        tx.insert(smuggled.clone()).await
    });
    assert_eq!(made.await.unwrap().tenant_id, bob.tenant().0);
    let tx = store.read(alice).await.unwrap();
    assert_eq!(tx.all(counter::Entity::find()).await.unwrap(), [hers]);
}

async fn a_broken_rule_of_the_schema_is_told_by_its_column(world: World) {
    let World { store, alice, .. } = &world;
    create(store, alice, "c").await.unwrap();
    let refused = create(store, alice, "c").await.unwrap_err();
    assert!(
        matches!(&refused, Error::Constraint(Constraint::Unique(_))),
        "{refused:?}"
    );
    let told = refused.unique(&[("name", "counter.name")]);
    assert!(
        matches!(&told, Error::AlreadyExists { field, .. } if field == "counter.name"),
        "{told:?}"
    );
    assert_eq!(records(store, alice).await, 1);
}
