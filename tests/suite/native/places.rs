//! Sites that lie in each other, tags that merge, sensors, customers: over HTTP.

use serde_json::{Value, json};

use super::{text, world};
use crate::support::{Caller, unique};

async fn site(caller: &Caller, parent: &Value) -> Value {
    let mut body = json!({
        "displayName": unique(),
        "address": "1 Main Street",
        "location": {"latitude": 52.5, "longitude": 4.5},
    });
    if !parent.is_null() {
        body["parentId"] = parent["id"].clone();
    }
    caller.post("/v1/sites", body).await.expect(201)
}

async fn ids(caller: &Caller, path: &str) -> Vec<Value> {
    let page = caller.get(path).await.expect(200);
    let sites = page["sites"].as_array().into_iter().flatten();
    sites.map(|site| site["id"].clone()).collect()
}

#[tokio::test]
async fn sites_are_a_tree_that_can_be_changed_and_looked_through() {
    let olga = &need!(world().await).olga;
    let town = site(olga, &Value::Null).await;
    let house = site(olga, &town).await;
    let room = site(olga, &house).await;
    assert_eq!(room["ancestorIds"], json!([town["id"], house["id"]]));
    assert_eq!(
        room["location"],
        json!({"latitude": 52.5, "longitude": 4.5})
    );
    let below = format!("/v1/sites?ancestorId={}", text(&town["id"]));
    assert_eq!(
        ids(olga, &below).await,
        [house["id"].clone(), room["id"].clone()]
    );
    let inside = format!("/v1/sites?parentId={}", text(&town["id"]));
    assert_eq!(ids(olga, &inside).await, [house["id"].clone()]);
    let path = format!("/v1/sites/{}", text(&town["id"]));
    let circle = olga.patch(&path, json!({"parentId": room["id"]})).await;
    assert_eq!(circle.reason(400), "SITE_CYCLE");
    assert_eq!(olga.delete(&path).await.reason(400), "IN_USE");
    let path = format!("/v1/sites/{}", text(&room["id"]));
    let moved = olga.patch(&path, json!({"parentId": town["id"]})).await;
    assert_eq!(moved.expect(200)["ancestorIds"], json!([town["id"]]));
    let outermost = ids(olga, "/v1/sites?outermost=true&pageSize=1000").await;
    assert!(outermost.contains(&town["id"]) && !outermost.contains(&room["id"]));
}

#[tokio::test]
async fn customers_are_found_by_name_number_and_ids() {
    let olga = &need!(world().await).olga;
    let mut made = Vec::new();
    for _ in 0..3 {
        let body = json!({"displayName": unique(), "contactInfo": "555-555"});
        made.push(olga.post("/v1/customers", body).await.expect(201));
    }
    for (query, found) in [
        (
            format!("displayName={}", text(&made[0]["displayName"])),
            vec![0],
        ),
        (format!("number={}", text(&made[1]["number"])), vec![1]),
        (
            format!("ids={}&ids={}", text(&made[0]["id"]), text(&made[2]["id"])),
            vec![0, 2],
        ),
        ("displayName=nobody".to_owned(), vec![]),
    ] {
        let path = format!("/v1/customers?countTotal=true&{query}");
        let page = olga.get(&path).await.expect(200);
        let listed = page["customers"].as_array().cloned().unwrap_or_default();
        let wanted: Vec<_> = found.iter().map(|i| made[*i].clone()).collect();
        assert_eq!(listed, wanted, "{query}");
        let total = page.get("totalSize").map_or("0", text);
        assert_eq!(total, found.len().to_string(), "{query}");
    }
}

#[tokio::test]
async fn programs_keep_attributes_with_sites_customers_and_webhooks() {
    let alice = &need!(world().await).alice;
    let kept = json!({"list": [1, "two", {"three": null}], "flag": true});
    for (path, new) in [
        ("/v1/sites", json!({"displayName": unique()})),
        ("/v1/customers", json!({"displayName": unique()})),
        (
            "/v1/webhooks",
            json!({"url": "https://example.com/", "eventTypes": ["nothing.ever"]}),
        ),
    ] {
        let mut body = new;
        body["attributes"] = kept.clone();
        let made = alice.post(path, body).await.expect(201);
        let made = made.get("webhook").unwrap_or(&made);
        let one = format!("{path}/{}", text(&made["id"]));
        assert_eq!(alice.get(&one).await.expect(200)["attributes"], kept);
        let change = json!({"attributes": {"flag": false}});
        let changed = alice.patch(&one, change.clone()).await.expect(200);
        assert_eq!(changed["attributes"], change["attributes"], "{path}");
        let nul = alice.patch(&one, json!({"attributes": {"a": "\u{0}"}}));
        let fields = nul.await.fields();
        assert!(fields.len() == 1 && fields[0].ends_with(".attributes"));
    }
}

#[tokio::test]
async fn tags_merge_and_tell_how_many_devices_have_them() {
    let olga = &need!(world().await).olga;
    let mut tags = Vec::new();
    for _ in 0..2 {
        let tag = json!({"displayName": unique(), "color": "#22aa55"});
        tags.push(olga.post("/v1/tags", tag).await.expect(201));
    }
    for tag_ids in [
        json!([tags[0]["id"], tags[1]["id"]]),
        json!([tags[1]["id"]]),
    ] {
        let body = json!({"displayName": "pump", "tagIds": tag_ids});
        olga.post("/v1/devices", body).await.expect(201);
    }
    let [kept, gone] = [0, 1].map(|i| format!("/v1/tags/{}", text(&tags[i]["id"])));
    let body = json!({"tagIds": [tags[1]["id"]]});
    olga.post(&format!("{kept}:merge"), body).await.expect(200);
    assert_eq!(olga.get(&gone).await.reason(404), "NOT_FOUND");
    let counted = format!("{kept}?countDevices=true");
    assert_eq!(olga.get(&counted).await.expect(200)["deviceCount"], "2");
    assert!(
        olga.get(&kept)
            .await
            .expect(200)
            .get("deviceCount")
            .is_none()
    );
}

#[tokio::test]
async fn a_sensor_belongs_to_its_device() {
    let world = need!(world().await);
    let device = json!({"displayName": "tank"});
    let device = world.olga.post("/v1/devices", device).await.expect(201);
    let body = json!({"deviceId": device["id"], "code": "level", "attributes": {"unit": "m"}});
    let made = world
        .olga
        .post("/v1/sensors", body.clone())
        .await
        .expect(201);
    let path = format!("/v1/sensors/{}", text(&made["id"]));
    assert_eq!(world.victor.get(&path).await.expect(200), made);
    assert_eq!(
        world.olga.post("/v1/sensors", body.clone()).await.taken(),
        "sensor.code"
    );
    assert_eq!(
        world.victor.delete(&path).await.reason(403),
        "PERMISSION_DENIED"
    );
    for answer in [
        world.bob.get(&path).await,
        world.bob.delete(&path).await,
        world.bob.post("/v1/sensors", body).await,
    ] {
        assert_eq!(answer.reason(404), "NOT_FOUND");
    }
    let of = format!("/v1/sensors?deviceIds={}", text(&device["id"]));
    assert_eq!(
        world.olga.get(&of).await.expect(200)["sensors"],
        json!([made])
    );
    world.olga.delete(&path).await.expect(200);
}
