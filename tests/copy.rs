//! An installation moves from SQLite to PostgreSQL, and nobody who uses it
//! sees a difference.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::path::Path;
use std::process::{Command, Output};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::{ADMIN, Caller, Installation, PASSWORD, Server, Shape, World, eventually, log_in};

/// The tests name theirs.
const SHAPE: Shape = Shape::Sqlite;

/// Where this is not to be had, the test does not run, and says so.
async fn empty_database() -> Option<String> {
    Installation::empty(Shape::Postgres).await?.database_url
}

/// One that has been started, on SQLite.
async fn started() -> Option<Server> {
    let installation = Installation::of(Shape::Sqlite, 1).await?;
    let server = Server::start_on(installation.with(&[("MUSTER_LOG", "warn")])).await;
    // It takes calls a moment before it has told the password, which ends the start.
    let begun = server.installation.folder.path().join("first-start.json");
    eventually("the first start has ended", async || !begun.exists()).await;
    Some(server)
}

fn copy(folder: &Path, url: &str, more: &[&str]) -> Output {
    let from = format!("sqlite:{}", folder.display());
    Command::new(env!("CARGO_BIN_EXE_muster"))
        .args(["migrate", "copy", "--from", &from, "--to", url])
        .args(more)
        .output()
        .unwrap()
}

#[track_caller]
fn is_refused(done: &Output, because: &str) {
    let told = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success(), "{told}");
    assert!(told.contains(because), "{told}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

/// What callers see of a tenant. Times to the microsecond, as PostgreSQL
/// keeps them.
async fn seen(caller: &Caller) -> Vec<Value> {
    let mut all = Vec::new();
    for path in [
        "/v1/me",
        "/v1/devices?pageSize=1000&countTotal=true",
        "/v1/tags",
        "/v1/sites",
        "/v1/commands",
        "/v1/customers",
        "/v1/users",
        "/v1/members",
        "/v1/me/tenants",
        "/v1/apiKeys",
        "/v1/apiClients",
        "/v1/auditEvents?pageSize=1000",
    ] {
        all.push(with_micros(caller.get(path).await.expect(200)));
    }
    all
}

fn is_time(text: &str) -> bool {
    text.is_ascii() && text.len() >= 20 && text.ends_with('Z') && &text[10..11] == "T"
}

fn with_micros(value: Value) -> Value {
    match value {
        Value::String(text) if is_time(&text) => {
            let fraction = text[19..].trim_matches(['.', 'Z']);
            format!("{}.{:.6}", &text[..19], format!("{fraction:0<6}")).into()
        }
        Value::Array(all) => all.into_iter().map(with_micros).collect(),
        Value::Object(fields) => {
            // A page's token holds a time.
            let fields = fields
                .into_iter()
                .filter(|(name, _)| name != "nextPageToken");
            fields
                .map(|(name, value)| (name, with_micros(value)))
                .collect()
        }
        other => other,
    }
}

/// Shows what differs, and not all the rest.
#[track_caller]
fn is_the_same(before: &Value, after: &Value) {
    match (before, after) {
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            before
                .iter()
                .zip(after)
                .for_each(|(b, a)| is_the_same(b, a));
        }
        (Value::Object(before), Value::Object(after)) if before.len() == after.len() => {
            for (name, before) in before {
                is_the_same(before, &after[name]);
            }
        }
        (before, after) => assert_eq!(before, after),
    }
}

/// Things of all kinds, with values that two databases may write differently.
async fn fill(world: &World) {
    let World { alice, bob, .. } = world;
    let strange = "ž \"quoted\" 'single' \\back\\ {a,b} NULL \t\n 数 🦆 $1 %s";
    let tag = alice
        .post("/v1/tags", json!({"displayName": strange}))
        .await
        .expect(201);
    let site = json!({"displayName": "plant", "notes": strange});
    let site = alice.post("/v1/sites", site).await.expect(201);
    let command = json!({"name": "reboot", "displayName": strange, "description": strange});
    alice.post("/v1/commands", command).await.expect(201);
    let customer = json!({"displayName": strange, "attributes": {"key": strange}});
    alice.post("/v1/customers", customer).await.expect(201);
    for device in [
        json!({"displayName": "bare"}),
        json!({
            "displayName": strange,
            "description": "",
            "serialNumber": "sn-1",
            "externalId": strange,
            "tagIds": [tag["id"]],
            "siteId": site["id"],
            "labels": {"ž": strange, "empty": ""},
            "attributes": {
                "big": 9_007_199_254_740_993_i64, "least": i64::MIN, "small": 5e-324, "large": 1.797e308,
                "tenth": 0.1, "minus": -0.0, "null": null, "list": [1, [true, {"deep": strange}]], "": {}
            },
            "location": {"latitude": 49.195_060_123_456_7, "longitude": -0.1, "description": strange},
        }),
        json!({"displayName": "no attributes", "attributes": {}}),
    ] {
        alice.post("/v1/devices", device).await.expect(201);
    }
    for count in 0..1500 {
        let caller = if count % 3 == 0 { bob } else { alice };
        let device =
            json!({"displayName": format!("device {count}"), "labels": {"n": count.to_string()}});
        caller.post("/v1/devices", device).await.expect(201);
    }
}

