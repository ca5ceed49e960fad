//! The commands for keys, clients, tokens and policies, run as people and
//! scripts run them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::cli::{Terminal, text};
use crate::support::{World, eventually, unique};

/// A span in which nobody uses anything by accident.
const QUIET: [&str; 3] = ["--watch", "--quiet-for", "1s"];

/// A user who owns nothing.
const NOBODY: &str = "user:0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// A new key: its id and its secret.
async fn new_key(terminal: &Terminal, more: &[&str]) -> (String, String) {
    let name = unique();
    let create = ["key", "create", "--name", &name, "--permission"];
    let made = [&create[..], &["devices.read,tags.read"], more].concat();
    let made = terminal.json(&made).await;
    let (id, secret) = (&made["apiKey"]["id"], &made["secret"]);
    (text(id).to_owned(), text(secret).to_owned())
}

/// A new client: its id, its key and its secret.
async fn new_client(terminal: &Terminal) -> [String; 3] {
    let name = unique();
    let create = ["client", "create", "--name", &name, "--permission"];
    let create = [&create[..], &["devices.read,tags.read"]].concat();
    let made = terminal.json(&create).await;
    let client = &made["apiClient"];
    [&client["id"], &client["clientKey"], &made["clientSecret"]].map(|t| text(t).to_owned())
}

async fn is_refused(world: &World, credential: &str) -> bool {
    let caller = world.server.caller(format!("Bearer {credential}"));
    caller.get("/v1/devices").await.status == 401
}

async fn is_taken(world: &World, credential: &str) {
    let caller = world.server.caller(format!("Bearer {credential}"));
    caller.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn a_key_is_rotated_watched_and_finished() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let (id, old) = new_key(&terminal, &[]).await;
    let rotate = ["key", "rotate", &id, "--overlap", "1h"];
    let rotated = terminal.json(&rotate).await;
    let new = text(&rotated["secret"]);
    assert_eq!(rotated["rotation"]["running"], json!(true));
    for secret in [&old, new] {
        is_taken(&world, secret).await;
    }
    let status = ["key", "rotation", &id];
    let seen = async || {
        let rotation = terminal.json(&status).await;
        let generations = rotation["generations"].as_array().unwrap();
        assert_eq!(generations.len(), 2);
        generations.iter().all(|one| one["useCount"] == "1")
    };
    eventually("the counting of both secrets", seen).await;
    let table = terminal.says(&status).await;
    assert!(
        table.starts_with("GENERATION ") && table.contains("old, works"),
        "{table}"
    );
    let watched = terminal.run(&[&status[..], &QUIET].concat(), "").await;
    let told = watched.err();
    assert!(told.contains("Generation 1 was last used at "), "{told}");
    assert!(told.contains(&format!("muster key finish {id}")), "{told}");
    terminal
        .says(&["key", "extend", &id, "--until", "2h"])
        .await;
    let finished = terminal.json(&["key", "finish", &id]).await;
    assert_eq!(finished["running"], json!(false));
    eventually("the old one's refusal", async || {
        is_refused(&world, &old).await
    })
    .await;
    is_taken(&world, new).await;
    let error = terminal.fails(&["key", "finish", &id]).await;
    assert!(error.contains("NO_ROTATION_RUNNING"), "{error}");
    let over = terminal.run(&[&status[..], &QUIET].concat(), "").await;
    assert_eq!(over.err(), "No old secret works any more.\n");
}

#[tokio::test]
async fn a_key_is_rotated_without_overlap() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let (id, old) = new_key(&terminal, &[]).await;
    let said = terminal
        .says(&["key", "rotate", &id, "--overlap", "0"])
        .await;
    let last = said.lines().last().unwrap();
    let new = last.strip_prefix("New secret (shown only now): ").unwrap();
    eventually("the old one's refusal", async || {
        is_refused(&world, &old).await
    })
    .await;
    is_taken(&world, new).await;
}

