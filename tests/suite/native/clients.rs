//! API clients: changed, rotated, imported, and owned by users.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::people::email;
use super::{fresh_id, text, world};
use crate::support::{Caller, World, eventually, join, unique};

/// bcrypt of `U*U*U`, from the test vectors of its first implementations.
const BCRYPT: &str = "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a";

pub(crate) fn basic(name: &str, secret: &str) -> String {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {pair}")
}

/// A new API client, and a caller with its key and secret.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) key: String,
    pub(crate) caller: Caller,
}

impl Client {
    pub(crate) async fn of(owner: &Caller, permissions: &[&str]) -> Self {
        Self::with(owner, json!({"permissions": permissions})).await
    }

    pub(crate) async fn with(owner: &Caller, body: Value) -> Self {
        let made = owner.post("/v1/apiClients", body).await.expect(201);
        let key = text(&made["apiClient"]["clientKey"]).to_owned();
        let secret = text(&made["clientSecret"]);
        Self {
            id: text(&made["apiClient"]["id"]).to_owned(),
            caller: owner.with(basic(&key, secret)),
            key,
        }
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/apiClients/{}", self.id)
    }

    /// The same client with another secret.
    fn by(&self, secret: &str) -> Caller {
        self.caller.with(basic(&self.key, secret))
    }

    /// A token that is issued to it by name, and a caller with it.
    pub(crate) async fn token(&self) -> (Value, Caller) {
        let token = self.caller.post("/v1/tokens", json!({})).await.expect(201);
        let caller = bearer(&self.caller, &token);
        (token, caller)
    }
}

pub(crate) fn bearer(caller: &Caller, token: &Value) -> Caller {
    caller.with(format!("Bearer {}", text(&token["accessToken"])))
}

async fn works(caller: &Caller) {
    caller.get("/v1/me").await.expect(200);
}

pub(crate) async fn is_refused(caller: &Caller) {
    for path in ["/v1/me", "/v1/devices"] {
        let refused = async || caller.get(path).await.status == 401;
        eventually(&format!("401 at {path}"), refused).await;
    }
}

/// Somebody who may do all here that an admin may: the id, and the caller.
pub(crate) async fn admin(world: &World) -> (String, Caller) {
    let caller = join(&world.alice, &world.tenant_a, &email(), "admin").await;
    let me = caller.get("/v1/me").await.expect(200);
    (text(&me["principalId"]).to_owned(), caller)
}

#[tokio::test]
async fn a_client_is_changed_where_the_mask_says_so() {
    let alice = &need!(world().await).alice;
    let client = Client::with(alice, json!({"displayName": "old", "metadata": {"a": "1"}})).await;
    let before = alice.get(&client.path()).await.expect(200);
    assert_eq!(before["updateTime"], before["createTime"]);
    let body = json!({"displayName": "new", "tokenTtl": "3600s"});
    let changed = alice.patch(&client.path(), body).await.expect(200);
    assert_eq!(changed["displayName"], "new");
    assert_eq!(changed["tokenTtl"], "3600s");
    assert_eq!(changed["metadata"], json!({"a": "1"}));
    assert_ne!(changed["updateTime"], before["updateTime"]);
    assert_eq!(alice.get(&client.path()).await.expect(200), changed);
    let (token, _) = client.token().await;
    assert_eq!(token["ttl"], "3600s");
    let masked = format!("{}?updateMask=metadata", client.path());
    let body = json!({"displayName": "not this", "metadata": {"b": "2"}});
    let changed = alice.patch(&masked, body).await.expect(200);
    assert_eq!(changed["displayName"], "new");
    assert_eq!(changed["metadata"], json!({"b": "2"}));
}

