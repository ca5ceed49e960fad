//! What a tenant keeps: devices, tags, sites, commands and customers.

use serde_json::{Value, json};

use super::{fresh_id, text, world};
use crate::support::{Answer, Caller, World, unique};

/// One kind of thing, and how it is spoken of.
struct Kind {
    path: &'static str,
    /// The request's field that holds it.
    message: &'static str,
    /// The field that nothing else of the tenant may have the same value in.
    unique: &'static str,
    /// The same in the contract's spelling.
    unique_proto: &'static str,
    /// A field that may be changed and emptied.
    text: &'static str,
    a_text: &'static str,
}

impl Kind {
    fn list(&self) -> &str {
        self.path.trim_start_matches("/v1/")
    }

    /// A valid one, unlike all others.
    fn new_body(&self) -> Value {
        let mut body = json!({self.text: self.a_text});
        if self.message == "device" {
            body["displayName"] = json!("a device");
        }
        body[self.unique] = json!(unique());
        body
    }

    async fn create(&self, caller: &Caller) -> Value {
        caller.post(self.path, self.new_body()).await.expect(201)
    }

    fn one(&self, thing: &Value) -> String {
        format!("{}/{}", self.path, text(&thing["id"]))
    }

    /// Deletes it for good: of a device, that must be said.
    async fn delete(&self, caller: &Caller, thing: &Value) -> Answer {
        let purge = match self.message {
            "device" => "?purge=true",
            _ => "",
        };
        caller.delete(&format!("{}{purge}", self.one(thing))).await
    }
}

const KINDS: [Kind; 5] = [
    Kind {
        path: "/v1/devices",
        message: "device",
        unique: "serialNumber",
        unique_proto: "serial_number",
        text: "description",
        a_text: "a text",
    },
    Kind {
        path: "/v1/tags",
        message: "tag",
        unique: "displayName",
        unique_proto: "display_name",
        text: "color",
        a_text: "#22aa55",
    },
    Kind {
        path: "/v1/sites",
        message: "site",
        unique: "displayName",
        unique_proto: "display_name",
        text: "notes",
        a_text: "a text",
    },
    Kind {
        path: "/v1/commands",
        message: "command",
        unique: "name",
        unique_proto: "name",
        text: "description",
        a_text: "a text",
    },
    Kind {
        path: "/v1/customers",
        message: "customer",
        unique: "displayName",
        unique_proto: "display_name",
        text: "notes",
        a_text: "a text",
    },
];

#[tokio::test]
async fn what_is_created_can_be_read_and_listed() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let body = kind.new_body();
        let answer = olga.post(kind.path, body.clone()).await;
        let made = answer.expect(201);
        assert_eq!(answer.header("content-type"), "application/json");
        for (field, value) in body.as_object().unwrap() {
            assert_eq!(made[field], *value, "{}", kind.path);
        }
        assert!(
            text(&made["number"]).parse::<i64>().unwrap() > 0,
            "64-bit numbers are texts in JSON"
        );
        assert_eq!(made["createTime"], made["updateTime"]);
        assert!(text(&made["createTime"]).ends_with('Z'));
        let etag = format!("\"{}\"", text(&made["etag"]));
        assert_eq!(answer.header("etag"), etag);
        assert_eq!(olga.get(&kind.one(&made)).await.expect(200), made);
        assert!(all(olga, kind, "").await.contains(&made), "{}", kind.path);
    }
}

/// All things of a kind, page by page.
async fn all(caller: &Caller, kind: &Kind, filter: &str) -> Vec<Value> {
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("{}?pageSize=1000&pageToken={token}{filter}", kind.path);
        let page = caller.get(&path).await.expect(200);
        found.extend(page[kind.list()].as_array().cloned().unwrap_or_default());
        match page.get("nextPageToken") {
            Some(next) => token = text(next).to_owned(),
            None => return found,
        }
    }
}

#[tokio::test]
async fn every_field_of_a_device_comes_back_as_it_went() {
    let olga = &need!(world().await).olga;
    let tag = KINDS[1].create(olga).await;
    let site = KINDS[2].create(olga).await;
    let body = json!({
        "displayName": "Küche 🌡",
        "serialNumber": unique(),
        "externalId": unique(),
        "code": format!("code-{}", unique()),
        "description": "two\nlines",
        "tagIds": [tag["id"]],
        "labels": {"floor": "3", "empty": ""},
        "attributes": {"list": [1, 2.5, null, "x", true], "deep": {"a": {"b": {}}}},
        "siteId": site["id"],
        "location": {"latitude": 0, "longitude": -180, "altitude": 12.5, "description": "here"},
        "state": "STATE_DISABLED",
    });
    let made = olga.post("/v1/devices", body.clone()).await.expect(201);
    let read = olga.get(&KINDS[0].one(&made)).await.expect(200);
    assert_eq!(read, made);
    for (field, value) in body.as_object().unwrap() {
        let expected = if field == "location" {
            json!({"latitude": 0, "longitude": -180, "altitude": 12.5, "description": "here"})
        } else {
            value.clone()
        };
        assert_eq!(read[field], expected, "{field}");
    }
}