#[tokio::test]
async fn a_key_is_changed_disabled_enabled_and_deleted() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let more = ["--network", "127.0.0.0/8,::1", "--metadata", "team=field"];
    let more = [
        &more[..],
        &["--environment", "test", "--expires", "1h", "--mine"],
    ]
    .concat();
    let (id, secret) = new_key(&terminal, &more).await;
    let show = ["key", "show", &id];
    let key = terminal.json(&show).await;
    assert_eq!(key["environment"], "test");
    assert_eq!(key["metadata"], json!({"team": "field"}));
    assert_eq!(key["allowedNetworks"].as_array().unwrap().len(), 2);
    assert_eq!(key["owner"], key["creator"]);
    is_taken(&world, &secret).await;
    let changes = ["--permission", "devices.read", "--any-network"];
    let more = ["--expires", "never", "--no-metadata", "--description", "d"];
    let update = [&["key", "update", &id], &changes[..], &more].concat();
    let changed = terminal.json(&update).await;
    assert_eq!(terminal.json(&show).await, changed);
    let expected = json!({"permissions": ["devices.read"], "allowedNetworks": [],
        "expireTime": null, "metadata": {}, "description": "d", "environment": "test"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    let said = terminal.says(&["key", "disable", &id]).await;
    assert!(said.starts_with("Disabled key "), "{said}");
    eventually("the refusal", async || is_refused(&world, &secret).await).await;
    terminal.says(&["key", "enable", &id]).await;
    let again = async || !is_refused(&world, &secret).await;
    eventually("the key's return", again).await;
    terminal.says(&["key", "delete", &id]).await;
    eventually("the end", async || is_refused(&world, &secret).await).await;
    let error = terminal.fails(&show).await;
    assert!(error.contains(&id), "{error}");
    terminal.run(&["key", "update", &id], "").await.failed(2);
}

#[tokio::test]
async fn keys_are_listed_by_what_is_asked() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let (used, secret) = new_key(&terminal, &[]).await;
    let (expiring, _) = new_key(&terminal, &["--expires", "1h"]).await;
    let (revoked, _) = new_key(&terminal, &[]).await;
    let revoke = ["key", "revoke", &revoked, "--reason", "lost"];
    assert_eq!(terminal.json(&revoke).await["revokeReason"], "lost");
    is_taken(&world, &secret).await;
    let listed = async |filter: &[&str]| {
        let listed = terminal.json(&[&["key", "list"], filter].concat()).await;
        let keys = listed.as_array().unwrap().iter();
        let ids: Vec<_> = keys.map(|key| text(&key["id"]).to_owned()).collect();
        [&used, &expiring, &revoked].map(|id| ids.contains(id))
    };
    assert_eq!(listed(&[]).await, [true, true, false]);
    assert_eq!(listed(&["--all"]).await, [true; 3]);
    assert_eq!(listed(&["--state", "revoked"]).await, [false, false, true]);
    assert_eq!(
        listed(&["--expires-before", "2h"]).await,
        [false, true, false]
    );
    assert_eq!(listed(&["--foreign"]).await, [false; 3]);
    assert_eq!(listed(&["--owner", NOBODY]).await, [false; 3]);
    let unused = async || listed(&["--unused-since", "1d"]).await == [false, true, false];
    eventually("the counting of the use", unused).await;
}

#[tokio::test]
async fn a_key_is_checked_without_any_server() {
    let world = need!(World::shared().await);
    let more = ["--environment", "test"];
    let (id, secret) = new_key(&Terminal::logged_in(&world).await, &more).await;
    let nobody = Terminal::new();
    let check = ["key", "check", "--output", "json"];
    let checked = nobody.run(&check, &format!("{secret}\n")).await.ok();
    let checked: Value = serde_json::from_str(&checked).unwrap();
    let expected = json!({"id": id, "prefix": "muster", "environment": "test"});
    assert_eq!(checked, expected);
    let mut wrong = secret.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == 'a' { 'b' } else { 'a' });
    for (text, why) in [
        (wrong.as_str(), "the checksum is wrong"),
        ("muster_what", "not written like a key"),
        ("", "there is no key to read"),
    ] {
        let error = nobody.run(&check, text).await.failed(1);
        assert!(error.contains(why), "{error}");
        assert!(text.is_empty() || !error.contains(text), "{error}");
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &secret).unwrap();
    let path = file.path().to_str().unwrap();
    let said = nobody.says(&["key", "check", "--file", path]).await;
    assert!(said.contains(&id), "{said}");
}

#[tokio::test]
async fn a_key_is_verified_or_told_why_not() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let (id, secret) = new_key(&terminal, &["--network", "192.0.2.0/24"]).await;
    let verify = ["key", "verify", "--source", "192.0.2.7"];
    let said = terminal.run(&verify, &secret).await.ok();
    assert!(said.contains(&format!("key:{id}")), "{said}");
    for (more, why) in [
        (
            &["--permission", "devices.write"][..],
            "CODE_PERMISSION_MISSING",
        ),
        (&["--source", "198.51.100.7"], "CODE_NETWORK_NOT_ALLOWED"),
    ] {
        let asked = [&["key", "verify"], more].concat();
        let asked = match more[0] {
            "--source" => asked,
            _ => [&asked[..], &verify[2..]].concat(),
        };
        let error = terminal.run(&asked, &secret).await.failed(1);
        assert!(error.contains(why) && !error.contains(&secret), "{error}");
    }
    let as_json = [&verify[..], &["--output", "json"]].concat();
    let told = terminal.run(&as_json, "not-a-key-of-anybody").await;
    assert_eq!(told.code, 1);
}

