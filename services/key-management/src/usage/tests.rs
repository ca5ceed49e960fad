use super::*;
use crate::entity::generation::{self, Scheme};
use crate::entity::origin;
use chassis::store::GlobalTx;
use chrono::TimeDelta;
use migrations::keys::Migrator;
use sea_orm::prelude::Uuid;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn counted(count: i64, first: i64, last: i64) -> Counted {
    Counted {
        count,
        first: at(first),
        last: at(last),
    }
}

fn agent(number: i64) -> Place {
    Place::new("192.0.2.0/24", &format!("script/{number}"))
}

/// What is pending of secrets, by their numbers, each used by some agents.
fn pending(secrets: std::ops::Range<i64>, agents: i64) -> Pending {
    let mut pending = Pending::default();
    for generation in secrets {
        for number in 0..agents {
            pending.add(generation, agent(number), counted(1, 1, 1));
        }
    }
    pending
}

fn sum(chunk: &BTreeMap<i64, Uses>) -> i64 {
    let totals = chunk.values().filter_map(Uses::total);
    totals.map(|total| total.count).sum()
}

#[test]
fn all_is_taken_in_turn_and_no_more_at_once_than_a_transaction_writes() {
    let mut pending = pending(0..100, 20);
    let (mut after, mut all) = (None, 0);
    loop {
        let chunk = pending.take(after);
        let Some(last) = chunk.keys().next_back() else {
            break;
        };
        let origins: usize = chunk.values().map(|uses| uses.places.len()).sum();
        assert!(origins < CHUNK + APART, "{origins}");
        after = Some(*last);
        all += sum(&chunk);
    }
    assert_eq!((all, pending.take(None).len()), (2000, 0));
}

#[test]
fn what_could_not_be_written_waits_until_all_others_had_their_turn() {
    let mut pending = pending(0..10, 20);
    let failed = pending.take(None);
    let last = failed.keys().next_back().copied();
    pending.put_back(failed);
    let next = pending.take(last);
    assert_eq!(next.keys().next().copied(), last.map(|last| last + 1));
    assert_eq!(sum(&pending.take(None)), 60);
}

#[test]
fn more_origins_of_a_secret_are_counted_together() {
    let pending = pending(1..2, 5000).take(None);
    let places = &pending[&1].places;
    assert_eq!(places.len(), APART + 1);
    assert_eq!(places[&Place::default()].count, 5000 - 31);
    assert_eq!(sum(&pending), 5000);
}

#[test]
fn what_is_put_back_joins_what_came_in_the_meantime() {
    let mut pending = pending(1..2, 31);
    pending.rehash(1, rehash(1, None));
    let failed = pending.take(None);
    pending.add(1, agent(0), counted(1, 3, 3));
    pending.add(1, agent(99), counted(1, 2, 2));
    pending.rehash(1, rehash(2, None));
    pending.put_back(failed);
    let chunk = pending.take(None);
    let uses = &chunk[&1];
    assert_eq!(uses.total(), Some(counted(33, 1, 3)));
    assert_eq!(uses.places[&agent(0)], counted(2, 1, 3));
    assert!(uses.places.len() <= APART + 1);
    assert_eq!(uses.hash.as_ref().map(|new| new.hash.pepper), Some(2));
    assert_eq!(pending.take(None).len(), 0);
}

fn rehash(pepper: i32, lookup: Option<u8>) -> Rehash {
    Rehash {
        hash: Hash {
            pepper,
            bytes: vec![9; 32],
        },
        lookup: lookup.map(|byte| vec![byte; 32]),
    }
}

/// A database with some secrets, and two processes that count.
struct Counting {
    _folder: tempfile::TempDir,
    store: Store,
    processes: [Usage; 2],
}

const TENANT: Uuid = Uuid::from_u128(1);

async fn counting(secrets: u8) -> Counting {
    let folder = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let file = folder.path().join("keys.sqlite");
    let store = Store::sqlite::<Migrator>(&file, &clock).await.unwrap();
    let usage = || Usage::unwritten(store.clone(), clock.clone());
    let counting = Counting {
        _folder: folder,
        processes: [usage(), usage()],
        store: store.clone(),
    };
    counting
        .on_all(async |tx| {
            for number in 1..=secrets {
                tx.insert(generation::ActiveModel {
                    number: Set(i64::from(number)),
                    tenant_id: Set(TENANT),
                    generation: Set(1),
                    scheme: Set(Scheme::Bcrypt),
                    pepper: Set(0),
                    hash: Set(vec![number; 60]),
                    lookup: Set(Some(vec![number; 32])),
                    create_time: Set(at(0)),
                    use_count: Set(0),
                    ..Default::default()
                })
                .await?;
            }
            Ok(())
        })
        .await;
    counting
}

