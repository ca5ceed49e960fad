//! HARDWARIO Cloud v2, call by call as its documentation has them.

use crate::support::{
    ADMIN, Answer, Caller, PASSWORD, Server, World, eventually, log_in, python, send, unique,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use serde_json::{Value, json};

/// The tag that the documented program puts on its second device.
const TAG: &str = "5f6b5b4e-3b4c-4c4c-8c8c-8c8c8c8c8c8c";
/// What nothing has.
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";
const NO_CREDENTIAL: &str = "a credential is required, in one of: header `authorization: Bearer <credential>`, header `authorization: ApiKey <credential>`, header `x-api-key: <credential>`";

/// An error's text: the body is it as a JSON string, and nothing around it.
#[track_caller]
fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.expect(status);
    body.as_str()
        .unwrap_or_else(|| panic!("no JSON string: {body}"))
        .to_owned()
}

async fn token(caller: &Caller, path: &str, body: Value) -> Caller {
    let answer = caller.post(path, body).await.expect(200);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["access_token", "token_type", "expires_in"]);
    assert_eq!(answer["token_type"], "Bearer");
    assert!(answer["expires_in"].as_i64().unwrap() > 0);
    caller.with(format!(
        "Bearer {}",
        answer["access_token"].as_str().unwrap()
    ))
}

/// A user's own token, which is of no space yet.
async fn user(anybody: &Caller, email: &str) -> Caller {
    let login = json!({"email": email, "password": PASSWORD});
    token(anybody, "/v2/auth/login", login).await
}

/// The collection of a space's devices.
fn devices_of(space: &str) -> String {
    format!("/v2/spaces/{space}/devices")
}

async fn create(caller: &Caller, space: &str, device: Value) -> Value {
    caller.post(&devices_of(space), device).await.expect(201)
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| item["id"].as_str().unwrap()).collect()
}

async fn post_text(caller: &Caller, path: &str, body: impl Into<String>) -> Answer {
    let json = Some("application/json");
    caller.raw(Method::POST, path, json, body).await
}

/// The documented program's second device needs its tag, and keeps its id.
async fn create_tag(owner: &Caller) {
    let tag = json!({"displayName": "greenhouse", "color": "#22aa55"});
    let tag = owner.post(&format!("/v1/tags?tag_id={TAG}"), tag).await;
    assert_eq!(tag.expect(201)["id"], TAG);
}

#[tokio::test]
async fn the_documented_calls_work_one_after_the_other() {
    let server = need!(Server::start().await);
    let anybody = server.anybody();
    create_tag(&log_in(&anybody, ADMIN, PASSWORD, None).await).await;

    let user = user(&anybody, ADMIN).await;
    let spaces = user.get("/v2/spaces").await.expect(200);
    let space_id = spaces[0]["id"].as_str().unwrap();
    let created_at = spaces[0]["created_at"].as_str().unwrap();
    assert!(created_at.ends_with('Z'), "{created_at}");
    let expected = json!([{
        "id": space_id, "name": "default", "type": "team",
        "owner_id": null, "user_role": "admin", "created_at": created_at,
    }]);
    assert_eq!(spaces, expected);

    let member = token(&user, "/v2/auth/space", json!({"space_id": space_id})).await;
    assert_eq!(member.get("/v2/devices").await.expect(201), json!([]));

    let first = json!({
        "name": "dev-001",
        "serial_number": "2112345678",
        "token": "hie1koh5toh0ga6iedoJ1hahshohmoh5",
    });
    let first = member.post("/v2/devices", first).await.expect(201);
    let expected = json!({
        "id": first["id"], "space_id": space_id, "name": "dev-001", "comment": null,
        "created_at": first["created_at"], "last_seen": null, "dashboard_type": null,
        "config_hash": null, "decoder_hash": null, "encoder_hash": null, "external_id": null,
        "label": {}, "serial_number": "2112345678", "session_id": null, "tags": [], "token": null,
    });
    assert_eq!(first, expected);
    assert_eq!(first["id"].as_str().unwrap().len(), 36);

    let second = json!({
        "name": "dev-002",
        "serial_number": "2112345679",
        "token": "hie1koh5toh0ga6iedoJ1hahshohmoha",
        "tags": [{"id": TAG}],
        "external_id": "1234567890",
    });
    let second = member.post("/v2/devices", second).await.expect(201);
    assert_eq!(second["external_id"], "1234567890");
    let tag = &second["tags"][0];
    let expected = json!([{
        "id": TAG, "created_at": tag["created_at"], "name": "greenhouse", "color": "#22aa55",
    }]);
    assert_eq!(second["tags"], expected);
    assert!(tag["created_at"].is_string());

    assert_eq!(
        member.get("/v2/devices").await.expect(201),
        json!([first, second])
    );
}

#[tokio::test]
async fn the_documented_program_runs_with_another_base_url() {
    let server = need!(Server::start().await);
    let owner = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    create_tag(&owner).await;
    let variables = [
        ("BASE_URL", server.url.as_str()),
        ("EMAIL", ADMIN),
        ("PASSWORD", PASSWORD),
        ("SPACE_NAME", "default"),
    ];
    let Some(run) = python("hardwario.py", &["requests"], &variables) else {
        return;
    };
    assert!(run.status.success(), "{run:?}");
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(told["before"], json!([]));
    assert_eq!(told["created"], owner.get("/v2/devices").await.expect(201));
    assert_eq!(told["created"][0]["serial_number"], "2112345678");
    assert_eq!(told["created"][1]["tags"][0]["id"], TAG);
}

