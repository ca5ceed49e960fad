//! Programs written for SensorBucket, against the running program.

use crate::support::{Answer, Caller, World, altered, eventually, python, unique};
use reqwest::Method;
use serde_json::{Value, json};

const KEYS: &str = "/api/api-keys";
const NO_KEY: (&str, &str) = ("API Key not found", "ERR_API_KEY_NOT_FOUND");

/// The short ids of the two tenants of a new installation.
const A: i64 = 1;
const B: i64 = 2;

fn wanted(name: &str, permissions: &[&str]) -> Value {
    json!({"name": name, "tenant_id": A, "permissions": permissions})
}

/// Makes a key in tenant A, and answers its secret.
async fn make(caller: &Caller, name: &str, permissions: &[&str]) -> String {
    let made = caller.post(KEYS, wanted(name, permissions)).await;
    made.expect(201)["api_key"].as_str().unwrap().to_owned()
}

async fn list(caller: &Caller, query: &str) -> Vec<Value> {
    let page = caller.get(&format!("{KEYS}{query}")).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

async fn names(caller: &Caller, query: &str) -> Vec<String> {
    let keys = list(caller, query).await;
    keys.iter().map(|key| text(&key["name"])).collect()
}

/// The key with a name, where others may have left theirs.
async fn find(caller: &Caller, name: &str) -> Option<Value> {
    let mut keys = list(caller, "?limit=1000").await.into_iter();
    keys.find(|key| key["name"] == name)
}

async fn id_of(caller: &Caller, name: &str) -> i64 {
    find(caller, name).await.unwrap()["id"].as_i64().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Takes a time out of an object and checks its form.
#[track_caller]
fn take_time(object: &mut Value, field: &str) -> String {
    let time = text(&object.as_object_mut().unwrap().remove(field).unwrap());
    assert!(
        chrono::DateTime::parse_from_rfc3339(&time).is_ok(),
        "{field}: {time}"
    );
    time
}

/// The body of a refusal: a message, and a code unless there is none.
#[track_caller]
fn refused(answer: &Answer, status: u16, message: &str, code: impl Into<Option<&'static str>>) {
    let mut body = json!({"message": message});
    if let Some(code) = code.into() {
        body["code"] = code.into();
    }
    assert_eq!(answer.expect(status), body);
    assert_eq!(answer.header("content-type"), "application/json");
}

/// A refusal whose message names what is wrong, in words that no one documents.
#[track_caller]
fn refused_naming(answer: &Answer, status: u16, what: &str, code: &str) {
    let body = answer.expect(status);
    assert!(text(&body["message"]).contains(what), "{body}");
    assert_eq!(body["code"], code);
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

#[tokio::test]
async fn a_key_is_made_listed_shown_and_revoked() {
    let world = need!(World::new().await);
    let alice = &world.alice;

    let made = alice.post(KEYS, wanted("gateway", &["READ_DEVICES"])).await;
    let made = made.expect(201);
    assert_eq!(made.as_object().unwrap().len(), 1, "{made}");
    assert!(!made["api_key"].as_str().unwrap().is_empty());

    let mut page = alice.get(KEYS).await.expect(200);
    let created = take_time(&mut page["data"][0], "created");
    let id = page["data"][0]["id"].as_i64().unwrap();
    let mut key = json!({
        "id": id,
        "name": "gateway",
        "tenant_id": A,
        "tenant_name": "default",
        "expiration_date": null,
        "permissions": ["READ_DEVICES"],
    });
    assert_eq!(
        page,
        json!({
            "links": {"previous": "", "next": ""},
            "page_size": 1,
            "total_count": 0,
            "data": [key],
        })
    );

    // Both flat, as generated clients read it, and as the original server answers.
    let path = format!("{KEYS}/{id}");
    let mut shown = alice.get(&path).await.expect(200);
    let data = shown.as_object_mut().unwrap().remove("data").unwrap();
    key["created"] = created.into();
    assert_eq!((&shown, &data), (&key, &key));

    let revoked = alice.delete(&path).await.expect(200);
    assert_eq!(revoked, json!({"message": "API key has been revoked"}));
    refused(&alice.get(&path).await, 404, NO_KEY.0, NO_KEY.1);
    refused(&alice.delete(&path).await, 404, "Key does not exist", None);
    assert_eq!(list(alice, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_key_does_what_it_allows_and_is_refused_within_a_second_of_its_revocation() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let name = &unique();
    let secret = make(alice, name, &["READ_DEVICES"]).await;
    let program = alice.with(format!("Bearer {secret}"));

    program.get("/api/devices").await.expect(200);
    let made = program.post("/api/devices", json!({"code": "d1"})).await;
    refused_naming(&made, 403, "devices.write", "FORBIDDEN");

    let id = id_of(alice, name).await;
    alice.delete(&format!("{KEYS}/{id}")).await.expect(200);
    let program = &program;
    eventually("a revoked key is refused", || async {
        program.get("/api/devices").await.status == 401
    })
    .await;
    let refusal = program.get("/api/devices").await.expect(401);
    assert_eq!(refusal["code"], "UNAUTHORIZED");
}

#[tokio::test]
async fn a_name_is_free_again_when_its_key_is_revoked() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let name = &unique();
    make(alice, name, &["READ_DEVICES"]).await;
    let first = id_of(alice, name).await;
    alice.delete(&format!("{KEYS}/{first}")).await.expect(200);
    make(alice, name, &["READ_DEVICES"]).await;
    assert_ne!(id_of(alice, name).await, first);
}

#[tokio::test]
async fn every_documented_mistake_in_a_new_key_is_told_in_the_documented_words() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let (taken, new) = (&unique(), &unique());
    make(alice, taken, &["READ_DEVICES"]).await;
    let with = |field: &str, value: Value| {
        let mut body = wanted(new, &["READ_DEVICES"]);
        body[field] = value;
        body
    };
    let without = |field: &str| {
        let mut body = wanted(new, &["READ_DEVICES"]);
        body.as_object_mut().unwrap().remove(field);
        body
    };
    let nameless = "name cannot be empty";
    let no_tenant = "tenant_id must be higher than 0";
    let past = "expiration_date must be set in the future";
    let nothing = "at least one permission is required";
    let archived = "Organisation does not exist or has been archived";
    for (body, status, message) in [
        (with("name", json!("")), 400, nameless),
        (without("name"), 400, nameless),
        (json!({}), 400, nameless),
        (with("tenant_id", json!(0)), 400, no_tenant),
        (with("tenant_id", json!(-1)), 400, no_tenant),
        (without("tenant_id"), 400, no_tenant),
        (
            with("expiration_date", json!("2020-01-01T00:00:00Z")),
            400,
            past,
        ),
        (
            with("expiration_date", json!("2020-01-01T00:00:00")),
            400,
            past,
        ),
        (with("permissions", json!([])), 400, nothing),
        (without("permissions"), 400, nothing),
        (with("tenant_id", json!(77)), 404, archived),
    ] {
        refused(&alice.post(KEYS, body).await, status, message, None);
    }
    let twice = alice.post(KEYS, wanted(taken, &["READ_DEVICES"])).await;
    let code = "API_KEY_NAME_TENANT_COMBO_NOT_UNIQUE";
    refused_naming(&twice, 400, "name", code);
    let unknown = with("permissions", json!(["READ_DEVICES", "READ_MINDS"]));
    let unknown = alice.post(KEYS, unknown).await;
    refused_naming(&unknown, 400, "READ_MINDS", "ERR_PERMISSION_INVALID");
    assert_eq!(find(alice, new).await, None);
}

#[tokio::test]
async fn every_other_mistake_in_a_new_key_is_named() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let new = &unique();
    let with = |field: &str, value: Value| {
        let mut body = wanted(new, &["READ_DEVICES"]);
        body[field] = value;
        body
    };
    for (field, value) in [
        ("name", json!(7)),
        ("tenant_id", json!("one")),
        ("tenant_id", json!(1.5)),
        ("tenant_id", json!(1e30)),
        ("permissions", json!("READ_DEVICES")),
        ("permissions", json!([1])),
        ("expiration_date", json!(1_900_000_000)),
    ] {
        let answer = alice.post(KEYS, with(field, value)).await;
        refused_naming(&answer, 400, field, "INVALID_VALUE");
    }
    let answer = alice.post(KEYS, with("organisation", json!(1))).await;
    refused_naming(&answer, 400, "organisation", "UNKNOWN_FIELD");
    let answer = alice.post(KEYS, with("name", json!("n".repeat(201)))).await;
    assert!(text(&answer.expect(400)["message"]).contains("name"));
    let answer = alice
        .post(KEYS, with("expiration_date", json!("tomorrow")))
        .await;
    assert!(text(&answer.expect(400)["message"]).contains("expiration_date"));
    assert_eq!(find(alice, new).await, None);
}

#[tokio::test]
async fn bodies_that_are_no_json_are_refused() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let new = &unique();
    let right = wanted(new, &["READ_DEVICES"]).to_string();
    for body in ["{", "{\"name\"", "{}{}", "name=new", "\u{feff}{}"] {
        let answer = alice
            .raw(Method::POST, KEYS, Some("application/json"), body)
            .await;
        refused(&answer, 400, "Malformed JSON", "MALFORMED_JSON");
    }
    let array = alice.post(KEYS, json!([])).await;
    refused_naming(&array, 400, "object", "INVALID_VALUE");
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/xml",
        "nonsense",
    ] {
        let answer = alice
            .raw(Method::POST, KEYS, Some(kind), right.clone())
            .await;
        refused(&answer, 400, "Invalid content type", "INVALID_CONTENT_TYPE");
    }
    let large = wanted(&"n".repeat(5 << 20), &["READ_DEVICES"]);
    let answer = alice.post(KEYS, large).await;
    assert!(answer.expect(413)["message"].is_string());
    assert_eq!(find(alice, new).await, None);
}