impl Counting {
    async fn on_all<T>(&self, work: impl AsyncFnOnce(&GlobalTx) -> Result<T> + Clone) -> T {
        let done = self
            .store
            .change_global("make and read what a test counts", None, work);
        done.await.unwrap()
    }

    async fn secret(&self, number: i64) -> generation::Model {
        let row = generation::Entity::find().filter(generation::Column::Number.eq(number));
        self.on_all(async |tx| tx.one(row).await).await.unwrap()
    }

    async fn origins(&self, number: i64) -> Vec<origin::Model> {
        let rows = origin::Entity::find()
            .filter(origin::Column::Generation.eq(number))
            .order_by_desc(origin::Column::Count);
        self.on_all(async |tx| tx.all(rows).await).await
    }
}

impl Usage {
    fn use_of(&self, generation: i64, agent: &str, counted: Counted) {
        let origin = Origin {
            generation,
            network: "192.0.2.0/24".to_owned(),
            user_agent: agent.to_owned(),
        };
        self.add(origin, counted);
    }

    async fn flush_all(&self) {
        let mut after = None;
        loop {
            let done;
            (after, done) = self.flush(after).await;
            done.unwrap();
            if after.is_none() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn many_origins_are_all_counted_and_few_are_kept_whoever_writes_them() {
    let counting = counting(40).await;
    for generation in 1..=40 {
        for number in 0..100 {
            let process = &counting.processes[usize::from(number % 2 == 0)];
            process.use_of(generation, &format!("script/{number}"), counted(2, 5, 7));
        }
    }
    let [one, other] = &counting.processes;
    tokio::join!(one.flush_all(), other.flush_all());
    for generation in [1, 20, 40] {
        let row = counting.secret(generation).await;
        assert_eq!((row.use_count, row.last_use_time), (200, Some(at(7))));
        let origins = counting.origins(generation).await;
        assert_eq!(origins.len(), 32);
        assert_eq!(origins.iter().map(|row| row.count).sum::<i64>(), 200);
        let all_others = (origins[0].count, origins[0].user_agent.as_str());
        assert_eq!(all_others, (200 - 31 * 2, ""));
    }
}

#[tokio::test]
async fn the_first_use_never_becomes_later_and_the_last_one_never_earlier() {
    let counting = counting(1).await;
    let usage = &counting.processes[0];
    for (first, last) in [(50, 60), (10, 20), (30, 90), (40, 41)] {
        usage.use_of(1, "script", counted(1, first, last));
        usage.flush_all().await;
    }
    let origins = counting.origins(1).await;
    let origin = (
        origins[0].first_time,
        origins[0].last_time,
        origins[0].count,
    );
    assert_eq!(origin, (at(10), at(90), 4));
    assert_eq!(counting.secret(1).await.last_use_time, Some(at(90)));
}

#[tokio::test]
async fn what_was_deleted_in_the_meantime_takes_nothing_else_with_it() {
    let counting = counting(1).await;
    let usage = &counting.processes[0];
    usage.use_of(77, "script", counted(1, 1, 1));
    usage.rehash(78, rehash(1, None).hash, None);
    usage.use_of(1, "scr\0ipt\n", counted(1, 1, 1));
    usage.flush_all().await;
    assert_eq!(counting.secret(1).await.use_count, 1);
    assert_eq!(counting.origins(1).await[0].user_agent, "script");
    assert_eq!(counting.origins(77).await, []);
}

#[tokio::test]
async fn a_secret_is_found_as_before_if_another_one_is_found_by_the_new_way() {
    let counting = counting(4).await;
    let usage = &counting.processes[0];
    // The second is found by what the first would be, the fourth as the third.
    for (number, lookup) in [(1, 2), (3, 30), (4, 30)] {
        let Rehash { hash, lookup } = rehash(7, Some(lookup));
        usage.rehash(number, hash, lookup);
    }
    usage.flush_all().await;
    for (number, lookup) in [(1, 1), (2, 2), (3, 30), (4, 4)] {
        let row = counting.secret(number).await;
        assert_eq!(row.lookup, Some(vec![lookup; 32]), "{number}");
        let is_new = (row.scheme, row.pepper) == (Scheme::Hmac, 7) && row.hash == [9; 32];
        assert_eq!(is_new, number != 2);
    }
}