#[tokio::test]
async fn every_generation_of_paths_and_credentials_leads_to_the_same_devices() {
    let world = need!(World::new().await);
    let (space, foreign) = (&world.tenant_a, &world.tenant_b);
    let anybody = world.server.anybody();
    let key = world
        .alice
        .new_key(&["devices.read", "devices.write"])
        .await;
    let with_header = |name: &'static str| {
        let key = key.clone();
        move |request: reqwest::RequestBuilder| request.header(name, &key)
    };
    let device = create(&world.alice, space, json!({"name": "meter"})).await;
    let listed = json!([device]);

    // A user's own token enters the space that the path names.
    let user = user(&anybody, ADMIN).await;
    let paths = [
        format!("/v2/space/{space}/devices"),
        format!("/v2/spaces/{space}/devices"),
        format!("/v2/spaces/{space}/devices/"),
        format!("/v2/spaces/{}/devices", space.to_uppercase()),
    ];
    let bearer = anybody.with(format!("Bearer {key}"));
    let scheme = anybody.with(format!("ApiKey {key}"));
    for path in &paths {
        for caller in [&user, &world.alice, &bearer, &scheme] {
            assert_eq!(caller.get(path).await.expect(200), listed, "{path}");
        }
        for name in ["x-api-key", "X-API-KEY", "X-Api-Key"] {
            let request = with_header(name)(anybody.request(Method::GET, path));
            assert_eq!(send(request).await.expect(200), listed, "{path} {name}");
        }
    }

    // The flat path is of the credential's space, and answers 201.
    for caller in [&world.alice, &bearer, &scheme] {
        assert_eq!(caller.get("/v2/devices").await.expect(201), listed);
    }
    let request = with_header("x-api-key")(anybody.request(Method::GET, "/v2/devices"));
    assert_eq!(send(request).await.expect(201), listed);
    let answer = user.get("/v2/devices").await;
    assert!(refused(&answer, 403).contains("not scoped to a tenant"));

    // Creation works on all of them.
    for path in [&paths[0], &paths[1], &"/v2/devices".to_owned()] {
        let new = anybody
            .request(Method::POST, path)
            .json(&json!({"name": "new"}));
        let new = send(with_header("x-api-key")(new)).await.expect(201);
        assert_eq!(new["space_id"], *space, "{path}");
    }

    // A key sees its own space only.
    let spaces = bearer.get("/v2/spaces").await.expect(200);
    assert_eq!(ids(&spaces), [space]);
    let spaces = user.get("/v2/spaces").await.expect(200);
    assert_eq!(ids(&spaces), [space, foreign]);
    let own = bearer.get(&format!("/v2/spaces/{space}")).await.expect(200);
    assert_eq!(own["name"], "default");
    assert_eq!(own["user_role"], "user");
}