#[tokio::test]
async fn all_fifteen_permissions_come_back_as_they_were_asked_for() {
    const ALL: [&str; 15] = [
        "WRITE_DEVICES",
        "READ_DEVICES",
        "READ_API_KEYS",
        "WRITE_API_KEYS",
        "READ_TENANTS",
        "WRITE_TENANTS",
        "READ_PIPELINES",
        "WRITE_PIPELINES",
        "READ_MEASUREMENTS",
        "WRITE_MEASUREMENTS",
        "READ_USER_WORKERS",
        "WRITE_USER_WORKERS",
        "READ_PROJECTS",
        "WRITE_PROJECTS",
        "READ_TRACING",
    ];
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let each = ALL.iter().map(std::slice::from_ref);
    for asked in each.chain([&ALL[..]]) {
        let name = unique();
        make(alice, &name, asked).await;
        let key = find(alice, &name).await.unwrap();
        assert_eq!(key["permissions"], json!(asked));
        let shown = alice.get(&format!("{KEYS}/{}", key["id"])).await;
        assert_eq!(shown.expect(200)["permissions"], json!(asked));
    }
}

#[tokio::test]
async fn what_muster_has_no_counterpart_of_allows_nothing() {
    let world = need!(World::shared().await);
    let secret = make(&world.alice, &unique(), &["WRITE_MEASUREMENTS"]).await;
    let program = world.alice.with(format!("Bearer {secret}"));
    for path in [KEYS, "/api/devices"] {
        let refusal = program.get(path).await.expect(403);
        assert_eq!(refusal["code"], "FORBIDDEN", "{path}");
    }
}

