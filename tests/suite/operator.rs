//! What an operator does with the keys of an installation by `muster admin`,
//! while it runs.

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::native::webhooks::{self, heard, is_signed, receive, webhook};
use crate::support::{
    ADMIN, Answer, Caller, Installation, PASSWORD, Server, Settings, Shape, muster, output, probe,
    python, unique,
};

/// How long something may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !so().await {
        let late = tokio::time::Instant::now() > end;
        assert!(!late, "{what} did not come about within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A command of the operator, whose answer is JSON.
async fn admin(installation: &Installation, arguments: &[&str]) -> Value {
    let arguments = [&["admin"], arguments, &["--output", "json"]].concat();
    let out = muster(&arguments, &installation.keys()).await;
    serde_json::from_str(&out).unwrap()
}

/// A command that must fail, and what it says.
async fn fails(arguments: &[&str], settings: &Settings) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
    command
        .args(arguments)
        .envs(settings.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::spawn_blocking(move || output(&mut command, ""));
    let output = output.await.unwrap().unwrap();
    assert!(!output.status.success(), "{arguments:?} must fail");
    String::from_utf8(output.stderr).unwrap()
}

fn basic(name: &str, secret: &str) -> String {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {pair}")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn administrator(server: &Server) -> Caller {
    server.caller(basic(ADMIN, PASSWORD))
}

/// `Authorization` of an API client, which gets tokens.
async fn new_client(server: &Server) -> String {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = administrator(server).post("/v1/apiClients", body).await;
    let made = made.expect(201);
    basic(
        text(&made["apiClient"]["clientKey"]),
        text(&made["clientSecret"]),
    )
}

/// `Authorization` of an API key.
async fn new_key(server: &Server) -> String {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = administrator(server).post("/v1/apiKeys", body).await;
    format!("Bearer {}", text(&made.expect(201)["secret"]))
}

/// A token that the client gets, and the header that says who signed it.
async fn new_token(server: &Server, client: &str) -> Option<(String, Value)> {
    let issued = server.caller(client).post("/v1/tokens", json!({})).await;
    if issued.status != 201 {
        return None;
    }
    let issued = issued.json();
    let token = text(&issued["accessToken"]);
    let header = token.split('.').next().unwrap();
    let header = BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    let header = serde_json::from_slice(&header).unwrap();
    Some((format!("Bearer {token}"), header))
}

/// A token of this key, as soon as it signs.
async fn token_of(server: &Server, client: &str, kid: &str) -> (String, Value) {
    let signs = async || {
        let token = new_token(server, client).await;
        token.is_some_and(|(_, header)| header["kid"] == kid)
    };
    soon("a token of the new key", signs).await;
    new_token(server, client).await.unwrap()
}

async fn get(server: &Server, authorization: &str) -> Answer {
    server.caller(authorization).get("/v1/devices").await
}

async fn works(server: &Server, authorization: &str) {
    let works = async || get(server, authorization).await.status == 200;
    soon("a call that works", works).await;
}

/// The `kid`s that are published.
async fn published(server: &Server) -> Vec<String> {
    let jwks = server.anybody().get("/.well-known/jwks.json").await;
    let jwks = jwks.expect(200);
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| text(&key["kid"]).to_owned()).collect()
}

#[tokio::test]
async fn a_new_signing_key_signs_and_what_the_old_one_signed_stays_good() {
    let server = need!(Server::start().await);
    let client = new_client(&server).await;
    let (first_token, header) = new_token(&server, &client).await.unwrap();
    assert_eq!(header["alg"], "ES256");
    let first = text(&header["kid"]).to_owned();
    let mut seen = vec![first.clone()];
    for algorithm in ["EdDSA", "RS256"] {
        let rotate = ["signing-key", "rotate", "--now", "--algorithm", algorithm];
        let key = admin(&server.installation, &rotate).await;
        assert_eq!(key["algorithm"], algorithm);
        let (token, header) = token_of(&server, &client, text(&key["kid"])).await;
        assert_eq!(header["alg"], algorithm);
        works(&server, &token).await;
        get(&server, &first_token).await.expect(200);
        seen.push(text(&key["kid"]).to_owned());
        let known = published(&server).await;
        assert!(seen.iter().all(|kid| known.contains(kid)), "{known:?}");
    }
    let listed = admin(&server.installation, &["signing-key", "list"]).await;
    let states: Vec<_> = listed.as_array().unwrap().iter().collect();
    let states: Vec<_> = states.iter().map(|key| text(&key["state"])).collect();
    assert_eq!(states, ["retired", "retired", "signing"]);
}

#[tokio::test]
async fn a_signing_key_is_published_before_it_signs() {
    let server = need!(Server::start().await);
    let client = new_client(&server).await;
    let (_, before) = new_token(&server, &client).await.unwrap();
    let key = admin(&server.installation, &["signing-key", "rotate"]).await;
    assert_eq!(key["state"], "pending");
    assert_eq!(key["algorithm"], "ES256");
    let kid = text(&key["kid"]).to_owned();
    let is_published = async || published(&server).await.contains(&kid);
    soon("the new key is published", is_published).await;
    let (_, after) = new_token(&server, &client).await.unwrap();
    assert_eq!(after["kid"], before["kid"], "it does not sign yet");
    let settings = server.installation.keys();
    let told = fails(&["admin", "signing-key", "rotate"], &settings).await;
    assert!(told.contains("published already"), "{told}");
    // Told to, it is the one that signs at once.
    let now = admin(&server.installation, &["signing-key", "rotate", "--now"]).await;
    assert_eq!(now["kid"], key["kid"]);
    token_of(&server, &client, &kid).await;
}

