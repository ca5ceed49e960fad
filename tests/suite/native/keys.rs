//! API keys: what they are made with, how they are found and changed, and who
//! may do that.

use serde_json::{Value, json};

use super::people::email;
use super::{text, world};
use crate::support::{ADMIN, Caller, PASSWORD, World, eventually, join, log_in, unique};

/// A key as it is shown, and its secret.
pub(crate) async fn new_key(owner: &Caller, more: Value) -> (Value, String) {
    let body = with(
        json!({"displayName": unique(), "permissions": ["devices.read"]}),
        more,
    );
    let made = owner.post("/v1/apiKeys", body).await.expect(201);
    (made["apiKey"].clone(), text(&made["secret"]).to_owned())
}

/// An object with more fields, or others.
pub(crate) fn with(mut object: Value, more: Value) -> Value {
    if let Value::Object(more) = more {
        object.as_object_mut().unwrap().extend(more);
    }
    object
}

pub(crate) fn path(key: &Value) -> String {
    format!("/v1/apiKeys/{}", text(&key["id"]))
}

pub(crate) fn holder(anybody: &Caller, secret: &str) -> Caller {
    anybody.with(format!("Bearer {secret}"))
}

/// Waits for what takes longer than a revocation, such as the counting of uses.
pub(crate) async fn in_time<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{what} did not come about within a minute");
}

/// The owner of a new tenant, whom the tests of others do not meet.
pub(crate) async fn owner_of_a_new_tenant(world: &World) -> (String, Caller) {
    let body = json!({"displayName": unique()});
    let made = world.alice.post("/v1/tenants", body).await.expect(201);
    let tenant = text(&made["id"]).to_owned();
    let anybody = world.server.anybody();
    let owner = log_in(&anybody, ADMIN, PASSWORD, Some(&tenant)).await;
    (tenant, owner)
}

async fn id_of(caller: &Caller) -> String {
    let me = caller.get("/v1/me").await.expect(200);
    text(&me["principalId"]).to_owned()
}

async fn works(holder: &Caller) -> bool {
    holder.get("/v1/devices").await.status == 200
}

pub(crate) async fn is_refused(holder: &Caller, reason: &str) {
    let so = async || {
        let answer = holder.get("/v1/devices").await;
        answer.status == 401 && answer.text.contains(reason)
    };
    eventually(reason, so).await;
}

#[tokio::test]
async fn a_key_is_shown_as_it_was_made() {
    let alice = &need!(world().await).alice;
    let wanted = json!({
        "displayName": unique(),
        "description": "for the tests",
        "permissions": ["devices.read", "tags.read"],
        "expireTime": "2199-01-01T00:00:00Z",
        "metadata": {"ticket": "42"},
        "environment": "test",
        "allowedNetworks": ["192.0.2.77/24", "192.0.2.1", "192.0.2.0/24", "2001:db8::/32"],
        "disabled": true,
        "requestsPerMinute": 600,
    });
    let (key, secret) = new_key(alice, wanted.clone()).await;
    assert!(secret.starts_with("muster_test_"), "{secret}");
    let networks = json!(["192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32"]);
    let shown = with(
        wanted,
        json!({"allowedNetworks": networks, "state": "STATE_DISABLED"}),
    );
    for (field, value) in shown.as_object().unwrap() {
        assert_eq!(key[field], *value, "{field}");
    }
    assert_eq!(key.get("owner"), None);
    assert_eq!(alice.get(&path(&key)).await.expect(200), key);
    let by_number = "/v1/apiKeys?pageSize=1000&showRevoked=true";
    assert!(alice.get(by_number).await.text.contains(text(&key["id"])));
}

