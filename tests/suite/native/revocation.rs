//! What ends is refused everywhere within a second, and nothing else is.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::Clock;
use reqwest::Method;
use serde_json::{Value, json};

use super::people::{email, login, user};
use super::{text, world};
use crate::support::{Caller, PASSWORD, World, eventually, join, send, unique};

/// One path of each service.
const EVERYWHERE: [&str; 4] = ["/v1/me", "/v1/me/tenants", "/v1/devices", "/v1/apiKeys"];

/// Waits until a caller is refused by every service.
pub(super) async fn is_refused_everywhere(caller: &Caller) {
    for path in EVERYWHERE {
        let refused = async || caller.get(path).await.status == 401;
        eventually(&format!("401 at {path}"), refused).await;
    }
}

pub(super) async fn works(caller: &Caller) {
    for path in &EVERYWHERE[..2] {
        caller.get(path).await.expect(200);
    }
}

pub(super) fn basic(name: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{name}:{secret}"))
    )
}

async fn id_of(caller: &Caller) -> String {
    let me = caller.get("/v1/me").await.expect(200);
    text(&me["principalId"]).to_owned()
}

/// A key of tenant A: its id, and callers that send it in each way.
async fn new_key(alice: &Caller, end: Value) -> (String, Vec<Caller>) {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"], "expireTime": end});
    let made = alice.post("/v1/apiKeys", body).await.expect(201);
    let secret = text(&made["secret"]);
    let callers = ["Bearer", "ApiKey"].map(|scheme| alice.with(format!("{scheme} {secret}")));
    (text(&made["apiKey"]["id"]).to_owned(), callers.into())
}

#[tokio::test]
async fn a_revoked_key() {
    let alice = &need!(world().await).alice;
    let (id, callers) = new_key(alice, Value::Null).await;
    let (_, others) = new_key(alice, Value::Null).await;
    for caller in &callers {
        works(caller).await;
    }
    let path = format!("/v1/apiKeys/{id}:revoke");
    let revoked = alice.post(&path, json!({})).await.expect(200);
    assert_eq!(revoked["state"], "STATE_REVOKED");
    for caller in &callers {
        is_refused_everywhere(caller).await;
    }
    let listed = async |query| {
        alice
            .get(&format!("/v1/apiKeys?pageSize=1000{query}"))
            .await
            .text
    };
    assert!(!listed("").await.contains(&id));
    assert!(listed("&showRevoked=true").await.contains(&id));
    for caller in &others {
        works(caller).await;
    }
}

#[tokio::test]
async fn an_expired_key() {
    let alice = &need!(world().await).alice;
    let end = Clock::system().now() + chrono::TimeDelta::seconds(1);
    let (id, short) = new_key(alice, json!(end.to_rfc3339())).await;
    let (_, long) = new_key(alice, json!("2199-01-01T00:00:00Z")).await;
    for caller in &short {
        is_refused_everywhere(caller).await;
    }
    let path = format!("/v1/apiKeys/{id}");
    let expired = async || alice.get(&path).await.expect(200)["state"] == "STATE_EXPIRED";
    eventually("the key's state", expired).await;
    for caller in &long {
        works(caller).await;
    }
}

#[tokio::test]
async fn a_deleted_client_and_its_tokens() {
    let alice = &need!(world().await).alice;
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = alice.post("/v1/apiClients", body).await.expect(201);
    let (client, secret) = (&made["apiClient"], text(&made["clientSecret"]));
    let by_secret = alice.with(basic(text(&client["clientKey"]), secret));
    let issued = by_secret.post("/v1/tokens", json!({})).await.expect(201);
    assert_eq!(issued["ttl"], "600s");
    let by_token = alice.with(format!("Bearer {}", text(&issued["accessToken"])));
    for caller in [&by_secret, &by_token] {
        works(caller).await;
    }
    let path = format!("/v1/apiClients/{}", text(&client["id"]));
    assert_eq!(alice.delete(&path).await.expect(200), json!({}));
    for caller in [&by_secret, &by_token] {
        is_refused_everywhere(caller).await;
    }
}

#[tokio::test]
async fn a_token_that_its_client_revoked_and_no_other() {
    let alice = &need!(world().await).alice;
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = alice.post("/v1/apiClients", body).await.expect(201);
    let secret = text(&made["clientSecret"]);
    let client = alice.with(basic(text(&made["apiClient"]["clientKey"]), secret));
    let issue = async || {
        client
            .post("/v1/tokens", json!({"ttl": "60s"}))
            .await
            .expect(201)
    };
    let (one, other) = (issue().await, issue().await);
    let caller = |token: &Value| alice.with(format!("Bearer {}", text(&token["accessToken"])));
    let of = |token: &Value, verb: &str| format!("/v1/tokens/{}:{verb}", text(&token["number"]));
    let renewed = client.post(&of(&one, "renew"), json!({})).await.expect(200);
    assert_eq!(renewed["number"], one["number"]);
    client
        .post(&of(&one, "revoke"), json!({}))
        .await
        .expect(200);
    is_refused_everywhere(&caller(&one)).await;
    is_refused_everywhere(&caller(&renewed)).await;
    works(&caller(&other)).await;
    works(&client).await;
    // What is revoked stays so.
    client.post(&of(&one, "renew"), json!({})).await.expect(404);
}