#[tokio::test]
async fn what_a_revoked_signing_key_signed_is_refused() {
    let server = need!(Server::start().await);
    let client = new_client(&server).await;
    let (token, header) = new_token(&server, &client).await.unwrap();
    get(&server, &token).await.expect(200);
    let kid = text(&header["kid"]).to_owned();
    for _ in 0..2 {
        let revoke = ["signing-key", "revoke", &kid];
        let key = admin(&server.installation, &revoke).await;
        assert_eq!(key["state"], "revoked");
    }
    for path in ["/v1/me", "/v1/me/tenants", "/v1/devices", "/v1/apiKeys"] {
        let caller = server.caller(token.as_str());
        let refused = async || caller.get(path).await.status == 401;
        soon(&format!("401 at {path}"), refused).await;
    }
    let gone = async || !published(&server).await.contains(&kid);
    soon("the key is not published", gone).await;
    let another = async || {
        let token = new_token(&server, &client).await;
        token.is_some_and(|(_, header)| header["kid"] != kid.as_str())
    };
    soon("another key signs", another).await;
    let (token, _) = new_token(&server, &client).await.unwrap();
    works(&server, &token).await;
    let missing = ["admin", "signing-key", "revoke", "nothing"];
    let told = fails(&missing, &server.installation.keys()).await;
    assert!(told.contains("there is no signing key nothing"), "{told}");
}

async fn new_master_key() -> String {
    muster(&["admin", "master-key"], &Settings::new()).await
}

#[tokio::test]
async fn the_master_key_changes_while_servers_run_and_the_old_one_is_of_no_use() {
    let (old, new) = (new_master_key().await, new_master_key().await);
    let (old, new) = (old.trim(), new.trim());
    let installation = need!(Installation::new().await);
    let first = [("MUSTER_MASTER_KEY", old)];
    let server = Server::start_on(installation.with(&first)).await;
    let (client, key) = (new_client(&server).await, new_key(&server).await);
    let (token, _) = new_token(&server, &client).await.unwrap();

    let rotate = ["admin", "master-key", "rotate"];
    let told = fails(&rotate, &server.installation.keys()).await;
    assert!(told.contains("old master key is needed"), "{told}");
    let both = [("MUSTER_MASTER_KEY", new), ("MUSTER_OLD_MASTER_KEY", old)];
    let server = Server::start_on(server.kill().with(&both)).await;
    let done = admin(&server.installation, &rotate[1..]).await;
    assert_eq!(done, json!({"peppers": 1, "signingKeys": 1, "dataKeys": 0}));
    let again = admin(&server.installation, &rotate[1..]).await;
    assert_eq!(
        again,
        json!({"peppers": 0, "signingKeys": 0, "dataKeys": 0})
    );
    for credential in [&key, &client, &token] {
        works(&server, credential).await;
    }

    let alone = [("MUSTER_OLD_MASTER_KEY", "")];
    let server = Server::start_on(server.kill().with(&alone)).await;
    for credential in [&key, &client, &token] {
        works(&server, credential).await;
    }
    works(&server, &new_key(&server).await).await;

    has_another_master_key(server.kill().with(&first)).await;
}

/// A start that must come to nothing, and says why.
async fn has_another_master_key(installation: Installation) {
    let clear = "wrapped by another master key";
    if installation.shape != Shape::Split {
        let told = fails(&["up"], &installation.keys()).await;
        return assert!(told.contains(clear), "{told}");
    }
    let all: Vec<_> = (0..5).collect();
    let server = Server::launch(installation, &all);
    let mut parts = server.parts().iter();
    let keys = parts.find(|part| part.service == "key-management").unwrap();
    let told = async || {
        let told = probe(&keys.address, "/readyz").await;
        told.is_some_and(|(status, text)| status == 503 && text.contains(clear))
    };
    soon("key management says what is wrong", told).await;
}

#[tokio::test]
async fn after_a_new_pepper_hashes_are_made_anew_as_they_are_used() {
    let server = need!(Server::start().await);
    let (client, key) = (new_client(&server).await, new_key(&server).await);
    let rotated = admin(&server.installation, &["pepper", "rotate"]).await;
    assert_eq!(rotated, json!({"number": 2}));
    let hashes = async |server: &Server| {
        let listed = admin(&server.installation, &["pepper", "list"]).await;
        let peppers = listed.as_array().unwrap().clone();
        let hashes = peppers.iter().map(|pepper| pepper["hashes"].clone());
        hashes.collect::<Vec<_>>()
    };
    assert_eq!(hashes(&server).await, [2, 0]);
    // What was remembered of them has no need to be looked up.
    let server = Server::start_on(server.kill()).await;
    for credential in [&key, &client] {
        works(&server, credential).await;
    }
    let anew = async || hashes(&server).await == [0, 2];
    soon("hashes with the new pepper", anew).await;
    let server = Server::start_on(server.kill()).await;
    for credential in [&key, &client] {
        works(&server, credential).await;
    }
}

