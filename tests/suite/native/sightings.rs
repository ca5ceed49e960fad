//! When devices were last heard of, told by streams that go on.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use prost_types::Timestamp;
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::record_sightings_request::Device;
use proto::registry::{RecordSightingsRequest, RecordSightingsResponse};
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use super::{fresh_id, text, world};
use crate::support::{Answer, Caller, eventually, grpc, unique};

const PATH: &str = "/v1/devices:recordSightings";

/// A new device's id and serial number.
async fn device(caller: &Caller) -> (String, String) {
    let serial_number = unique();
    let device = json!({"displayName": "seen", "serialNumber": serial_number});
    let device = caller.post("/v1/devices", device).await.expect(201);
    (text(&device["id"]).to_owned(), serial_number)
}

async fn last_seen(caller: &Caller, id: &str) -> Value {
    let device = caller.get(&format!("/v1/devices/{id}")).await;
    device.expect(200)["lastSeenTime"].clone()
}

fn authorization(caller: &Caller) -> &str {
    caller.authorization.as_deref().unwrap()
}

/// A request over HTTP/1.1 whose body is sent in pieces.
struct Upload(TcpStream);

impl Upload {
    fn begin(caller: &Caller, content_type: &str) -> Self {
        let address = caller.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(address).unwrap();
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
             authorization: {}\r\ncontent-type: {content_type}\r\n\
             transfer-encoding: chunked\r\n\r\n",
            authorization(caller)
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self(stream)
    }

    fn send(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        self.0.write_all(chunk.as_bytes()).unwrap();
    }

    /// The status and the body of the answer.
    async fn answer(mut self) -> (u16, Value) {
        let read = tokio::task::spawn_blocking(move || {
            // Not to its end: after an early answer, the server listens on for a while.
            let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
            loop {
                let length = self.0.read(&mut piece).unwrap();
                answer.extend_from_slice(&piece[..length]);
                let text = String::from_utf8_lossy(&answer);
                let body = text.find('{').zip(text.rfind('}'));
                let body = body.and_then(|(from, to)| text.get(from..=to));
                if let Some(body) = body.and_then(|body| serde_json::from_str(body).ok()) {
                    return (text.split(' ').nth(1).unwrap().parse().unwrap(), body);
                }
                assert!(length > 0, "{text}");
            }
        });
        read.await.unwrap()
    }

    async fn end(mut self) -> (u16, Value) {
        self.0.write_all(b"0\r\n\r\n").unwrap();
        self.answer().await
    }
}

#[tokio::test]
async fn sightings_are_taken_before_the_client_has_told_all() {
    let world = need!(world().await);
    for (kind, opening, between, closing) in [
        ("application/x-ndjson", "", "\n", ""),
        ("application/json", "[", ",", "]"),
    ] {
        let (id, serial_number) = device(&world.olga).await;
        let mut upload = Upload::begin(&world.olga, kind);
        let sighting = json!({"id": id, "seenTime": "2026-01-02T03:04:05Z"});
        upload.send(&format!("{opening}{sighting}"));
        eventually("the first sighting is taken", || async {
            last_seen(&world.olga, &id).await == "2026-01-02T03:04:05Z"
        })
        .await;
        let sighting = json!({"serialNumber": serial_number, "seenTime": "2026-02-03T04:05:06Z"});
        let sighting = format!("{between}{sighting}");
        let (half, rest) = sighting.split_at(20);
        upload.send(half);
        upload.send(rest);
        eventually("the second sighting is taken", || async {
            last_seen(&world.olga, &id).await == "2026-02-03T04:05:06Z"
        })
        .await;
        if !closing.is_empty() {
            upload.send(closing);
        }
        assert_eq!(upload.end().await, (200, json!({"knownCount": "2"})));
    }
}

async fn tell(caller: &Caller, body: String) -> Answer {
    let kind = Some("application/x-ndjson");
    caller.raw(reqwest::Method::POST, PATH, kind, body).await
}