#[tokio::test]
async fn a_token_of_another_client_is_not_found() {
    let World { alice, bob, .. } = need!(world().await);
    let client = async |owner: &Caller| {
        let body = json!({"displayName": unique()});
        let made = owner.post("/v1/apiClients", body).await.expect(201);
        owner.with(basic(
            text(&made["apiClient"]["clientKey"]),
            text(&made["clientSecret"]),
        ))
    };
    let (ours, theirs) = (client(alice).await, client(bob).await);
    let beside = client(alice).await;
    let token = theirs.post("/v1/tokens", json!({})).await.expect(201);
    for other in [&ours, &beside] {
        for verb in ["renew", "revoke"] {
            let path = format!("/v1/tokens/{}:{verb}", text(&token["number"]));
            assert_eq!(other.post(&path, json!({})).await.reason(404), "NOT_FOUND");
        }
    }
    works(&theirs).await;
}

/// Everything that a user can hold: tokens with and without a tenant, the
/// session in a cookie, and the password.
struct Holdings {
    session: String,
    callers: Vec<Caller>,
}

impl Holdings {
    async fn of(anybody: &Caller, email: &str, tenant: &str) -> Self {
        let made = login(anybody, email, PASSWORD).await.expect(200);
        let user = anybody.with(format!("Bearer {}", text(&made["accessToken"])));
        let body = json!({"tenantId": tenant});
        let scoped = user.post("/v1/auth:selectTenant", body).await.expect(200);
        let scoped = anybody.with(format!("Bearer {}", text(&scoped["accessToken"])));
        Self {
            session: text(&made["sessionToken"]).to_owned(),
            callers: vec![user, scoped],
        }
    }

    async fn session_status(&self) -> [u16; 2] {
        let anybody = Caller {
            authorization: None,
            ..self.callers[0].clone()
        };
        let body = json!({"sessionToken": self.session});
        let refreshed = anybody.post("/v1/auth:refresh", body).await;
        let request = anybody.request(Method::GET, "/v1/me");
        let request = request.header("cookie", format!("muster_session={}", self.session));
        [
            refreshed.status.as_u16(),
            send(request).await.status.as_u16(),
        ]
    }

    async fn work(&self) {
        for caller in &self.callers {
            works(caller).await;
        }
        assert_eq!(self.session_status().await, [200, 200]);
    }

    async fn are_refused(&self) {
        for caller in &self.callers {
            is_refused_everywhere(caller).await;
        }
        let refused = async || self.session_status().await == [401, 401];
        eventually("401 for the session", refused).await;
    }
}