#[tokio::test]
async fn what_no_change_of_a_client_may_do_is_refused_by_field() {
    let World { alice, bob, .. } = need!(world().await);
    let client = Client::of(alice, &["devices.read"]).await;
    let before = alice.get(&client.path()).await.expect(200);
    for (body, fields) in [
        (
            json!({
                "permissions": ["devices.read", "devices.write", "devices.fly"],
                "clientKey": "another-client-key",
                "owner": format!("user:{}", fresh_id()),
            }),
            &[
                "api_client.permissions[1]",
                "api_client.permissions[2]",
                "api_client.client_key",
                "api_client.owner",
            ][..],
        ),
        (json!({"tokenTtl": "3601s"}), &["api_client.token_ttl"]),
    ] {
        let refused = alice.patch(&client.path(), body).await;
        assert_eq!(refused.fields(), fields);
    }
    let masked = format!("{}?updateMask=color", client.path());
    let refused = alice.patch(&masked, json!({})).await;
    assert_eq!(refused.fields(), ["update_mask"]);
    assert_eq!(alice.get(&client.path()).await.expect(200), before);
    let stranger = bob.patch(&client.path(), json!({"displayName": "x"})).await;
    assert_eq!(stranger.reason(404), "NOT_FOUND");
    // What it has may stand there as it is.
    let same = json!({"clientKey": client.key, "permissions": ["devices.read"]});
    alice.patch(&client.path(), same).await.expect(200);
    works(&client.caller).await;
}

#[tokio::test]
async fn what_a_client_may_no_longer_do_is_refused_everywhere() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read", "tags.read"]).await;
    let (token, by_token) = client.token().await;
    by_token.get("/v1/tags").await.expect(200);
    client.caller.get("/v1/tags").await.expect(200);
    let body = json!({"permissions": ["devices.read"]});
    let narrow = alice.patch(&client.path(), body).await.expect(200);
    assert_eq!(narrow["permissions"], json!(["devices.read"]));
    is_refused(&by_token).await;
    let narrowed = async || client.caller.get("/v1/tags").await.status == 403;
    eventually("403 with the client's secret", narrowed).await;
    client.caller.get("/v1/devices").await.expect(200);
    let (_, by_token) = client.token().await;
    by_token.get("/v1/devices").await.expect(200);
    by_token.get("/v1/tags").await.expect(403);
    // What has ended is not brought back.
    let renew = format!("/v1/tokens/{}:renew", text(&token["number"]));
    let refused = client.caller.post(&renew, json!({})).await;
    assert_eq!(refused.reason(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_disabled_client_is_refused_until_it_is_enabled() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read"]).await;
    let (_, by_token) = client.token().await;
    works(&client.caller).await;
    let disabled = alice.patch(&client.path(), json!({"disabled": true})).await;
    assert_eq!(disabled.expect(200)["disabled"], true);
    is_refused(&by_token).await;
    is_refused(&client.caller).await;
    let refused = client.caller.post("/v1/tokens", json!({})).await;
    assert_eq!(refused.reason(401), "KEY_DISABLED");
    let masked = format!("{}?updateMask=disabled", client.path());
    alice.patch(&masked, json!({})).await.expect(200);
    works(&client.caller).await;
    works(&client.token().await.1).await;
    // Its tokens of before stay what they are.
    by_token.get("/v1/me").await.expect(401);
}

#[tokio::test]
async fn two_secrets_work_until_the_rotation_is_finished() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read"]).await;
    let (_, by_token) = client.token().await;
    let rotate = format!("{}:rotate", client.path());
    let body = json!({"overlap": "3600s"});
    let made = alice.post(&rotate, body.clone()).await.expect(200);
    let new = client.by(text(&made["clientSecret"]));
    let shown = &made["rotation"];
    assert_eq!(shown["running"], true);
    let generations = shown["generations"].as_array().unwrap();
    assert_eq!(generations.len(), 2);
    assert_eq!(generations[0]["number"], 2);
    assert_eq!(generations[0].get("endTime"), None);
    assert!(generations[1]["live"] == true && generations[1]["endTime"].is_string());
    for caller in [&client.caller, &new, &by_token] {
        works(caller).await;
    }
    let refused = alice.post(&rotate, body.clone()).await;
    assert_eq!(refused.reason(400), "ROTATION_RUNNING");

    let path = format!("{}/rotation", client.path());
    let used = async || {
        let rotation = alice.get(&path).await.expect(200);
        let generations = rotation["generations"].as_array().unwrap();
        generations.iter().all(|one| one["lastUseTime"].is_string())
    };
    for _ in 0..50 {
        if used().await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert!(used().await, "both secrets have been used");
    let shown = alice.get(&client.path()).await.expect(200);
    assert!(shown["lastUseTime"].is_string(), "{shown}");

    let finish = format!("{path}:finish");
    let done = alice.post(&finish, json!({})).await.expect(200);
    assert_eq!(done.get("running"), None);
    assert_eq!(done["generations"][1].get("live"), None);
    is_refused(&client.caller).await;
    let refused = client.caller.get("/v1/me").await;
    assert_eq!(refused.reason(401), "KEY_SUPERSEDED");
    works(&new).await;
    // What was issued by name goes on until its own end.
    works(&by_token).await;
    let refused = alice.post(&finish, json!({})).await;
    assert_eq!(refused.reason(400), "NO_ROTATION_RUNNING");
}

#[tokio::test]
async fn without_an_overlap_the_old_secret_ends_at_once() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &[]).await;
    works(&client.caller).await;
    let rotate = format!("{}:rotate", client.path());
    let chosen = "a-secret-that-the-caller-made-himself";
    let body = json!({"overlap": "0s", "clientSecret": chosen});
    let made = alice.post(&rotate, body.clone()).await.expect(200);
    assert_eq!(made["clientSecret"], chosen);
    assert_eq!(made["rotation"].get("running"), None);
    is_refused(&client.caller).await;
    works(&client.by(chosen)).await;
    // To give it the secret that it has changes nothing.
    let again = alice.post(&rotate, body).await.expect(200);
    assert_eq!(again["rotation"]["generations"][0]["number"], 2);
    assert_eq!(
        again["apiClient"]["updateTime"],
        made["apiClient"]["updateTime"]
    );
    let refused = alice.post(&rotate, json!({"clientSecret": "short"})).await;
    assert_eq!(refused.fields(), ["client_secret"]);
    let refused = alice.post(&rotate, json!({"overlap": "-1s"})).await;
    assert_eq!(refused.fields(), ["overlap"]);
}