#[tokio::test]
async fn a_credential_of_another_space_is_refused() {
    let world = need!(World::new().await);
    let device = create(&world.alice, &world.tenant_a, json!({"name": "meter"})).await;
    let device = format!(
        "{}/{}",
        devices_of(&world.tenant_a),
        device["id"].as_str().unwrap()
    );
    let (list, tags) = (
        devices_of(&world.tenant_a),
        format!("/v2/spaces/{}/tags", world.tenant_a),
    );
    let key = world
        .bob
        .key_holder(&["devices.read", "devices.write", "tags.read", "tags.write"])
        .await;
    let user = user(&world.server.anybody(), "bob@example.com").await;
    let strangers = [
        (&key, "the credential belongs to another tenant"),
        (
            &world.bob,
            "the caller is not a member of this tenant, or it is not in use",
        ),
        (
            &user,
            "the caller is not a member of this tenant, or it is not in use",
        ),
    ];
    for (stranger, text) in strangers {
        let name = json!({"name": "stolen"});
        let answers = [
            stranger.get(&list).await,
            stranger
                .get(&format!("/v2/space/{}/devices", world.tenant_a))
                .await,
            stranger.post(&list, name.clone()).await,
            stranger.get(&device).await,
            stranger.put(&device, name.clone()).await,
            stranger.delete(&device).await,
            stranger.get(&tags).await,
            stranger.post(&tags, name).await,
        ];
        for answer in answers {
            assert_eq!(refused(&answer, 403), text);
        }
        // Whether there is such a space, nobody else gets to know.
        let space = format!("/v2/spaces/{}", world.tenant_a);
        let space = stranger.get(&space).await;
        let there_is_none = format!("there is no space {}", world.tenant_a);
        assert_eq!(refused(&space, 404), there_is_none);
    }
    let enter = json!({"space_id": world.tenant_a});
    refused(&user.post("/v2/auth/space", enter.clone()).await, 403);
    assert_eq!(
        refused(&key.post("/v2/auth/space", enter).await, 403),
        "only a user may do this, and the caller is none"
    );
    let still = world.alice.get(&list).await.expect(200);
    assert_eq!(still[0]["name"], "meter");
    assert_eq!(still.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_device_that_does_not_exist_is_told_as_the_plain_text_not_found() {
    let world = need!(World::new().await);
    let theirs = create(&world.bob, &world.tenant_b, json!({"name": "theirs"})).await;
    for id in [NOBODY, theirs["id"].as_str().unwrap()] {
        let path = format!("{}/{id}", devices_of(&world.tenant_a));
        let answers = [
            world.alice.get(&path).await,
            world.alice.put(&path, json!({"name": "mine"})).await,
            world.alice.delete(&path).await,
        ];
        for answer in answers {
            assert_eq!(answer.status.as_u16(), 404);
            assert_eq!(answer.text, "not found");
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        }
    }
    let kept = world.bob.get("/v2/devices").await.expect(201);
    assert_eq!(kept, json!([theirs]));
}

#[tokio::test]
async fn pages_go_on_behind_the_item_that_was_received_last() {
    let world = need!(World::new().await);
    let (alice, devices) = (&world.alice, devices_of(&world.tenant_a));
    let mut made = Vec::new();
    for number in 0..5 {
        let body = json!({"name": format!("dev-{number}")});
        let device = create(alice, &world.tenant_a, body).await;
        made.push(device["id"].as_str().unwrap().to_owned());
    }
    for (collection, status) in [(devices.as_str(), 200), ("/v2/devices", 201)] {
        let (mut seen, mut sizes, mut offset) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = alice
                .get(&format!("{collection}?limit=2{offset}"))
                .await
                .expect(status);
            sizes.push(page.as_array().unwrap().len());
            let Some(last) = ids(&page).last().map(|id| id.to_string()) else {
                break;
            };
            seen.extend(ids(&page).into_iter().map(str::to_owned));
            offset = format!("&offset={last}");
        }
        assert_eq!(seen, made, "{collection}");
        assert_eq!(sizes, [2, 2, 1, 0], "{collection}");
    }

    let tags = format!("/v2/spaces/{}/tags", world.tenant_a);
    let mut made = Vec::new();
    for name in ["one", "two"] {
        let tag = alice.post(&tags, json!({"name": name})).await.expect(201);
        made.push(tag["id"].as_str().unwrap().to_owned());
    }
    let first = alice.get(&format!("{tags}?limit=1")).await.expect(200);
    assert_eq!(ids(&first), made[..1]);
    let rest = alice.get(&format!("{tags}?offset={}", made[0])).await;
    assert_eq!(ids(&rest.expect(200)), made[1..]);

    // Of the spaces, too.
    let user = user(&world.server.anybody(), ADMIN).await;
    let (a, b) = (&world.tenant_a, &world.tenant_b);
    assert_eq!(ids(&user.get("/v2/spaces?limit=1").await.expect(200)), [a]);
    let rest = user.get(&format!("/v2/spaces?limit=1&offset={a}")).await;
    assert_eq!(ids(&rest.expect(200)), [b]);
    let rest = user.get(&format!("/v2/spaces?offset={b}")).await;
    assert_eq!(rest.expect(200), json!([]));
}

#[tokio::test]
async fn bad_pages_and_filters_are_refused_by_name() {
    let world = need!(World::new().await);
    let devices = devices_of(&world.tenant_a);
    let theirs = create(&world.bob, &world.tenant_b, json!({"name": "theirs"})).await;
    let theirs = theirs["id"].as_str().unwrap();
    for (query, text) in [
        ("limit=0", "limit: must be at least 1 and at most 1000"),
        ("limit=1001", "limit: must be at least 1 and at most 1000"),
        ("limit=-1", "limit: must be at least 1 and at most 1000"),
        ("limit=many", "limit: \"many\" is not a number"),
        ("offset=17", "offset: must be a UUID"),
        (
            &format!("offset={NOBODY}"),
            &format!("offset: there is no device {NOBODY}"),
        ),
        (
            &format!("offset={theirs}"),
            &format!("offset: there is no device {theirs}"),
        ),
        (
            "sort_by=colour",
            "sort_by: must be id, name, serial_number, external_id, last_seen or session_id",
        ),
        ("order_by=down", "order_by: must be asc or desc"),
        (
            "tag_filter_logic=none",
            "tag_filter_logic: must be one of `all`, `any`",
        ),
        ("tag_ids[]=x", "tag_ids: must be a UUID"),
        (
            "colour=red",
            "colour: unknown; known here are \"space_id\", \"limit\", \"offset\", \"name\", \
             \"serial_number\", \"external_id\", \"sort_by\", \"order_by\", \
             \"tag_filter_logic\", \"tag_ids\"",
        ),
    ] {
        let answer = world.alice.get(&format!("{devices}?{query}")).await;
        assert_eq!(refused(&answer, 400), text, "{query}");
    }
    let flat = world.alice.get("/v2/devices?limit=0").await;
    assert_eq!(
        refused(&flat, 400),
        "limit: must be at least 1 and at most 1000"
    );
}

#[tokio::test]
async fn devices_are_counted_and_come_in_every_documented_order() {
    let world = need!(World::new().await);
    let (alice, devices) = (&world.alice, devices_of(&world.tenant_a));
    for (name, serial) in [("b", "3"), ("c", "1"), ("a", "2")] {
        let device = json!({"name": name, "serial_number": serial});
        create(alice, &world.tenant_a, device).await;
    }
    for (query, wanted) in [
        ("", ["b", "c", "a"]),
        ("sort_by=id&order_by=desc", ["a", "c", "b"]),
        ("sort_by=name", ["a", "b", "c"]),
        ("sort_by=name&order_by=desc", ["c", "b", "a"]),
        ("sort_by=serial_number&order_by=asc", ["c", "a", "b"]),
        ("sort_by=external_id", ["b", "c", "a"]),
        ("sort_by=last_seen", ["b", "c", "a"]),
        ("sort_by=session_id", ["b", "c", "a"]),
    ] {
        let (mut names, mut offset) = (Vec::new(), String::new());
        loop {
            let path = format!("{devices}?limit=2&{query}{offset}");
            let page = alice.get(&path).await.expect(200);
            let page = page.as_array().unwrap();
            let Some(last) = page.last() else { break };
            offset = format!("&offset={}", last["id"].as_str().unwrap());
            names.extend(page.iter().map(|d| d["name"].as_str().unwrap().to_owned()));
        }
        assert_eq!(names, wanted, "{query}");
    }
    let count = async |query: &str| {
        let path = format!("{devices}/count{query}");
        alice.get(&path).await.expect(200)["count"].clone()
    };
    assert_eq!(count("").await, 3);
    assert_eq!(count("?name=a").await, 1);
    assert_eq!(count("?serial_number=9").await, 0);
}

#[tokio::test]
async fn a_space_is_created_below_the_callers() {
    let world = need!(World::new().await);
    let made = world
        .alice
        .post("/v2/spaces/", json!({"name": "Field"}))
        .await;
    let made = made.expect(201);
    assert_eq!(
        (&made["name"], &made["type"]),
        (&json!("Field"), &json!("team"))
    );
    let refused_too = world
        .victor
        .post("/v2/spaces", json!({"name": "Mine"}))
        .await;
    refused(&refused_too, 403);
    let nameless = world.alice.post("/v2/spaces", json!({"name": ""})).await;
    assert!(refused(&nameless, 400).starts_with("name: "));
}

#[tokio::test]
async fn devices_are_found_by_name_numbers_and_tags() {
    let world = need!(World::new().await);
    let (alice, devices) = (&world.alice, devices_of(&world.tenant_a));
    let tags = format!("/v2/spaces/{}/tags", world.tenant_a);
    let mut tag_ids = Vec::new();
    for name in ["wet", "dry"] {
        let tag = alice.post(&tags, json!({"name": name})).await.expect(201);
        tag_ids.push(tag["id"].as_str().unwrap().to_owned());
    }
    let (wet, dry) = (&tag_ids[0], &tag_ids[1]);
    for device in [
        json!({"name": "both", "serial_number": "s1", "tags": [{"id": wet}, {"id": dry}]}),
        json!({"name": "wet", "external_id": "e1", "tags": [{"id": wet}]}),
        json!({"name": "none"}),
    ] {
        create(alice, &world.tenant_a, device).await;
    }
    for (query, found) in [
        ("name=none".to_owned(), vec!["none"]),
        ("serial_number=s1".to_owned(), vec!["both"]),
        ("external_id=e1".to_owned(), vec!["wet"]),
        ("serial_number=s2".to_owned(), vec![]),
        (format!("tag_ids[]={dry}"), vec!["both"]),
        (format!("tag_ids[]={wet}"), vec!["both", "wet"]),
        (
            format!("tag_filter_logic=any&tag_ids[]={wet}[]={dry}"),
            vec!["both", "wet"],
        ),
        (
            format!("tag_filter_logic=all&tag_ids[]={wet}[]={dry}"),
            vec!["both"],
        ),
        (format!("tag_ids[]={NOBODY}"), vec![]),
        (
            "sort_by=id&order_by=asc".to_owned(),
            vec!["both", "wet", "none"],
        ),
    ] {
        let list = alice.get(&format!("{devices}?{query}")).await.expect(200);
        let list = list.as_array().unwrap().iter();
        let names: Vec<&str> = list.map(|d| d["name"].as_str().unwrap()).collect();
        assert_eq!(names, found, "{query}");
    }
}

#[tokio::test]
async fn a_change_holds_what_it_names_and_nothing_else() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    create_tag(alice).await;
    let device = create(
        alice,
        &world.tenant_a,
        json!({"name": "meter", "serial_number": "s", "comment": "old", "label": {"a": "1"}}),
    )
    .await;
    let path = format!(
        "{}/{}",
        devices_of(&world.tenant_a),
        device["id"].as_str().unwrap()
    );

    let change = json!({
        "comment": "new", "label": {"b": "2"}, "tags": [{"id": TAG}], "external_id": "e",
    });
    let changed = alice.put(&path, change).await.expect(200);
    let mut expected = device.clone();
    expected["comment"] = json!("new");
    expected["label"] = json!({"b": "2"});
    expected["external_id"] = json!("e");
    expected["tags"] = changed["tags"].clone();
    assert_eq!(changed, expected);
    assert_eq!(changed["tags"][0]["id"], TAG);
    assert_eq!(alice.get(&path).await.expect(200), changed);

    // What the vendor's program received, it may send back.
    assert_eq!(alice.put(&path, json!({})).await.expect(200), changed);
    let emptied = json!({"comment": "", "label": {}, "tags": [], "external_id": ""});
    let emptied = alice.put(&path, emptied).await.expect(200);
    let mut expected = device.clone();
    expected["comment"] = Value::Null;
    expected["label"] = json!({});
    assert_eq!(emptied, expected);

    for (change, text) in [
        (json!({"name": ""}), "name: must have at least 1 character"),
        (
            json!({"name": 7}),
            "name: a string was expected, not a number",
        ),
        (json!({"label": {"a": 1}}), "label[\"a\"]: must be a string"),
        (json!({"tags": ["x"]}), "tags[0]: must be an object"),
        (json!({"tags": [{"id": "x"}]}), "tags[0].id: must be a UUID"),
        (
            json!({"tags": [{"id": NOBODY}]}),
            &format!("tags[0].id: there is no tag {NOBODY}"),
        ),
        (
            json!({"secret": "0123456789abcdef"}),
            "secret: a device's secret can't be changed here",
        ),
    ] {
        let answer = alice.put(&path, change.clone()).await;
        assert_eq!(refused(&answer, 400), text, "{change}");
    }
    assert_eq!(alice.get(&path).await.expect(200), emptied);

    assert_eq!(alice.delete(&path).await.expect(200), json!({}));
    assert_eq!(alice.get(&path).await.text, "not found");
}