#[tokio::test]
async fn what_is_unknown_is_told_and_other_tenants_devices_are() {
    let world = need!(world().await);
    let (id, serial_number) = device(&world.olga).await;
    let external_id = unique();
    let external = json!({"displayName": "seen", "externalId": external_id});
    world.olga.post("/v1/devices", external).await.expect(201);
    let (theirs, their_number) = device(&world.bob).await;
    let nobody = fresh_id();
    let body = [
        json!({"id": id}),
        json!({"serialNumber": serial_number}),
        json!({"externalId": external_id}),
        json!({"id": theirs}),
        json!({"serialNumber": their_number}),
        json!({"id": nobody}),
        json!({"id": nobody}),
    ];
    let body = body.map(|sighting| sighting.to_string()).join("\n");
    let told = tell(&world.olga, body).await.expect(200);
    let want = json!({
        "knownCount": "3", "unknownCount": "4",
        "unknownDevices": [theirs, their_number, nobody],
    });
    assert_eq!(told, want);
    assert_eq!(last_seen(&world.bob, &theirs).await, Value::Null);
    assert_ne!(last_seen(&world.olga, &id).await, Value::Null);
}

#[tokio::test]
async fn a_device_is_never_seen_less_lately_and_never_in_the_future() {
    let world = need!(world().await);
    let (id, serial_number) = device(&world.olga).await;
    let before = world
        .olga
        .get(&format!("/v1/devices/{id}"))
        .await
        .expect(200);
    let mut latest = BTreeMap::new();
    for round in 0..10_u64 {
        // Within a batch and between batches, in any order, by either name.
        let days = (0..30).map(|at| 1 + (at * 17 + round * 7) % 28);
        let sightings = days.map(|day| {
            let time = format!("2026-03-{day:02}T00:00:00Z");
            latest.insert(time.clone(), ());
            match day % 2 {
                0 => json!({"id": id, "seenTime": time}),
                _ => json!({"serialNumber": serial_number, "seenTime": time}),
            }
        });
        let body: Vec<_> = sightings.map(|sighting| sighting.to_string()).collect();
        tell(&world.olga, body.join("\n")).await.expect(200);
        let (most, ()) = latest.last_key_value().unwrap();
        assert_eq!(last_seen(&world.olga, &id).await, most.as_str());
    }
    let device = world
        .olga
        .get(&format!("/v1/devices/{id}"))
        .await
        .expect(200);
    for same in ["etag", "updateTime", "displayName"] {
        assert_eq!(device[same], before[same], "{same}");
    }
    let future = json!({"id": id, "seenTime": "9999-12-31T23:59:59Z"}).to_string();
    tell(&world.olga, future).await.expect(200);
    let seen = last_seen(&world.olga, &id).await;
    assert!(text(&seen) < "9000", "{seen}");
    // So that later sightings still count.
    tell(&world.olga, json!({"id": id}).to_string())
        .await
        .expect(200);
    assert!(text(&last_seen(&world.olga, &id).await) > text(&seen));
}