#[tokio::test]
async fn nobody_gets_the_secret_of_a_client_that_may_more_than_he() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.write"]).await;
    let other = alice.key_holder(&["clients.write", "devices.read"]).await;
    let rotate = format!("{}:rotate", client.path());
    let refused = other.post(&rotate, json!({})).await;
    assert_eq!(refused.reason(403), "PERMISSION_NOT_HELD");
    works(&client.caller).await;
}

#[tokio::test]
async fn a_client_of_another_system_goes_on_with_its_secret() {
    let alice = &need!(world().await).alice;
    let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    for (secret, known) in [
        ("a secret+of/it=", json!({"raw": "a secret+of/it="})),
        ("abc", json!({"sha256": of_abc.to_uppercase()})),
        ("U*U*U", json!({"bcrypt": BCRYPT})),
    ] {
        let key = format!("foreign-client-{}", unique());
        let body = json!({
            "apiClient": {"clientKey": key, "permissions": ["devices.read"]},
            "secret": known,
        });
        let made = alice.post("/v1/apiClients:import", body.clone()).await;
        let shown = made.expect(201);
        assert!(!made.text.contains(secret) && !made.text.contains("$2a$"));
        assert_eq!(shown["foreign"], true);
        let again = alice.post("/v1/apiClients:import", body).await;
        assert_eq!(again.taken(), "api_client.client_key");
        let caller = alice.with(basic(&key, secret));
        for _ in 0..2 {
            works(&caller).await;
        }
        caller.post("/v1/tokens", json!({})).await.expect(201);
        let wrong = alice.with(basic(&key, "another secret"));
        assert_eq!(wrong.get("/v1/me").await.reason(401), "BAD_CREDENTIALS");

        let path = format!("/v1/apiClients/{}", text(&shown["id"]));
        let rotated = alice.post(&format!("{path}:rotate"), json!({})).await;
        let rotated = rotated.expect(200);
        // The foreign secret opens it still.
        assert_eq!(rotated["apiClient"]["foreign"], true);
        let finish = format!("{path}/rotation:finish");
        works(&caller).await;
        works(&alice.with(basic(&key, text(&rotated["clientSecret"])))).await;
        alice.post(&finish, json!({})).await.expect(200);
        let listed = alice.get("/v1/apiClients?pageSize=1000").await.expect(200);
        let listed = listed["apiClients"].as_array().unwrap();
        let listed = listed.iter().find(|one| one["id"] == shown["id"]).unwrap();
        for told in [listed, &alice.get(&path).await.expect(200)] {
            assert_eq!(told.get("foreign"), None);
        }
    }
}