#[tokio::test]
async fn a_change_touches_only_the_fields_that_the_body_has() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let path = kind.one(&made);
        let renamed = unique();
        let changed = olga
            .patch(&path, json!({kind.unique: renamed}))
            .await
            .expect(200);
        assert_eq!(changed[kind.unique], renamed);
        assert_eq!(changed[kind.text], kind.a_text);
        assert_eq!(changed["createTime"], made["createTime"]);
        assert_ne!(changed["etag"], made["etag"]);
        // What is there and empty empties the field.
        let emptied = olga.patch(&path, json!({kind.text: ""})).await.expect(200);
        assert_eq!(emptied.get(kind.text), None);
        assert_eq!(emptied[kind.unique], renamed);
    }
}

#[tokio::test]
async fn a_mask_says_which_fields_of_the_body_count() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let path = format!("{}?updateMask={}", kind.one(&made), kind.text);
        let body = json!({kind.unique: unique()});
        let changed = olga.patch(&path, body).await.expect(200);
        assert_eq!(changed[kind.unique], made[kind.unique]);
        assert_eq!(changed.get(kind.text), None, "the mask names it: emptied");
    }
}

#[tokio::test]
async fn a_mask_that_names_no_field_is_refused() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let path = format!("{}?updateMask=nothing", kind.one(&made));
        let answer = olga.patch(&path, json!({kind.text: ""})).await;
        assert_eq!(answer.fields(), ["update_mask"]);
        assert!(answer.text.contains("nothing"));
        assert_eq!(olga.get(&kind.one(&made)).await.expect(200), made);
    }
}

#[tokio::test]
async fn a_change_must_leave_a_valid_thing() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let name = if kind.message == "command" {
            "name"
        } else {
            "displayName"
        };
        let answer = olga.patch(&kind.one(&made), json!({name: ""})).await;
        let field = if name == "name" {
            "name"
        } else {
            "display_name"
        };
        assert_eq!(answer.fields(), [format!("{}.{field}", kind.message)]);
        assert_eq!(olga.get(&kind.one(&made)).await.expect(200), made);
    }
}

#[tokio::test]
async fn a_stale_etag_is_a_conflict_and_changes_nothing() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let path = kind.one(&made);
        let right = json!({kind.text: "", "etag": made["etag"]});
        let changed = olga.patch(&path, right.clone()).await.expect(200);
        let answer = olga.patch(&path, right).await;
        assert_eq!(answer.reason(409), "CONFLICT");
        assert_eq!(answer.json()["code"], 10);
        assert_eq!(olga.get(&path).await.expect(200), changed);
    }
}

