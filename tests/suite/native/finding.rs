//! Devices that are looked for, over HTTP.

use serde_json::{Value, json};

use super::{text, world};
use crate::support::{Caller, altered, unique};

/// Three devices with a label of their own, by which tests find only them.
async fn three(caller: &Caller) -> (String, Vec<String>) {
    let batch = unique();
    let mut ids = Vec::new();
    for (name, region) in [("pump-1", "eu"), ("pump-2", "us"), ("valve", "eu")] {
        let body = json!({
            "displayName": name,
            "serialNumber": format!("{batch}-{name}"),
            "labels": {"batch": batch, "region": region},
            "attributes": {"floor": ids.len()},
        });
        let made = caller.post("/v1/devices", body).await.expect(201);
        ids.push(text(&made["id"]).to_owned());
    }
    (batch, ids)
}

/// A list's path: reqwest writes queries as forms do.
fn path(query: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params("http://x/v1/devices", query).unwrap();
    format!("/v1/devices?{}", url.query().unwrap_or_default())
}

async fn list(caller: &Caller, query: &[(&str, &str)]) -> Value {
    caller.get(&path(query)).await.expect(200)
}

fn names(page: &Value) -> Vec<&str> {
    let devices = page["devices"].as_array().into_iter().flatten();
    devices.map(|device| text(&device["displayName"])).collect()
}

#[tokio::test]
async fn devices_are_found_by_what_is_written_in_the_filter() {
    let olga = &need!(world().await).olga;
    let (batch, ids) = three(olga).await;
    for (filter, wanted) in [
        ("", vec!["pump-1", "pump-2", "valve"]),
        ("AND labels.region = \"eu\"", vec!["pump-1", "valve"]),
        ("AND NOT labels.region = \"eu\"", vec!["pump-2"]),
        ("AND display_name = \"pump*\"", vec!["pump-1", "pump-2"]),
        ("AND attributes.floor >= 1", vec!["pump-2", "valve"]),
        ("AND (pump-1 OR valve)", vec!["pump-1", "valve"]),
        ("AND tags:\"no such tag\"", vec![]),
        ("AND update_time > \"2099-01-01T00:00:00Z\"", vec![]),
        (&format!("AND id = \"{}\"", ids[1]), vec!["pump-2"]),
    ] {
        let filter = format!("labels.batch = \"{batch}\" {filter}");
        let page = list(olga, &[("filter", &filter)]).await;
        assert_eq!(names(&page), wanted, "{filter}");
    }
}

#[tokio::test]
async fn all_that_is_wrong_with_a_filter_is_told() {
    let olga = &need!(world().await).olga;
    let wrong = [("filter", "colour = 1 AND number = x")];
    let answer = olga.get(&path(&wrong)).await;
    assert_eq!(answer.fields(), ["filter", "filter"]);
    for field in ["order_by", "read_mask"] {
        let query = [(field.replace("_b", "B").replace("_m", "M"), "colour")];
        let query = query.each_ref().map(|(key, value)| (key.as_str(), *value));
        let answer = olga.get(&path(&query)).await;
        assert_eq!(answer.fields(), [field]);
    }
}

#[tokio::test]
async fn lists_come_in_the_order_that_was_asked_for_and_show_what_was_asked_for() {
    let olga = &need!(world().await).olga;
    let (batch, _) = three(olga).await;
    let filter = format!("labels.batch = \"{batch}\"");
    let query = [
        ("filter", filter.as_str()),
        ("orderBy", "serial_number desc"),
        ("readMask", "displayName,labels"),
        ("countTotal", "true"),
    ];
    let page = list(olga, &query).await;
    assert_eq!(names(&page), ["valve", "pump-2", "pump-1"]);
    assert_eq!(page["totalSize"], "3");
    let first = page["devices"][0].as_object().unwrap();
    let fields: Vec<_> = first.keys().map(String::as_str).collect();
    assert_eq!(fields, ["displayName", "labels"]);
}

#[tokio::test]
async fn a_page_token_is_good_for_its_own_list_and_nobody_else() {
    let world = need!(world().await);
    let (batch, _) = three(&world.olga).await;
    let filter = format!("labels.batch = \"{batch}\"");
    let first = [("filter", filter.as_str()), ("pageSize", "2")];
    let page = list(&world.olga, &first).await;
    let token = text(&page["nextPageToken"]);
    let next = [("filter", filter.as_str()), ("pageToken", token)];
    let rest = list(&world.olga, &next).await;
    assert_eq!(names(&rest), ["valve"]);

    let forged = altered(token);
    for (caller, query) in [
        (
            &world.olga,
            [("filter", "number > 0"), ("pageToken", token)],
        ),
        (
            &world.olga,
            [("orderBy", "number desc"), ("pageToken", token)],
        ),
        (&world.olga, [("filter", &filter), ("pageToken", &forged)]),
        (&world.olga, [("filter", &filter), ("pageToken", "AAAA")]),
        (&world.bob, next),
    ] {
        let answer = caller.get(&path(&query)).await;
        assert_eq!(answer.fields(), ["page_token"], "{query:?}");
    }
}

#[tokio::test]
async fn a_page_can_begin_behind_a_device() {
    let olga = &need!(world().await).olga;
    let (batch, ids) = three(olga).await;
    let filter = format!("labels.batch = \"{batch}\"");
    let page = list(olga, &[("filter", &filter), ("afterId", &ids[0])]).await;
    assert_eq!(names(&page), ["pump-2", "valve"]);
    let query = [
        ("filter", filter.as_str()),
        ("afterId", &ids[1]),
        ("orderBy", "display_name desc"),
    ];
    assert_eq!(names(&list(olga, &query).await), ["pump-1"]);
    let unknown = super::fresh_id();
    let answer = olga.get(&path(&[("afterId", &unknown)])).await;
    assert_eq!(answer.fields(), ["after_id"]);
}

#[tokio::test]
async fn several_devices_are_read_at_once_or_none() {
    let world = need!(world().await);
    let (_, ids) = three(&world.olga).await;
    let path = format!("/v1/devices:batchGet?ids={}&ids={}", ids[2], ids[0]);
    let found = world.olga.get(&path).await.expect(200);
    assert_eq!(names(&found), ["valve", "pump-1"]);
    assert_eq!(world.bob.get(&path).await.reason(404), "NOT_FOUND");
}
