//! Tenants that may not be used for a while.

use serde_json::{Value, json};

use super::people::email;
use super::revocation::{basic, is_refused_everywhere, works};
use super::{fresh_id, text, world};
use crate::support::{ADMIN, Caller, PASSWORD, World, eventually, join, log_in};

/// A tenant right below tenant A: its id, and its owner.
async fn below(world: &World) -> (String, Caller) {
    below_of(&world.alice).await
}

/// A tenant right below another one's, of the same owner.
async fn below_of(above: &Caller) -> (String, Caller) {
    let body = json!({"displayName": "below"});
    let made = above.post("/v1/tenants", body).await.expect(201);
    let id = text(&made["id"]).to_owned();
    let anybody = Caller {
        authorization: None,
        ..above.clone()
    };
    let owner = log_in(&anybody, ADMIN, PASSWORD, Some(&id)).await;
    (id, owner)
}

async fn set_state(caller: &Caller, id: &str, verb: &str) -> Value {
    let path = format!("/v1/tenants/{id}:{verb}");
    caller.post(&path, json!({})).await.expect(200)
}

#[tokio::test]
async fn whatever_acts_for_a_suspended_tenant_is_refused_and_nothing_else_is() {
    let world = need!(world().await);
    let (id, owner) = below(world).await;
    let (beside, other) = below(world).await;
    let key = owner.key_holder(&["devices.read"]).await;
    let body = json!({"displayName": "program", "permissions": ["devices.read"]});
    let made = owner.post("/v1/apiClients", body).await.expect(201);
    let name = text(&made["apiClient"]["clientKey"]);
    let client = owner.with(basic(name, text(&made["clientSecret"])));
    for caller in [&owner, &key, &client] {
        works(caller).await;
    }
    let row = set_state(&world.alice, &id, "suspend").await;
    assert_eq!(
        (&row["id"], &row["state"]),
        (&json!(id), &json!("STATE_SUSPENDED"))
    );
    for caller in [&owner, &key, &client] {
        is_refused_everywhere(caller).await;
    }
    // A key that nobody has seen until now is looked up, and refused alike.
    let other_key = other.key_holder(&["devices.read"]).await;
    for caller in [&world.alice, &world.bob, &other, &other_key] {
        works(caller).await;
    }
    // Other tests make tenants of hers, too.
    let mine = world.alice.get("/v1/me/tenants?pageSize=1000").await;
    let mine = mine.expect(200);
    let state = |id: &str| {
        let mut tenants = mine["tenants"].as_array().unwrap().iter();
        let found = tenants.find(|mine| mine["tenant"]["id"] == id);
        text(&found.unwrap()["tenant"]["state"]).to_owned()
    };
    assert_eq!(state(&id), "STATE_SUSPENDED");
    assert_eq!(state(&beside), "STATE_ACTIVE");
}

#[tokio::test]
async fn a_suspended_tenant_is_not_selected() {
    let world = need!(world().await);
    let (id, _) = below(world).await;
    set_state(&world.alice, &id, "suspend").await;
    let body = json!({"tenantId": id});
    let refused = world.alice.post("/v1/auth:selectTenant", body).await;
    assert_eq!(refused.reason(403), "NOT_A_MEMBER");
}

#[tokio::test]
async fn a_password_stands_for_no_suspended_tenant() {
    let world = need!(world().await);
    let (id, owner) = below(world).await;
    let name = email();
    join(&owner, &id, &name, "viewer").await;
    let user = owner.with(basic(&name, PASSWORD));
    let tenant = async || {
        let me = user.get("/v1/me").await;
        match me.status.as_u16() {
            200 => me.json()["currentTenant"].as_str().map(str::to_owned),
            _ => Some("refused".to_owned()),
        }
    };
    assert_eq!(tenant().await, Some(id.clone()));
    set_state(&world.alice, &id, "suspend").await;
    eventually("a user without a tenant", async || tenant().await.is_none()).await;
}

#[tokio::test]
async fn keys_of_a_tenant_that_is_resumed_work_again_and_its_members_select_it_again() {
    let world = need!(world().await);
    let (id, owner) = below(world).await;
    let key = owner.key_holder(&["devices.read"]).await;
    works(&key).await;
    for _ in 0..2 {
        set_state(&world.alice, &id, "suspend").await;
        is_refused_everywhere(&key).await;
        let row = set_state(&world.alice, &id, "resume").await;
        assert_eq!(row["state"], "STATE_ACTIVE");
        let back = async || key.get("/v1/devices").await.status == 200;
        eventually("the key", back).await;
        works(&key).await;
    }
    // What was issued before stays refused.
    is_refused_everywhere(&owner).await;
    let again = log_in(&world.server.anybody(), ADMIN, PASSWORD, Some(&id)).await;
    works(&again).await;
}