#[tokio::test]
async fn of_many_changes_with_one_etag_one_wins() {
    let olga = &need!(world().await).olga;
    let made = KINDS[0].create(olga).await;
    let path = KINDS[0].one(&made);
    let changes = (0..8).map(|i| {
        let (olga, path, etag) = (olga.clone(), path.clone(), made["etag"].clone());
        tokio::spawn(async move {
            let body = json!({"description": i.to_string(), "etag": etag});
            olga.patch(&path, body).await.status.as_u16()
        })
    });
    let mut statuses = Vec::new();
    for change in changes.collect::<Vec<_>>() {
        statuses.push(change.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn the_id_in_the_path_wins_over_the_bodys() {
    let olga = &need!(world().await).olga;
    let (one, other) = (KINDS[0].create(olga).await, KINDS[0].create(olga).await);
    let body = json!({"id": other["id"], "description": "changed"});
    let changed = olga.patch(&KINDS[0].one(&one), body).await.expect(200);
    assert_eq!(changed["id"], one["id"]);
    assert_eq!(olga.get(&KINDS[0].one(&other)).await.expect(200), other);
}

#[tokio::test]
async fn the_creator_may_choose_the_id_once() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let id = fresh_id();
        let path = format!("{}?{}Id={id}", kind.path, kind.message);
        let made = olga.post(&path, kind.new_body()).await.expect(201);
        assert_eq!(made["id"], id);
        let again = olga.post(&path, kind.new_body()).await;
        assert_eq!(again.taken(), format!("{}_id", kind.message));
    }
}

#[tokio::test]
async fn tenants_choose_ids_without_seeing_each_others() {
    let World { olga, bob, .. } = need!(world().await);
    for kind in &KINDS {
        let path = format!("{}?{}Id={}", kind.path, kind.message, fresh_id());
        let theirs = olga.post(&path, kind.new_body()).await.expect(201);
        let ours = bob.post(&path, kind.new_body()).await.expect(201);
        kind.delete(bob, &ours).await.expect(200);
        assert_eq!(olga.get(&kind.one(&theirs)).await.expect(200), theirs);
    }
}

#[tokio::test]
async fn what_must_be_unique_in_the_tenant_is_a_conflict_that_names_the_field() {
    let World { olga, bob, .. } = need!(world().await);
    for kind in &KINDS {
        let body = kind.new_body();
        olga.post(kind.path, body.clone()).await.expect(201);
        let again = olga.post(kind.path, body.clone()).await;
        let field = format!("{}.{}", kind.message, kind.unique_proto);
        assert_eq!(again.taken(), field);
        let other = kind.create(olga).await;
        let change = json!({kind.unique: body[kind.unique]});
        let renamed = olga.patch(&kind.one(&other), change).await;
        assert_eq!(renamed.taken(), field);
        // In another tenant it is free.
        bob.post(kind.path, body).await.expect(201);
    }
}

#[tokio::test]
async fn each_unique_field_of_a_device_is_named() {
    let olga = &need!(world().await).olga;
    for (field, named) in [
        ("serialNumber", "device.serial_number"),
        ("externalId", "device.external_id"),
        ("code", "device.code"),
    ] {
        let body = json!({"displayName": "x", field: unique()});
        olga.post("/v1/devices", body.clone()).await.expect(201);
        assert_eq!(olga.post("/v1/devices", body).await.taken(), named);
    }
}

#[tokio::test]
async fn devices_without_serial_numbers_are_no_conflict() {
    let olga = &need!(world().await).olga;
    for body in [
        json!({"displayName": "x"}),
        json!({"displayName": "x", "serialNumber": ""}),
    ] {
        olga.post("/v1/devices", body.clone()).await.expect(201);
        olga.post("/v1/devices", body).await.expect(201);
    }
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_its_name_free() {
    let olga = &need!(world().await).olga;
    for kind in &KINDS {
        let body = kind.new_body();
        let made = olga.post(kind.path, body.clone()).await.expect(201);
        let path = kind.one(&made);
        kind.delete(olga, &made).await.expect(200);
        assert_eq!(olga.get(&path).await.reason(404), "NOT_FOUND");
        assert_eq!(kind.delete(olga, &made).await.reason(404), "NOT_FOUND");
        assert_eq!(olga.patch(&path, json!({})).await.reason(404), "NOT_FOUND");
        olga.post(kind.path, body).await.expect(201);
    }
}

#[tokio::test]
async fn a_thing_of_another_tenant_is_not_found() {
    let World { olga, bob, .. } = need!(world().await);
    for kind in &KINDS {
        let theirs = kind.create(olga).await;
        let path = kind.one(&theirs);
        let absent = bob.get(&format!("{}/{}", kind.path, fresh_id())).await;
        let foreign = bob.get(&path).await;
        // But for the id, nothing tells it from what does not exist.
        assert_eq!(foreign.reason(404), absent.reason(404));
        assert_eq!(bob.patch(&path, json!({})).await.reason(404), "NOT_FOUND");
        assert_eq!(bob.delete(&path).await.reason(404), "NOT_FOUND");
        let listed = all(bob, kind, "").await;
        assert!(listed.iter().all(|thing| thing["id"] != theirs["id"]));
        assert_eq!(olga.get(&path).await.expect(200), theirs);
    }
}

#[tokio::test]
async fn pages_show_everything_once_in_the_order_of_creation() {
    let World { bob, .. } = &need!(World::new().await);
    for kind in &KINDS {
        let mut made = Vec::new();
        for _ in 0..7 {
            made.push(kind.create(bob).await);
        }
        let (mut found, mut token, mut sizes) = (Vec::new(), String::new(), Vec::new());
        loop {
            let path = format!("{}?pageSize=3&pageToken={token}", kind.path);
            let page = bob.get(&path).await.expect(200);
            let things = page[kind.list()].as_array().unwrap().clone();
            sizes.push(things.len());
            found.extend(things);
            match page.get("nextPageToken") {
                Some(next) => token = text(next).to_owned(),
                None => break,
            }
        }
        assert_eq!((found, sizes), (made, vec![3, 3, 1]), "{}", kind.path);
    }
    let counted = bob
        .get("/v1/devices?pageSize=2&countTotal=true")
        .await
        .expect(200);
    assert_eq!(counted["totalSize"], "7");
    let skipped = bob.get("/v1/devices?skip=6").await.expect(200);
    assert_eq!(skipped["devices"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn devices_are_found_by_what_they_have() {
    let olga = &need!(world().await).olga;
    let (one, both) = (KINDS[1].create(olga).await, KINDS[1].create(olga).await);
    let site = KINDS[2].create(olga).await;
    let name = unique();
    let body = json!({
        "displayName": name, "serialNumber": unique(), "externalId": unique(), "code": unique(),
        "siteId": site["id"], "tagIds": [one["id"], both["id"]],
    });
    let device = olga.post("/v1/devices", body).await.expect(201);
    let body = json!({"displayName": unique(), "tagIds": [one["id"]]});
    let tagged = olga.post("/v1/devices", body).await.expect(201);
    let (one, both) = (text(&one["id"]), text(&both["id"]));
    for (filter, expected) in [
        (format!("displayName={name}"), vec![&device]),
        (
            format!("serialNumber={}", text(&device["serialNumber"])),
            vec![&device],
        ),
        (
            format!("externalId={}", text(&device["externalId"])),
            vec![&device],
        ),
        (format!("code={}", text(&device["code"])), vec![&device]),
        (format!("number={}", text(&device["number"])), vec![&device]),
        (format!("siteId={}", text(&site["id"])), vec![&device]),
        (format!("tagIds={one}"), vec![&device, &tagged]),
        (format!("tagIds={one}&tagIds={both}"), vec![&device]),
        (
            format!("tagIds={one}&tagIds={both}&anyTag=true"),
            vec![&device, &tagged],
        ),
        (format!("displayName={name}&state=STATE_DISABLED"), vec![]),
    ] {
        let found = all(olga, &KINDS[0], &format!("&{filter}")).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{filter}");
    }
}

#[tokio::test]
async fn a_deleted_tag_is_taken_off_its_devices() {
    let olga = &need!(world().await).olga;
    let (gone, kept) = (KINDS[1].create(olga).await, KINDS[1].create(olga).await);
    let body = json!({"displayName": "x", "tagIds": [gone["id"], kept["id"]]});
    let device = olga.post("/v1/devices", body).await.expect(201);
    olga.delete(&KINDS[1].one(&gone)).await.expect(200);
    let read = olga.get(&KINDS[0].one(&device)).await.expect(200);
    assert_eq!(read["tagIds"], json!([kept["id"]]));
}

#[tokio::test]
async fn a_site_with_devices_is_not_deleted() {
    let olga = &need!(world().await).olga;
    let site = KINDS[2].create(olga).await;
    let body = json!({"displayName": "x", "siteId": site["id"]});
    let device = olga.post("/v1/devices", body).await.expect(201);
    let answer = olga.delete(&KINDS[2].one(&site)).await;
    assert_eq!(answer.expect(400)["code"], 9);
    olga.delete(&KINDS[0].one(&device)).await.expect(200);
    olga.delete(&KINDS[2].one(&site)).await.expect(200);
}

#[tokio::test]
async fn a_device_with_an_unknown_or_foreign_tag_or_site_is_refused_whole() {
    let World { olga, bob, .. } = need!(world().await);
    let (tag, site) = (KINDS[1].create(bob).await, KINDS[2].create(bob).await);
    let serial = unique();
    for (field, value, named) in [
        ("tagIds", json!([fresh_id()]), "device.tag_ids"),
        ("tagIds", json!([tag["id"]]), "device.tag_ids"),
        ("siteId", json!(fresh_id()), "device.site_id"),
        ("siteId", site["id"].clone(), "device.site_id"),
    ] {
        let body = json!({"displayName": "x", "serialNumber": serial, field: value});
        let fields = olga.post("/v1/devices", body).await.fields();
        assert!(fields.iter().all(|f| f.starts_with(named)) && !fields.is_empty());
    }
    // Nothing of it was written: the serial number is free.
    let body = json!({"displayName": "x", "serialNumber": serial});
    olga.post("/v1/devices", body).await.expect(201);
}

#[tokio::test]
async fn who_may_only_look_may_not_change() {
    let World { olga, victor, .. } = need!(world().await);
    for kind in &KINDS {
        let made = kind.create(olga).await;
        let path = kind.one(&made);
        assert_eq!(victor.get(&path).await.expect(200), made);
        let refused = [
            victor.post(kind.path, kind.new_body()).await,
            victor.patch(&path, json!({kind.text: ""})).await,
            victor.delete(&path).await,
        ];
        for answer in refused {
            assert_eq!(answer.reason(403), "PERMISSION_DENIED");
            let what = match kind.message {
                // Whose a device is, is part of what is known of it.
                "customer" => "devices",
                _ => kind.list(),
            };
            let permission = format!("{what}.write");
            assert!(answer.text.contains(&permission), "{}", answer.text);
        }
        assert_eq!(olga.get(&path).await.expect(200), made);
    }
}