#[tokio::test]
async fn whoever_has_a_key_gives_it_up() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let (id, secret) = new_key(&terminal, &[]).await;
    let mut finder = Terminal::new();
    let url = world.server.url.clone();
    finder.variables.push(("MUSTER_SERVER", url));
    let said = finder.run(&["key", "surrender"], &secret).await.ok();
    eventually("the refusal", async || is_refused(&world, &secret).await).await;
    let key = terminal.json(&["key", "show", &id]).await;
    assert_eq!(key["state"], "STATE_REVOKED");
    // No answer says whether it was one.
    let other = finder.run(&["key", "surrender"], "nobody's").await.ok();
    assert_eq!(said, other);
}

#[tokio::test]
async fn keys_of_other_systems_go_on_here() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let number = unique().replace('-', "");
    let fleet = BASE64_STANDARD.encode(format!("{number}:{}", "s3cret".repeat(4)));
    let script = format!("an-opaque-key-{}", unique());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, script.as_bytes());
    let digest: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let import = async |more: &[&str], input: &str| {
        let name = unique();
        let import = ["key", "import", "--name", &name, "--permission"];
        let import = [&import[..], &["devices.read", "--output", "json"], more].concat();
        let taken = terminal.run(&import, input).await.ok();
        let taken: Value = serde_json::from_str(&taken).unwrap();
        text(&taken["id"]).to_owned()
    };
    let first = import(&["--format", "base64-id-secret"], &fleet).await;
    let opaque = ["--format", "opaque", "--known-as", "sha256"];
    let second = import(&opaque, &digest).await;
    for key in [&fleet, &script] {
        is_taken(&world, key).await;
    }
    let foreign = terminal.says(&["key", "list", "--foreign"]).await;
    for id in [&first, &second] {
        assert!(foreign.contains(id), "{foreign}");
    }
    let format = ["--format", "base64-id-secret"];
    let create = ["key", "import", "--name", "x", "--permission", "tags.read"];
    let import = [&create[..], &format].concat();
    let error = terminal.run(&import, "no pair").await.failed(1);
    assert!(error.contains("--foreign-id"), "{error}");
}

#[tokio::test]
async fn scanners_find_a_key_by_the_rules_that_are_printed() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let rules = ["key", "scanner-rules", "--format"];
    let gitleaks = terminal.says(&[&rules[..], &["gitleaks"]].concat()).await;
    let pattern = gitleaks.split("'''").nth(1).unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    for more in [&[][..], &["--environment", "live"]] {
        let (_, secret) = new_key(&terminal, more).await;
        let leaked = format!("export KEY=\"{secret}\"\n");
        assert_eq!(&pattern.captures(&leaked).unwrap()[1], secret);
        assert!(!pattern.is_match(&secret[..secret.len() - 1]));
    }
    for format in ["trufflehog", "github"] {
        let printed = [&rules[..], &[format, "--prefix", "acme"]].concat();
        let printed = terminal.says(&printed).await;
        assert!(printed.contains("acme_(?:"), "{printed}");
    }
    let wrong = [&rules[..], &["github", "--prefix", "A_"]].concat();
    terminal.run(&wrong, "").await.failed(2);
}

#[tokio::test]
async fn a_token_is_got_introspected_listed_and_revoked() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let [id, key, secret] = new_client(&terminal).await;
    let mut program = Terminal::new();
    let url = world.server.url.clone();
    program.variables = vec![("MUSTER_SERVER", url), ("MUSTER_CLIENT_KEY", key.clone())];
    let get = [
        "token",
        "get",
        "--ttl",
        "2m",
        "--permission",
        "devices.read",
    ];
    let token = program.run(&get, &secret).await.ok().trim().to_owned();
    is_taken(&world, &token).await;
    let introspect = ["token", "introspect", "--output", "json"];
    let known = terminal.run(&introspect, &token).await.ok();
    let known: Value = serde_json::from_str(&known).unwrap();
    let principal = format!("client:{id}");
    let expected = json!({"active": true, "scope": "devices.read", "sub": principal});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&known[field], value, "{field}");
    }
    let list = ["token", "list", "--principal", &principal];
    assert_eq!(terminal.json(&list).await[0]["id"], known["jti"]);
    terminal.run(&["token", "revoke"], &token).await.ok();
    eventually("the refusal", async || is_refused(&world, &token).await).await;
    let error = terminal.run(&introspect[..2], &token).await.failed(1);
    assert!(error.contains("not active"), "{error}");
    let error = program.run(&get, "not the secret").await.failed(1);
    assert!(error.contains("BAD_CREDENTIALS"), "{error}");
    assert!(!error.contains("not the secret"), "{error}");
}

