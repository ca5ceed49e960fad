//! Tokens: narrowed, introspected, listed and revoked.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

use super::clients::{Client, bearer, is_refused};
use super::people::{email, login};
use super::{fresh_id, text, world};
use crate::support::{Answer, Caller, PASSWORD, World, eventually, join, log_in, send};

/// What a token says (RFC 7519).
fn claims(token: &Value) -> Value {
    let token = text(&token["accessToken"]);
    let claims = token.split('.').nth(1).unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

async fn introspect(caller: &Caller, token: &str) -> Value {
    let body = json!({"accessToken": token});
    caller.post("/v1/tokens:introspect", body).await.expect(200)
}

async fn revoke(caller: &Caller, token: &str) -> Answer {
    let body = json!({"accessToken": token});
    caller.post("/v1/tokens:revoke", body).await
}

async fn listed(caller: &Caller, query: &str) -> Vec<String> {
    let page = caller.get(&format!("/v1/tokens?{query}")).await.expect(200);
    let tokens = page["tokens"].as_array().cloned().unwrap_or_default();
    tokens
        .iter()
        .map(|token| text(&token["number"]).to_owned())
        .collect()
}

#[tokio::test]
async fn a_token_has_the_permissions_that_were_asked_for_also_when_it_is_renewed() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read", "tags.read"]).await;
    let body = json!({"permissions": ["tags.read"]});
    let token = client.caller.post("/v1/tokens", body).await.expect(201);
    assert_eq!(claims(&token)["scope"], "tags.read");
    let renew = format!("/v1/tokens/{}:renew", text(&token["number"]));
    for caller in [&client.caller, &bearer(alice, &token)] {
        let renewed = caller.post(&renew, json!({})).await.expect(200);
        assert_eq!(claims(&renewed)["scope"], "tags.read");
        let program = bearer(alice, &renewed);
        program.get("/v1/tags").await.expect(200);
        program.get("/v1/devices").await.expect(403);
    }
    let (whole, _) = client.token().await;
    assert_eq!(claims(&whole)["scope"], "devices.read tags.read");
    let more = json!({"permissions": ["tags.read", "tags.write", "devices.fly"]});
    let refused = client.caller.post("/v1/tokens", more).await;
    assert_eq!(refused.fields(), ["permissions[1]", "permissions[2]"]);
}

#[tokio::test]
async fn a_token_is_known_to_its_holder_and_to_whoever_verifies() {
    let World { alice, bob, .. } = need!(world().await);
    let client = Client::of(alice, &["devices.read"]).await;
    let (token, by_token) = client.token().await;
    let said = claims(&token);
    let jwt = text(&token["accessToken"]);
    let verifier = alice.key_holder(&["keys.verify"]).await;
    for caller in [&client.caller, &by_token, &verifier] {
        let known = introspect(caller, jwt).await;
        assert_eq!(known["active"], true);
        assert_eq!(known["clientId"], client.key);
        assert_eq!(known["tenantId"], said["tid"]);
        for same in ["scope", "sub", "jti", "iss", "aud"] {
            assert_eq!(known[same], said[same], "{same}");
        }
        for same in ["exp", "iat"] {
            assert_eq!(text(&known[same]), said[same].to_string(), "{same}");
        }
        assert!(known["lookupTime"].is_string());
        assert!(known["revocableSha256"].as_array().unwrap().len() >= 4);
    }
    let other = alice.key_holder(&["keys.read"]).await;
    let theirs = bob.key_holder(&["keys.verify"]).await;
    for stranger in [&other, &theirs] {
        assert_eq!(introspect(stranger, jwt).await, json!({}));
    }
    let (whole, signature) = jwt.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    let altered = format!("{whole}.{first}{}", &signature[1..]);
    for nonsense in ["x", "eyJ.eyJ.x", &altered] {
        assert_eq!(introspect(&verifier, nonsense).await, json!({}));
    }
    // A person's token has no client.
    let person = alice.authorization.clone().unwrap();
    let person = introspect(&verifier, person.trim_start_matches("Bearer ")).await;
    assert_eq!(
        (&person["active"], person.get("clientId")),
        (&json!(true), None)
    );

    assert_eq!(revoke(&client.caller, jwt).await.expect(200), json!({}));
    eventually("a revoked token is inactive", async || {
        introspect(&verifier, jwt).await == json!({})
    })
    .await;
    let refused = alice.post("/v1/tokens:introspect", json!({})).await;
    assert_eq!(refused.fields(), ["access_token"]);
}

