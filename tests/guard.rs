//! The guard in front of services of a user's own, with the real program.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

mod guarded;

use std::sync::Arc;
use std::time::Duration;

use guard::{ConnectError, Guard};
use guarded::{
    PERMISSION, Wire, asked, asked_with, builder, caller, greeted, greeter, own_key, web, wire,
};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use support::{Caller, World, send, unique};
use tonic::Code;
use tonic_types::StatusExt;

const SHAPE: support::Shape = support::Shape::Sqlite;

async fn world() -> Option<Arc<World>> {
    World::shared().await
}

/// A guard on the world's server, for tenant A.
async fn guard_of(world: &World) -> Guard {
    let builder = builder(&world.alice).await;
    builder.connect(&world.server.url).await.unwrap()
}

/// A key of tenant A: its id and its secret.
async fn new_key(alice: &Caller, more: Value) -> (String, String) {
    let mut body = json!({"displayName": unique(), "permissions": [PERMISSION]});
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let made = alice.post("/v1/apiKeys", body).await.expect(201);
    (text(&made["apiKey"]["id"]), text(&made["secret"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// Waits for something that comes with time; 30 s are very long for it.
async fn comes<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come about");
}

/// Waits until a service refuses a credential for this reason.
async fn is_refused(url: &str, secret: &str, reason: &str) {
    let refused = async || {
        let (status, body) = asked(url, &bearer(secret)).await;
        status == 401 && body["reason"] == reason
    };
    comes(reason, refused).await;
}

#[tokio::test]
async fn a_key_is_taken_in_each_form_and_the_handler_knows_who_calls() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let more = json!({"metadata": {"site": "north"}, "environment": "test"});
    let (id, secret) = new_key(&world.alice, more).await;
    let forms = [
        ("authorization", bearer(&secret)),
        ("authorization", format!("ApiKey {secret}")),
        ("x-api-key", secret),
    ];
    for (name, value) in forms {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        let (status, told) = asked_with(&url, headers).await;
        assert_eq!(status, 200, "{name}: {told}");
        assert_eq!(told["principal"], format!("key:{id}"));
        assert_eq!(told["tenant"], world.tenant_a);
        assert_eq!(told["permissions"], json!([PERMISSION]));
        assert_eq!(told["metadata"], json!({"site": "north"}));
        assert_eq!(told["environment"], "test");
        assert_eq!(told["owner"], "");
        assert_eq!(told["expires"], false);
        assert_eq!(told["superseded"], false);
    }
}

#[tokio::test]
async fn a_token_is_taken_until_its_client_is_deleted() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let body = json!({"displayName": unique(), "permissions": [PERMISSION]});
    let made = world.alice.post("/v1/apiClients", body).await.expect(201);
    let (client, secret) = (&made["apiClient"], text(&made["clientSecret"]));
    let request = world
        .server
        .anybody()
        .request(reqwest::Method::POST, "/v1/tokens")
        .basic_auth(text(&client["clientKey"]), Some(secret))
        .json(&json!({}));
    let token = text(&send(request).await.expect(201)["accessToken"]);
    let (status, told) = asked(&url, &bearer(&token)).await;
    assert_eq!(status, 200, "{told}");
    let id = text(&client["id"]);
    assert_eq!(told["principal"], format!("client:{id}"));
    assert_eq!(told["tenant"], world.tenant_a);
    assert_eq!(told["permissions"], json!([PERMISSION]));
    assert_eq!(told["expires"], true);
    let path = format!("/v1/apiClients/{id}");
    world.alice.delete(&path).await.expect(200);
    is_refused(&url, &token, "TOKEN_INACTIVE").await;
}

#[tokio::test]
async fn what_is_no_good_credential_is_refused_with_its_reason() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let own = own_key(&world.alice).await;
    let other = world.bob.new_key(&[PERMISSION]).await;
    let (_, mut damaged) = new_key(&world.alice, json!({})).await;
    let last = damaged.pop().unwrap();
    damaged.push(if last == 'a' { 'b' } else { 'a' });
    let long = "k".repeat(2000);
    let cases = [
        ("Basic YTpi".to_owned(), 401, "UNAUTHENTICATED"),
        (bearer(&damaged), 401, "KEY_MALFORMED"),
        (bearer(&long), 401, "KEY_MALFORMED"),
        (bearer("eyJhbGciOiJub25lIn0.e30.x"), 401, "TOKEN_INACTIVE"),
        (bearer(&other), 401, "BAD_CREDENTIALS"),
        (bearer(&own), 403, "PERMISSION_DENIED"),
    ];
    for (authorization, status, reason) in cases {
        let answer = caller(&url, authorization).get("/").await;
        let body = answer.expect(status);
        assert_eq!(body["reason"], reason, "{body}");
        assert_eq!(body["code"], if status == 401 { 16 } else { 7 });
        assert!(text(&body["message"]).len() > 10, "{body}");
        assert_eq!(answer.header("content-type"), "application/json");
        let challenge = answer.header("www-authenticate");
        assert!(challenge.starts_with("Bearer realm="), "{challenge}");
        let scope = format!("scope=\"{PERMISSION}\"");
        assert_eq!(challenge.contains(&scope), status == 403, "{challenge}");
    }
}

