//! iottly's API 1.0, with its header `Authentication`.

use crate::support::{ADMIN, Answer, Caller, PASSWORD, World, eventually, send};
use reqwest::Method;
use serde_json::{Value, json};

/// What nothing has.
const NOBODY: &str = "00000000-0000-7000-8000-000000000000";
/// The id of the project that tenant A is.
const PROJECT: &str = "000000000000000000000001";

/// A program that has a key of a project.
struct Program {
    anybody: Caller,
    key: String,
}

impl Program {
    /// A program of an owner's project, with these permissions.
    async fn of(owner: &Caller, permissions: &[&str]) -> Self {
        let anybody = Caller {
            authorization: None,
            ..owner.clone()
        };
        let key = owner.new_key(permissions).await;
        Self { anybody, key }
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.anybody.request(method, &format!("/v1.0/{path}"));
        request.header("authentication", format!("bearer {}", self.key))
    }

    async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    /// Sends a body as it stands.
    async fn put_text(&self, path: &str, body: impl Into<String>) -> Answer {
        let request = self.request(Method::PUT, path).body(body.into());
        send(request.header("content-type", "application/json")).await
    }
}

const BOTH: [&str; 2] = ["devices.read", "devices.write"];

/// The text of an error, which is the only thing in its body.
#[track_caller]
fn refused(answer: &Answer, status: u16) -> String {
    assert_eq!(answer.header("content-type"), "application/json");
    let body = answer.expect(status);
    let text = body["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!(body, json!({"error": text}));
    assert!(!text.is_empty());
    text
}

/// The path of a device of tenant A's project.
fn props(device: &str) -> String {
    format!("project/{PROJECT}/device/{device}/props")
}

async fn create(owner: &Caller, device: Value) -> String {
    let device = owner.post("/v1/devices", device).await.expect(201);
    device["id"].as_str().unwrap().to_owned()
}

/// The path of a project of which this owner is.
async fn project_of(owner: &Caller) -> String {
    let mine = owner.get("/v1/me/tenants").await.expect(200);
    let current = owner.get("/v1/me").await.expect(200)["currentTenant"].clone();
    let mine = mine["tenants"].as_array().unwrap();
    let tenant = mine.iter().find(|t| t["tenant"]["id"] == current).unwrap();
    let number: u64 = tenant["tenant"]["number"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    format!("project/{number:024x}")
}

#[tokio::test]
async fn ping_answers_pong_to_whoever_has_a_key() {
    let world = need!(World::new().await);
    // Whatever the key may do otherwise.
    let program = Program::of(&world.alice, &["tags.read"]).await;
    for path in ["project/ping", "project/ping/"] {
        let answer = program.get(path).await;
        assert_eq!(answer.status.as_u16(), 200);
        assert_eq!(answer.text, r#"{"status":"pong"}"#);
        assert_eq!(answer.header("content-type"), "application/json");
    }
}

#[tokio::test]
async fn the_header_is_authentication_and_its_scheme_is_of_any_case() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&["devices.read"]).await;
    let anybody = world.server.anybody();
    for (name, value) in [
        ("Authentication", format!("bearer {key}")),
        ("authentication", format!("Bearer {key}")),
        ("AUTHENTICATION", format!("BEARER {key}")),
        ("authentication", format!("bearer   {key} ")),
        // A courtesy to who corrects what looks like a mistake.
        ("Authorization", format!("bearer {key}")),
    ] {
        let request = anybody.request(Method::GET, "/v1.0/project/ping");
        let answer = send(request.header(name, &value)).await;
        assert_eq!(answer.expect(200), json!({"status": "pong"}), "{name}");
    }
    // The documented one counts.
    let both = [("authentication", "wrong"), ("authorization", &key)];
    let mut request = anybody.request(Method::GET, "/v1.0/project/ping");
    for (name, key) in both {
        request = request.header(name, format!("bearer {key}"));
    }
    refused(&send(request).await, 401);
}

#[tokio::test]
async fn a_project_is_inspected_by_its_own_keys() {
    let world = need!(World::new().await);
    let inspect = format!("{}/inspect", project_of(&world.alice).await);
    assert_eq!(inspect, format!("project/{PROJECT}/inspect"));
    let program = Program::of(&world.alice, &["tags.read"]).await;
    let expected = json!({
        "id": PROJECT, "name": "default", "projectgetagenturl": "",
        "agentfile": "", "agentapihost": "", "board": "",
    });
    assert_eq!(program.get(&inspect).await.expect(200), expected);

    let theirs = Program::of(&world.bob, &["tags.read"]).await;
    let inspect = format!("{}/inspect", project_of(&world.bob).await);
    assert_eq!(theirs.get(&inspect).await.expect(200)["name"], "B");
}

#[tokio::test]
async fn devices_are_listed_as_documented() {
    let world = need!(World::new().await);
    let program = Program::of(&world.alice, &["devices.read"]).await;
    let list = format!("project/{PROJECT}/devices/props");
    assert_eq!(
        program.get(&list).await.text,
        r#"{"count":0,"errors":null,"devices":[]}"#
    );
    let labelled = json!({
        "displayName": "Labelled", "labels": {"macaddress": "aa:bb:cc:dd:ee:ff"},
        "attributes": {"agent_version": "1.8.0"}, "serialNumber": "S1",
    });
    let labelled = create(&world.alice, labelled).await;
    let numbered = json!({"displayName": "Numbered", "serialNumber": "S2"});
    let numbered = create(&world.alice, numbered).await;
    let bare = create(&world.alice, json!({"displayName": "Bare"})).await;
    create(&world.bob, json!({"displayName": "Theirs"})).await;

    let expected = json!({"count": 3, "errors": null, "devices": [
        {
            "macaddress": "aa:bb:cc:dd:ee:ff", "name": "Labelled",
            "operatingstatus": "disconnected", "token": labelled.replace('-', ""),
            "agent_version": "1.8.0", "ID": labelled,
        },
        {
            "macaddress": "S2", "name": "Numbered",
            "operatingstatus": "disconnected", "token": numbered.replace('-', ""),
            "agent_version": "", "ID": numbered,
        },
        {
            "macaddress": "", "name": "Bare",
            "operatingstatus": "disconnected", "token": bare.replace('-', ""),
            "agent_version": "", "ID": bare,
        },
    ]});
    assert_eq!(program.get(&list).await.expect(200), expected);
    for device in expected["devices"].as_array().unwrap() {
        let path = props(device["ID"].as_str().unwrap());
        assert_eq!(program.get(&path).await.expect(200), *device);
    }
}

#[tokio::test]
async fn licences_are_those_of_the_devices() {
    let world = need!(World::new().await);
    let program = Program::of(&world.alice, &["devices.read"]).await;
    let licences = format!("project/{PROJECT}/license");
    assert_eq!(program.get(&licences).await.text, "{}");
    let mut expected = json!({});
    for name in ["One", "Two"] {
        let device = json!({"displayName": name, "serialNumber": name});
        let id = create(&world.alice, device).await;
        expected[id.replace('-', "")] = json!({"status": "paired", "board": {
            "macaddress": name, "operatingstatus": "disconnected", "id": id, "name": name,
        }});
    }
    for path in [licences.clone(), format!("{licences}/")] {
        assert_eq!(program.get(&path).await.expect(200), expected);
    }
    for (token, licence) in expected.as_object().unwrap() {
        let one = program.get(&format!("{licences}/{token}")).await;
        assert_eq!(one.expect(200), json!({token: licence}));
    }
    let unknown = program.get(&format!("{licences}/{}", "0".repeat(32))).await;
    refused(&unknown, 404);
    let bad = program.get(&format!("{licences}/1")).await;
    assert_eq!(
        refused(&bad, 400),
        "license id: must be 32 hexadecimal digits"
    );
}

#[tokio::test]
async fn a_device_is_renamed() {
    let world = need!(World::new().await);
    let program = Program::of(&world.alice, &BOTH).await;
    let device = json!({"displayName": "old", "serialNumber": "S1", "description": "kept"});
    let id = create(&world.alice, device).await;
    let before = program.get(&props(&id)).await.expect(200);
    let renamed = program.put(&props(&id), json!({"name": "new"})).await;
    let mut expected = before.clone();
    expected["name"] = json!("new");
    assert_eq!(renamed.expect(200), expected);
    assert_eq!(program.get(&props(&id)).await.expect(200), expected);
    let device = world.alice.get(&format!("/v1/devices/{id}")).await;
    let device = device.expect(200);
    assert_eq!(
        (&device["displayName"], &device["description"]),
        (&json!("new"), &json!("kept"))
    );
}

#[tokio::test]
async fn a_bad_name_is_refused_and_the_old_one_stays() {
    let world = need!(World::new().await);
    let program = Program::of(&world.alice, &BOTH).await;
    let id = create(&world.alice, json!({"displayName": "old"})).await;
    let path = props(&id);
    let long = json!({"name": "x".repeat(201)}).to_string();
    for (body, text) in [
        (r#"{"name""#, "':' was expected at line 1, column 8"),
        ("[]", "an object was expected, not an array"),
        ("", "name: must have at least 1 character"),
        ("{}", "name: must have at least 1 character"),
        (r#"{"name":""}"#, "name: must have at least 1 character"),
        (r#"{"name":3}"#, "name: a string was expected, not a number"),
        (&long, "name: must have at most 200 characters"),
        (
            r#"{"name":"a","colour":"red"}"#,
            r#"colour: unknown field; known here are "projectId", "deviceId", "name""#,
        ),
    ] {
        let answer = program.put_text(&path, body).await;
        assert_eq!(refused(&answer, 400), text, "{body:.80}");
    }
    let large = json!({"name": "x".repeat(4 << 20)}).to_string();
    let answer = program.put_text(&path, large).await;
    assert_eq!(
        refused(&answer, 413),
        "the body is larger than 4194304 bytes"
    );
    let text = program.request(Method::PUT, &path).body("{}");
    let answer = send(text.header("content-type", "text/plain")).await;
    refused(&answer, 415);
    assert_eq!(program.get(&path).await.expect(200)["name"], "old");
}

#[tokio::test]
async fn a_key_of_another_project_is_forbidden() {
    let world = need!(World::new().await);
    let id = create(&world.alice, json!({"displayName": "ours"})).await;
    let stranger = Program::of(&world.bob, &BOTH).await;
    let text = "the key belongs to another project";
    for path in [
        format!("project/{PROJECT}/inspect"),
        format!("project/{PROJECT}/license"),
        format!("project/{PROJECT}/license/{}", id.replace('-', "")),
        format!("project/{PROJECT}/devices/props"),
        props(&id),
        props(NOBODY),
        // Whether there is such a project, nobody gets to know.
        "project/ffffffffffffffffffffffff/inspect".to_owned(),
    ] {
        assert_eq!(refused(&stranger.get(&path).await, 403), text, "{path}");
    }
    let name = json!({"name": "stolen"});
    let answer = stranger.put(&props(&id), name.clone()).await;
    assert_eq!(refused(&answer, 403), text);

    // Nor is a foreign device reached through the stranger's own project.
    let own = project_of(&world.bob).await;
    let through = format!("{own}/device/{id}/props");
    let there_is_none = format!("there is no device {id}");
    assert_eq!(refused(&stranger.get(&through).await, 404), there_is_none);
    let answer = stranger.put(&through, name).await;
    assert_eq!(refused(&answer, 404), there_is_none);
    let device = world.alice.get(&format!("/v1/devices/{id}")).await;
    assert_eq!(device.expect(200)["displayName"], "ours");
}

#[tokio::test]
async fn a_key_without_the_permission_is_forbidden() {
    let world = need!(World::new().await);
    let id = create(&world.alice, json!({"displayName": "old"})).await;
    let lacks = "the caller does not hold the permission";
    let none = Program::of(&world.alice, &["tags.read"]).await;
    for path in [
        format!("project/{PROJECT}/devices/props"),
        format!("project/{PROJECT}/license"),
        props(&id),
    ] {
        let answer = none.get(&path).await;
        assert_eq!(refused(&answer, 403), format!("{lacks} devices.read"));
    }
    let reader = Program::of(&world.alice, &["devices.read"]).await;
    let answer = reader.put(&props(&id), json!({"name": "new"})).await;
    assert_eq!(refused(&answer, 403), format!("{lacks} devices.write"));
    assert_eq!(reader.get(&props(&id)).await.expect(200)["name"], "old");
}

#[tokio::test]
async fn what_is_not_there_is_not_found_and_bad_ids_are_refused() {
    let world = need!(World::new().await);
    let program = Program::of(&world.alice, &BOTH).await;
    let answer = program.get(&props(NOBODY)).await;
    assert_eq!(
        refused(&answer, 404),
        format!("there is no device {NOBODY}")
    );
    let answer = program.put(&props(NOBODY), json!({"name": "new"})).await;
    assert_eq!(
        refused(&answer, 404),
        format!("there is no device {NOBODY}")
    );
    for path in ["nothing", "project", "project/", "project/pong"] {
        let answer = program.get(path).await;
        assert_eq!(refused(&answer, 404), "there is nothing at this path");
    }
    let project = "project id: must be 24 hexadecimal digits";
    for (path, text) in [
        ("project/1/inspect".to_owned(), project),
        (format!("project/{}/inspect", "g".repeat(24)), project),
        (format!("project/{}/devices/props", "0".repeat(25)), project),
        ("project/ping/inspect".to_owned(), project),
        (props("1"), "device id: must be a UUID"),
        ("project/ping?colour=red".to_owned(), "colour: unknown"),
    ] {
        assert_eq!(refused(&program.get(&path).await, 400), text, "{path}");
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = send(program.request(method, "project/ping")).await;
        assert_eq!(refused(&answer, 405), "the path does not take this method");
        assert_eq!(answer.header("allow"), "GET, HEAD");
    }
}

#[tokio::test]
async fn all_calls_are_authenticated() {
    let world = need!(World::new().await);
    let anybody = world.server.anybody();
    let key = world.alice.new_key(&BOTH).await;
    let id = create(&world.alice, json!({"displayName": "old"})).await;
    let basic = base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        format!("{ADMIN}:{PASSWORD}"),
    );
    let (none, wrong) = (
        "a credential is required, in one of: header `authentication: bearer <credential>`, header `authorization: bearer <credential>`",
        "the credential is wrong, or may not be used from this address",
    );
    let calls = [
        (Method::GET, "project/ping".to_owned()),
        (Method::GET, format!("project/{PROJECT}/inspect")),
        (Method::GET, format!("project/{PROJECT}/license")),
        (Method::GET, format!("project/{PROJECT}/devices/props")),
        (Method::GET, props(&id)),
        (Method::PUT, props(&id)),
    ];
    for (name, value, text) in [
        ("accept", "*/*".to_owned(), none),
        ("authentication", "bearer".to_owned(), none),
        ("authentication", key.clone(), none),
        ("authentication", format!("Basic {basic}"), none),
        ("authentication", "bearer garbage".to_owned(), wrong),
        ("authentication", format!("bearer {key}x"), wrong),
        // Places that other systems have, but not this one.
        ("authorization", format!("Basic {basic}"), none),
        ("authorization", format!("ApiKey {key}"), none),
        ("x-api-key", key.clone(), none),
        ("x-auth-key", key.clone(), none),
    ] {
        for (method, path) in &calls {
            let request = anybody.request(method.clone(), &format!("/v1.0/{path}"));
            let request = request.header(name, &value);
            let answer = if method == Method::PUT {
                send(request.json(&json!({"name": "stolen"}))).await
            } else {
                send(request).await
            };
            assert_eq!(refused(&answer, 401), text, "{name}: {value} {path}");
        }
    }
    let device = world.alice.get(&format!("/v1/devices/{id}")).await;
    assert_eq!(device.expect(200)["displayName"], "old");
}

#[tokio::test]
async fn a_revoked_key_is_refused() {
    let world = need!(World::new().await);
    let key = json!({"displayName": "lost", "permissions": BOTH});
    let key = world.alice.post("/v1/apiKeys", key).await.expect(201);
    let program = Program {
        anybody: world.server.anybody(),
        key: key["secret"].as_str().unwrap().to_owned(),
    };
    program.get("project/ping").await.expect(200);
    let id = key["apiKey"]["id"].as_str().unwrap();
    let revoke = format!("/v1/apiKeys/{id}:revoke");
    world.alice.post(&revoke, json!({})).await.expect(200);
    eventually("the refusal of a revoked key", async || {
        let answer = program.get("project/ping").await;
        answer.status == 401 && answer.json()["error"].is_string()
    })
    .await;
}
