//! What was acknowledged survives a kill at any moment, and nothing is half
//! there.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use support::{ADMIN, Caller, Installation, PASSWORD, Server, Shape, log_in, unique};
use test_database::{Postgres, free_port};
use tokio::sync::{Mutex, mpsc};

/// The tests name theirs.
const SHAPE: Shape = Shape::Sqlite;

const ROUNDS: usize = 50;
const WRITERS: usize = 4;
/// The kill comes when this many devices were acknowledged in a round.
const ENOUGH: usize = 10;

/// What a device is: its description names its tags.
fn body(description: &str, tags: &[Value]) -> Value {
    json!({
        "displayName": format!("device {}", unique()),
        "description": description,
        "tagIds": tags,
        "labels": {"a": "1", "b": "2"},
        "attributes": {"list": [1, 2, 3]},
    })
}

/// A call that may be cut short by the kill of the program or of its database:
/// then nothing is known of it.
async fn try_to(caller: &Caller, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
    let request = caller.request(method, path);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let answer = request.send().await.ok()?;
    let status = answer.status();
    let text = answer.text().await.ok()?;
    if status.as_u16() == 503 {
        return None;
    }
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).ok()
}

/// Creates, changes and deletes devices until the server is gone. Answers
/// what was acknowledged last of each: the device, or that it is gone.
async fn write(caller: Caller, tags: [Value; 3], made: mpsc::UnboundedSender<()>) -> Acknowledged {
    let mut known = BTreeMap::new();
    let [one, two, three] = tags;
    for count in 0_usize.. {
        let wanted = body("created", &[one.clone(), two.clone()]);
        let path = "/v1/devices?secret=a-claim-token-of-a-device";
        let Some(device) = try_to(&caller, Method::POST, path, Some(wanted)).await else {
            return known;
        };
        // The kill may come before anybody hears of this one.
        let _ = made.send(());
        let id = device["id"].as_str().unwrap().to_owned();
        let path = format!("/v1/devices/{id}");
        known.insert(id.clone(), Last::Is(device));
        if count.is_multiple_of(2) {
            let change = json!({"description": "changed", "tagIds": [three]});
            known.insert(id.clone(), Last::Unknown);
            let Some(changed) = try_to(&caller, Method::PATCH, &path, Some(change)).await else {
                return known;
            };
            known.insert(id.clone(), Last::Is(changed));
        }
        if count.is_multiple_of(5) {
            known.insert(id.clone(), Last::MayBeGone);
            if try_to(&caller, Method::DELETE, &path, None).await.is_none() {
                return known;
            }
            known.insert(id, Last::IsGone);
        }
    }
    known
}

type Acknowledged = BTreeMap<String, Last>;

/// What is known of a device.
enum Last {
    Is(Value),
    /// It exists; a change may have been made or not.
    Unknown,
    MayBeGone,
    IsGone,
}

/// Every device there is, by its id.
async fn all(caller: &Caller) -> BTreeMap<String, Value> {
    let (mut found, mut token) = (BTreeMap::new(), String::new());
    loop {
        let path = format!("/v1/devices?pageSize=1000&pageToken={token}");
        let page = caller.get(&path).await.expect(200);
        for device in page["devices"].as_array().into_iter().flatten() {
            found.insert(device["id"].as_str().unwrap().to_owned(), device.clone());
        }
        match page.get("nextPageToken") {
            Some(next) => token = next.as_str().unwrap().to_owned(),
            None => return found,
        }
    }
}

/// A device with everything that belongs to it.
fn is_whole(device: &Value, [one, two, three]: &[Value; 3]) {
    let mut tags = device["tagIds"].as_array().cloned().unwrap_or_default();
    tags.sort_by_key(Value::to_string);
    let mut expected = match device["description"].as_str() {
        Some("created") => vec![one.clone(), two.clone()],
        Some("changed") => vec![three.clone()],
        other => panic!("{other:?}: {device}"),
    };
    expected.sort_by_key(Value::to_string);
    assert_eq!(tags, expected, "{device}");
    assert_eq!(device["labels"], json!({"a": "1", "b": "2"}), "{device}");
    assert_eq!(device["attributes"], json!({"list": [1, 2, 3]}), "{device}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_on_sqlite_and_nothing_is_half_there() {
    survives_kills(Shape::Sqlite).await;
}

/// Every other time, the database's server is killed first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_kill_on_postgresql_and_nothing_is_half_there() {
    survives_kills(Shape::Postgres).await;
}

fn database() -> &'static Postgres {
    test_database::postgres().unwrap()
}

/// Kills PostgreSQL, or says that it is not ours to kill.
async fn database_is_killed() -> bool {
    let stopped = database().stop().await;
    stopped
        .inspect_err(|why| support::not_run("a kill of PostgreSQL", why))
        .is_ok()
}