#[tokio::test]
async fn suspending_or_resuming_twice_changes_nothing_the_second_time() {
    let world = need!(world().await);
    let (id, _) = below(world).await;
    for verb in ["resume", "suspend", "resume"] {
        let first = set_state(&world.alice, &id, verb).await;
        assert_eq!(set_state(&world.alice, &id, verb).await, first);
    }
}

#[tokio::test]
async fn what_is_below_a_suspended_tenant_is_refused_with_it_at_any_depth() {
    let world = need!(world().await);
    let (top, owner) = below(world).await;
    let (middle, child) = below_of(&owner).await;
    let (_, grandchild) = below_of(&child).await;
    let key = grandchild.key_holder(&["devices.read"]).await;
    works(&key).await;
    set_state(&world.alice, &top, "suspend").await;
    for caller in [&owner, &child, &grandchild, &key] {
        is_refused_everywhere(caller).await;
    }
    // Nor does anybody get a new token for it, by whatever password.
    let body = json!({"tenantId": middle});
    let refused = world.alice.post("/v1/auth:selectTenant", body).await;
    assert_eq!(refused.reason(403), "NOT_A_MEMBER");
    set_state(&world.alice, &top, "resume").await;
    let back = async || key.get("/v1/devices").await.status == 200;
    eventually("the key two below", back).await;
    works(&log_in(&world.server.anybody(), ADMIN, PASSWORD, Some(&middle)).await).await;
}

#[tokio::test]
async fn whoever_was_suspended_himself_stays_so_when_the_tenant_above_is_resumed() {
    let world = need!(world().await);
    let (top, owner) = below(world).await;
    let (middle, child) = below_of(&owner).await;
    let (bottom, grandchild) = below_of(&child).await;
    let (_, beside) = below_of(&owner).await;
    let key = grandchild.key_holder(&["devices.read"]).await;
    let other_key = beside.key_holder(&["devices.read"]).await;
    for key in [&key, &other_key] {
        works(key).await;
    }
    // One two below, which the caller may name as well.
    let row = set_state(&world.alice, &middle, "suspend").await;
    assert_eq!(row["state"], "STATE_SUSPENDED");
    is_refused_everywhere(&key).await;
    set_state(&world.alice, &top, "suspend").await;
    is_refused_everywhere(&other_key).await;
    set_state(&world.alice, &top, "resume").await;
    let back = async |key: &Caller| key.get("/v1/devices").await.status == 200;
    eventually("the key beside", async || back(&other_key).await).await;
    is_refused_everywhere(&key).await;
    // Below a suspended tenant, one that is resumed stays refused.
    set_state(&world.alice, &bottom, "suspend").await;
    let row = set_state(&world.alice, &bottom, "resume").await;
    assert_eq!(row["state"], "STATE_SUSPENDED");
    is_refused_everywhere(&key).await;
    set_state(&world.alice, &middle, "resume").await;
    eventually("the key below", async || back(&key).await).await;
}

#[tokio::test]
async fn only_a_tenant_below_the_callers_is_found_to_be_suspended() {
    let world = need!(world().await);
    let World {
        alice,
        bob,
        tenant_a,
        tenant_b,
        ..
    } = world;
    let (id, owner) = below(world).await;
    let (deeper, _) = below_of(&owner).await;
    let unknown = fresh_id();
    for (caller, tenant) in [
        // One's own, one above, one beside and one below that, and none.
        (alice, tenant_a.as_str()),
        (&owner, &*id),
        (&owner, tenant_a),
        (bob, &*id),
        (bob, &*deeper),
        (bob, tenant_b),
        (alice, &*unknown),
    ] {
        for verb in ["suspend", "resume"] {
            let path = format!("/v1/tenants/{tenant}:{verb}");
            let refused = caller.post(&path, json!({})).await;
            assert_eq!(refused.reason(404), "NOT_FOUND");
        }
    }
    works(&owner).await;
    set_state(&owner, &deeper, "suspend").await;
    let path = format!("/v1/tenants/{id}:suspend");
    let refused = world.olga.post(&path, json!({})).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
}

#[tokio::test]
async fn tenants_are_made_below_one_another_up_to_a_depth() {
    let world = need!(world().await);
    let (_, mut owner) = below(world).await;
    for _ in 0..32 {
        let refused = owner
            .post("/v1/tenants", json!({"displayName": "deep"}))
            .await;
        if refused.status != 201 {
            assert_eq!(refused.reason(400), "TENANTS_TOO_DEEP");
            return;
        }
        let id = text(&refused.json()["id"]).to_owned();
        owner = log_in(&world.server.anybody(), ADMIN, PASSWORD, Some(&id)).await;
    }
    panic!("nothing ends it");
}