#[tokio::test]
async fn a_token_is_revoked_by_its_text_by_whoever_may() {
    let World { alice, bob, .. } = need!(world().await);
    let client = Client::of(alice, &["devices.read"]).await;
    let admin = alice.key_holder(&["clients.write"]).await;
    let beside = Client::of(alice, &["devices.read"]).await.caller;
    for revoker in [&client.caller, &admin] {
        let (token, by_token) = client.token().await;
        let jwt = text(&token["accessToken"]);
        for stranger in [&beside, bob] {
            assert_eq!(revoke(stranger, jwt).await.expect(200), json!({}));
        }
        by_token.get("/v1/me").await.expect(200);
        for _ in 0..2 {
            assert_eq!(revoke(revoker, jwt).await.expect(200), json!({}));
        }
        is_refused(&by_token).await;
        let renew = format!("/v1/tokens/{}:renew", text(&token["number"]));
        client.caller.post(&renew, json!({})).await.expect(404);
    }
    let (token, itself) = client.token().await;
    revoke(&itself, text(&token["accessToken"]))
        .await
        .expect(200);
    is_refused(&itself).await;
    for nothing in ["x", "eyJ.eyJ.x"] {
        assert_eq!(revoke(&admin, nothing).await.expect(200), json!({}));
    }
    // Only a person ends a person's.
    let name = email();
    let world = need!(world().await);
    let person = join(alice, &world.tenant_a, &name, "viewer").await;
    let jwt = person.authorization.clone().unwrap();
    let jwt = jwt.trim_start_matches("Bearer ").to_owned();
    revoke(&admin, &jwt).await.expect(200);
    person.get("/v1/me").await.expect(200);
    revoke(&person, &jwt).await.expect(200);
    is_refused(&person).await;
}

#[tokio::test]
async fn living_tokens_are_listed_the_newest_first() {
    let World { alice, bob, .. } = need!(world().await);
    let client = Client::of(alice, &["devices.read"]).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let (token, _) = client.token().await;
        made.insert(0, text(&token["number"]).to_owned());
    }
    let filter = format!("principal=client:{}", client.id);
    assert_eq!(listed(alice, &filter).await, made);
    let first = alice.get(&format!("/v1/tokens?pageSize=2&{filter}")).await;
    let first = first.expect(200);
    let one = &first["tokens"][0];
    assert_eq!(one["principal"], format!("client:{}", client.id));
    assert!(one["id"].is_string() && one["createTime"].is_string());
    assert!(one["expireTime"].is_string());
    assert!(!first.to_string().contains("eyJ"));
    let next = format!("pageToken={}&{filter}", text(&first["nextPageToken"]));
    assert_eq!(listed(alice, &next).await, made[2..]);
    let whole = listed(alice, "pageSize=1000").await;
    assert!(made.iter().all(|number| whole.contains(number)));

    let path = format!("/v1/tokens/{}:revoke", made[1]);
    client.caller.post(&path, json!({})).await.expect(200);
    assert_eq!(listed(alice, &filter).await, [&*made[0], &*made[2]]);
    assert_eq!(listed(bob, &filter).await, [""; 0]);
    for nobody in [
        format!("principal=client:{}", fresh_id()),
        format!("principal=user:{}", fresh_id()),
    ] {
        assert_eq!(listed(alice, &nobody).await, [""; 0]);
    }
    let refused = alice.get("/v1/tokens?principal=somebody").await;
    assert_eq!(refused.fields(), ["principal"]);
    let refused = alice.get("/v1/tokens?pageToken=x").await;
    assert_eq!(refused.fields(), ["page_token"]);
}

#[tokio::test]
async fn all_tokens_of_a_client_end_and_its_secret_goes_on() {
    let alice = &need!(world().await).alice;
    let client = Client::of(alice, &["devices.read"]).await;
    let other = Client::of(alice, &["devices.read"]).await.token().await.1;
    let tokens = [client.token().await.1, client.token().await.1];
    client.caller.get("/v1/me").await.expect(200);
    let principal = format!("client:{}", client.id);
    let body = json!({"principal": principal});
    let answer = alice.post("/v1/tokens:revokeAll", body).await;
    assert_eq!(answer.expect(200), json!({}));
    for token in &tokens {
        is_refused(token).await;
    }
    let filter = format!("principal={principal}");
    assert_eq!(listed(alice, &filter).await, [""; 0]);
    for caller in [&client.caller, &client.token().await.1, &other] {
        caller.get("/v1/devices").await.expect(200);
    }
}