#[tokio::test]
async fn tags_are_created_shown_changed_and_deleted() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    let tags = format!("/v2/spaces/{}/tags", world.tenant_a);
    let new = json!({"name": "wet", "color": "#0000ff"});
    let tag = alice.post(&tags, new.clone()).await.expect(201);
    let expected = json!({
        "id": tag["id"], "created_at": tag["created_at"], "name": "wet", "color": "#0000ff",
    });
    assert_eq!(tag, expected);
    let path = format!("{tags}/{}", tag["id"].as_str().unwrap());
    assert_eq!(alice.get(&path).await.expect(200), tag);
    assert_eq!(alice.get(&tags).await.expect(200), json!([tag]));
    assert_eq!(
        refused(&alice.post(&tags, new).await, 409),
        "name is taken by another one"
    );
    let changed = alice.put(&path, json!({"name": "damp"})).await.expect(200);
    assert_eq!(
        (&changed["name"], &changed["color"]),
        (&json!("damp"), &json!("#0000ff"))
    );

    let device = json!({"name": "meter", "tags": [{"id": tag["id"]}]});
    create(alice, &world.tenant_a, device).await;
    assert_eq!(alice.delete(&path).await.expect(200), json!({}));
    let device = alice.get("/v2/devices").await.expect(201);
    assert_eq!(device[0]["tags"], json!([]));
    let gone = format!("there is no tag {}", tag["id"].as_str().unwrap());
    assert_eq!(refused(&alice.get(&path).await, 404), gone);
    let answer = alice
        .post(&tags, json!({"name": "x", "color": "blue"}))
        .await;
    assert!(refused(&answer, 400).starts_with("color: "));
}

