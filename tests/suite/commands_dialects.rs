//! Telling devices something by the documented paths of other systems.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Caller, World, eventually, send, unique};

const KEY: [&str; 4] = [
    "commands.send",
    "commands.read",
    "commands.receive",
    "devices.read",
];

async fn device(world: &World) -> String {
    let body = json!({"displayName": unique()});
    let made = world.alice.post("/v1/devices", body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// What waits for the device.
async fn pull(world: &World, device: &str) -> Vec<Value> {
    let path = format!("/v1/devices/{device}/commands:pull");
    let pulled = world.alice.post(&path, json!({})).await.expect(200);
    let commands = pulled["deviceCommands"].as_array();
    commands.cloned().unwrap_or_default()
}

async fn yombo(world: &World, key: &str, path: &str) -> Answer {
    let request = world.server.anybody().request(Method::GET, path);
    send(request.header("x-api-auth", key)).await
}

fn refusal(code: u16, message: &str) -> Value {
    json!({"code": code, "message": message, "comments": {}})
}

async fn catalogue(world: &World) -> String {
    let name = format!("turn{}", unique().replace('-', ""));
    let takes = json!([
        {"name": "angle", "type": "TYPE_NUMBER", "max": 90},
        {"name": "room", "type": "TYPE_TEXT"},
    ]);
    let command = json!({"name": name, "parameters": takes});
    world.alice.post("/v1/commands", command).await.expect(201);
    name
}

#[tokio::test]
async fn yombo_tells_a_device_and_waits_for_what_becomes_of_it() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&KEY).await;
    let (device, name) = (device(&world).await, catalogue(&world).await);
    let path = format!("/api/v1/device/{device}/command/{name}");
    let query = format!("{path}?_wait=0&inputs[angle]=30&inputs[room]=7");
    let sent = yombo(&world, &key, &query).await.expect(200);
    let (code, message) = (&sent["code"], &sent["message"]);
    assert_eq!((code, message), (&json!(200), &json!("OK")));
    let payload = &sent["payload"];
    assert_eq!(payload["status_current"], Value::Null);
    let command = &payload["device_command"];
    assert_eq!(command["request_id"], payload["device_command_id"]);
    assert_eq!(command["inputs"], json!({"angle": 30, "room": "7"}));
    let (status, finished) = (&command["status"], &command["finished_at"]);
    assert_eq!((status, finished), (&json!("queued"), &Value::Null));
    assert_eq!(pull(&world, &device).await[0]["name"], name);
    let one = payload["device_command_id"].as_str().unwrap();
    let one = format!("/api/v1/device_command/{one}");
    let shown = yombo(&world, &key, &one).await.expect(200);
    assert_eq!(shown["payload"]["status"], "received");

    // Whoever waits is answered when the device has answered.
    let device_answers = async {
        let mut found = Vec::new();
        while found.is_empty() {
            found = pull(&world, &device).await;
        }
        let id = found[0]["id"].as_str().unwrap();
        let path = format!("/v1/deviceCommands/{id}:acknowledge");
        world.alice.post(&path, json!({})).await.expect(200);
    };
    let waits = format!("{path}?_wait=45");
    let (waited, ()) = tokio::join!(yombo(&world, &key, &waits), device_answers);
    let waited = waited.expect(200);
    assert_eq!(waited["payload"]["device_command"]["status"], "done");
}

#[tokio::test]
async fn yombo_refuses_in_its_own_words() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&KEY).await;
    let (device, name) = (device(&world).await, catalogue(&world).await);
    let nobody = "00000000-0000-7000-8000-000000000000";
    let long = "x".repeat(201);
    let here = format!("/api/v1/device/{device}/command");
    for (path, status, message) in [
        (
            format!("{here}/fly"),
            404,
            "Error with command, it is not found: fly".to_owned(),
        ),
        (
            format!("/api/v1/device/{nobody}/command/{name}"),
            404,
            "Device not found".to_owned(),
        ),
        (
            format!("/api/v1/device/{long}/command/{name}"),
            400,
            "invalid device_id format".to_owned(),
        ),
        (
            format!("{here}/{name}?inputs[angle]=91"),
            200,
            "Error with command: parameters.angle: must be at most 90".to_owned(),
        ),
        (
            format!("/api/v1/device_command/{nobody}"),
            404,
            format!("Error with device command id: {nobody}"),
        ),
    ] {
        let refused = yombo(&world, &key, &path).await.expect(status);
        assert_eq!(refused, refusal(status, &message), "{path}");
    }
    let poor = world.alice.new_key(&["devices.read"]).await;
    let refused = yombo(&world, &poor, &format!("{here}/{name}")).await;
    let forbidden = "Forbidden - No access to protected resource";
    assert_eq!(refused.expect(403), refusal(403, forbidden));
    assert!(pull(&world, &device).await.is_empty());
}