/// The server is killed in the middle of an import, and comes back: the command
/// goes on by itself, and each device is there once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_a_kill_on_sqlite_and_makes_each_device_once() {
    import_survives_a_kill(Shape::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_goes_on_after_a_kill_on_postgresql_and_makes_each_device_once() {
    import_survives_a_kill(Shape::Postgres).await;
}

/// One at a time has the PostgreSQL that is killed.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Devices of the import that is killed.
const FLEET: i64 = 6_000;
/// How often.
const KILLS: i64 = 3;

async fn count(caller: &Caller) -> i64 {
    let path = "/v1/devices?pageSize=1&countTotal=true";
    let page = caller.get(path).await.expect(200);
    let total = page["totalSize"].as_str().map(str::parse);
    total.map_or(0, Result::unwrap)
}

async fn import_survives_a_kill(shape: Shape) {
    let _alone = match shape {
        Shape::Postgres => Some(ALONE.lock().await),
        _ => None,
    };
    // The program goes on where it was: at the same port.
    let listen = format!("127.0.0.1:{}", free_port());
    let installation = need!(Installation::empty(shape).await);
    let installation = installation.with(&[("MUSTER_LISTEN", &*listen)]);
    let mut server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let key = json!({"displayName": "importer", "permissions": ["devices.write"]});
    let key = alice.post("/v1/apiKeys", key).await.expect(201);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fleet.csv");
    let rows = (0..FLEET).map(|n| format!("Pump {n},{n},{}\n", n % 7));
    let rows: String = ["displayName,serialNumber,labels.n\n".to_owned()]
        .into_iter()
        .chain(rows)
        .collect();
    std::fs::write(&file, rows).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_muster"));
    let command = command
        .args([
            "device",
            "import",
            "--output",
            "json",
            "--server",
            &server.url,
        ])
        .arg(&file)
        .env("MUSTER_CONFIG_DIR", folder.path())
        .env("MUSTER_API_KEY", key["secret"].as_str().unwrap())
        .stdout(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    for kill in 1..=KILLS {
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        let enough = kill * FLEET / (KILLS + 2);
        support::eventually("the import goes on", || async {
            count(&alice).await >= enough
        })
        .await;
        server = Server::start_on(server.kill()).await;
    }
    let done = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
    let done = done.await.unwrap();
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success(), "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    assert_eq!(count(&alice).await, FLEET, "{told}");
    let [created, before] = ["created", "doneBefore"].map(|name| told[name].as_i64().unwrap());
    assert_eq!(created + before, FLEET, "{told}");
}

async fn survives_kills(shape: Shape) {
    let _alone = match shape {
        Shape::Postgres => Some(ALONE.lock().await),
        _ => None,
    };
    let installation = need!(Installation::empty(shape).await);
    let on_postgresql = installation.database_url.is_some();
    assert_eq!(on_postgresql, shape == Shape::Postgres);
    let mut server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let mut tags = [Value::Null, Value::Null, Value::Null];
    for tag in &mut tags {
        let made = alice
            .post("/v1/tags", json!({"displayName": unique()}))
            .await;
        *tag = made.expect(201)["id"].clone();
    }
    let mut known = Acknowledged::new();
    for round in 0..ROUNDS {
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        let (made, mut hear) = mpsc::unbounded_channel();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| tokio::spawn(write(alice.clone(), tags.clone(), made.clone())))
            .collect();
        drop(made);
        for _ in 0..ENOUGH {
            hear.recv().await.expect("the writers go on until the kill");
        }
        let both = shape == Shape::Postgres && round.is_multiple_of(2);
        let both = both && database_is_killed().await;
        let installation = server.kill();
        for writer in writers {
            known.extend(writer.await.unwrap());
        }
        if both {
            database().start().await.unwrap();
        }
        server = Server::start_on(installation).await;
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        let mut found = all(&alice).await;
        for device in found.values() {
            is_whole(device, &tags);
        }
        for (id, last) in &mut known {
            let device = found.remove(id);
            match &last {
                Last::Is(expected) => assert_eq!(device.as_ref(), Some(expected)),
                Last::Unknown => assert!(device.is_some(), "{id} is lost"),
                Last::MayBeGone => {}
                Last::IsGone => assert_eq!(device, None, "{id} is back"),
            }
            // What came of an unknown end must stay so in the next rounds.
            *last = device.map_or(Last::IsGone, Last::Is);
        }
        // Each writer may have one that was made and never acknowledged.
        assert!(found.len() <= WRITERS, "{} that nobody made", found.len());
        known.extend(found.into_iter().map(|(id, device)| (id, Last::Is(device))));
    }
    let lived = known
        .values()
        .filter(|last| matches!(last, Last::Is(_)))
        .count();
    assert!(lived >= ENOUGH * ROUNDS / 2, "only {lived} devices lived");
}