#[tokio::test]
async fn a_key_made_elsewhere_shows_the_permissions_that_it_comes_to() {
    let world = need!(World::shared().await);
    let name = &unique();
    let permissions = ["keys.read", "keys.write", "devices.read"];
    let body = json!({"displayName": name, "permissions": permissions});
    world.alice.post("/v1/apiKeys", body).await.expect(201);
    let key = find(&world.alice, name).await.unwrap();
    // A part of READ_DEVICES, which is also tags, sites and commands, is not the whole.
    assert_eq!(
        key["permissions"],
        json!(["READ_API_KEYS", "WRITE_API_KEYS"])
    );
}

#[tokio::test]
async fn an_expiry_comes_back_as_the_time_that_was_asked_for() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    for (asked, shown) in [
        (json!("2031-01-01T00:00:00Z"), json!("2031-01-01T00:00:00Z")),
        (json!("2031-01-01T00:00:00"), json!("2031-01-01T00:00:00Z")),
        (
            json!("2031-01-01T02:00:00+02:00"),
            json!("2031-01-01T00:00:00Z"),
        ),
        (Value::Null, Value::Null),
    ] {
        let name = unique();
        let mut body = wanted(&name, &["READ_DEVICES"]);
        body["expiration_date"] = asked.clone();
        alice.post(KEYS, body).await.expect(201);
        let id = id_of(alice, &name).await;
        let key = alice.get(&format!("{KEYS}/{id}")).await.expect(200);
        assert_eq!(key["expiration_date"], shown, "{asked}");
    }
}

#[tokio::test]
async fn pages_follow_each_other_newest_first_until_next_is_empty() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    for i in 1..=5 {
        make(alice, &format!("key {i}"), &["READ_DEVICES"]).await;
    }
    let mut path = format!("{KEYS}?limit=2");
    let mut pages = Vec::new();
    loop {
        let page = alice.get(&path).await.expect(200);
        let data = page["data"].as_array().unwrap();
        assert_eq!(page["page_size"], data.len());
        assert_eq!(
            (&page["total_count"], &page["links"]["previous"]),
            (&json!(0), &json!(""))
        );
        pages.push(
            data.iter()
                .map(|key| text(&key["name"]))
                .collect::<Vec<_>>(),
        );
        let next = page["links"]["next"].as_str().unwrap();
        if next.is_empty() {
            break;
        }
        path = next.strip_prefix(&alice.url).unwrap().to_owned();
        let begins = format!("{KEYS}?cursor=");
        assert!(path.starts_with(&begins) && path.ends_with("&limit=2"));
        // What is made meanwhile does not move the pages that follow.
        make(alice, &unique(), &["READ_DEVICES"]).await;
    }
    assert_eq!(
        pages,
        [
            vec!["key 5", "key 4"],
            vec!["key 3", "key 2"],
            vec!["key 1"]
        ]
    );
}

#[tokio::test]
async fn the_limit_is_the_cursors_where_there_is_one() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    for i in 1..=4 {
        make(alice, &format!("key {i}"), &["READ_DEVICES"]).await;
    }
    let first = alice.get(&format!("{KEYS}?limit=1")).await.expect(200);
    let next = text(&first["links"]["next"]).replace("&limit=1", "&limit=100");
    let second = alice.get(next.strip_prefix(&alice.url).unwrap()).await;
    let second = second.expect(200);
    assert_eq!(second["page_size"], 1);
    assert_eq!(second["data"][0]["name"], "key 3");
    let full = alice.get(&format!("{KEYS}?limit=4")).await.expect(200);
    assert_eq!(
        (&full["page_size"], &full["links"]["next"]),
        (&json!(4), &json!(""))
    );
    let many = alice.get(&format!("{KEYS}?limit=100000")).await.expect(200);
    assert_eq!(many["page_size"], 4);
}