/// The collection of a space's connectors.
fn connectors_of(space: &str) -> String {
    format!("/v2/spaces/{space}/connectors")
}

/// A connector as the vendor's client writes one.
fn scripted(name: &str) -> Value {
    json!({
        "direction": "up",
        "name": name,
        "retry_delays": [10, 30, 43200],
        "state": "enabled",
        "tags": [],
        "transformation": "function main(job) {\r\n  return {\"url\": \"https://example.com/x\"}\r\n}",
        "triggers": ["data", "config"],
        "type": "webhook",
    })
}

#[tokio::test]
async fn connectors_are_created_shown_changed_and_deleted() {
    let world = need!(World::new().await);
    let (alice, space) = (&world.alice, &world.tenant_a);
    let connectors = connectors_of(space);
    let new = scripted("Tells the ERP");
    let made = alice.post(&connectors, new.clone()).await.expect(201);
    assert!(made["secret"].as_str().unwrap().starts_with("whsec_"));
    let mut connector = json!({
        "id": made["id"], "space_id": space, "created_at": made["created_at"],
        "url": "https://example.com/x", "secret": null,
    });
    for (field, value) in new.as_object().unwrap() {
        connector[field] = value.clone();
    }
    let one = format!("{connectors}/{}", made["id"].as_str().unwrap());
    assert_eq!(alice.get(&one).await.expect(200), connector);
    assert_eq!(alice.get(&connectors).await.expect(200), json!([connector]));
    // It is a webhook, which is never told of what Muster does not have.
    let webhook = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let told = alice.get(&webhook).await.expect(200);
    assert_eq!(
        told["eventTypes"],
        json!(["message.data", "message.config"])
    );
    assert_eq!(told["description"], "Tells the ERP");

    // By its id, and by its name as the vendor's client does, which has no ids.
    let change = json!({"id": made["id"], "state": "disabled", "retry_delays": [5]});
    let changed = alice.put(&connectors, change).await.expect(200);
    (connector["state"], connector["retry_delays"]) = (json!("disabled"), json!([5]));
    assert_eq!(changed, connector);
    let changed = alice.put(&connectors, new).await.expect(200);
    (connector["state"], connector["retry_delays"]) = (json!("enabled"), json!([10, 30, 43200]));
    assert_eq!(changed, connector);
    // The whole as it was shown changes nothing.
    let same = alice.put(&connectors, connector.clone()).await.expect(200);
    assert_eq!(same, connector);

    alice.delete(&one).await.expect(200);
    let gone = format!("there is no connector {}", made["id"].as_str().unwrap());
    assert_eq!(refused(&alice.get(&one).await, 404), gone);
    assert_eq!(refused(&alice.delete(&one).await, 404), gone);
    let change = json!({"id": made["id"], "state": "enabled"});
    assert_eq!(refused(&alice.put(&connectors, change).await, 404), gone);
    assert_eq!(alice.get(&connectors).await.expect(200), json!([]));
}

#[tokio::test]
async fn a_connector_is_told_of_musters_events_as_they_are() {
    let world = need!(World::new().await);
    let (alice, connectors) = (&world.alice, connectors_of(&world.tenant_a));
    let new = json!({
        "name": "watch",
        "triggers": ["device.created", "tag.*"],
        "url": "https://example.com/hook",
    });
    let made = alice.post(&connectors, new).await.expect(201);
    assert_eq!(made["triggers"], json!(["device.created", "tag.*"]));
    assert_eq!(
        (
            &made["transformation"],
            &made["retry_delays"],
            &made["state"]
        ),
        (&Value::Null, &json!([]), &json!("enabled"))
    );
    let change = json!({"name": "watch", "triggers": ["*"], "url": "https://example.com/all"});
    let changed = alice.put(&connectors, change).await.expect(200);
    let webhook = format!("/v1/webhooks/{}", made["id"].as_str().unwrap());
    let webhook = alice.get(&webhook).await.expect(200);
    assert_eq!(webhook["eventTypes"], changed["triggers"]);
    assert_eq!(webhook["url"], "https://example.com/all");
    // One that was made elsewhere is a connector, too.
    let body = json!({"url": "https://example.com/", "eventTypes": ["nothing.ever"]});
    alice.post("/v1/webhooks", body).await.expect(201);
    let listed = alice.get(&connectors).await.expect(200);
    assert_eq!(listed[1]["triggers"], json!(["nothing.ever"]));
    assert_eq!(
        (&listed[1]["name"], &listed[1]["tags"]),
        (&json!(""), &json!([]))
    );
}