#[tokio::test]
async fn every_token_of_a_client_is_revoked_at_once() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let [id, key, secret] = new_client(&terminal).await;
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let get = ["token", "get", "--client-key", &key];
        let token = terminal.run(&get, &secret).await.ok();
        tokens.push(token.trim().to_owned());
    }
    let all = format!("client:{id}");
    terminal.says(&["token", "revoke-all", &all]).await;
    for token in &tokens {
        eventually("the refusal", async || is_refused(&world, token).await).await;
    }
}

#[tokio::test]
async fn a_client_is_changed_rotated_and_finished() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let [id, key, old] = new_client(&terminal).await;
    let changes = ["--token-ttl", "5m", "--disabled", "true"];
    let update = [&["client", "update", &id], &changes[..]].concat();
    let changed = terminal.json(&update).await;
    assert_eq!(changed["tokenTtl"], "300s");
    assert_eq!(terminal.json(&["client", "show", &id]).await, changed);
    let get = ["token", "get", "--client-key", &key];
    let refused = async |secret: &str| terminal.run(&get, secret).await.code == 1;
    eventually("the refusal", async || refused(&old).await).await;
    terminal
        .says(&["client", "update", &id, "--disabled", "false"])
        .await;
    let rotated = terminal.json(&["client", "rotate", &id]).await;
    let new = text(&rotated["clientSecret"]);
    for secret in [&old, new] {
        terminal.run(&get, secret).await.ok();
    }
    let status = terminal.json(&["client", "rotation", &id]).await;
    assert_eq!(status["generations"].as_array().unwrap().len(), 2);
    terminal.says(&["client", "finish", &id]).await;
    eventually("the old one's refusal", async || refused(&old).await).await;
    terminal.run(&get, new).await.ok();
}

#[tokio::test]
async fn a_client_of_another_system_goes_on_here() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let key = format!("{}{}", unique(), "a".repeat(16));
    let import = ["client", "import", "--name", "erp", "--client-key", &key];
    let more = ["--permission", "devices.read", "--output", "json"];
    let secret = "a-secret-of-another-system";
    let taken = terminal
        .run(&[&import[..], &more].concat(), secret)
        .await
        .ok();
    let taken: Value = serde_json::from_str(&taken).unwrap();
    assert_eq!(taken["foreign"], json!(true));
    let get = ["token", "get", "--client-key", &key];
    let token = terminal.run(&get, secret).await.ok();
    is_taken(&world, token.trim()).await;
}

#[tokio::test]
async fn the_policy_for_keys_is_set_shown_and_kept() {
    let world = need!(World::shared().await);
    // In a tenant whose keys no other test makes.
    let terminal = Terminal::logged_in_to(&world, &world.tenant_b).await;
    let rules = ["--max-life", "90d", "--expiry-required", "true"];
    let more = ["--permission", "devices.read", "--leak-action", "disable"];
    let set = [&["key-policy", "set"], &rules[..], &more].concat();
    let policy = terminal.json(&set).await;
    assert_eq!(terminal.json(&["key-policy", "show"]).await, policy);
    assert_eq!(policy["maxLife"], "7776000s");
    let create = ["key", "create", "--name", "x", "--permission"];
    let error = terminal
        .fails(&[&create[..], &["tags.read"]].concat())
        .await;
    for field in ["api_key.permissions", "api_key.expire_time"] {
        assert!(error.contains(field), "{error}");
    }
    let clear = ["--max-life", "none", "--expiry-required", "false"];
    let clear = [&["key-policy", "set", "--any-permission"], &clear[..]].concat();
    let policy = terminal.json(&clear).await;
    assert_eq!(policy["leakAction"], "LEAK_ACTION_DISABLE");
    terminal.says(&[&create[..], &["tags.read"]].concat()).await;
    terminal.run(&["key-policy", "set"], "").await.failed(2);
}

#[tokio::test]
async fn a_tenant_below_is_suspended_and_resumed() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let name = json!({"displayName": unique()});
    let below = world.alice.post("/v1/tenants", name).await.expect(201);
    let id = text(&below["id"]);
    let suspended = terminal.json(&["tenant", "suspend", id]).await;
    assert_eq!(suspended["state"], "STATE_SUSPENDED");
    let said = terminal.says(&["tenant", "resume", id]).await;
    assert!(said.starts_with("Resumed tenant "), "{said}");
    let own = &world.tenant_a;
    terminal.fails(&["tenant", "suspend", own]).await;
}