#[tokio::test]
async fn keys_are_listed_of_the_tenants_that_are_asked_for() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    make(alice, "in A", &["READ_DEVICES"]).await;
    let mut in_b = wanted("in B", &["READ_DEVICES"]);
    in_b["tenant_id"] = B.into();
    // She owns both, and her token is scoped to A.
    alice.post(KEYS, in_b).await.expect(201);
    for (query, expected) in [
        ("", vec!["in A"]),
        ("?tenant_id=1", vec!["in A"]),
        ("?tenant_id=2", vec!["in B"]),
        ("?tenant_id=2&tenant_id=1", vec!["in A", "in B"]),
    ] {
        assert_eq!(names(alice, query).await, expected, "{query}");
    }
    let key = &list(alice, "?tenant_id=2").await[0];
    assert_eq!(
        (&key["tenant_id"], &key["tenant_name"]),
        (&json!(B), &json!("B"))
    );
    assert_eq!(names(&world.bob, "").await, ["in B"]);

    let both = format!("{KEYS}?tenant_id=1&tenant_id=2&limit=1");
    let page = alice.get(&both).await.expect(200);
    assert_eq!(page["data"][0]["name"], "in A");
    let next = text(&page["links"]["next"]);
    let page = alice.get(next.strip_prefix(&alice.url).unwrap()).await;
    let page = page.expect(200);
    assert_eq!(page["data"][0]["name"], "in B");
    assert_eq!(page["links"]["next"], "");
}

#[tokio::test]
async fn what_a_list_cannot_be_asked_is_named() {
    let world = need!(World::shared().await);
    for (path, what, code) in [
        ("/api/api-keys?tenant_id=x", "tenant_id", "INVALID_VALUE"),
        ("/api/api-keys?limit=x", "limit", "INVALID_VALUE"),
        ("/api/api-keys?limit=-1", "limit", "INVALID_VALUE"),
        ("/api/api-keys?cursor=x", "cursor", "INVALID_ARGUMENT"),
        ("/api/api-keys?cursor=e30", "cursor", "INVALID_ARGUMENT"),
        ("/api/api-keys?page=2", "page", "UNKNOWN_QUERY_PARAMETER"),
        ("/api/tenants?state=x", "state", "INVALID_VALUE"),
        ("/api/tenants?is_member=x", "is_member", "INVALID_VALUE"),
        ("/api/tenants?cursor=x", "cursor", "INVALID_ARGUMENT"),
        ("/api/devices?limit=x", "limit", "INVALID_VALUE"),
        ("/api/devices?cursor=x", "cursor", "INVALID_ARGUMENT"),
        ("/api/devices?distance=1", "distance", "INVALID_ARGUMENT"),
        (
            "/api/devices?properties=x",
            "properties",
            "INVALID_ARGUMENT",
        ),
        ("/api/sensors?cursor=x", "cursor", "INVALID_ARGUMENT"),
    ] {
        let answer = world.alice.get(path).await;
        refused_naming(&answer, 400, what, code);
    }
}

#[tokio::test]
async fn a_cursor_of_one_list_is_no_way_into_another() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    for _ in 0..2 {
        make(alice, &unique(), &["READ_DEVICES"]).await;
    }
    let page = alice.get(&format!("{KEYS}?limit=1")).await.expect(200);
    let next = text(&page["links"]["next"]);
    let next = next.strip_prefix(&alice.url).unwrap();
    let refusal = world.bob.get(next).await.expect(403);
    assert_eq!(refusal["code"], "FORBIDDEN");
}

#[tokio::test]
async fn ids_that_no_key_can_have_are_refused() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    for id in ["x", "1.5", "99999999999999999999", "%20", "1e400"] {
        let path = format!("{KEYS}/{id}");
        let why = "api_key_id must be a valid int";
        refused(&alice.get(&path).await, 400, why, None);
        refused(&alice.delete(&path).await, 400, why, None);
    }
    for id in ["0", "-1", "77", "9223372036854775807"] {
        let path = format!("{KEYS}/{id}");
        refused(&alice.get(&path).await, 404, NO_KEY.0, NO_KEY.1);
        refused(&alice.delete(&path).await, 404, "Key does not exist", None);
    }
}