#[tokio::test]
async fn connectors_come_in_pages_behind_the_one_that_was_received_last() {
    let world = need!(World::new().await);
    let (alice, connectors) = (&world.alice, connectors_of(&world.tenant_a));
    let mut made = Vec::new();
    for name in ["a", "b", "c"] {
        let connector = alice.post(&connectors, scripted(name)).await.expect(201);
        made.push(connector["id"].as_str().unwrap().to_owned());
    }
    let first = alice
        .get(&format!("{connectors}?limit=2"))
        .await
        .expect(200);
    assert_eq!(ids(&first), made[..2]);
    let rest = format!("{connectors}?limit=100&offset={}", made[1]);
    assert_eq!(ids(&alice.get(&rest).await.expect(200)), made[2..]);
    let strange = format!("{connectors}?offset={NOBODY}");
    assert_eq!(
        refused(&alice.get(&strange).await, 400),
        format!("offset: there is no connector {NOBODY}")
    );
}

#[tokio::test]
async fn what_no_webhook_can_do_is_refused_by_field() {
    let world = need!(World::new().await);
    let (alice, space) = (&world.alice, &world.tenant_a);
    let connectors = connectors_of(space);
    let kept = alice.post(&connectors, scripted("kept")).await.expect(201);
    for (field, value, why) in [
        ("name", Value::Null, "name: is required"),
        ("name", json!(""), "name: is required"),
        ("name", json!("n".repeat(1001)), "name: "),
        ("direction", json!("down"), "direction: must be up"),
        ("type", json!("mqtt"), "type: must be webhook"),
        (
            "state",
            json!("asleep"),
            "state: must be enabled or disabled",
        ),
        ("tags", json!([{"id": TAG}]), "tags: must be empty"),
        ("tags", json!("x"), "tags: "),
        ("triggers", json!(["data", "data"]), "triggers: "),
        ("triggers", json!("data"), "triggers: "),
        (
            "triggers",
            json!(["data", "device.created"]),
            "transformation: ",
        ),
        ("transformation", Value::Null, "url: is required"),
        ("transformation", json!("return {}"), "url: is required"),
        ("transformation", json!(5), "transformation: "),
        (
            "url",
            json!("http://example.com/"),
            "url: must begin with https",
        ),
        ("url", json!("https://10.0.0.1/"), "url: must not be"),
        ("url", json!("nowhere"), "url: must be a URL"),
        ("retry_delays", json!([-1]), "retry_delays[0]: "),
        ("retry_delays", json!(["soon"]), "retry_delays[0]: "),
        ("space_id", json!(world.tenant_b), "space_id: "),
        ("id", json!(NOBODY), "id: is chosen"),
        ("colour", json!("red"), "colour: "),
    ] {
        let mut body = scripted("new");
        body[field] = value.clone();
        let told = refused(&alice.post(&connectors, body).await, 400);
        assert!(told.starts_with(why), "{field} {value}: {told}");
    }
    let odd = json!({"name": "new", "url": "https://example.com/", "triggers": ["*", "no event"]});
    let told = refused(&alice.post(&connectors, odd).await, 400);
    assert!(told.starts_with("triggers[1]: "), "{told}");
    for (change, status, why) in [
        (json!({}), 400, "id: is required, or a name".to_owned()),
        (json!({"id": "x"}), 400, "id: ".to_owned()),
        (
            json!({"name": "nobody"}),
            404,
            "there is no connector nobody".to_owned(),
        ),
        (
            json!({"id": kept["id"], "triggers": ["device.*"]}),
            400,
            "transformation: ".to_owned(),
        ),
        (
            json!({"id": kept["id"], "url": ""}),
            400,
            "url: is required".to_owned(),
        ),
    ] {
        let told = refused(&alice.put(&connectors, change.clone()).await, status);
        assert!(told.starts_with(&why), "{change}: {told}");
    }
    alice.post(&connectors, scripted("kept")).await.expect(201);
    let twice = alice.put(&connectors, scripted("kept")).await;
    assert!(refused(&twice, 400).starts_with("name: several have it"));
    assert_eq!(ids(&alice.get(&connectors).await.expect(200)).len(), 2);
}

#[tokio::test]
async fn connectors_take_the_permissions_of_webhooks_and_are_of_one_space() {
    let world = need!(World::new().await);
    let connectors = connectors_of(&world.tenant_a);
    let made = world
        .alice
        .post(&connectors, scripted("a"))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();
    let lacks = "the caller does not hold the permission";
    let reader = world.alice.key_holder(&["webhooks.read"]).await;
    reader.get(&format!("{connectors}/{id}")).await.expect(200);
    let answer = reader.post(&connectors, scripted("b")).await;
    assert_eq!(refused(&answer, 403), format!("{lacks} webhooks.write"));
    let answer = world.victor.get(&connectors).await;
    assert_eq!(refused(&answer, 403), format!("{lacks} webhooks.read"));
    // In another space it is not there.
    let theirs = connectors_of(&world.tenant_b);
    let foreign = world.bob.get(&format!("{theirs}/{id}")).await;
    assert_eq!(
        refused(&foreign, 404),
        format!("there is no connector {id}")
    );
    let change = json!({"id": id, "state": "disabled"});
    refused(&world.bob.put(&theirs, change).await, 404);
    refused(&world.bob.delete(&format!("{theirs}/{id}")).await, 404);
    assert_eq!(world.bob.get(&theirs).await.expect(200), json!([]));
    let anybody = world.server.anybody();
    assert_eq!(refused(&anybody.get(&connectors).await, 401), NO_CREDENTIAL);
}

