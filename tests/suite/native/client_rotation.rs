//! Who decides about the secrets of a client, and what ends with them.

use serde_json::{Value, json};

use super::clients::{Client, admin, basic, bearer};
use super::{text, world};
use crate::support::{Answer, Caller};

/// Rotates a client; answers a caller with its new secret.
async fn rotate(owner: &Caller, client: &Client, overlap: &str) -> Caller {
    let path = format!("{}:rotate", client.path());
    let made = owner.post(&path, json!({"overlap": overlap})).await;
    let made = made.expect(200);
    owner.with(basic(&client.key, text(&made["clientSecret"])))
}

async fn finish(by: &Caller, client: &Client) -> Answer {
    let path = format!("{}/rotation:finish", client.path());
    by.post(&path, json!({})).await
}

async fn renew(by: &Caller, token: &Value) -> Answer {
    let path = format!("/v1/tokens/{}:renew", text(&token["number"]));
    by.post(&path, json!({})).await
}

#[tokio::test]
async fn a_client_is_enabled_again_only_by_who_may_do_what_it_may() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.write"]).await;
    let other = alice.key_holder(&["clients.write", "devices.read"]).await;
    let enable = format!("{}?updateMask=disabled", client.path());
    let disabled = other.patch(&client.path(), json!({"disabled": true})).await;
    assert_eq!(disabled.expect(200)["disabled"], true);
    let refused = other.patch(&enable, json!({})).await;
    assert_eq!(refused.reason(403), "PERMISSION_NOT_HELD");
    // What lets it do nothing again is no grant.
    let named = other
        .patch(&client.path(), json!({"displayName": "x"}))
        .await;
    assert_eq!(named.expect(200)["disabled"], true);
    let enabled = alice.patch(&enable, json!({})).await.expect(200);
    assert_eq!(enabled.get("disabled"), None);
}

#[tokio::test]
async fn only_the_user_decides_about_the_secrets_of_his_client() {
    let world = need!(world().await);
    let alice = &world.alice;
    let (id, user) = admin(world).await;
    let body = json!({"owner": format!("user:{id}"), "permissions": ["devices.read"]});
    let client = Client::with(&user, body).await;
    let path = format!("{}:rotate", client.path());
    let refused = alice.post(&path, json!({})).await;
    assert_eq!(refused.reason(403), "OWNER_NOT_CALLER");
    let new = rotate(&user, &client, "3600s").await;
    assert_eq!(finish(alice, &client).await.reason(403), "OWNER_NOT_CALLER");
    client.caller.get("/v1/devices").await.expect(200);
    finish(&user, &client).await.expect(200);
    new.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn a_token_renews_itself_only_while_the_secret_works_that_it_was_issued_for() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read"]).await;
    let (token, by_token) = client.token().await;
    let (other, by_other) = client.token().await;
    let new = rotate(alice, &client, "3600s").await;
    let renewed = renew(&by_token, &token).await.expect(200);
    let by_renewed = bearer(alice, &renewed);
    finish(alice, &client).await.expect(200);
    for holder in [&by_token, &by_renewed] {
        // It goes on until its own end, but no longer.
        holder.get("/v1/devices").await.expect(200);
        let refused = renew(holder, &token).await;
        assert_eq!(refused.reason(400), "SECRET_ENDED");
    }
    // Whoever has the secret that works brings it over.
    let renewed = renew(&new, &token).await.expect(200);
    assert_eq!(renewed["number"], token["number"]);
    renew(&bearer(alice, &renewed), &token).await.expect(200);
    let refused = renew(&by_other, &other).await;
    assert_eq!(refused.reason(400), "SECRET_ENDED");
}

#[tokio::test]
async fn a_token_that_is_renewed_with_the_old_secret_ends_with_it() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read"]).await;
    let new = rotate(alice, &client, "3600s").await;
    let issued = async |by: &Caller| by.post("/v1/tokens", json!({})).await.expect(201);
    let (one, two) = (issued(&new).await, issued(&new).await);
    let renewed = renew(&client.caller, &one).await.expect(200);
    finish(alice, &client).await.expect(200);
    let refused = renew(&bearer(alice, &renewed), &one).await;
    assert_eq!(refused.reason(400), "SECRET_ENDED");
    renew(&bearer(alice, &two), &two).await.expect(200);
}