#[tokio::test]
async fn who_lacks_the_permission_is_refused() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let name = &unique();
    make(alice, name, &["READ_DEVICES"]).await;
    let one = format!("{KEYS}/{}", id_of(alice, name).await);
    let bearer = async |permissions: &[&str]| {
        let secret = make(alice, &unique(), permissions).await;
        alice.with(format!("Bearer {secret}"))
    };
    let reader = bearer(&["READ_API_KEYS"]).await;
    let writer = bearer(&["WRITE_API_KEYS"]).await;
    let stranger = bearer(&["READ_DEVICES", "WRITE_DEVICES"]).await;
    let (olga, victor) = (&world.olga, &world.victor);
    let new = || wanted(&unique(), &["READ_PIPELINES"]);
    for (who, caller) in [("olga", olga), ("victor", victor), ("stranger", &stranger)] {
        for answer in [
            caller.get(KEYS).await,
            caller.get(&one).await,
            caller.delete(&one).await,
            caller.post(KEYS, new()).await,
        ] {
            let refusal = answer.expect(403);
            assert_eq!(refusal["code"], "FORBIDDEN", "{who}");
            assert!(text(&refusal["message"]).contains("keys."), "{refusal}");
        }
    }
    refused_naming(
        &reader.post(KEYS, new()).await,
        403,
        "keys.write",
        "FORBIDDEN",
    );
    refused_naming(&reader.delete(&one).await, 403, "keys.write", "FORBIDDEN");
    refused_naming(&writer.get(KEYS).await, 403, "keys.read", "FORBIDDEN");
    reader.get(&one).await.expect(200);
    writer.post(KEYS, new()).await.expect(201);
}

#[tokio::test]
async fn nobody_makes_a_key_that_may_more_than_its_maker() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let (as_much, more) = (&unique(), &unique());
    let secret = make(alice, &unique(), &["WRITE_API_KEYS", "READ_DEVICES"]).await;
    let maker = alice.with(format!("Bearer {secret}"));
    make(&maker, as_much, &["READ_DEVICES"]).await;
    let refusal = maker.post(KEYS, wanted(more, &["WRITE_DEVICES"])).await;
    refused_naming(&refusal, 403, "devices.write", "FORBIDDEN");
    assert!(find(alice, as_much).await.is_some());
    assert_eq!(find(alice, more).await, None);
}

#[tokio::test]
async fn keys_of_another_tenant_are_not_found() {
    let world = need!(World::shared().await);
    let (alice, bob) = (&world.alice, &world.bob);
    let (name, new) = (&unique(), &unique());
    make(alice, name, &["READ_DEVICES"]).await;
    let path = format!("{KEYS}/{}", id_of(alice, name).await);

    refused(&bob.get(&path).await, 404, NO_KEY.0, NO_KEY.1);
    refused(&bob.delete(&path).await, 404, "Key does not exist", None);
    let made = bob.post(KEYS, wanted(new, &["READ_DEVICES"])).await;
    let archived = "Organisation does not exist or has been archived";
    refused(&made, 404, archived, None);
    let listed = bob.get(&format!("{KEYS}?tenant_id={A}")).await;
    refused_naming(&listed, 403, "tenant 1", "FORBIDDEN");
    assert_eq!(find(bob, name).await, None);

    alice.get(&path).await.expect(200);
    assert_eq!(find(alice, new).await, None);
}

#[tokio::test]
async fn who_presents_no_credential_of_this_api_is_refused() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let key = world.alice.new_key(&["keys.read"]).await;
    let bearer = |value: &str| anybody.with(format!("Bearer {value}"));
    for caller in [
        anybody.clone(),
        bearer("nonsense"),
        bearer("eyJhbGciOiJub25lIn0.e30."),
        bearer(&altered(&key)),
        anybody.with("Basic bm86Ym9keQ=="),
        anybody.with(format!("Key {key}")),
    ] {
        for path in [KEYS, "/api/api-keys/1", "/api/tenants", "/api/devices"] {
            let refusal = caller.get(path).await.expect(401);
            assert_eq!(refusal["code"], "UNAUTHORIZED", "{path}");
            assert!(refusal["message"].is_string());
        }
        let made = caller.post(KEYS, wanted("new", &["READ_DEVICES"])).await;
        assert_eq!(made.expect(401)["code"], "UNAUTHORIZED");
    }
    for header in ["x-api-key", "x-auth-key", "authentication"] {
        let request = anybody.request(Method::GET, KEYS).header(header, &key);
        crate::support::send(request).await.expect(401);
    }
    bearer(&key).get(KEYS).await.expect(200);
}

#[tokio::test]
async fn a_session_is_understood_in_either_cookie() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let login = json!({"email": crate::support::ADMIN, "password": crate::support::PASSWORD});
    let login = anybody.post("/v1/auth:login", login).await.expect(200);
    let session = login["sessionToken"].as_str().unwrap();
    let with = async |cookie: String| {
        let request = anybody.request(Method::GET, KEYS);
        crate::support::send(request.header("cookie", cookie)).await
    };
    for name in ["SID", "ory_kratos_session"] {
        with(format!("{name}={session}")).await.expect(200);
        with(format!("a=b; {name}={session}")).await.expect(200);
        with(format!("{name}=x{session}")).await.expect(401);
    }
    with(format!("other={session}")).await.expect(401);
}

#[tokio::test]
async fn a_cookie_that_is_none_beside_a_key_is_passed_over() {
    let world = need!(World::shared().await);
    let caller = world.alice.key_holder(&["keys.read"]).await;
    // What the documented sample sends: the bare value, without a name.
    for cookie in ["nonsense", "SID=", "SID=nonsense"] {
        let request = caller.request(Method::GET, KEYS);
        let answer = crate::support::send(request.header("cookie", cookie)).await;
        answer.expect(200);
    }
}

