//! The lives of devices, over HTTP: states, deletion and return, requests that
//! come twice, and how many there may be.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{fresh_id, text, world};
use crate::support::{Answer, Caller, World, muster, send, unique};

async fn device(caller: &Caller) -> Value {
    let body = json!({"displayName": "pump", "serialNumber": unique()});
    caller.post("/v1/devices", body).await.expect(201)
}

fn one(device: &Value) -> String {
    format!("/v1/devices/{}", text(&device["id"]))
}

async fn with_header(
    caller: &Caller,
    (method, path): (Method, &str),
    header: (&str, &str),
    body: Value,
) -> Answer {
    let request = caller.request(method, path).header(header.0, header.1);
    send(request.json(&body)).await
}

#[tokio::test]
async fn a_device_goes_only_the_ways_of_its_life() {
    let olga = &need!(world().await).olga;
    let body = json!({"displayName": "pump", "state": "STATE_PROVISIONED"});
    let made = olga.post("/v1/devices", body).await.expect(201);
    for state in ["ACTIVE", "DISABLED", "ACTIVE", "DISABLED", "DECOMMISSIONED"] {
        let state = format!("STATE_{state}");
        let changed = olga.patch(&one(&made), json!({"state": state})).await;
        assert_eq!(changed.expect(200)["state"], state);
    }
    let back = olga
        .patch(&one(&made), json!({"state": "STATE_ACTIVE"}))
        .await;
    assert_eq!(back.reason(400), "STATE_TRANSITION");
    let new = json!({"displayName": "pump", "state": "STATE_DECOMMISSIONED"});
    let refused = olga.post("/v1/devices", new).await;
    assert_eq!(refused.fields(), ["device.state"]);
}

#[tokio::test]
async fn who_has_not_seen_the_last_change_overwrites_nothing() {
    let olga = &need!(world().await).olga;
    let made = device(olga).await;
    let seen = format!("\"{}\"", text(&made["etag"]));
    let path = one(&made);
    let change = json!({"description": "first"});
    let patch = (Method::PATCH, path.as_str());
    let first = with_header(olga, patch.clone(), ("if-match", &seen), change).await;
    first.expect(200);
    let change = json!({"description": "second"});
    let late = with_header(olga, patch, ("if-match", &seen), change).await;
    assert_eq!(late.reason(412), "CONFLICT");
    let delete = (Method::DELETE, path.as_str());
    let late = with_header(olga, delete, ("if-match", &seen), json!({})).await;
    assert_eq!(late.reason(412), "CONFLICT");
    assert_eq!(olga.get(&path).await.expect(200)["description"], "first");
}