/// What a statement answers on a table of a service.
async fn answer_of(
    installation: &Installation,
    (service, table): (&str, &str),
    statement: &str,
) -> Option<String> {
    if let Some(url) = &installation.database_url {
        let schema = service.replace('-', "_");
        let statement = statement.replace(table, &format!("{schema}.{table}"));
        let answer = test_database::postgres()?.answer(url, &statement).await;
        return Some(answer.unwrap());
    }
    let file = format!("{service}.sqlite");
    let file = installation.folder.path().join(file);
    let variables = [
        ("DATABASE", file.to_str().unwrap()),
        ("STATEMENT", statement),
    ];
    let output = python("sqlite.py", &["sqlite3"], &variables)?;
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let answer = String::from_utf8(output.stdout).unwrap();
    Some(answer.trim().to_owned())
}

#[tokio::test]
async fn a_database_gives_no_secret_of_a_webhook_away() {
    let (old, new) = (new_master_key().await, new_master_key().await);
    let (old, new) = (old.trim(), new.trim());
    let installation = need!(webhooks::installation().await);
    let server = Server::start_on(installation.with(&[("MUSTER_MASTER_KEY", old)])).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let made = webhook(&administrator(&server), &listener, &["device.created"]).await;
    let received = receive(listener).await;
    let secret = text(&made["secret"]);
    let test = format!(
        "/v1/webhooks/{}:sendTestEvent",
        text(&made["webhook"]["id"])
    );
    let deliver = async |server: &Server| {
        let sent = administrator(server).post(&test, json!({})).await;
        sent.expect(201);
        let (headers, body) = heard(&received, "webhook.test").await;
        is_signed(secret, &headers, &body)
    };
    need!(deliver(&server).await);
    let webhooks = ("device-registry", "webhooks");
    let kept = "SELECT secret FROM webhooks";
    let first = need!(answer_of(&server.installation, webhooks, kept).await);
    assert!(
        !first.contains(secret) && !first.contains("whsec"),
        "{first}"
    );

    // As earlier versions kept it.
    let installation = server.kill();
    let plain = format!("UPDATE webhooks SET secret = '{secret}' RETURNING secret");
    let written = need!(answer_of(&installation, webhooks, &plain).await);
    assert_eq!(written, secret);
    let both = [("MUSTER_MASTER_KEY", new), ("MUSTER_OLD_MASTER_KEY", old)];
    let server = Server::start_on(installation.with(&both)).await;
    let encrypted = async || {
        let now = answer_of(&server.installation, webhooks, kept).await;
        !now.unwrap().contains("whsec")
    };
    soon("a secret that was plain is encrypted", encrypted).await;
    need!(deliver(&server).await);

    // The master key can change: the registry's own key does not.
    let done = admin(&server.installation, &["master-key", "rotate"]).await;
    assert_eq!(done["dataKeys"], 1, "{done}");
    let alone = [("MUSTER_OLD_MASTER_KEY", "")];
    let server = Server::start_on(server.kill().with(&alone)).await;
    need!(deliver(&server).await);
}

#[tokio::test]
async fn a_data_key_that_the_master_key_does_not_open_is_told_at_the_start() {
    let (old, new) = (new_master_key().await, new_master_key().await);
    let (old, new) = (old.trim(), new.trim());
    let installation = need!(Installation::new().await);
    let server = Server::start_on(installation.with(&[("MUSTER_MASTER_KEY", old)])).await;
    let hook = json!({"url": "https://example.com/hook", "eventTypes": ["*"]});
    let made = administrator(&server).post("/v1/webhooks", hook).await;
    made.expect(201);
    let data_keys = ("key-management", "data_keys");
    let hexadecimal = match &server.installation.database_url {
        Some(_) => ["encode(wrapped, 'hex')", "decode('", "', 'hex')"],
        None => ["hex(wrapped)", "x'", "'"],
    };
    let [shown, before, after] = hexadecimal;
    let kept = format!("SELECT {shown} FROM data_keys");
    let by_old = need!(answer_of(&server.installation, data_keys, &kept).await);

    let both = [("MUSTER_MASTER_KEY", new), ("MUSTER_OLD_MASTER_KEY", old)];
    let server = Server::start_on(server.kill().with(&both)).await;
    admin(&server.installation, &["master-key", "rotate"]).await;
    let installation = server.kill();
    let by_new = need!(answer_of(&installation, data_keys, &kept).await);
    assert_ne!(by_new, by_old);
    let set = format!("UPDATE data_keys SET wrapped = {before}{by_old}{after} RETURNING {shown}");
    assert_eq!(
        need!(answer_of(&installation, data_keys, &set).await),
        by_old
    );
    has_another_master_key(installation.with(&[("MUSTER_OLD_MASTER_KEY", "")])).await;
}