#[tokio::test]
async fn what_no_client_of_another_system_can_be_is_refused() {
    let alice = &need!(world().await).alice;
    let raw = json!({"raw": "a long secret"});
    let named = json!({"clientKey": "foreign-client-of-nobody"});
    for (client, secret, fields) in [
        (
            json!({"displayName": "x"}),
            raw.clone(),
            ["api_client.client_key"],
        ),
        (named.clone(), json!({}), ["secret.known"]),
        (named.clone(), json!({"sha256": "12"}), ["secret.sha256"]),
        (named.clone(), json!({"bcrypt": "$1$x"}), ["secret.bcrypt"]),
        (
            json!({"clientKey": "foreign-client-of-nobody", "permissions": ["devices.fly"]}),
            raw,
            ["api_client.permissions[0]"],
        ),
    ] {
        let body = json!({"apiClient": client, "secret": secret});
        let refused = alice.post("/v1/apiClients:import", body).await;
        assert_eq!(refused.fields(), fields);
    }
}

#[tokio::test]
async fn a_users_client_may_what_the_user_may_and_ends_with_the_membership() {
    let world = need!(world().await);
    let alice = &world.alice;
    let (id, user) = admin(world).await;
    let owner = format!("user:{id}");
    let body = json!({"owner": owner, "permissions": ["devices.read", "members.read"]});
    let client = Client::with(&user, body).await;
    assert_eq!(alice.get(&client.path()).await.expect(200)["owner"], owner);
    let (_, by_token) = client.token().await;
    for caller in [&client.caller, &by_token] {
        caller.get("/v1/members").await.expect(200);
    }
    let member = format!("/v1/members/{id}");
    alice
        .patch(&member, json!({"role": "viewer"}))
        .await
        .expect(200);
    is_refused(&by_token).await;
    client.caller.get("/v1/devices").await.expect(200);
    let viewer = async || client.caller.get("/v1/members").await.status;
    let may = join(alice, &world.tenant_a, &email(), "viewer").await;
    let may = may.get("/v1/members").await.status;
    eventually("what a viewer may", async || viewer().await == may).await;
    let (_, by_token) = client.token().await;
    works(&by_token).await;
    alice.delete(&member).await.expect(200);
    is_refused(&by_token).await;
    is_refused(&client.caller).await;
    assert_eq!(client.caller.get("/v1/me").await.reason(401), "OWNER_GONE");
}

#[tokio::test]
async fn nobody_makes_a_client_for_another_user() {
    let World { alice, olga, .. } = need!(world().await);
    let olga = olga.get("/v1/me").await.expect(200);
    let owner = format!("user:{}", text(&olga["principalId"]));
    let key = alice.key_holder(&["clients.write"]).await;
    for caller in [alice, &key] {
        let refused = caller.post("/v1/apiClients", json!({"owner": owner})).await;
        assert_eq!(refused.reason(403), "OWNER_NOT_CALLER");
    }
    let refused = alice.post("/v1/apiClients", json!({"owner": "olga"})).await;
    assert_eq!(refused.fields(), ["api_client.owner"]);
}
