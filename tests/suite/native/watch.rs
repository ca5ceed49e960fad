//! Devices are followed over HTTP: as server-sent events, as lines, and by
//! asking now and then.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{text, world};
use crate::support::{Caller, unique};

const PATH: &str = "/v1/devices:watch";

/// A stream that is read piece by piece.
struct Stream(reqwest::Response, String);

impl Stream {
    async fn open(caller: &Caller, path: &str, accept: &str, last: Option<&str>) -> Self {
        let mut request = caller.request(Method::GET, path).header("accept", accept);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], accept);
        Self(response, String::new())
    }

    /// What comes before the next separator.
    async fn until(&mut self, separator: &str) -> String {
        loop {
            if let Some((found, rest)) = self.1.split_once(separator) {
                let found = found.to_owned();
                self.1 = rest.to_owned();
                return found;
            }
            let some = tokio::time::timeout(Duration::from_secs(30), self.0.chunk());
            let some = some.await.expect("something is told").unwrap();
            let some = some.expect("the stream goes on");
            self.1.push_str(std::str::from_utf8(&some).unwrap());
        }
    }

    /// The next event that is not about a device that other tests change or
    /// delete.
    async fn own_event(&mut self) -> (Option<String>, Option<String>, Value) {
        loop {
            let event = self.event().await;
            if event.2.get("removed").is_none() {
                return event;
            }
        }
    }

    /// The change of the device of this name. What others' transactions hold
    /// back comes later than the word that all is told, and what was listed may
    /// be told again.
    async fn change(&mut self, name: &str) -> (Option<String>, Value) {
        loop {
            let (id, _, mut told) = self.own_event().await;
            if told["changed"]["displayName"] == name {
                return (id, told["changed"].take());
            }
        }
    }

    /// Why this device is removed.
    async fn removal(&mut self, id: &Value) -> Value {
        loop {
            let (_, _, told) = self.event().await;
            if told["removed"]["id"] == *id {
                return told["removed"]["reason"].clone();
            }
        }
    }

    /// The next server-sent event: its id, its name and its data.
    async fn event(&mut self) -> (Option<String>, Option<String>, Value) {
        loop {
            let event = self.until("\n\n").await;
            let field = |name: &str| {
                let prefix = format!("{name}: ");
                event
                    .lines()
                    .find_map(|line| line.strip_prefix(&prefix).map(str::to_owned))
            };
            if let Some(data) = field("data") {
                let data = serde_json::from_str(&data).unwrap();
                return (field("id"), field("event"), data);
            }
        }
    }
}

async fn create(caller: &Caller, name: &str) -> Value {
    let device = json!({"displayName": name});
    caller.post("/v1/devices", device).await.expect(201)
}

/// A path that watches only devices of this name.
fn only(name: &str) -> String {
    format!("{PATH}?filter=display_name%20=%20%22{name}*%22")
}

#[tokio::test]
async fn a_page_that_reconnects_hears_what_happened_meanwhile() {
    let world = need!(world().await);
    let name = unique();
    let path = only(&name);
    create(&world.olga, &format!("{name} a")).await;
    let accept = "text/event-stream";
    let mut stream = Stream::open(&world.victor, &path, accept, None).await;
    let (_, _, first) = stream.own_event().await;
    assert_eq!(first["device"]["displayName"], format!("{name} a"));
    let (id, _, synced) = stream.own_event().await;
    assert_eq!(synced["synced"], json!({}));
    assert_eq!(id.as_deref(), synced["resumeToken"].as_str());
    create(&world.olga, &format!("{name} b")).await;
    let (id, _) = stream.change(&format!("{name} b")).await;
    drop(stream);
    let c = create(&world.olga, &format!("{name} c")).await;
    let mut stream = Stream::open(&world.victor, &path, accept, id.as_deref()).await;
    let (_, told) = stream.change(&format!("{name} c")).await;
    assert_eq!(told["id"], c["id"]);
    let one = format!("/v1/devices/{}", text(&c["id"]));
    world.olga.delete(&one).await.expect(200);
    assert_eq!(stream.removal(&c["id"]).await, "REASON_DELETED");
}

#[tokio::test]
async fn lines_and_pages_say_the_same() {
    let world = need!(world().await);
    let name = unique();
    create(&world.olga, &name).await;
    let mut lines = Stream::open(&world.victor, &only(&name), "application/x-ndjson", None).await;
    let line: Value = serde_json::from_str(&lines.until("\n").await).unwrap();
    assert_eq!(line["device"]["displayName"], name);
    let path = only(&name).replace("watch", "changes");
    let page = world.victor.get(&path).await.expect(200);
    assert_eq!(page["changes"][0]["device"]["displayName"], name);
    let next = format!("{path}&resumeToken={}", text(&page["resumeToken"]));
    let page = world.victor.get(&next).await.expect(200);
    // What is removed elsewhere in the tenant is told to every reader; and what
    // was listed, once more if others' transactions held it back.
    let changes = page["changes"].as_array().cloned().unwrap_or_default();
    let devices = changes.iter().filter_map(|change| change.get("device"));
    let others = devices.filter(|device| device["displayName"] != name);
    assert_eq!(others.count(), 0);
    assert_eq!(page["upToDate"], true);
}

#[tokio::test]
async fn a_watch_ends_with_its_credential() {
    let world = need!(world().await);
    let key = json!({"displayName": "watches", "permissions": ["devices.read"]});
    let key = world.alice.post("/v1/apiKeys", key).await.expect(201);
    let watcher = world.alice.with(format!("Bearer {}", text(&key["secret"])));
    let accept = "text/event-stream";
    let mut stream = Stream::open(&watcher, &only(&unique()), accept, None).await;
    assert_eq!(stream.own_event().await.2["synced"], json!({}));
    let revoke = format!("/v1/apiKeys/{}:revoke", text(&key["apiKey"]["id"]));
    world.alice.post(&revoke, json!({})).await.expect(200);
    let (_, event, told) = stream.own_event().await;
    assert_eq!(event.as_deref(), Some("error"));
    assert_eq!(told["error"]["code"], 16, "{told}");
}