#[tokio::test]
async fn numbers_are_unique_in_a_space_and_free_in_another() {
    let world = need!(World::new().await);
    let device = json!({"name": "one", "serial_number": "2112345678", "external_id": "e"});
    create(&world.alice, &world.tenant_a, device.clone()).await;
    for (body, text) in [
        (
            json!({"name": "two", "serial_number": "2112345678"}),
            "serial_number is taken by another one",
        ),
        (
            json!({"name": "two", "external_id": "e"}),
            "external_id is taken by another one",
        ),
    ] {
        for path in ["/v2/devices".to_owned(), devices_of(&world.tenant_a)] {
            let answer = world.alice.post(&path, body.clone()).await;
            assert_eq!(refused(&answer, 409), text);
        }
    }
    // The documentation's programs use one claim token for two devices.
    for serial in ["s1", "s2"] {
        let token = "hie1koh5toh0ga6iedoJ1hahshohmoh5";
        let device = json!({"name": "one", "serial_number": serial, "token": token});
        create(&world.alice, &world.tenant_a, device).await;
    }
    create(&world.bob, &world.tenant_b, device).await;
    let list = world.alice.get("/v2/devices").await.expect(201);
    assert_eq!(list.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_bad_device_is_refused_by_field_and_nothing_is_written() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    let no_tag = format!("tags[0].id: there is no tag {NOBODY}");
    let deep = format!(r#"{{"name":{}"x"{}}}"#, "[".repeat(500), "]".repeat(500));
    for (body, text) in [
        (
            r#"{"name":"#,
            "name: the document ends too early at line 1, column 9",
        ),
        ("[]", "device: an object was expected, not an array"),
        ("", "device: must be set"),
        ("{}", "name: must have at least 1 character"),
        (r#"{"name":1}"#, "name: a string was expected, not a number"),
        (&deep, "name: a string was expected, not an array"),
        (
            r#"{"name":"a","colour":"red"}"#,
            r#"colour: unknown field; known here are "name", "serial_number", "token", "tags", "external_id", "comment", "label", "space_id""#,
        ),
        (
            r#"{"name":"a","serial_number":2112345678}"#,
            "serial_number: a string was expected, not a number",
        ),
        (
            r#"{"name":"a","token":"short"}"#,
            "token: must have at least 16 characters",
        ),
        (
            r#"{"name":"a","tags":"x"}"#,
            "tags: an array was expected, not a string",
        ),
        (
            r#"{"name":"a","tags":[{"id":"x"}]}"#,
            "tags[0].id: must be a UUID",
        ),
        (
            &format!(r#"{{"name":"a","tags":[{{"id":"{NOBODY}"}}]}}"#),
            &no_tag,
        ),
        (
            r#"{"name":"a","label":{"a":1}}"#,
            "label[\"a\"]: a string was expected, not a number",
        ),
        (
            &format!(r#"{{"name":"a","space_id":"{}"}}"#, world.tenant_b),
            "space_id: is not the request's space",
        ),
    ] {
        for path in ["/v2/devices".to_owned(), devices_of(&world.tenant_a)] {
            let answer = post_text(alice, &path, body).await;
            assert_eq!(refused(&answer, 400), text, "{body:.80}");
        }
    }
    let several = json!({"name": "", "token": "short", "serial_number": "s".repeat(201)});
    let told = refused(&alice.post("/v2/devices", several).await, 400);
    for field in ["name: ", "token: ", "serial_number: "] {
        assert!(told.contains(field), "{told}");
    }
    let text = Some("text/plain");
    let answer = alice.raw(Method::POST, "/v2/devices", text, "{}").await;
    assert!(refused(&answer, 415).contains("application/json"));
    assert_eq!(alice.get("/v2/devices").await.expect(201), json!([]));
}

#[tokio::test]
async fn a_body_of_more_than_four_mebibytes_is_too_large() {
    let world = need!(World::new().await);
    let anybody = world.server.anybody();
    // So much that the answer comes while the client is still sending.
    for mebibytes in [4, 16] {
        let body = format!(r#"{{"name":"{}"}}"#, "a".repeat(mebibytes << 20));
        let answer = post_text(&world.alice, "/v2/devices", body.clone()).await;
        assert_eq!(
            refused(&answer, 413),
            "the body is larger than 4194304 bytes"
        );
        let answer = post_text(&anybody, "/v2/nothing", body).await;
        assert_eq!(refused(&answer, 404), "there is nothing at this path");
    }
    let list = world.alice.get("/v2/devices").await.expect(201);
    assert_eq!(list, json!([]));
}

#[tokio::test]
async fn bad_ids_and_paths_are_refused_in_the_vendors_shape() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    let space = &world.tenant_a;
    for (path, status, text) in [
        (
            "/v2/spaces/x/devices".to_owned(),
            400,
            "space_id: must be a UUID",
        ),
        (
            "/v2/space/x/devices".to_owned(),
            400,
            "space_id: must be a UUID",
        ),
        ("/v2/spaces/x".to_owned(), 400, "id: must be a UUID"),
        (
            format!("/v2/spaces/{space}/devices/1"),
            400,
            "id: must be a UUID",
        ),
        (
            format!("/v2/spaces/{space}/tags/1"),
            400,
            "id: must be a UUID",
        ),
        (
            format!("/v2/spaces/{space}/nothing"),
            404,
            "there is nothing at this path",
        ),
        ("/v2/".to_owned(), 404, "there is nothing at this path"),
    ] {
        assert_eq!(refused(&alice.get(&path).await, status), text, "{path}");
    }
    let answer = alice.patch("/v2/devices", json!({})).await;
    assert_eq!(refused(&answer, 405), "the path does not take this method");
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}

/// A token whose claims say that it expired long ago.
fn expired(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(&parts[1]).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    assert!(claims["exp"].is_i64());
    claims["exp"] = json!(1_000_000_000);
    claims["iat"] = json!(999_999_000);
    parts[1] = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
    parts.join(".")
}

#[tokio::test]
async fn who_shows_no_good_credential_is_unauthorized() {
    let world = need!(World::new().await);
    let anybody = world.server.anybody();
    let devices = devices_of(&world.tenant_a);
    let token = world.alice.authorization.clone().unwrap();
    let token = token.strip_prefix("Bearer ").unwrap();
    let key = world.alice.new_key(&["devices.read"]).await;
    let unsigned = format!("{}.", &token[..token.rfind('.').unwrap()]);
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{ADMIN}:{PASSWORD}"));
    let (wrong, strange) = (
        "the credential is wrong, or may not be used from this address",
        "the token is not one of this installation",
    );
    for (name, value, text) in [
        ("accept", "*/*".to_owned(), NO_CREDENTIAL),
        ("authorization", "Bearer".to_owned(), NO_CREDENTIAL),
        ("authorization", "Bearer garbage".to_owned(), wrong),
        ("authorization", "ApiKey garbage".to_owned(), wrong),
        ("authorization", format!("ApiKey {key}x"), wrong),
        ("x-api-key", "garbage".to_owned(), wrong),
        ("x-api-key", key[..key.len() - 1].to_owned(), wrong),
        ("authorization", "Bearer eyJ.garbage.x".to_owned(), strange),
        (
            "authorization",
            format!("Bearer {}", expired(token)),
            strange,
        ),
        ("authorization", format!("Bearer {unsigned}"), strange),
        // Places that other systems have, but not this one.
        ("x-auth-key", key.clone(), NO_CREDENTIAL),
        ("authentication", format!("bearer {key}"), NO_CREDENTIAL),
        ("authorization", format!("Basic {basic}"), NO_CREDENTIAL),
    ] {
        for path in ["/v2/devices", "/v2/spaces", &devices] {
            let request = anybody.request(Method::GET, path).header(name, &value);
            assert_eq!(refused(&send(request).await, 401), text, "{name}: {value}");
        }
    }
    let query = format!("/v2/devices?_auth_key={key}");
    assert_eq!(refused(&anybody.get(&query).await, 401), NO_CREDENTIAL);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_alike() {
    let world = need!(World::new().await);
    let anybody = world.server.anybody();
    for (email, password) in [(ADMIN, "wrong"), ("nobody@example.com", PASSWORD)] {
        let login = json!({"email": email, "password": password});
        let answer = anybody.post("/v2/auth/login", login).await;
        assert_eq!(
            refused(&answer, 401),
            "the e-mail address or the password is wrong"
        );
    }
    let answer = anybody.post("/v2/auth/login", json!({})).await;
    assert_eq!(
        refused(&answer, 400),
        "email: must have at least 1 character; password: must have at least 1 character"
    );
    let answer = post_text(&anybody, "/v2/auth/login", r#"{"email""#).await;
    refused(&answer, 400);
    let answer = world.alice.post("/v2/auth/space", json!({"space_id": 5}));
    assert_eq!(
        refused(&answer.await, 400),
        "space_id: a string was expected, not a number"
    );
}

#[tokio::test]
async fn a_caller_without_the_permission_is_forbidden() {
    let world = need!(World::new().await);
    let (devices, new) = (devices_of(&world.tenant_a), json!({"name": "new"}));
    let reader = world.alice.key_holder(&["devices.read"]).await;
    let lacks = "the caller does not hold the permission";
    for (caller, path) in [
        (&world.victor, "/v2/devices"),
        (&world.victor, &devices),
        (&reader, "/v2/devices"),
        (&reader, &devices),
    ] {
        assert_eq!(caller.get(&devices).await.expect(200), json!([]));
        let answer = caller.post(path, new.clone()).await;
        assert_eq!(refused(&answer, 403), format!("{lacks} devices.write"));
    }
    let writer = world.alice.key_holder(&["devices.write"]).await;
    for path in ["/v2/devices", &devices] {
        let answer = writer.get(path).await;
        assert_eq!(refused(&answer, 403), format!("{lacks} devices.read"));
    }
    create(&world.olga, &world.tenant_a, new).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let world = need!(World::new().await);
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let key = world.alice.post("/v1/apiKeys", body).await.expect(201);
    let holder = world
        .alice
        .with(format!("ApiKey {}", key["secret"].as_str().unwrap()));
    holder.get("/v2/devices").await.expect(201);
    let id = key["apiKey"]["id"].as_str().unwrap();
    let revoke = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&revoke, json!({})).await.expect(200);
    eventually("the refusal of a revoked key", async || {
        let answer = holder.get("/v2/devices").await;
        answer.status == 401 && answer.json().is_string()
    })
    .await;
}
