//! What devices are told, from whoever tells it to the device and back.

use serde_json::{Value, json};

use super::{fresh_id, text, world};
use crate::suite::cli::Terminal;
use crate::support::{ADMIN, PASSWORD};
use crate::support::{Caller, Server, eventually, log_in, unique};

async fn device(caller: &Caller, labels: Value) -> String {
    let body = json!({"displayName": unique(), "labels": labels});
    let made = caller.post("/v1/devices", body).await.expect(201);
    text(&made["id"]).to_owned()
}

async fn send(caller: &Caller, device: &str, body: Value) -> String {
    let path = format!("/v1/devices/{device}/commands");
    let sent = caller.post(&path, body).await.expect(201);
    assert_eq!(sent["state"], "STATE_QUEUED");
    text(&sent["id"]).to_owned()
}

/// A stream over HTTP, read as it comes.
struct Stream {
    answer: reqwest::Response,
    read: String,
}

impl Stream {
    async fn open(caller: &Caller, path: &str, accept: &str) -> Self {
        let request = caller.request(reqwest::Method::GET, path);
        let answer = request.header("accept", accept).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        let kind = answer.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with(accept), "{kind}");
        let read = String::new();
        Self { answer, read }
    }

    /// The next command.
    async fn next(&mut self) -> Value {
        let next = async {
            loop {
                if let Some((line, rest)) = self.read.split_once('\n') {
                    let line = line.trim().trim_start_matches("data:").trim().to_owned();
                    self.read = rest.to_owned();
                    let said: Value = serde_json::from_str(&line).unwrap_or_default();
                    if said["deviceCommand"].is_object() {
                        return said["deviceCommand"].clone();
                    }
                    continue;
                }
                let some = self.answer.chunk().await.unwrap();
                let some = some.expect("the stream goes on");
                self.read += std::str::from_utf8(&some).unwrap();
            }
        };
        let bound = std::time::Duration::from_secs(60);
        tokio::time::timeout(bound, next)
            .await
            .expect("a command comes")
    }
}

#[tokio::test]
async fn a_command_goes_to_the_device_by_a_stream_and_its_answer_comes_back() {
    let world = need!(world().await);
    let name = unique();
    let angle = json!({"name": "angle", "type": "TYPE_NUMBER", "required": true, "max": 90});
    let command = json!({"name": name, "parameters": [angle]});
    world.olga.post("/v1/commands", command).await.expect(201);
    let device = device(&world.olga, json!({})).await;
    let receiver = world.alice.key_holder(&["commands.receive"]).await;
    let path = format!("/v1/devices/{device}/commands:receive");
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let mut stream = Stream::open(&receiver, &path, accept).await;
        let body = json!({"command": name, "parameters": {"angle": 30}});
        let id = send(&world.olga, &device, body).await;
        let command = stream.next().await;
        assert_eq!(
            (&command["id"], &command["name"]),
            (&json!(id), &json!(name))
        );
        assert_eq!(command["state"], "STATE_DELIVERED");
        assert_eq!(command["parameters"], json!({"angle": 30}));
        let wait = world.olga.clone();
        let path = format!("/v1/deviceCommands/{id}:wait?timeout=50s");
        let waits = tokio::spawn(async move { wait.get(&path).await.expect(200) });
        let path = format!("/v1/deviceCommands/{id}:acknowledge");
        let body = json!({"result": {"angle": 29.5}});
        receiver.post(&path, body).await.expect(200);
        let done = waits.await.unwrap();
        assert_eq!(done["state"], "STATE_ACKNOWLEDGED");
        assert_eq!(done["result"], json!({"angle": 29.5}));
    }
    let path = format!("/v1/devices/{device}/commands");
    let wrong = json!({"command": name, "parameters": {"angle": 91, "x": 1}});
    let refused = world.olga.post(&path, wrong).await.fields();
    assert_eq!(refused, ["parameters.angle", "parameters.x"]);
    let all = world.victor.get(&format!("{path}?countTotal=true")).await;
    assert_eq!(all.expect(200)["totalSize"], "2");
}

#[tokio::test]
async fn nobody_sends_or_receives_without_the_permission_or_in_another_tenant() {
    let world = need!(world().await);
    let device = device(&world.olga, json!({})).await;
    let path = format!("/v1/devices/{device}/commands");
    let id = send(&world.olga, &device, json!({"name": "restart"})).await;
    let body = json!({"name": "restart"});
    let refused = world.victor.post(&path, body.clone()).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
    let pull = format!("{path}:pull");
    let sender = world.alice.key_holder(&["commands.send"]).await;
    let refused = sender.post(&pull, json!({})).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
    let bob = &world.bob;
    for (path, body) in [(&path, body), (&pull, json!({}))] {
        assert_eq!(bob.post(path, body).await.reason(404), "NOT_FOUND");
    }
    for verb in ["acknowledge", "fail", "cancel"] {
        let path = format!("/v1/deviceCommands/{id}:{verb}");
        assert_eq!(bob.post(&path, json!({})).await.reason(404), "NOT_FOUND");
    }
    let stream = bob.get(&format!("{path}:receive")).await;
    assert_eq!(stream.reason(404), "NOT_FOUND");
    let nobody = format!("/v1/deviceCommands/{}", fresh_id());
    assert_eq!(world.olga.get(&nobody).await.reason(404), "NOT_FOUND");
}