#[tokio::test]
async fn tenants_are_listed_with_every_documented_field() {
    let world = need!(World::shared().await);
    let tenant = |id: i64, name: &str, parent: Option<i64>| {
        json!({
            "id": id,
            "name": name,
            "address": "",
            "zip_code": "",
            "city": "",
            "chamber_of_commerce_id": null,
            "headquarter_id": null,
            "archive_time": null,
            "logo": null,
            "parent_tenant_id": parent,
        })
    };
    let page = |tenants: Vec<Value>| {
        json!({
            "links": {"previous": "", "next": ""},
            "page_size": tenants.len(),
            "total_count": 0,
            "data": tenants,
        })
    };
    let (a, b) = (tenant(A, "default", None), tenant(B, "B", Some(A)));
    // A tenant above is named to those only who may act for it.
    let only_b = tenant(B, "B", None);
    let both = || page(vec![a.clone(), b.clone()]);
    for (caller, query, expected) in [
        (&world.alice, "", both()),
        (&world.alice, "?is_member=true", both()),
        (&world.alice, "?state=1", both()),
        (&world.alice, "?state=2", page(vec![])),
        (&world.alice, "?name=B", page(vec![b.clone()])),
        (&world.alice, "?name=C", page(vec![])),
        (&world.bob, "", page(vec![only_b])),
        (&world.victor, "", page(vec![a.clone()])),
    ] {
        let answer = caller.get(&format!("/api/tenants{query}")).await;
        assert_eq!(answer.expect(200), expected, "{query}");
    }
    let first = world.alice.get("/api/tenants?limit=1").await.expect(200);
    assert_eq!(first["data"], json!([a]));
    let next = text(&first["links"]["next"]);
    let next = next.strip_prefix(&world.alice.url).unwrap();
    assert!(next.starts_with("/api/tenants?cursor="));
    assert_eq!(world.alice.get(next).await.expect(200), page(vec![b]));
}

#[tokio::test]
async fn a_key_lists_its_own_tenant_and_has_no_memberships() {
    let world = need!(World::shared().await);
    let secret = make(&world.alice, &unique(), &["READ_TENANTS"]).await;
    let program = world.alice.with(format!("Bearer {secret}"));
    let tenants = program.get("/api/tenants").await.expect(200);
    assert_eq!(tenants["page_size"], 1);
    assert_eq!(tenants["data"][0]["id"], A);
    let answer = program.get("/api/tenants?is_member=true").await;
    refused_naming(&answer, 400, "is_member", "ERR_SESSION_INVALID");
}

#[tokio::test]
async fn a_device_is_made_shown_changed_and_deleted() {
    let world = need!(World::shared().await);
    let olga = &world.olga;
    let wanted = json!({
        "code": "well-7",
        "description": "behind the barn",
        "latitude": 51.5,
        "longitude": 3.5,
        "altitude": 1.25,
        "location_description": "Zeeland",
        "properties": {"depth": 12.5, "owner": {"name": "P"}},
        "state": 1,
    });
    let mut made = olga.post("/api/devices", wanted.clone()).await.expect(201);
    let created_at = take_time(&mut made["data"], "created_at");
    let id = made["data"]["id"].as_i64().unwrap();
    let mut device = wanted.clone();
    device["id"] = id.into();
    device["tenant_id"] = A.into();
    device["sensors"] = json!([]);
    let created = json!({"message": "Created new device", "data": device});
    assert_eq!(made, created);

    device["created_at"] = created_at.into();
    let path = format!("/api/devices/{id}");
    let shown = json!({"message": "Fetched device", "data": device});
    assert_eq!(olga.get(&path).await.expect(200), shown);
    let listed = olga.get("/api/devices?code=well-7").await.expect(200);
    assert_eq!(listed["data"], json!([device]));

    // Generated clients can send a description only as a number.
    let change = json!({"description": 8, "properties": {"depth": 13}, "latitude": 52});
    let changed = olga.patch(&path, change).await.expect(200);
    assert_eq!(changed, json!({"message": "Updated device"}));
    device["description"] = "8".into();
    device["properties"] = json!({"depth": 13});
    device["latitude"] = 52.0.into();
    let shown = olga.get(&path).await.expect(200);
    assert_eq!(shown["data"]["description"], "8");
    assert_eq!(shown["data"]["properties"]["depth"].as_f64(), Some(13.0));
    assert_eq!(shown["data"]["latitude"].as_f64(), Some(52.0));
    for kept in ["code", "longitude", "altitude", "location_description"] {
        assert_eq!(shown["data"][kept], device[kept], "{kept}");
    }

    let gone = olga.delete(&path).await.expect(200);
    assert_eq!(gone, json!({"message": "Deleted device"}));
    let (message, code) = ("Device not found", "DEVICE_NOT_FOUND");
    refused(&olga.get(&path).await, 404, message, code);
    refused(&olga.delete(&path).await, 404, message, code);
}