#[tokio::test]
async fn a_key_belongs_to_the_tenant_or_to_the_calling_user() {
    let World { alice, olga, .. } = need!(world().await);
    let (me, other) = (id_of(alice).await, id_of(olga).await);
    let own = json!({"owner": format!("user:{me}")});
    let (key, _) = new_key(alice, own.clone()).await;
    assert_eq!(key["owner"], own["owner"]);
    let manager = alice.key_holder(&["keys.write", "devices.read"]).await;
    let body = |owner: &str| json!({"displayName": unique(), "owner": format!("user:{owner}")});
    for (caller, owner) in [(alice, &other), (&manager, &me)] {
        let refused = caller.post("/v1/apiKeys", body(owner)).await;
        assert_eq!(refused.reason(403), "OWNER_NOT_CALLER");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_key_is_told_at_once() {
    let alice = &need!(world().await).alice;
    let body = json!({
        "displayName": unique(),
        "permissions": ["devices.read", "devices.fly"],
        "allowedNetworks": ["192.0.2.0/33", "192.0.2.0/24", "example.com"],
        "expireTime": "2020-01-01T00:00:00Z",
    });
    let expected = [
        "api_key.permissions[1]",
        "api_key.allowed_networks[0]",
        "api_key.allowed_networks[2]",
        "api_key.expire_time",
    ];
    assert_eq!(alice.post("/v1/apiKeys", body).await.fields(), expected);
    let body = json!({"displayName": unique(), "environment": "Test", "requestsPerMinute": -1});
    let expected = ["api_key.environment", "api_key.requests_per_minute"];
    assert_eq!(alice.post("/v1/apiKeys", body).await.fields(), expected);
}

#[tokio::test]
async fn a_key_works_from_its_networks_only_and_a_refusal_does_not_tell_why() {
    let alice = &need!(world().await).alice;
    let here = json!({"allowedNetworks": ["127.0.0.0/8", "::1"]});
    let (key, secret) = new_key(alice, here.clone()).await;
    let holder = holder(alice, &secret);
    assert!(works(&holder).await);
    let elsewhere = json!({"allowedNetworks": ["192.0.2.0/24"]});
    alice.patch(&path(&key), elsewhere).await.expect(200);
    is_refused(&holder, "BAD_CREDENTIALS").await;
    let refused = holder.get("/v1/devices").await;
    let (gone, unknown) = new_key(alice, json!({})).await;
    alice.delete(&path(&gone)).await.expect(200);
    let nobody = alice.with(format!("Bearer {unknown}"));
    is_refused(&nobody, "BAD_CREDENTIALS").await;
    assert_eq!(refused.text, nobody.get("/v1/devices").await.text);
    alice.patch(&path(&key), here).await.expect(200);
    eventually("the key works again", async || works(&holder).await).await;
}

/// The ids that a list shows.
async fn listed(caller: &Caller, query: &str) -> Vec<String> {
    let answer = caller
        .get(&format!("/v1/apiKeys?pageSize=1000{query}"))
        .await;
    let keys = answer.expect(200)["apiKeys"].as_array().cloned();
    let keys = keys.unwrap_or_default();
    keys.iter().map(|key| text(&key["id"]).to_owned()).collect()
}

#[tokio::test]
async fn a_list_shows_the_keys_that_are_wanted() {
    let world = need!(world().await);
    let (tenant, owner) = owner_of_a_new_tenant(world).await;
    let bob = join(&owner, &tenant, &email(), "admin").await;
    let (me, bobs) = (id_of(&owner).await, id_of(&bob).await);
    let make = async |caller: &Caller, more: Value| {
        let (key, _) = new_key(caller, more).await;
        text(&key["id"]).to_owned()
    };
    let plain = make(&owner, json!({})).await;
    let owned = make(&bob, json!({"owner": format!("user:{bobs}")})).await;
    let short = make(&owner, json!({"expireTime": "2198-01-01T00:00:00Z"})).await;
    let long = make(&owner, json!({"expireTime": "2199-01-01T00:00:00Z"})).await;
    let disabled = make(&owner, json!({"disabled": true})).await;
    let revoked = make(&owner, json!({})).await;
    let revoke = format!("/v1/apiKeys/{revoked}:revoke");
    owner.post(&revoke, json!({})).await.expect(200);
    for (query, mut expected) in [
        ("", vec![&disabled, &long, &short, &owned, &plain]),
        (
            "&showRevoked=true",
            vec![&revoked, &disabled, &long, &short, &owned, &plain],
        ),
        ("&state=STATE_ACTIVE", vec![&long, &short, &owned, &plain]),
        ("&state=STATE_DISABLED", vec![&disabled]),
        ("&state=STATE_REVOKED", vec![&revoked]),
        ("&state=STATE_EXPIRED", vec![]),
        (
            &format!("&creator=user:{me}"),
            vec![&disabled, &long, &short, &plain],
        ),
        (&format!("&owner=user:{bobs}"), vec![&owned]),
        (&format!("&owner=user:{me}"), vec![]),
        ("&expireBefore=2198-06-01T00:00:00Z", vec![&short]),
        (
            "&unusedSince=2020-01-01T00:00:00Z&state=STATE_DISABLED",
            vec![&disabled],
        ),
        ("&foreign=true", vec![]),
    ] {
        let expected: Vec<_> = expected.drain(..).cloned().collect();
        assert_eq!(listed(&owner, query).await, expected, "{query}");
    }
    let refused = owner.get("/v1/apiKeys?owner=somebody").await;
    assert_eq!(refused.fields(), ["owner"]);
}

#[tokio::test]
async fn a_key_that_was_used_is_not_among_the_unused() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let id = text(&key["id"]);
    let unused = "&unusedSince=2020-01-01T00:00:00Z";
    assert!(listed(alice, unused).await.iter().any(|key| key == id));
    let body = json!({"apiKey": secret});
    alice.post("/v1/apiKeys:verify", body).await.expect(200);
    let counted = async || {
        alice
            .get(&path(&key))
            .await
            .json()
            .get("lastUseTime")
            .is_some()
    };
    in_time("the key's last use", counted).await;
    assert!(!listed(alice, unused).await.iter().any(|key| key == id));
}

#[tokio::test]
async fn an_update_changes_what_the_body_has_or_the_mask_names() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({"description": "old", "metadata": {"a": "1"}})).await;
    let name = unique();
    let body = json!({"displayName": name, "metadata": {"b": "2"}, "requestsPerMinute": 5});
    let changed = alice.patch(&path(&key), body.clone()).await.expect(200);
    let shown = with(key.clone(), body);
    let shown = with(shown, json!({"updateTime": changed["updateTime"]}));
    assert_eq!(changed, shown);
    let masked = format!("{}?updateMask=description", path(&key));
    let body = json!({"displayName": "not this", "description": "new"});
    let changed = alice.patch(&masked, body).await.expect(200);
    assert_eq!(
        (text(&changed["displayName"]), text(&changed["description"])),
        (&*name, "new")
    );
    let cleared = alice.patch(&masked, json!({})).await.expect(200);
    assert_eq!(cleared.get("description"), None);
}