/// A login gives a token that works at once, whatever was revoked before it.
async fn may_log_in(anybody: &Caller, email: &str, password: &str) {
    let made = login(anybody, email, password).await.expect(200);
    let user = anybody.with(format!("Bearer {}", text(&made["accessToken"])));
    user.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_session_that_was_logged_out_and_no_other() {
    let World {
        alice,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let name = email();
    join(alice, tenant_a, &name, "admin").await;
    let anybody = server.anybody();
    let ended = Holdings::of(&anybody, &name, tenant_a).await;
    let other = Holdings::of(&anybody, &name, tenant_a).await;
    ended.work().await;
    assert_eq!(
        ended.callers[0]
            .post("/v1/auth:logout", json!({}))
            .await
            .expect(200),
        json!({})
    );
    ended.are_refused().await;
    other.work().await;
}

#[tokio::test]
async fn a_disabled_user() {
    let World {
        alice,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let (name, anybody) = (email(), server.anybody());
    let id = id_of(&join(alice, tenant_a, &name, "admin").await).await;
    let held = Holdings::of(&anybody, &name, tenant_a).await;
    let by_password = anybody.with(basic(&name, PASSWORD));
    works(&by_password).await;
    held.work().await;
    alice
        .post(&format!("/v1/users/{id}:disable"), json!({}))
        .await
        .expect(200);
    held.are_refused().await;
    is_refused_everywhere(&by_password).await;
    login(&anybody, &name, PASSWORD).await.expect(401);
    // Enabled again, he may log in; what has ended stays ended.
    alice
        .post(&format!("/v1/users/{id}:enable"), json!({}))
        .await
        .expect(200);
    may_log_in(&anybody, &name, PASSWORD).await;
    by_password.get("/v1/me").await.expect(200);
    held.are_refused().await;
}

#[tokio::test]
async fn the_other_sessions_and_the_old_password_after_a_change() {
    let World {
        alice,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let (name, anybody) = (email(), server.anybody());
    join(alice, tenant_a, &name, "admin").await;
    let kept = Holdings::of(&anybody, &name, tenant_a).await;
    let other = Holdings::of(&anybody, &name, tenant_a).await;
    let by_password = anybody.with(basic(&name, PASSWORD));
    works(&by_password).await;
    let new = "a wholly new password";
    let body = json!({"currentPassword": PASSWORD, "newPassword": new});
    let answer = kept.callers[1].post("/v1/me:changePassword", body).await;
    assert_eq!(answer.expect(200), json!({}));
    other.are_refused().await;
    is_refused_everywhere(&by_password).await;
    login(&anybody, &name, PASSWORD).await.expect(401);
    kept.work().await;
    may_log_in(&anybody, &name, new).await;
    let by_new = anybody.with(basic(&name, new));
    by_new.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_removed_members_tokens_in_that_tenant_only() {
    let World {
        alice,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let (name, anybody) = (email(), server.anybody());
    let id = id_of(&join(alice, tenant_a, &name, "admin").await).await;
    let held = Holdings::of(&anybody, &name, tenant_a).await;
    held.work().await;
    alice.delete(&format!("/v1/members/{id}")).await.expect(200);
    is_refused_everywhere(&held.callers[1]).await;
    works(&held.callers[0]).await;
    let body = json!({"tenantId": tenant_a});
    held.callers[0]
        .post("/v1/auth:selectTenant", body)
        .await
        .expect(403);
}

#[tokio::test]
async fn what_a_member_may_no_longer_do() {
    let World {
        alice,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let (name, anybody) = (email(), server.anybody());
    let id = id_of(&join(alice, tenant_a, &name, "admin").await).await;
    let held = Holdings::of(&anybody, &name, tenant_a).await;
    alice
        .patch(&format!("/v1/members/{id}"), json!({"role": "viewer"}))
        .await
        .expect(200);
    is_refused_everywhere(&held.callers[1]).await;
    let again = Holdings::of(&anybody, &name, tenant_a).await;
    let body = json!({"displayName": "x"});
    again.callers[1].post("/v1/devices", body).await.expect(403);
    again.callers[1].get("/v1/devices").await.expect(200);
}

/// Ends a user of tenant B that has this id, and waits until that is known.
async fn end_a_user_with_the_id(world: &World, id: &str) {
    let name = email();
    user(&world.bob, &name, Some(id)).await.expect(201);
    let made = login(&world.server.anybody(), &name, PASSWORD)
        .await
        .expect(200);
    let theirs = world
        .server
        .caller(format!("Bearer {}", text(&made["accessToken"])));
    works(&theirs).await;
    world
        .bob
        .post(&format!("/v1/users/{id}:disable"), json!({}))
        .await
        .expect(200);
    is_refused_everywhere(&theirs).await;
}

#[tokio::test]
async fn a_user_with_the_id_of_a_tenant_and_not_the_tenant() {
    let world = need!(World::new().await);
    let key = world.alice.key_holder(&["devices.read"]).await;
    end_a_user_with_the_id(&world, &world.tenant_a).await;
    for caller in [&world.alice, &world.olga, &key] {
        works(caller).await;
    }
    key.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn a_user_with_the_id_of_a_key_or_client_and_not_those() {
    let world = need!(world().await);
    let (id, keys) = new_key(&world.alice, Value::Null).await;
    end_a_user_with_the_id(world, &id).await;
    for key in &keys {
        works(key).await;
    }
    let made = world
        .alice
        .post("/v1/apiClients", json!({}))
        .await
        .expect(201);
    let client = &made["apiClient"];
    end_a_user_with_the_id(world, text(&client["id"])).await;
    let client = basic(text(&client["clientKey"]), text(&made["clientSecret"]));
    works(&world.alice.with(client)).await;
}

#[tokio::test]
async fn a_key_with_the_id_of_a_user_or_tenant_and_not_those() {
    let world = need!(World::new().await);
    for id in [
        id_of(&world.alice).await,
        id_of(&world.victor).await,
        world.tenant_a.clone(),
    ] {
        let path = format!("/v1/apiKeys?apiKeyId={id}");
        let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
        let made = world.bob.post(&path, body).await.expect(201);
        let key = world.bob.with(format!("Bearer {}", text(&made["secret"])));
        works(&key).await;
        world
            .bob
            .post(&format!("/v1/apiKeys/{id}:revoke"), json!({}))
            .await
            .expect(200);
        is_refused_everywhere(&key).await;
        for caller in [&world.alice, &world.victor] {
            works(caller).await;
        }
    }
}

#[tokio::test]
async fn a_key_with_the_id_of_another_tenants_key_is_refused_or_apart() {
    let World { alice, bob, .. } = need!(world().await);
    let (id, keys) = new_key(alice, Value::Null).await;
    let path = format!("/v1/apiKeys?apiKeyId={id}");
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    assert_eq!(bob.post(&path, body).await.taken(), "api_key_id");
    bob.post(&format!("/v1/apiKeys/{id}:revoke"), json!({}))
        .await
        .expect(404);
    for key in &keys {
        works(key).await;
    }
}