#[tokio::test]
async fn mistakes_with_devices_are_told_and_change_nothing() {
    let world = need!(World::new().await);
    let olga = &world.olga;
    let made = olga.post("/api/devices", json!({"code": "d1"})).await;
    let id = made.expect(201)["data"]["id"].as_i64().unwrap();
    let path = format!("/api/devices/{id}");
    let before = olga.get("/api/devices").await.expect(200);
    for (body, what, code) in [
        (json!({"code": "d"}), "code", "INVALID_CODE"),
        (json!({"code": "-d"}), "code", "INVALID_CODE"),
        (json!({}), "code", "INVALID_CODE"),
        (
            json!({"code": "d2", "latitude": 91}),
            "latitude",
            "ERR_LOCATION_INVALID_COORDINATES",
        ),
        (
            json!({"code": "d2", "state": 3}),
            "state",
            "INVALID_ARGUMENT",
        ),
        (
            json!({"code": "d2", "properties": 1}),
            "properties",
            "INVALID_VALUE",
        ),
        (json!({"code": "d2", "color": 1}), "color", "UNKNOWN_FIELD"),
    ] {
        refused_naming(&olga.post("/api/devices", body).await, 400, what, code);
    }
    let off = olga.patch(&path, json!({"longitude": 181})).await;
    refused_naming(&off, 400, "longitude", "ERR_LOCATION_INVALID_COORDINATES");
    let valid = "device_id must be a valid int";
    refused(
        &olga.get("/api/devices/x").await,
        400,
        valid,
        "DEVICE_ID_INVALID",
    );
    for answer in [
        olga.get("/api/devices/77").await,
        world.bob.get(&path).await,
        world.bob.patch(&path, json!({"description": "mine"})).await,
        world.bob.delete(&path).await,
    ] {
        refused(&answer, 404, "Device not found", "DEVICE_NOT_FOUND");
    }
    assert_eq!(olga.get("/api/devices").await.expect(200), before);
}

#[tokio::test]
async fn sensors_of_a_device_are_made_shown_changed_and_deleted() {
    let world = need!(World::new().await);
    let olga = &world.olga;
    let made = olga.post("/api/devices", json!({"code": "tank"})).await;
    let id = made.expect(201)["data"]["id"].as_i64().unwrap();
    let path = format!("/api/devices/{id}/sensors");
    let wanted = json!({
        "code": "level",
        "description": "in the tank",
        "brand": "Acme",
        "external_id": "ch-0",
        "is_fallback": true,
        "properties": {"unit": "m"},
    });
    let made = olga.post(&path, wanted.clone()).await.expect(201);
    assert_eq!(made, json!({"message": "Created new sensor for device"}));

    let mut listed = olga.get(&path).await.expect(200);
    take_time(&mut listed["data"][0], "created_at");
    let number = listed["data"][0]["id"].as_i64().unwrap();
    let mut sensor = wanted.clone();
    for (field, value) in [
        ("id", json!(number)),
        ("device_id", json!(id)),
        ("tenant_id", json!(A)),
        ("archive_time", Value::Null),
        ("feature_of_interest_id", Value::Null),
    ] {
        sensor[field] = value;
    }
    let links = json!({"previous": "", "next": ""});
    let page = json!({
        "message": "Listed sensors", "links": links, "page_size": 1, "total_count": 0,
        "data": [sensor],
    });
    assert_eq!(listed, page);
    assert_eq!(
        olga.get("/api/sensors").await.expect(200)["data"][0]["id"],
        number
    );
    let device = olga.get(&format!("/api/devices/{id}")).await.expect(200);
    assert_eq!(device["data"]["sensors"][0]["code"], "level");
    for path in [format!("{path}/level"), format!("/api/sensors/{number}")] {
        let shown = olga.get(&path).await.expect(200);
        assert_eq!(shown["message"], "Fetched sensor");
        assert_eq!(shown["data"]["external_id"], "ch-0");
    }

    for (body, code) in [
        (json!({"code": "level"}), "DEVICE_DUPLICATE_SENSOR_CODE"),
        (
            json!({"code": "other", "external_id": "ch-0"}),
            "DEVICE_DUPLICATE_SENSOR_EXTERNAL_ID",
        ),
        (
            json!({"code": "third", "is_fallback": true}),
            "DEVICE_DUPLICATE_SENSOR_FALLBACK_SENSOR",
        ),
    ] {
        let refused = olga.post(&path, body).await;
        assert_eq!(refused.expect(409)["code"], code);
    }
    refused_naming(
        &olga.post(&path, json!({"code": "-"})).await,
        400,
        "code",
        "INVALID_CODE",
    );

    let change = json!({"brand": "Other", "is_fallback": false});
    let changed = olga
        .patch(&format!("{path}/level"), change)
        .await
        .expect(200);
    assert_eq!(changed, json!({"message": "Updated sensor"}));
    let shown = olga.get(&format!("{path}/level")).await.expect(200);
    assert_eq!(shown["data"]["brand"], "Other");
    assert_eq!(shown["data"]["description"], "in the tank");
    let gone = olga.delete(&format!("{path}/level")).await.expect(200);
    assert_eq!(gone, json!({"message": "Deleted sensor"}));
    let (message, code) = ("Sensor not found", "SENSOR_NOT_FOUND");
    refused(
        &olga.get(&format!("{path}/level")).await,
        404,
        message,
        code,
    );
    refused(
        &olga.get(&format!("/api/sensors/{number}")).await,
        404,
        message,
        code,
    );
    let theirs = world.bob.get(&path).await;
    refused(&theirs, 404, "Device not found", "DEVICE_NOT_FOUND");
}