#[tokio::test]
async fn a_deleted_device_is_in_no_list_and_comes_back_as_it_was() {
    let olga = &need!(world().await).olga;
    let made = device(olga).await;
    let serial = text(&made["serialNumber"]);
    let deleted = olga.delete(&one(&made)).await.expect(200);
    assert!(deleted["deleteTime"].is_string() && deleted["purgeTime"].is_string());
    let listed = async |more: &str| {
        let path = format!("/v1/devices?serialNumber={serial}{more}");
        let page = olga.get(&path).await.expect(200);
        page["devices"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(listed("").await, 0);
    assert_eq!(listed("&showDeleted=true").await, 1);
    assert_eq!(olga.get(&one(&made)).await.expect(200), deleted);
    for answer in [
        olga.patch(&one(&made), json!({"description": "x"})).await,
        olga.delete(&one(&made)).await,
    ] {
        assert_eq!(answer.reason(404), "NOT_FOUND");
    }

    let undelete = format!("{}:undelete", one(&made));
    let back = olga.post(&undelete, json!({})).await.expect(200);
    for field in ["id", "number", "serialNumber", "createTime"] {
        assert_eq!(back[field], made[field]);
    }
    assert!(back.get("deleteTime").is_none());
    assert_eq!(listed("").await, 1);
    assert_eq!(olga.post(&undelete, json!({})).await.taken(), "id");
}

#[tokio::test]
async fn the_names_of_a_deleted_device_are_free_and_it_waits_until_they_are_again() {
    let olga = &need!(world().await).olga;
    let made = device(olga).await;
    olga.delete(&one(&made)).await.expect(200);
    let body = json!({"displayName": "other", "serialNumber": made["serialNumber"]});
    let other = olga.post("/v1/devices", body).await.expect(201);
    let undelete = format!("{}:undelete", one(&made));
    let refused = olga.post(&undelete, json!({})).await;
    assert_eq!(refused.taken(), "device.serial_number");
    olga.delete(&format!("{}?purge=true", one(&other)))
        .await
        .expect(200);
    olga.post(&undelete, json!({})).await.expect(200);
}

#[tokio::test]
async fn what_is_purged_is_gone() {
    let olga = &need!(world().await).olga;
    let (now, later) = (device(olga).await, device(olga).await);
    olga.delete(&one(&later)).await.expect(200);
    for made in [&now, &later] {
        let purge = format!("{}?purge=true", one(made));
        olga.delete(&purge).await.expect(200);
        assert_eq!(olga.get(&one(made)).await.reason(404), "NOT_FOUND");
        let undelete = format!("{}:undelete", one(made));
        assert_eq!(
            olga.post(&undelete, json!({})).await.reason(404),
            "NOT_FOUND"
        );
    }
}

#[tokio::test]
async fn several_devices_are_deleted_at_once_or_none() {
    let world = need!(world().await);
    let olga = &world.olga;
    let (one_of, other) = (device(olga).await, device(olga).await);
    let path = "/v1/devices:batchDelete";
    let with_unknown = json!({"ids": [one_of["id"], fresh_id()]});
    assert_eq!(olga.post(path, with_unknown).await.reason(404), "NOT_FOUND");
    let both = json!({"ids": [one_of["id"], other["id"]]});
    assert_eq!(
        world.bob.post(path, both.clone()).await.reason(404),
        "NOT_FOUND"
    );
    assert!(
        olga.get(&one(&one_of))
            .await
            .expect(200)
            .get("deleteTime")
            .is_none()
    );
    olga.post(path, both).await.expect(200);
    for made in [&one_of, &other] {
        let deleted = olga.get(&one(made)).await.expect(200);
        assert!(deleted["deleteTime"].is_string());
    }
}

#[tokio::test]
async fn a_request_that_comes_twice_creates_once() {
    let olga = &need!(world().await).olga;
    let id = fresh_id();
    let body = json!({"displayName": "pump", "serialNumber": unique()});
    let create = async |body: &Value| {
        let post = (Method::POST, "/v1/devices");
        with_header(olga, post, ("idempotency-key", &id), body.clone()).await
    };
    let first = create(&body).await.expect(201);
    assert_eq!(create(&body).await.expect(201)["id"], first["id"]);
    let other = json!({"displayName": "other"});
    let refused = create(&other).await;
    assert!(refused.status.is_client_error(), "{}", refused.text);
}

#[tokio::test]
async fn no_more_devices_are_made_than_the_tenant_may_have() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    let quota = alice.get("/v1/deviceQuota").await.expect(200);
    assert!(quota.get("deviceLimit").is_none());
    let made = device(alice).await;
    let tenant = world.tenant_a.clone();
    let limit = ["admin", "device-limit", &tenant, "3", "--output", "json"];
    let registry = world.server.installation.service("device-registry");
    let told: Value = serde_json::from_str(&muster(&limit, &registry).await).unwrap();
    assert_eq!(told, json!({"deviceCount": 1, "deviceLimit": 3}));
    let body = || json!({"displayName": "pump"});
    let mut requests = JoinSet::new();
    for _ in 0..6 {
        let (alice, body) = (alice.clone(), body());
        requests.spawn(async move { alice.post("/v1/devices", body).await });
    }
    let answers = requests.join_all().await;
    let full: Vec<_> = answers.iter().filter(|a| a.status != 201).collect();
    assert_eq!(full.len(), 4);
    for answer in full {
        assert_eq!(answer.reason(429), "DEVICE_LIMIT");
    }
    let quota = alice.get("/v1/deviceQuota").await.expect(200);
    assert_eq!(quota, json!({"deviceCount": "3", "deviceLimit": "3"}));
    // What can come back still counts; what is gone does not.
    alice.delete(&one(&made)).await.expect(200);
    assert_eq!(
        alice.post("/v1/devices", body()).await.reason(429),
        "DEVICE_LIMIT"
    );
    let purge = format!("{}?purge=true", one(&made));
    alice.delete(&purge).await.expect(200);
    alice.post("/v1/devices", body()).await.expect(201);
}