#[tokio::test]
async fn yombo_delays_a_command_and_lets_it_expire() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&KEY).await;
    let (device, name) = (device(&world).await, catalogue(&world).await);
    let path = format!("/api/v1/device/{device}/command/{name}?_wait=0");
    let later = format!("{path}&delay=3600&max_delay=60");
    let sent = yombo(&world, &key, &later).await.expect(200);
    let command = &sent["payload"]["device_command"];
    let at = |field: &str| command[field].as_f64().unwrap();
    assert!((at("not_after_at") - at("not_before_at") - 60.0).abs() < 0.1);
    assert!(at("not_before_at") - at("created_at") > 3500.0);
    assert!(pull(&world, &device).await.is_empty());
    let soon = yombo(&world, &key, &format!("{path}&max_delay=0.2")).await;
    let soon = soon.expect(200)["payload"]["device_command_id"].clone();
    let one = format!("/api/v1/device_command/{}", soon.as_str().unwrap());
    eventually("its time is over", || async {
        yombo(&world, &key, &one).await.expect(200)["payload"]["status"] == "expired"
    })
    .await;
    assert!(pull(&world, &device).await.is_empty());
}

#[tokio::test]
async fn iottly_tells_a_device_of_the_keys_own_project() {
    let world = need!(World::new().await);
    let key = world.alice.new_key(&["commands.send"]).await;
    let device = device(&world).await;
    let post = async |project: u8, device: &str, body: Value| {
        let path = format!("/v1.0/project/{project:024x}/device/{device}/command");
        let request = world.server.anybody().request(Method::POST, &path);
        let request = request.header("authentication", format!("bearer {key}"));
        send(request.json(&body)).await
    };
    let echo = json!({"cmd_type": "echo", "values": {"echo.content": "hello"}});
    let told = post(1, &device, echo.clone()).await.expect(200);
    assert_eq!(told, json!({"status": 200}));
    let got = &pull(&world, &device).await[0];
    assert_eq!(got["name"], "echo");
    assert_eq!(got["parameters"], json!({"echo.content": "hello"}));
    for (answer, status) in [
        (post(2, &device, echo.clone()).await, 403),
        (post(1, &device, json!({"values": {}})).await, 400),
        (post(1, "x", echo).await, 400),
    ] {
        let body = answer.expect(status);
        assert!(
            body["error"].as_str().is_some_and(|e| !e.is_empty()),
            "{body}"
        );
    }
    assert!(pull(&world, &device).await.is_empty());
}

async fn messages(caller: &Caller, space: &str, query: &str) -> Vec<Value> {
    let path = format!("/v2/spaces/{space}/messages?{query}");
    let listed = caller.get(&path).await.expect(200);
    listed.as_array().unwrap().clone()
}

#[tokio::test]
async fn hardwario_sends_messages_down_and_lists_them_newest_first() {
    let world = need!(World::new().await);
    let caller = world.alice.key_holder(&KEY).await;
    let (device, space) = (device(&world).await, world.tenant_a.as_str());
    let here = format!("/v2/spaces/{space}/devices/{device}");
    let commands = caller
        .post(&format!("{here}/commands"), json!(["ping"]))
        .await;
    let commands = commands.expect(201);
    assert_eq!(commands["body"], r#"["ping"]"#);
    let (direction, state) = (&commands["direction"], &commands["down_state"]);
    assert_eq!((direction, state), (&json!("down"), &json!("pending")));
    assert_eq!(
        (&commands["down_attempt"], &commands["raw"]),
        (&json!(0), &Value::Null)
    );
    let configs = json!(["app config interval-report 900"]);
    caller
        .post(&format!("{here}/configs"), configs)
        .await
        .expect(201);
    let downlink = json!({"led": {"on": true}});
    caller
        .post(&format!("{here}/downlinks"), downlink)
        .await
        .expect(201);
    let message = json!({"device_id": device, "body": {"x": 1}, "type": "custom"});
    let path = format!("/v2/spaces/{space}/messages");
    caller.post(&path, message.clone()).await.expect(201);
    caller.post("/v2/messages", message).await.expect(201);
    let types = |messages: &[Value]| -> Vec<String> {
        let types = messages.iter().map(|m| m["type"].as_str().unwrap());
        types.map(str::to_owned).collect()
    };
    let all = messages(&caller, space, "").await;
    let newest_first = ["custom", "custom", "downlink", "config", "command"];
    assert_eq!(types(&all), newest_first);
    assert_eq!(all[2]["body"], r#"{"led":{"on":true}}"#);
    let some = messages(&caller, space, "limit=3&direction=down").await;
    let last = some[2]["id"].as_str().unwrap();
    let rest = messages(&caller, space, &format!("offset={last}")).await;
    assert_eq!(types(&rest), ["config", "command"]);
    let config = messages(&caller, space, &format!("type=config&device_id={device}")).await;
    assert_eq!(types(&config), ["config"]);
    assert!(messages(&caller, space, "direction=up").await.is_empty());
    assert!(
        messages(&caller, space, "before=2020-01-01T00:00:00")
            .await
            .is_empty()
    );
    assert_eq!(pull(&world, &device).await.len(), 5);
    let sent = messages(&caller, space, "limit=1").await;
    assert_eq!(
        (&sent[0]["down_state"], &sent[0]["down_attempt"]),
        (&json!("sent"), &json!(1))
    );
    let nobody = "0198c5a2-7d1e-7bd0-9a3c-00000000ffff";
    let path = format!("/v2/spaces/{space}/devices/{nobody}/commands");
    let refused = caller.post(&path, json!(["ping"])).await;
    assert_eq!(
        (refused.status.as_u16(), refused.text.as_str()),
        (404, "not found")
    );
}