#[tokio::test]
async fn devices_are_found_by_ids_places_properties_and_sensors() {
    let world = need!(World::new().await);
    let olga = &world.olga;
    let mut numbers = Vec::new();
    for (code, latitude, floor) in [("d1", 50.0, 1), ("d2", 51.0, 2), ("d3", 52.0, 2)] {
        let body = json!({
            "code": code, "latitude": latitude, "longitude": 4.0,
            "properties": {"at": {"floor": floor}},
        });
        let made = olga.post("/api/devices", body).await.expect(201);
        numbers.push(made["data"]["id"].as_i64().unwrap());
    }
    let sensors = format!("/api/devices/{}/sensors", numbers[2]);
    olga.post(&sensors, json!({"code": "s1"})).await.expect(201);
    let listed = olga.get(&sensors).await.expect(200);
    let sensor = listed["data"][0]["id"].as_i64().unwrap();
    for (query, wanted) in [
        (format!("id={}&id={}", numbers[0], numbers[2]), "d1 d3"),
        ("north=51.5&south=50.5&west=3&east=5".to_owned(), "d2"),
        ("west=4.5".to_owned(), ""),
        (
            "latitude=51.1&longitude=4.1&distance=20000".to_owned(),
            "d2",
        ),
        ("latitude=51.1&longitude=4.1&distance=10000".to_owned(), ""),
        // It comes before the box.
        (
            "latitude=50.5&longitude=4&distance=60000&north=50.1".to_owned(),
            "d1 d2",
        ),
        (
            "properties=%7B%22at%22%3A%7B%22floor%22%3A2%7D%7D".to_owned(),
            "d2 d3",
        ),
        (format!("sensor={sensor}"), "d3"),
        ("sensor=9999".to_owned(), ""),
    ] {
        let page = olga.get(&format!("/api/devices?{query}")).await.expect(200);
        let devices = page["data"].as_array().unwrap().iter();
        let codes: Vec<_> = devices.map(|d| text(&d["code"])).collect();
        assert_eq!(codes.join(" "), wanted, "{query}");
    }
}

#[tokio::test]
async fn devices_are_listed_page_by_page() {
    let world = need!(World::new().await);
    for i in 1..=5 {
        let body = json!({"code": format!("d{i}")});
        world.olga.post("/api/devices", body).await.expect(201);
    }
    let mut path = "/api/devices?limit=2".to_owned();
    let mut pages = Vec::new();
    while !path.is_empty() {
        let page = world.victor.get(&path).await.expect(200);
        let data = page["data"].as_array().unwrap();
        let codes: Vec<_> = data.iter().map(|device| text(&device["code"])).collect();
        pages.push(codes);
        path = text(&page["links"]["next"]).replace(&world.victor.url, "");
    }
    assert_eq!(pages, [vec!["d1", "d2"], vec!["d3", "d4"], vec!["d5"]]);
}

#[tokio::test]
async fn what_is_not_there_is_told_in_the_same_shape() {
    let world = need!(World::shared().await);
    let alice = &world.alice;
    let nothing = alice.get("/api/nothing").await;
    refused_naming(&nothing, 404, "path", "ROUTE_NOT_FOUND");
    let put = alice.put("/api/api-keys/1", json!({})).await;
    refused_naming(&put, 405, "method", "METHOD_NOT_ALLOWED");
    assert_eq!(put.header("allow"), "DELETE, GET, HEAD");
}

#[tokio::test]
async fn the_published_sdk_understands_every_answer() {
    let world = need!(World::new().await);
    let authorization = world.alice.authorization.clone().unwrap();
    let settings = [
        ("MUSTER_URL", world.server.url.as_str()),
        ("BEARER_TOKEN", authorization.trim_start_matches("Bearer ")),
        ("TENANT", "1"),
    ];
    let Some(run) = python("sensorbucket_sdk.py", &["sensorbucket"], &settings) else {
        return;
    };
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{errors}");
    let mut report: Value = serde_json::from_slice(&run.stdout).unwrap();
    let secrets = report.as_object_mut().unwrap().remove("secrets").unwrap();
    assert_eq!(secrets.as_array().unwrap().len(), 3);
    assert_eq!(
        report,
        json!({
            "tenants": [[A, "default"], [B, "B"]],
            "pages": [["sdk 2", "sdk 1"], ["sdk 0"]],
            "one": [true, "sdk 1", A, "default"],
            "expiration": "2031-01-01T00:00:00+00:00",
            "created": true,
            "revoked": "API key has been revoked",
            "get_revoked": ["NotFoundException", 404],
            "nameless": ["BadRequestException", 400],
            "nobody": ["UnauthorizedException", 401],
            "not_allowed": ["ForbiddenException", 403],
        })
    );
}