#[tokio::test]
async fn a_message_that_is_wrong_is_named_and_what_came_before_it_stays() {
    let world = need!(world().await);
    for (wrong, field) in [
        (json!({"nope": 1}), "[1].nope"),
        (json!({"seenTime": "yesterday"}), "[1].seen_time"),
        (json!({"id": "no"}), "[1].id"),
        (json!({"serialNumber": ""}), "[1].serial_number"),
        (json!({}), "[1].device"),
    ] {
        let (id, _) = device(&world.olga).await;
        let mut upload = Upload::begin(&world.olga, "application/x-ndjson");
        upload.send(&json!({"id": id}).to_string());
        eventually("what came before is taken", || async {
            !last_seen(&world.olga, &id).await.is_null()
        })
        .await;
        upload.send(&wrong.to_string());
        // Nobody waits for the rest.
        let (status, body) = upload.answer().await;
        assert_eq!((status, &body["code"]), (400, &json!(3)), "{body}");
        let violation = &body["details"][1]["fieldViolations"][0];
        assert_eq!(violation["field"], field, "{body}");
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_what_it_told_as_a_whole() {
    let world = need!(world().await);
    let (first, _) = device(&world.olga).await;
    let (second, _) = device(&world.olga).await;
    let mut upload = Upload::begin(&world.olga, "application/x-ndjson");
    upload.send(&json!({"id": first}).to_string());
    // Between processes, a stream that breaks off overtakes what it held.
    eventually("the whole message is taken", || async {
        !last_seen(&world.olga, &first).await.is_null()
    })
    .await;
    upload.send(&format!("{{\"id\": \"{second}\""));
    upload.0.shutdown(Shutdown::Both).unwrap();
    assert_eq!(last_seen(&world.olga, &second).await, Value::Null);
}

#[tokio::test]
async fn who_may_not_write_devices_may_not_tell_of_them() {
    let world = need!(world().await);
    let (id, _) = device(&world.olga).await;
    let reader = world.alice.key_holder(&["devices.read"]).await;
    let refused = tell(&reader, json!({"id": id}).to_string()).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
    // Also while he goes on talking.
    let upload = Upload::begin(&reader, "application/x-ndjson");
    assert_eq!(upload.answer().await.0, 403);
    assert_eq!(last_seen(&world.olga, &id).await, Value::Null);
}

#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let world = need!(world().await);
    let (id, _) = device(&world.olga).await;
    let key = json!({"displayName": "receiver", "permissions": ["devices.write"]});
    let key = world.alice.post("/v1/apiKeys", key).await.expect(201);
    let holder = world.alice.with(format!("Bearer {}", text(&key["secret"])));
    let mut upload = Upload::begin(&holder, "application/x-ndjson");
    upload.send(&json!({"id": id}).to_string());
    eventually("it is taken", || async {
        !last_seen(&world.olga, &id).await.is_null()
    })
    .await;
    let path = format!("/v1/apiKeys/{}", text(&key["apiKey"]["id"]));
    world.alice.delete(&path).await.expect(200);
    let (status, body) = upload.answer().await;
    assert_eq!(status, 401, "{body}");
    assert_eq!(body["details"][0]["reason"], "TOKEN_REVOKED", "{body}");
}

fn sighting(device: Device, seconds: Option<i64>) -> RecordSightingsRequest {
    let seen_time = seconds.map(|seconds| Timestamp { seconds, nanos: 0 });
    RecordSightingsRequest {
        device: Some(device),
        seen_time,
    }
}

#[tokio::test]
async fn over_grpc_it_is_a_stream_too() {
    let world = need!(world().await);
    let (id, serial_number) = device(&world.olga).await;
    let channel = grpc::connect(&world.olga.url).await;
    let mut client = DeviceServiceClient::new(channel);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut request = tonic::Request::new(ReceiverStream::new(receiver));
    let token = authorization(&world.olga).parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    let answer = tokio::spawn(async move { client.record_sightings(request).await });
    let by_id = sighting(Device::Id(id.clone()), Some(1_700_000_000));
    sender.send(by_id).await.unwrap();
    eventually("the first sighting is taken", || async {
        last_seen(&world.olga, &id).await == "2023-11-14T22:13:20Z"
    })
    .await;
    let by_number = sighting(Device::SerialNumber(serial_number), None);
    sender.send(by_number).await.unwrap();
    let unknown = sighting(Device::ExternalId(unique()), None);
    sender.send(unknown.clone()).await.unwrap();
    drop(sender);
    let told = answer.await.unwrap().unwrap().into_inner();
    let Some(Device::ExternalId(name)) = unknown.device else {
        unreachable!("as it was made");
    };
    let want = RecordSightingsResponse {
        known_count: 2,
        unknown_count: 1,
        unknown_devices: vec![name],
    };
    assert_eq!(told, want);
}

#[tokio::test]
async fn over_grpc_a_wrong_message_is_named_too() {
    let world = need!(world().await);
    let channel = grpc::connect(&world.olga.url).await;
    let mut client = DeviceServiceClient::new(channel);
    let ago = |id: &str, seconds| sighting(Device::Id(id.to_owned()), Some(seconds));
    let known = fresh_id();
    for (wrong, field) in [
        (ago("no", 0), "[1].id"),
        (ago(&known, i64::MAX), "[1].seen_time"),
    ] {
        let messages = tokio_stream::iter([ago(&known, 0), wrong]);
        let mut request = tonic::Request::new(messages);
        let token = authorization(&world.olga).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        let refused: Status = client.record_sightings(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{refused}");
    }
}