#[tokio::test]
async fn a_revoked_key_is_refused_though_it_was_remembered() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let (id, secret) = new_key(&world.alice, json!({})).await;
    let (_, other) = new_key(&world.alice, json!({})).await;
    for secret in [&secret, &other] {
        assert_eq!(asked(&url, &bearer(secret)).await.0, 200);
    }
    let path = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&path, json!({})).await.expect(200);
    is_refused(&url, &secret, "KEY_REVOKED").await;
    assert_eq!(asked(&url, &bearer(&other)).await.0, 200);
}

#[tokio::test]
async fn a_key_that_is_changed_is_looked_up_anew() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let both = json!({"permissions": [PERMISSION, "sites.read"]});
    let (id, secret) = new_key(&world.alice, both).await;
    let (path, bearer) = (format!("/v1/apiKeys/{id}"), bearer(&secret));
    assert_eq!(asked(&url, &bearer).await.0, 200);
    let disable = async |disabled: bool| {
        let body = json!({"disabled": disabled});
        world.alice.patch(&path, body).await.expect(200);
    };
    disable(true).await;
    is_refused(&url, &secret, "KEY_DISABLED").await;
    disable(false).await;
    let good = async || asked(&url, &bearer).await.0 == 200;
    comes("good again", good).await;
    let narrowed = json!({"permissions": ["sites.read"]});
    world.alice.patch(&path, narrowed).await.expect(200);
    let denied = async || asked(&url, &bearer).await.0 == 403;
    comes("narrowed", denied).await;
}

#[tokio::test]
async fn an_old_secret_is_superseded_and_then_refused_while_the_new_one_works() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let (id, old) = new_key(&world.alice, json!({})).await;
    assert_eq!(asked(&url, &bearer(&old)).await.0, 200);
    let path = format!("/v1/apiKeys/{id}:rotate");
    let body = json!({"overlap": "3600s"});
    let new = text(&world.alice.post(&path, body).await.expect(200)["secret"]);
    let superseded = async || asked(&url, &bearer(&old)).await.1["superseded"] == true;
    comes("the old secret is superseded", superseded).await;
    let (_, told) = asked(&url, &bearer(&new)).await;
    assert_eq!(told["superseded"], false, "{told}");
    let path = format!("/v1/apiKeys/{id}/rotation:finish");
    world.alice.post(&path, json!({})).await.expect(200);
    is_refused(&url, &old, "KEY_SUPERSEDED").await;
    assert_eq!(asked(&url, &bearer(&new)).await.0, 200);
}