#[tokio::test]
async fn an_update_of_what_is_no_input_is_refused_by_name() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({})).await;
    for mask in ["state", "owner", "environment", "createTime", "nothing"] {
        let masked = format!("{}?updateMask={mask}", path(&key));
        let refused = alice.patch(&masked, json!({"displayName": "x"})).await;
        assert!(
            refused.expect(400).to_string().contains("update_mask"),
            "{mask}"
        );
    }
    let refused = alice.patch(&path(&key), json!({"displayName": ""})).await;
    assert_eq!(refused.fields(), ["api_key.display_name"]);
    assert_eq!(alice.get(&path(&key)).await.expect(200), key);
}

#[tokio::test]
async fn a_name_is_one_live_keys_only() {
    let alice = &need!(world().await).alice;
    let (one, _) = new_key(alice, json!({})).await;
    let (other, _) = new_key(alice, json!({})).await;
    let body = json!({"displayName": one["displayName"]});
    let taken = alice.patch(&path(&other), body.clone()).await;
    assert_eq!(taken.taken(), "api_key.display_name");
    let revoke = format!("{}:revoke", path(&one));
    alice.post(&revoke, json!({})).await.expect(200);
    alice.patch(&path(&other), body).await.expect(200);
}

#[tokio::test]
async fn a_narrowed_key_may_no_more_within_a_second_and_is_never_widened() {
    let alice = &need!(world().await).alice;
    let both = json!({"permissions": ["devices.read", "tags.read"]});
    let (key, secret) = new_key(alice, both.clone()).await;
    let holder = holder(alice, &secret);
    holder.get("/v1/tags").await.expect(200);
    let one = json!({"permissions": ["devices.read"]});
    alice.patch(&path(&key), one).await.expect(200);
    let narrowed = async || holder.get("/v1/tags").await.status == 403;
    eventually("the narrower key", narrowed).await;
    holder.get("/v1/devices").await.expect(200);
    let refused = alice.patch(&path(&key), both).await;
    assert_eq!(refused.fields(), ["api_key.permissions[1]"]);
    assert!(
        refused.text.contains("create a new key"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn a_disabled_key_is_refused_until_it_is_enabled() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let holder = holder(alice, &secret);
    assert!(works(&holder).await);
    let disable = alice.patch(&path(&key), json!({"disabled": true})).await;
    assert_eq!(disable.expect(200)["state"], "STATE_DISABLED");
    is_refused(&holder, "KEY_DISABLED").await;
    let enable = alice.patch(&path(&key), json!({"disabled": false})).await;
    assert_eq!(enable.expect(200)["state"], "STATE_ACTIVE");
    eventually("the enabled key", async || works(&holder).await).await;
}

#[tokio::test]
async fn the_end_of_a_key_can_be_moved_and_taken_away() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({"expireTime": "2199-01-01T00:00:00Z"})).await;
    let past = json!({"expireTime": "2020-01-01T00:00:00Z"});
    let refused = alice.patch(&path(&key), past).await;
    assert_eq!(refused.fields(), ["api_key.expire_time"]);
    let sooner = json!({"expireTime": "2198-01-01T00:00:00Z"});
    let moved = alice.patch(&path(&key), sooner.clone()).await.expect(200);
    assert_eq!(moved["expireTime"], sooner["expireTime"]);
    let cleared = alice.patch(&path(&key), json!({"expireTime": null})).await;
    assert_eq!(cleared.expect(200).get("expireTime"), None);
}