#[tokio::test]
async fn all_tokens_of_a_member_end_and_those_of_his_clients() {
    let world = need!(world().await);
    let (alice, anybody) = (&world.alice, world.server.anybody());
    let name = email();
    let member = join(alice, &world.tenant_a, &name, "admin").await;
    let me = member.get("/v1/me").await.expect(200);
    let owner = format!("user:{}", text(&me["principalId"]));
    let body = json!({"owner": owner, "permissions": ["devices.read"]});
    let client = Client::with(&member, body).await;
    let (_, by_token) = client.token().await;
    let body = json!({"principal": owner});
    alice.post("/v1/tokens:revokeAll", body).await.expect(200);
    is_refused(&member).await;
    is_refused(&by_token).await;
    let filter = format!("principal=client:{}", client.id);
    assert_eq!(listed(alice, &filter).await, [""; 0]);
    login(&anybody, &name, PASSWORD).await.expect(200);
    let again = log_in(&anybody, &name, PASSWORD, Some(&world.tenant_a)).await;
    again.get("/v1/devices").await.expect(200);
    client.token().await.1.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn to_end_the_tokens_of_keys_and_members_more_is_required() {
    let World { alice, bob, .. } = need!(world().await);
    let body = json!({"displayName": fresh_id(), "permissions": ["devices.read"]});
    let key = alice.post("/v1/apiKeys", body).await.expect(201);
    let id = text(&key["apiKey"]["id"]);
    let key = alice.with(format!("Bearer {}", text(&key["secret"])));
    key.get("/v1/devices").await.expect(200);
    let revoke = async |caller: &Caller, principal: &str| {
        let body = json!({"principal": principal});
        caller.post("/v1/tokens:revokeAll", body).await
    };
    let clients = alice.key_holder(&["clients.write"]).await;
    let both = alice.key_holder(&["clients.write", "keys.write"]).await;
    for principal in [format!("key:{id}"), format!("user:{}", fresh_id())] {
        let refused = revoke(&clients, &principal).await;
        assert_eq!(refused.reason(403), "PERMISSION_DENIED");
    }
    revoke(&both, &format!("key:{id}")).await.expect(200);
    // What was traded for it ends; it is good for new tokens.
    key.get("/v1/devices").await.expect(200);
    let client = Client::of(alice, &[]).await;
    for principal in [
        format!("key:{id}"),
        format!("client:{}", client.id),
        format!("client:{}", fresh_id()),
    ] {
        let refused = revoke(bob, &principal).await;
        assert_eq!(refused.reason(404), "NOT_FOUND");
    }
    for principal in ["service:identity", "client:x", ""] {
        let refused = revoke(alice, principal).await;
        assert_eq!(refused.fields(), ["principal"]);
    }
    client.caller.get("/v1/me").await.expect(200);
}

/// Services hear of it one after the other, and the gateway may be the last.
#[tokio::test]
async fn a_key_is_never_refused_because_its_tokens_end() {
    let World { alice, .. } = need!(world().await);
    let body = json!({"displayName": fresh_id(), "permissions": ["devices.read"]});
    let made = alice.post("/v1/apiKeys", body).await.expect(201);
    let body = json!({"principal": format!("key:{}", text(&made["apiKey"]["id"]))});
    let key = alice.with(format!("Bearer {}", text(&made["secret"])));
    let by_dialect = Caller {
        authorization: None,
        ..alice.clone()
    };
    for _ in 0..20 {
        key.get("/v1/devices").await.expect(200);
        let asked = by_dialect
            .request(Method::GET, "/api/v1/device")
            .header("x-auth-key", text(&made["secret"]));
        let revoked = alice.post("/v1/tokens:revokeAll", body.clone());
        let (revoked, native, dialect) = tokio::join!(revoked, key.get("/v1/devices"), send(asked));
        revoked.expect(200);
        native.expect(200);
        dialect.expect(200);
        key.get("/v1/devices").await.expect(200);
    }
}

#[tokio::test]
async fn the_public_keys_may_be_kept_for_a_while() {
    let anybody = need!(world().await).server.anybody();
    let answer = anybody.get("/.well-known/jwks.json").await;
    let keys = answer.expect(200)["keys"].as_array().unwrap().clone();
    assert!(!keys.is_empty());
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    for key in keys {
        assert_eq!(key["use"], "sig");
        assert!(key["kid"].is_string() && key["alg"].is_string());
    }
}