#[tokio::test]
async fn a_key_with_networks_is_taken_from_these_only() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let networks = |network: &str| json!({"allowedNetworks": [network]});
    let (_, here) = new_key(&world.alice, networks("127.0.0.0/8")).await;
    let (_, there) = new_key(&world.alice, networks("192.0.2.0/24")).await;
    assert_eq!(asked(&url, &bearer(&here)).await.0, 200);
    let (status, told) = asked(&url, &bearer(&there)).await;
    assert_eq!((status, &told["reason"]), (401, &json!("BAD_CREDENTIALS")));

    let behind_a_proxy = builder(&world.alice).await.source(|headers, _| {
        let told = headers.get("x-real-ip")?;
        told.to_str().ok()?.parse().ok()
    });
    let guard = behind_a_proxy.connect(&world.server.url).await.unwrap();
    let url = web(&guard).await;
    for (source, status) in [
        ("192.0.2.7", 200),
        ("::ffff:192.0.2.7", 200),
        ("127.0.0.1", 401),
    ] {
        let request = caller(&url, bearer(&there)).request(reqwest::Method::GET, "/");
        send(request.header("x-real-ip", source))
            .await
            .expect(status);
    }
    // Where it comes from is not known.
    assert_eq!(asked(&url, &bearer(&there)).await.0, 401);
}

#[tokio::test]
async fn while_muster_is_away_only_what_is_remembered_is_let_through() {
    let world = need!(world().await);
    let (muster, switch) = wire(&world.server.url, Wire::Whole).await;
    let builder = builder(&world.alice).await.silence(guarded::VERY_LONG);
    let guard = builder.connect(&muster).await.unwrap();
    let url = web(&guard).await;
    let (_, known) = new_key(&world.alice, json!({})).await;
    let (_, other) = new_key(&world.alice, json!({})).await;
    // Only once the stream was heard is anything remembered.
    let remembered = async || {
        assert_eq!(asked(&url, &bearer(&known)).await.0, 200);
        switch.send(Wire::Cut).unwrap();
        let (status, _) = asked(&url, &bearer(&known)).await;
        if status != 200 {
            switch.send(Wire::Whole).unwrap();
            comes("Muster is back", async || {
                asked(&url, &bearer(&known)).await.0 == 200
            })
            .await;
        }
        status == 200
    };
    comes("it is remembered", remembered).await;
    let answer = caller(&url, bearer(&other)).request(reqwest::Method::GET, "/");
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["reason"], "UNAVAILABLE", "{body}");
    assert_eq!(asked(&url, &bearer(&known)).await.0, 200);
    switch.send(Wire::Whole).unwrap();
    let back = async || asked(&url, &bearer(&other)).await.0 == 200;
    comes("Muster is back", back).await;
}

#[tokio::test]
async fn when_the_stream_is_silent_nothing_is_remembered() {
    let world = need!(world().await);
    let (muster, switch) = wire(&world.server.url, Wire::Whole).await;
    let builder = builder(&world.alice).await.silence(Duration::from_secs(4));
    let url = web(&builder.connect(&muster).await.unwrap()).await;
    let (id, secret) = new_key(&world.alice, json!({})).await;
    assert_eq!(asked(&url, &bearer(&secret)).await.0, 200);
    switch.send(Wire::Silent).unwrap();
    let path = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&path, json!({})).await.expect(200);
    let silent = async || asked(&url, &bearer(&secret)).await.0 == 503;
    comes("nobody can be asked", silent).await;
    switch.send(Wire::Whole).unwrap();
    let refused = async || asked(&url, &bearer(&secret)).await.0 == 401;
    comes("what was revoked meanwhile is refused", refused).await;
}