#[tokio::test]
async fn a_revoked_key_stays_as_it_is() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let revoke = format!("{}:revoke", path(&key));
    let revoked = alice
        .post(&revoke, json!({"reason": "lost"}))
        .await
        .expect(200);
    assert_eq!(revoked["revokeReason"], "lost");
    is_refused(&holder(alice, &secret), "KEY_REVOKED").await;
    let again = alice.post(&revoke, json!({"reason": "found"})).await;
    assert_eq!(again.expect(200), revoked);
    let changed = alice.patch(&path(&key), json!({"description": "x"})).await;
    assert_eq!(changed.reason(400), "KEY_REVOKED");
}

#[tokio::test]
async fn a_deleted_key_is_refused_and_not_found() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let holder = holder(alice, &secret);
    assert!(works(&holder).await);
    assert_eq!(alice.delete(&path(&key)).await.expect(200), json!({}));
    is_refused(&holder, "BAD_CREDENTIALS").await;
    assert_eq!(alice.get(&path(&key)).await.reason(404), "NOT_FOUND");
    assert_eq!(alice.delete(&path(&key)).await.reason(404), "NOT_FOUND");
}

#[tokio::test]
async fn nobody_frees_or_rotates_a_key_that_allows_more_than_he_holds() {
    let alice = &need!(world().await).alice;
    let more = json!({"permissions": ["devices.write"], "allowedNetworks": ["192.0.2.0/24"]});
    let (key, _) = new_key(alice, more).await;
    let manager = alice.key_holder(&["keys.write", "keys.read"]).await;
    let disabled = manager.patch(&path(&key), json!({"disabled": true})).await;
    disabled.expect(200);
    for free in [
        json!({"disabled": false}),
        json!({"allowedNetworks": []}),
        json!({"allowedNetworks": ["192.0.0.0/16"]}),
    ] {
        let refused = manager.patch(&path(&key), free).await;
        assert_eq!(refused.reason(403), "PERMISSION_NOT_HELD");
    }
    let rotate = format!("{}:rotate", path(&key));
    let refused = manager.post(&rotate, json!({})).await;
    assert_eq!(refused.reason(403), "PERMISSION_NOT_HELD");
}

#[tokio::test]
async fn a_users_key_may_what_the_user_may_and_ends_with_the_membership() {
    let World {
        alice, tenant_a, ..
    } = need!(world().await);
    let admin = join(alice, tenant_a, &email(), "admin").await;
    let user = id_of(&admin).await;
    let own = json!({
        "owner": format!("user:{user}"),
        "permissions": ["devices.read", "audit.read"],
    });
    let (key, secret) = new_key(&admin, own).await;
    let holder = holder(alice, &secret);
    holder.get("/v1/auditEvents").await.expect(200);
    let refused = alice
        .post(&format!("{}:rotate", path(&key)), json!({}))
        .await;
    assert_eq!(refused.reason(403), "OWNER_NOT_CALLER");
    let member = format!("/v1/members/{user}");
    alice
        .patch(&member, json!({"role": "viewer"}))
        .await
        .expect(200);
    let narrowed = async || holder.get("/v1/auditEvents").await.status == 403;
    eventually("the viewer's key", narrowed).await;
    assert!(works(&holder).await);
    alice.delete(&member).await.expect(200);
    is_refused(&holder, "OWNER_GONE").await;
}