#[tokio::test]
async fn people_send_list_and_cancel_by_the_program() {
    let world = need!(world().await);
    let device = device(&world.olga, json!({})).await;
    let key = world
        .alice
        .new_key(&["commands.send", "commands.read", "commands.receive"])
        .await;
    let terminal = Terminal::with_key(world, &key);
    let send = ["command", "send", &device, "restart", "in=5", "--free"];
    let sent = terminal
        .run(&[&send[..], &["-o", "json"]].concat(), "")
        .await;
    let sent: Value = serde_json::from_str(&sent.ok()).unwrap();
    assert_eq!(sent["parameters"], json!({"in": 5}));
    let unknown = terminal.run(&send[..5], "").await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("needs --free"), "{}", unknown.err);
    let list = ["command", "list", "--device", &device];
    let listed = terminal.run(&list, "").await.ok();
    assert!(
        listed.contains("restart") && listed.contains("queued"),
        "{listed}"
    );
    let cancel = ["command", "cancel", text(&sent["id"])];
    assert!(terminal.run(&cancel, "").await.ok().contains("cancelled"));
}

#[tokio::test]
async fn people_keep_the_catalogue_by_the_program_and_are_held_to_it() {
    let world = need!(world().await);
    let device = device(&world.olga, json!({})).await;
    let key = ["commands.send", "commands.read", "commands.write"];
    let terminal = Terminal::with_key(world, &world.alice.new_key(&key).await);
    let name = unique();
    let angle = "angle:number,required,min=0,max=90";
    let mode = "mode:enum,values=slow|fast";
    let define = ["command", "define", &name, "--title", "Open"];
    let define = [&define[..], &["--parameter", angle, "--parameter", mode]].concat();
    let define = [&define[..], &["--ttl", "2h", "--attempts", "3"]].concat();
    let made = terminal.json(&define).await;
    let parameters = [
        json!({"name": "angle", "type": "TYPE_NUMBER", "required": true, "min": 0.0, "max": 90.0,
            "values": [], "description": ""}),
        json!({"name": "mode", "type": "TYPE_ENUM", "required": false, "min": null, "max": null,
            "values": ["slow", "fast"], "description": ""}),
    ];
    assert_eq!(made["parameters"], json!(parameters));
    assert_eq!(
        (&made["defaultTtl"], &made["defaultMaxAttempts"]),
        (&json!("7200s"), &json!(3))
    );
    let listed = terminal.run(&["command", "catalogue"], "").await.ok();
    for told in [name.as_str(), "Open", angle, mode] {
        assert!(listed.contains(told), "{told}: {listed}");
    }
    let send = ["command", "send", &device, &name];
    let refused = terminal.run(&[&send[..], &["angle=91"]].concat(), "").await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("parameters.angle"), "{}", refused.err);
    let sent = terminal.json(&[&send[..], &["angle=30"]].concat()).await;
    assert_eq!(
        (&sent["commandId"], &sent["maxAttempts"]),
        (&made["id"], &json!(3))
    );
    // What is defined again is another command of the same name and id.
    let again = terminal.json(&["command", "define", &name]).await;
    assert_eq!(
        (&again["id"], &again["parameters"]),
        (&made["id"], &json!([]))
    );
    // No name is that of no command.
    for nothing in [["command", "undefine", ""], ["command", "define", ""]] {
        assert_eq!(terminal.run(&nothing, "").await.code, 1);
    }
    let kept = terminal.json(&["command", "catalogue"]).await;
    let kept = kept.as_array().unwrap().iter();
    assert_eq!(kept.filter(|command| **command == again).count(), 1);
    let undefine = ["command", "undefine", &name];
    assert!(terminal.run(&undefine, "").await.ok().contains("Deleted"));
    let gone = terminal.run(&undefine, "").await;
    assert_eq!(gone.code, 1);
    assert!(
        gone.err.contains("muster command catalogue"),
        "{}",
        gone.err
    );
    for wrong in [
        "angle",
        "angle:float",
        "angle:number,min=low",
        "angle:number,most=9",
    ] {
        let define = ["command", "define", &name, "--parameter", wrong];
        let refused = terminal.run(&define, "").await;
        assert_eq!(refused.code, 2, "{wrong}");
    }
}

/// How many devices a batch is for: more than are told in one transaction.
const MANY: usize = 600;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_to_many_goes_on_after_a_kill_and_reaches_each_once() {
    let server = need!(Server::start().await);
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let region = unique();
    let mut creators = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let (alice, region) = (alice.clone(), region.clone());
        creators.spawn(async move {
            let mut made = Vec::new();
            for _ in 0..MANY / 10 {
                made.push(device(&alice, json!({"region": region})).await);
            }
            made
        });
    }
    let mut made = creators.join_all().await.concat();
    let body = json!({"name": "restart", "filter": format!("labels.region = \"{region}\"")});
    let batch = alice
        .post("/v1/devices:sendCommand", body)
        .await
        .expect(201);
    assert_eq!(batch["deviceCount"], MANY.to_string());
    let server = Server::start_on(server.kill()).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let id = text(&batch["id"]);
    let path = format!("/v1/commandBatches/{id}");
    eventually("all are told", || async {
        alice.get(&path).await.expect(200)["state"] == "STATE_DONE"
    })
    .await;
    let batch = alice.get(&path).await.expect(200);
    assert_eq!(batch["queuedCount"], MANY.to_string());
    assert_eq!(batch["counts"]["queued"], MANY.to_string());
    let (mut told, mut token) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/deviceCommands?batchId={id}&pageSize=1000&pageToken={token}");
        let page = alice.get(&path).await.expect(200);
        let commands = page["deviceCommands"].as_array().unwrap();
        told.extend(commands.iter().map(|c| text(&c["deviceId"]).to_owned()));
        match page.get("nextPageToken") {
            Some(next) => token = text(next).to_owned(),
            None => break,
        }
    }
    told.sort();
    made.sort();
    assert_eq!(told, made);
}