#[tokio::test]
async fn a_stream_that_comes_back_tells_what_was_revoked_meanwhile() {
    let world = need!(world().await);
    let (muster, switch) = wire(&world.server.url, Wire::Whole).await;
    let builder = builder(&world.alice).await.silence(guarded::VERY_LONG);
    let url = web(&builder.connect(&muster).await.unwrap()).await;
    let (id, secret) = new_key(&world.alice, json!({})).await;
    assert_eq!(asked(&url, &bearer(&secret)).await.0, 200);
    switch.send(Wire::Cut).unwrap();
    let path = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&path, json!({})).await.expect(200);
    switch.send(Wire::Whole).unwrap();
    let refused = async || asked(&url, &bearer(&secret)).await.0 == 401;
    comes("refused", refused).await;
}

#[tokio::test]
async fn no_lookup_that_a_revocation_overtakes_is_remembered() {
    let world = need!(world().await);
    let url = web(&guard_of(&world).await).await;
    let ends = (0..24).map(async |_| {
        let (id, secret) = new_key(&world.alice, json!({})).await;
        let path = format!("/v1/apiKeys/{id}:revoke");
        let bearer = bearer(&secret);
        // The first lookup runs while the key is revoked.
        let (revoked, _) = tokio::join!(world.alice.post(&path, json!({})), asked(&url, &bearer),);
        revoked.expect(200);
        is_refused(&url, &secret, "KEY_REVOKED").await;
        assert_eq!(asked(&url, &bearer).await.0, 401, "it stays refused");
    });
    for end in ends {
        end.await;
    }
}

#[tokio::test]
async fn a_service_starts_without_muster_and_refuses_until_it_can_ask() {
    let world = need!(world().await);
    let (muster, switch) = wire(&world.server.url, Wire::Cut).await;
    let builder = builder(&world.alice).await;
    let url = web(&builder.connect(&muster).await.unwrap()).await;
    let (_, secret) = new_key(&world.alice, json!({})).await;
    assert_eq!(asked(&url, &bearer(&secret)).await.0, 503);
    switch.send(Wire::Whole).unwrap();
    let good = async || asked(&url, &bearer(&secret)).await.0 == 200;
    comes("Muster is there", good).await;
}

#[tokio::test]
async fn a_guard_whose_own_key_may_not_verify_does_not_start() {
    let world = need!(world().await);
    let url = &world.server.url;
    let weak = world.alice.new_key(&[PERMISSION]).await;
    for key in [weak.as_str(), "no key"] {
        let refused = Guard::connect(url, key).await;
        assert!(matches!(refused, Err(ConnectError::Refused(_))));
    }
    let refused = Guard::connect(url, "two\nlines").await;
    assert!(matches!(refused, Err(ConnectError::Key)));
    let refused = Guard::connect("no url", &weak).await;
    assert!(matches!(refused, Err(ConnectError::Url(_))));
}

#[tokio::test]
async fn a_grpc_service_is_guarded_and_refuses_by_grpc_status() {
    let world = need!(world().await);
    let (muster, switch) = wire(&world.server.url, Wire::Whole).await;
    let guard = builder(&world.alice).await.connect(&muster).await.unwrap();
    let channel = greeter(&guard).await;
    let (id, secret) = new_key(&world.alice, json!({"allowedNetworks": ["127.0.0.1/32"]})).await;
    let told = greeted(&channel, Some(&bearer(&secret))).await.unwrap();
    assert_eq!(told, format!("key:{id}"));

    let refused = async |authorization: Option<&str>, code: Code, reason: &str| {
        let status = greeted(&channel, authorization).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            (reason, "muster")
        );
    };
    refused(None, Code::Unauthenticated, "UNAUTHENTICATED").await;
    refused(
        Some("Bearer none"),
        Code::Unauthenticated,
        "BAD_CREDENTIALS",
    )
    .await;
    let own = bearer(&own_key(&world.alice).await);
    refused(Some(&own), Code::PermissionDenied, "PERMISSION_DENIED").await;
    let (_, other) = new_key(&world.alice, json!({})).await;
    switch.send(Wire::Cut).unwrap();
    refused(Some(&bearer(&other)), Code::Unavailable, "UNAVAILABLE").await;
}
