//! What a tenant lets its keys be.

use chassis::Clock;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::keys::{new_key, owner_of_a_new_tenant, path, with};
use super::world;
use crate::support::{Caller, World, unique};

fn from_now(seconds: i64) -> Value {
    let end = Clock::system().now() + TimeDelta::seconds(seconds);
    json!(end.to_rfc3339())
}

/// The owner of a new tenant that has this policy.
async fn owner_with(world: &World, policy: Value) -> Caller {
    let (_, owner) = owner_of_a_new_tenant(world).await;
    owner.patch("/v1/keyPolicy", policy).await.expect(200);
    owner
}

async fn create(caller: &Caller, more: Value) -> crate::support::Answer {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    caller.post("/v1/apiKeys", with(body, more)).await
}

#[tokio::test]
async fn without_a_policy_there_is_no_rule() {
    let (_, owner) = owner_of_a_new_tenant(need!(world().await)).await;
    assert_eq!(owner.get("/v1/keyPolicy").await.expect(200), json!({}));
    create(&owner, json!({})).await.expect(201);
}

#[tokio::test]
async fn a_policy_is_changed_field_by_field() {
    let (_, owner) = owner_of_a_new_tenant(need!(world().await)).await;
    let first = json!({"maxLife": "3600s", "allowedPermissions": ["devices.read"]});
    let made = owner
        .patch("/v1/keyPolicy", first.clone())
        .await
        .expect(200);
    assert_eq!(made, with(first, json!({"updateTime": made["updateTime"]})));
    let second =
        json!({"expiryRequired": true, "maxLife": null, "leakAction": "LEAK_ACTION_DISABLE"});
    let changed = owner.patch("/v1/keyPolicy", second).await.expect(200);
    let expected = json!({
        "expiryRequired": true,
        "allowedPermissions": ["devices.read"],
        "leakAction": "LEAK_ACTION_DISABLE",
        "updateTime": changed["updateTime"],
    });
    assert_eq!(changed, expected);
    assert_eq!(owner.get("/v1/keyPolicy").await.expect(200), expected);
}

#[tokio::test]
async fn a_policy_is_its_tenants_own_and_changed_by_who_may_change_the_tenant() {
    let world = need!(world().await);
    let owner = owner_with(world, json!({"expiryRequired": true})).await;
    let (_, other) = owner_of_a_new_tenant(world).await;
    assert_eq!(other.get("/v1/keyPolicy").await.expect(200), json!({}));
    let manager = owner.post(
        "/v1/apiKeys",
        json!({
            "displayName": unique(),
            "permissions": ["keys.write", "keys.read"],
            "expireTime": from_now(600),
        }),
    );
    let manager = manager.await.expect(201);
    let manager = owner.with(format!("Bearer {}", super::text(&manager["secret"])));
    manager.get("/v1/keyPolicy").await.expect(200);
    let refused = manager
        .patch("/v1/keyPolicy", json!({"expiryRequired": false}))
        .await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
}

#[tokio::test]
async fn what_no_policy_can_be_is_refused() {
    let (_, owner) = owner_of_a_new_tenant(need!(world().await)).await;
    let body = json!({
        "maxLife": "0.5s",
        "maxOverlap": "315576000000s",
        "allowedPermissions": ["devices.read", "devices.fly"],
    });
    let expected = [
        "key_policy.allowed_permissions[1]",
        "key_policy.max_life",
        "key_policy.max_overlap",
    ];
    let refused = owner.patch("/v1/keyPolicy", body).await;
    assert_eq!(refused.fields(), expected);
    let refused = owner.patch("/v1/keyPolicy", json!({"maxLife": "0s"})).await;
    assert_eq!(refused.fields(), ["key_policy.max_life"]);
}

#[tokio::test]
async fn a_new_key_keeps_the_policy_or_is_told_all_that_breaks_it() {
    let policy = json!({"maxLife": "3600s", "allowedPermissions": ["devices.read"]});
    let owner = owner_with(need!(world().await), policy).await;
    let none = create(&owner, json!({})).await;
    assert_eq!(none.fields(), ["api_key.expire_time"]);
    let broken =
        json!({"permissions": ["tags.read", "devices.read"], "expireTime": from_now(7200)});
    let expected = ["api_key.permissions[0]", "api_key.expire_time"];
    assert_eq!(create(&owner, broken).await.fields(), expected);
    create(&owner, json!({"expireTime": from_now(3000)}))
        .await
        .expect(201);
}

#[tokio::test]
async fn a_key_that_must_expire_can_not_be_let_live_on() {
    let (_, owner) = owner_of_a_new_tenant(need!(world().await)).await;
    let (older, _) = new_key(&owner, json!({})).await;
    let (key, _) = new_key(&owner, json!({"expireTime": from_now(600)})).await;
    let policy = json!({"expiryRequired": true, "maxLife": "3600s"});
    owner.patch("/v1/keyPolicy", policy).await.expect(200);
    for end in [Value::Null, from_now(7200)] {
        let refused = owner.patch(&path(&key), json!({"expireTime": end})).await;
        assert_eq!(refused.fields(), ["api_key.expire_time"]);
    }
    let longer = json!({"expireTime": from_now(1200)});
    owner.patch(&path(&key), longer).await.expect(200);
    // What was there before the policy stays as it is, and can be changed otherwise.
    let body = json!({"description": "older than the policy"});
    owner.patch(&path(&older), body).await.expect(200);
}

#[tokio::test]
async fn an_old_secret_works_no_longer_than_the_policy_lets_it() {
    let owner = owner_with(need!(world().await), json!({"maxOverlap": "60s"})).await;
    let (key, _) = new_key(&owner, json!({})).await;
    let rotate = format!("{}:rotate", path(&key));
    let refused = owner.post(&rotate, json!({"overlap": "61s"})).await;
    assert_eq!(refused.fields(), ["overlap"]);
    let rotated = owner.post(&rotate, json!({})).await.expect(200);
    assert_eq!(rotated["rotation"]["running"], true);
    let extend = format!("{}/rotation:extend", path(&key));
    let refused = owner.post(&extend, json!({"endTime": from_now(120)})).await;
    assert_eq!(refused.fields(), ["end_time"]);
    owner
        .patch("/v1/keyPolicy", json!({"maxOverlap": "3600s"}))
        .await
        .expect(200);
    let extended = owner.post(&extend, json!({"endTime": from_now(120)})).await;
    extended.expect(200);
}