/// Creates a device; answers its number and path.
async fn device(caller: &Caller) -> (i64, String) {
    let made = caller
        .post("/v1/devices", json!({"displayName": "x"}))
        .await
        .expect(201);
    (
        text(&made["number"]).parse().unwrap(),
        format!("/v1/devices/{}", text(&made["id"])),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_installation_is_the_same_on_postgresql() {
    let url = need!(empty_database().await);
    let world = World::on(need!(started().await)).await;
    let alice = &world.alice;
    fill(&world).await;

    // Credentials that are good, and some that were and are not.
    let key = alice.key_holder(&["devices.read"]).await;
    let made = alice.post(
        "/v1/apiKeys",
        json!({"displayName": "gone", "permissions": ["devices.read"]}),
    );
    let made = made.await.expect(201);
    let revoked_key = alice.with(format!("Bearer {}", text(&made["secret"])));
    let path = format!("/v1/apiKeys/{}:revoke", text(&made["apiKey"]["id"]));
    alice.post(&path, json!({})).await.expect(200);
    let made = alice.post(
        "/v1/apiClients",
        json!({"displayName": "c", "permissions": ["devices.read"]}),
    );
    let made = made.await.expect(201);
    let client = basic(
        text(&made["apiClient"]["clientKey"]),
        text(&made["clientSecret"]),
    );
    let client = alice.with(client);
    let issue = async || client.post("/v1/tokens", json!({})).await.expect(201);
    let (token, revoked_token) = (issue().await, issue().await);
    let path = format!("/v1/tokens/{}:revoke", text(&revoked_token["number"]));
    client.post(&path, json!({})).await.expect(200);
    let bearer = |token: &Value| alice.with(format!("Bearer {}", text(&token["accessToken"])));
    let (by_token, by_revoked_token) = (bearer(&token), bearer(&revoked_token));
    // The device with the highest number is gone, and its number stays so.
    let (highest, path) = device(alice).await;
    let purged = format!("{path}?purge=true");
    alice.delete(&purged).await.expect(200);

    let folder = world.server.installation.folder.path().to_owned();
    is_refused(
        &copy(&folder, &url, &[]),
        "another muster runs on the folder",
    );
    let before = [seen(alice).await, seen(&world.bob).await];
    let mut callers = [
        alice,
        &world.bob,
        &key,
        &client,
        &by_token,
        &revoked_key,
        &by_revoked_token,
    ]
    .map(Clone::clone);
    let mut installation = world.server.kill();

    let done = copy(&folder, &url, &["--output", "json"]);
    let told = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{told}");
    assert!(
        told.contains("device_registry.devices: 1503 of 1503 rows"),
        "{told}"
    );
    let printed: Value = serde_json::from_slice(&done.stdout).unwrap();
    let tables = printed["tables"].as_array().unwrap();
    let devices = tables
        .iter()
        .find(|table| table["table"] == "devices")
        .unwrap();
    assert_eq!(
        (&devices["rows"], &devices["schema"]),
        (&json!(1503), &json!("device_registry"))
    );
    assert!(devices["compared"].as_u64() >= Some(100), "{devices}");
    let key_file = folder.join("master.key");
    assert_eq!(printed["masterKeyFile"].as_str(), key_file.to_str());

    installation.shape = Shape::Postgres;
    installation.database_url = Some(url.clone());
    let server = Server::start_on(installation).await;
    for caller in &mut callers {
        caller.url.clone_from(&server.url);
    }
    let [
        alice,
        bob,
        key,
        client,
        by_token,
        revoked_key,
        by_revoked_token,
    ] = &callers;
    let after = [seen(alice).await, seen(bob).await];
    for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
        is_the_same(before, after);
    }
    for caller in [alice, bob, key, client, by_token] {
        caller.get("/v1/devices").await.expect(200);
    }
    for caller in [revoked_key, by_revoked_token] {
        caller.get("/v1/devices").await.expect(401);
    }
    log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let wrong = json!({"email": ADMIN, "password": "not the password"});
    server
        .anybody()
        .post("/v1/auth:login", wrong)
        .await
        .expect(401);
    assert_eq!(device(alice).await.0, highest + 1);
    let path = format!("/v1/tokens/{}:renew", text(&token["number"]));
    client.post(&path, json!({})).await.expect(200);
    alice
        .key_holder(&["devices.read"])
        .await
        .get("/v1/devices")
        .await
        .expect(200);

    // What is there is not copied over, neither from this folder nor from another.
    let installation = server.kill();
    is_refused(&copy(&folder, &url, &[]), "has rows already");
    drop(installation);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_copied_is_refused_and_said_why() {
    let url = need!(empty_database().await);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("nowhere");
    is_refused(&copy(&nowhere, &url, &[]), "there is no folder");
    assert!(!nowhere.exists());
    is_refused(&copy(folder.path(), &url, &[]), "identity.sqlite");
    is_refused(
        &copy(folder.path(), "mysql://db/muster", &[]),
        "identity.sqlite",
    );

    // The first start of a target makes rows too.
    let source = need!(started().await).kill();
    let path = source.folder.path();
    is_refused(
        &copy(path, "mysql://db/muster", &[]),
        "must begin with postgres://",
    );
    let mut target = need!(Installation::of(Shape::Postgres, 1).await);
    target.database_url = Some(url.clone());
    let target = Server::start_on(target).await.kill();
    is_refused(&copy(path, &url, &[]), "has rows already");

    // People read a table, and what is left to do.
    let url = need!(empty_database().await);
    let done = copy(path, &url, &[]);
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
    for part in [
        "identity",
        "users",
        "COMPARED",
        "master.key",
        "MUSTER_MASTER_KEY_FILE",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    drop(target);
}
