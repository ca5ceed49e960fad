//! The gateway API of Yombo 0.23: its five places for a key, and its envelope.

use crate::support::{ADMIN, Answer, Caller, PASSWORD, Server, World, eventually, log_in, send};
use reqwest::Method;
use serde_json::{Value, json};

/// What nothing has.
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";

/// The whole answer to a request that failed.
fn refusal(code: u16, message: &str) -> Value {
    json!({"code": code, "message": message, "comments": {}})
}

fn unauthorized() -> Value {
    refusal(401, "Unauthorized")
}

fn forbidden() -> Value {
    refusal(403, "Forbidden - No access to protected resource")
}

/// The whole answer to a request that was served.
fn served(payload: Value) -> Value {
    json!({"code": 200, "message": "OK", "comments": {}, "payload": payload})
}

/// Where a request may carry a key.
#[derive(Clone, Copy, Debug)]
enum Place {
    Header(&'static str),
    Query(&'static str),
}

use Place::{Header, Query};

/// The documented places, in the order in which they count.
const PLACES: [Place; 5] = [
    Header("x-auth-key"),
    Header("x-api-auth"),
    Query("_auth_key"),
    Query("_api_auth"),
    Header("x-api-key"),
];

/// Asks with a key in each of these places, and with no other credential.
async fn get(server: &Server, path: &str, keys: &[(Place, &str)]) -> Answer {
    let mut request = server.anybody().request(Method::GET, path);
    for (place, key) in keys {
        request = match place {
            Header(name) => request.header(*name, *key),
            Query(name) => request.query(&[(*name, *key)]),
        };
    }
    send(request).await
}

/// Asks with a key in the header that is documented first.
async fn with_key(server: &Server, path: &str, key: &str) -> Answer {
    get(server, path, &[(Header("x-auth-key"), key)]).await
}

async fn create_command(owner: &Caller, name: &str) -> Value {
    let command = json!({"name": name, "displayName": "Turn on", "description": "Lights it."});
    owner.post("/v1/commands", command).await.expect(201)
}

const ALL: [&str; 3] = ["commands.read", "devices.read", "sites.read"];

/// A number of seconds since 1970 that is not zero.
#[track_caller]
fn assert_seconds(value: &Value) {
    assert!(value.as_u64().is_some_and(|seconds| seconds > 0), "{value}");
}

#[tokio::test]
async fn each_of_the_five_places_of_a_key_works_on_every_path() {
    let world = need!(World::new().await);
    let (server, key) = (&world.server, world.alice.new_key(&ALL).await);
    let device = world
        .alice
        .post("/v1/devices", json!({"displayName": "Lamp"}))
        .await
        .expect(201);
    let device = format!("/api/v1/device/{}", device["id"].as_str().unwrap());
    for path in [
        "/api/v1/command",
        "/api/v1/device",
        "/api/v1/devices",
        &device,
        "/api/v1/tools/ping",
    ] {
        for place in PLACES {
            let answer = get(server, path, &[(place, &key)]).await.expect(200);
            let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["code", "message", "comments", "payload"], "{path}");
            assert_eq!(
                (&answer["code"], &answer["message"], &answer["comments"]),
                (&json!(200), &json!("OK"), &json!({})),
                "{place:?} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_place_that_is_documented_first_counts() {
    let world = need!(World::new().await);
    let server = &world.server;
    let good = world.alice.new_key(&ALL).await;
    let poor = world.alice.new_key(&["tags.read"]).await;
    for (first, one) in PLACES.iter().enumerate() {
        for other in &PLACES[first + 1..] {
            let path = "/api/v1/command";
            // In both orders of writing, for it must not matter.
            for keys in [
                [(*one, good.as_str()), (*other, poor.as_str())],
                [(*other, &poor), (*one, &good)],
            ] {
                let answer = get(server, path, &keys).await;
                assert_eq!(answer.expect(200), served(json!([])), "{one:?} {other:?}");
            }
            let answer = get(server, path, &[(*one, &poor), (*other, &good)]).await;
            assert_eq!(answer.expect(403), forbidden(), "{one:?} {other:?}");
            // A wrong key is not made up for by a good one in another place.
            let answer = get(server, path, &[(*one, "wrong"), (*other, &good)]).await;
            assert_eq!(answer.expect(401), unauthorized(), "{one:?} {other:?}");
            // An empty place is as if it were not there.
            let answer = get(server, path, &[(*one, ""), (*other, &good)]).await;
            assert_eq!(answer.expect(200), served(json!([])), "{one:?} {other:?}");
        }
    }
}

#[tokio::test]
async fn commands_are_shown_as_documented() {
    let world = need!(World::new().await);
    let (server, key) = (&world.server, world.alice.new_key(&ALL).await);
    create_command(&world.bob, "of_another_tenant").await;
    let list = with_key(server, "/api/v1/command", &key).await;
    assert_eq!(
        list.text,
        r#"{"code":200,"message":"OK","comments":{},"payload":[]}"#
    );
    create_command(&world.alice, "turn_on").await;
    let bare = json!({"name": "turn_off"});
    world.alice.post("/v1/commands", bare).await.expect(201);
    for path in ["/api/v1/command", "/api/v1/command/"] {
        let list = with_key(server, path, &key).await.expect(200);
        let (on, off) = (&list["payload"][0], &list["payload"][1]);
        let expected = json!([
            {
                "command_id": on["command_id"], "always_load": "0", "voice_cmd": "None",
                "cmd": "turn_on", "label": "Turn on", "machine_label": "turn_on",
                "description": "Lights it.", "public": 0, "status": 1,
                "created_at": on["created_at"], "updated_at": on["updated_at"],
            },
            {
                "command_id": off["command_id"], "always_load": "0", "voice_cmd": "None",
                "cmd": "turn_off", "label": "turn_off", "machine_label": "turn_off",
                "description": "", "public": 0, "status": 1,
                "created_at": off["created_at"], "updated_at": off["updated_at"],
            },
        ]);
        assert_eq!(list, served(expected));
        for command in [on, off] {
            let id = command["command_id"].as_str().unwrap();
            assert!(id.len() == 22 && id.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_seconds(&command["created_at"]);
            assert_seconds(&command["updated_at"]);
        }
    }
}

#[tokio::test]
async fn devices_are_shown_as_documented() {
    let world = need!(World::new().await);
    let (server, alice) = (&world.server, &world.alice);
    let key = alice.new_key(&ALL).await;
    let site = json!({"displayName": "Kitchen"});
    let site = alice.post("/v1/sites", site).await.expect(201);
    let lamp = json!({
        "displayName": "Lamp", "serialNumber": "S1", "code": "lamp-1",
        "description": "Above the table.", "siteId": site["id"],
    });
    let lamp = alice.post("/v1/devices", lamp).await.expect(201);
    let bare = json!({"displayName": "Switch"});
    alice.post("/v1/devices", bare).await.expect(201);
    let theirs = json!({"displayName": "Theirs"});
    world.bob.post("/v1/devices", theirs).await.expect(201);

    let list = with_key(server, "/api/v1/device", &key).await.expect(200);
    assert_eq!(
        list,
        with_key(server, "/api/v1/devices", &key).await.expect(200)
    );
    let (first, second) = (&list["payload"][0], &list["payload"][1]);
    let mut expected = json!({
        "gateway_id": first["gateway_id"], "area": "None", "location": "Kitchen",
        "area_id": "None", "location_id": first["location_id"], "area_label": "Lamp",
        "full_label": "Kitchen Lamp", "device_id": first["device_id"],
        "device_type_id": "None", "device_type_label": "None", "machine_label": "lamp-1",
        "label": "Lamp", "notes": "None", "description": "Above the table.",
        "statistic_label": "None", "statistic_type": "None", "statistic_bucket_size": "None",
        "statistic_lifetime": "None", "pin_code": "********", "pin_required": 0,
        "pin_timeout": null, "intent_allow": null, "intent_text": "None",
        "created_at": first["created_at"], "updated_at": first["updated_at"],
        "device_commands": [], "status_current": null, "status_previous": null,
        "controllable": 0, "allow_direct_control": 0, "device_serial": "S1",
        "device_mfg": null, "device_model": null, "device_platform": "device",
        "device_sub_platform": null, "device_features": {}, "device_variables": {},
        "device_variable_fields": {}, "energy_tracker_device": null,
        "energy_tracker_source": null, "energy_type": null, "energy_map": null,
        "enabled_status": 1,
    });
    assert_eq!(*first, expected);
    assert_seconds(&first["created_at"]);
    for id in ["gateway_id", "location_id", "device_id"] {
        assert_eq!(first[id].as_str().unwrap().len(), 22, "{id}");
    }
    expected["area_label"] = json!("Switch");
    expected["label"] = json!("Switch");
    expected["full_label"] = json!("Switch");
    expected["description"] = json!("");
    expected["device_serial"] = Value::Null;
    expected["location"] = json!("None");
    expected["location_id"] = json!("None");
    for own in ["device_id", "created_at", "updated_at"] {
        expected[own] = second[own].clone();
    }
    expected["machine_label"] = second["device_id"].clone();
    assert_eq!(*second, expected);
    assert_eq!(list["payload"].as_array().unwrap().len(), 2);

    // One device is the same one, by its short id and by its UUID.
    for id in [&first["device_id"], &lamp["id"]] {
        let path = format!("/api/v1/device/{}", id.as_str().unwrap());
        let one = with_key(server, &path, &key).await.expect(200);
        assert_eq!(one, served(first.clone()));
        for field in ["label", "created_at", "pin_timeout", "device_features"] {
            let path = format!("{path}?item={field}");
            let item = with_key(server, &path, &key).await.expect(200);
            assert_eq!(item, served(first[field].clone()), "{field}");
        }
        let path = format!("{path}?item=password");
        let item = with_key(server, &path, &key).await.expect(400);
        assert_eq!(item, refusal(400, "a device has no field \"password\""));
    }

    // Who may not see sites sees the device without its site's name.
    let poor = alice.new_key(&["devices.read"]).await;
    let list = with_key(server, "/api/v1/device", &poor).await.expect(200);
    assert_eq!(list["payload"][0]["location"], "None");
    assert_eq!(list["payload"][0]["full_label"], "Lamp");
}

#[tokio::test]
async fn the_tools_answer_as_documented() {
    let world = need!(World::new().await);
    let server = &world.server;
    // Any key will do: they need no permission.
    let key = world.alice.new_key(&["tags.read"]).await;
    let pong = with_key(server, "/api/v1/tools/ping?id=abc", &key).await;
    let pong = pong.expect(200);
    let time = &pong["payload"]["time"];
    assert!(time.as_f64().unwrap() > 1.6e9, "{time}");
    assert_eq!(pong, served(json!({"id": "abc", "time": time})));

    let pong = with_key(server, "/api/v1/tools/ping", &key).await;
    let pong = pong.expect(200);
    assert_eq!(pong["payload"]["id"].as_str().unwrap().len(), 22);

    let uptime = with_key(server, "/api/v1/tools/uptime", &key).await;
    let uptime = uptime.expect(200);
    let time = uptime["payload"]["time"].as_str().unwrap();
    assert!(time.parse::<u64>().unwrap() > 1_600_000_000, "{time}");
    assert_eq!(uptime, served(json!({"time": time})));

    let awake = with_key(server, "/api/v1/tools/awake", &key).await;
    assert_eq!((awake.status.as_u16(), awake.text.as_str()), (200, "1"));
}

#[tokio::test]
async fn every_answer_has_the_vendors_headers() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&ALL).await;
    for (path, key, status) in [
        ("/api/v1/command", key.as_str(), 200),
        ("/api/v1/tools/awake", &key, 200),
        ("/api/v1/command", "wrong", 401),
        ("/api/v1/device/unknown", &key, 404),
        ("/api/v1/nothing", &key, 404),
        ("/api/v1/command?colour=red", &key, 400),
    ] {
        let answer = with_key(&world.server, path, key).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        for (name, value) in [
            ("content-type", "application/json"),
            ("cache-control", "no-cache, no-store, must-revalidate"),
            ("expires", "-1"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
    }
}

#[tokio::test]
async fn who_shows_no_good_key_is_unauthorized() {
    let world = need!(World::new().await);
    let server = &world.server;
    let key = world.alice.new_key(&ALL).await;
    let expected = r#"{"code":401,"message":"Unauthorized","comments":{}}"#;
    for path in [
        "/api/v1/command",
        "/api/v1/device",
        "/api/v1/devices",
        "/api/v1/device/x",
        "/api/v1/tools/ping",
        "/api/v1/tools/uptime",
        "/api/v1/tools/awake",
    ] {
        let mut answers = vec![server.anybody().get(path).await];
        for place in PLACES {
            for wrong in ["abc123xyz789", "", &key[1..]] {
                answers.push(get(server, path, &[(place, wrong)]).await);
            }
        }
        // Places that other systems have, but not this one.
        for (name, value) in [
            ("authorization", format!("Bearer {key}")),
            ("authorization", format!("ApiKey {key}")),
            ("authentication", format!("bearer {key}")),
            ("cookie", format!("yombo_session={key}")),
        ] {
            let request = server.anybody().request(Method::GET, path);
            answers.push(send(request.header(name, value)).await);
        }
        answers.push(
            server
                .anybody()
                .get(&format!("{path}?auth_key={key}"))
                .await,
        );
        for answer in answers {
            assert_eq!((answer.status.as_u16(), &*answer.text), (401, expected));
        }
    }
}

#[tokio::test]
async fn a_key_is_not_found_by_its_name() {
    let world = need!(World::new().await);
    let key = json!({"displayName": "kitchen-tablet", "permissions": ALL});
    world.alice.post("/v1/apiKeys", key).await.expect(201);
    let answer = with_key(&world.server, "/api/v1/command", "kitchen-tablet").await;
    assert_eq!(answer.expect(401), unauthorized());
}

#[tokio::test]
async fn a_key_without_the_permission_is_forbidden() {
    let world = need!(World::new().await);
    let commands = world.alice.new_key(&["commands.read"]).await;
    let devices = world.alice.new_key(&["devices.read"]).await;
    for (path, may, may_not) in [
        ("/api/v1/command", &commands, &devices),
        ("/api/v1/device", &devices, &commands),
        ("/api/v1/devices", &devices, &commands),
    ] {
        let answer = with_key(&world.server, path, may).await;
        assert_eq!(answer.expect(200), served(json!([])));
        let answer = with_key(&world.server, path, may_not).await;
        assert_eq!(
            answer.text,
            r#"{"code":403,"message":"Forbidden - No access to protected resource","comments":{}}"#
        );
        assert_eq!(answer.status.as_u16(), 403);
    }
    let answer = with_key(&world.server, "/api/v1/device/x", &commands).await;
    assert_eq!(answer.expect(403), forbidden());
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&ALL).await;
    let theirs = json!({"displayName": "Theirs"});
    let theirs = world.bob.post("/v1/devices", theirs).await.expect(201);
    let their_key = world.bob.new_key(&ALL).await;
    let list = with_key(&world.server, "/api/v1/device", &their_key).await;
    let short = list.expect(200)["payload"][0]["device_id"].clone();
    let longest = "a".repeat(200);
    for id in [
        "9ReLWm2B3a01eOOa",
        "0000000000000000000000",
        NOBODY,
        &longest,
        "%3Cscript%3E",
        theirs["id"].as_str().unwrap(),
        short.as_str().unwrap(),
    ] {
        let path = format!("/api/v1/device/{id}");
        let answer = with_key(&world.server, &path, &key).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.text),
            (
                404,
                r#"{"code":404,"message":"Device not found","comments":{}}"#
            ),
            "{id}"
        );
    }
    for path in ["/api/v1/nothing", "/api/v1/device/x/y/z", "/api/v1/"] {
        let answer = with_key(&world.server, path, &key).await;
        assert_eq!(answer.expect(404), refusal(404, "Not Found"), "{path}");
    }
}

#[tokio::test]
async fn bad_requests_are_refused_in_the_envelope() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&ALL).await;
    let too_long = format!("/api/v1/device/{}", "a".repeat(201));
    for (path, message) in [
        (too_long.as_str(), "invalid device_id format"),
        ("/api/v1/command?colour=red", "colour: unknown"),
        ("/api/v1/device?item=label", "item: unknown"),
        ("/api/v1/tools/ping?id=a&id=b", "id: given twice"),
    ] {
        let answer = with_key(&world.server, path, &key).await;
        assert_eq!(answer.expect(400), refusal(400, message), "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = world.server.anybody().request(method, "/api/v1/command");
        let answer = send(request.header("x-auth-key", &key)).await;
        let message = "the path does not take this method";
        assert_eq!(answer.expect(405), refusal(405, message));
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn a_session_cookie_opens_the_gateway_in_a_browser() {
    let world = need!(World::new().await);
    let login = json!({"email": ADMIN, "password": PASSWORD});
    let login = world.server.anybody().post("/v1/auth:login", login).await;
    let session = login.expect(200)["sessionToken"].clone();
    let cookie = format!("yombo_session={}", session.as_str().unwrap());
    let request = world
        .server
        .anybody()
        .request(Method::GET, "/api/v1/tools/ping?id=x");
    let answer = send(request.header("cookie", cookie)).await.expect(200);
    assert_eq!(answer["payload"]["id"], "x");
}

#[tokio::test]
async fn a_revoked_key_is_unauthorized() {
    let world = need!(World::new().await);
    let key = json!({"displayName": "lost", "permissions": ALL});
    let key = world.alice.post("/v1/apiKeys", key).await.expect(201);
    let secret = key["secret"].as_str().unwrap();
    let path = "/api/v1/command";
    with_key(&world.server, path, secret).await.expect(200);
    let id = key["apiKey"]["id"].as_str().unwrap();
    let revoke = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&revoke, json!({})).await.expect(200);
    eventually("the refusal of a revoked key", async || {
        let answer = with_key(&world.server, path, secret).await;
        answer.status == 401 && answer.json() == unauthorized()
    })
    .await;
}

#[tokio::test]
async fn no_key_comes_into_the_log() {
    let server = need!(Server::start_logging("info").await);
    let owner = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let good = owner.new_key(&ALL).await;
    let poor = owner.new_key(&["tags.read"]).await;
    let wrong = "abc123xyz789wrongwrongwrong";
    for place in PLACES {
        for (path, key, status) in [
            ("/api/v1/command", good.as_str(), 200),
            ("/api/v1/command", &poor, 403),
            ("/api/v1/command", wrong, 401),
            ("/api/v1/command?colour=red", &good, 400),
            ("/api/v1/nothing", &good, 404),
            // A place of this API is no place of the others.
            ("/v1/devices?pageSize=x", &good, 400),
            ("/nothing", &good, 404),
        ] {
            let answer = get(&server, path, &[(place, key)]).await;
            if path.starts_with("/api/") {
                assert_eq!(answer.status.as_u16(), status, "{place:?} {path}");
            }
        }
    }
    // The line of the last request is written, so those before are.
    let last = "the-last-request";
    let request = server.anybody().request(Method::GET, "/api/v1/command");
    send(request.header("x-request-id", last)).await.expect(401);
    eventually("the log of the last request", async || {
        server.log().contains(last)
    })
    .await;
    let log = server.log();
    assert!(
        log.contains(r#"route="/api/v1/command" status=403"#),
        "{log}"
    );
    for key in [&*good, &*poor, wrong, PASSWORD] {
        assert!(!log.contains(key), "{key} is in the log:\n{log}");
        // Nor does a good part of it.
        let part = &key[key.len() - 16..];
        assert!(!log.contains(part), "{part} is in the log:\n{log}");
    }
}
