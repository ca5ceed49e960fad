//! What devices prove themselves by, over HTTP.

use serde_json::{Value, json};

use super::{text, world};
use crate::support::{
    ADMIN, Caller, Installation, PASSWORD, SERVICES, Server, Shape, eventually, log_in, unique,
};

/// A new device of a serial number, and the secret of its credential.
pub(super) async fn device(owner: &Caller, serial_number: &str) -> (String, String) {
    let device = json!({"displayName": "pump", "serialNumber": serial_number});
    let device = owner.post("/v1/devices", device).await.expect(201);
    let id = text(&device["id"]).to_owned();
    let credentials = format!("/v1/devices/{id}/credentials");
    let made = owner.post(&credentials, json!({})).await.expect(201);
    assert_eq!(made["credential"]["kind"], "KIND_SECRET");
    (id, text(&made["secret"]).to_owned())
}

async fn verdict(broker: &Caller, serial_number: &str, secret: &str) -> Value {
    let question = json!({"serialNumber": serial_number, "secret": secret});
    let answer = broker.post("/v1/devices:authenticate", question).await;
    answer.expect(200)
}

#[tokio::test]
async fn a_broker_asks_by_its_key_and_a_device_calls_by_its_token() {
    let world = need!(world().await);
    let serial_number = unique();
    let (id, secret) = device(&world.olga, &serial_number).await;
    let broker = world.alice.key_holder(&["devices.authenticate"]).await;
    let question = json!({
        "username": serial_number, "secret": secret, "issueToken": true
    });
    let answer = broker.post("/v1/devices:authenticate", question).await;
    let answer = answer.expect(200);
    assert_eq!(answer["verdict"], "DEVICE_VERDICT_VALID", "{answer}");
    assert_eq!(answer["device"]["id"], *id);
    assert_eq!(answer["device"]["tenantId"], *world.tenant_a);
    let itself = broker.with(format!("Bearer {}", text(&answer["deviceToken"])));
    let shown = itself.get("/v1/device").await.expect(200);
    assert_eq!(shown["serialNumber"], *serial_number);
    itself.get("/v1/devices").await.expect(403);
    itself.get(&format!("/v1/devices/{id}")).await.expect(403);
    // Nobody else is a device.
    world.alice.get("/v1/device").await.expect(403);
    let wrong = verdict(&broker, &serial_number, "a wrong secret, not its own").await;
    assert_eq!(wrong["verdict"], "DEVICE_VERDICT_UNKNOWN");
    assert!(wrong.get("device").is_none(), "{wrong}");
    world
        .olga
        .post("/v1/devices:authenticate", json!({}))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_device_receives_what_it_is_told_itself_and_nothing_of_others() {
    let world = need!(world().await);
    let (serial_number, other) = (unique(), device(&world.olga, &unique()).await.0);
    let (id, secret) = device(&world.olga, &serial_number).await;
    let mut sent = Vec::new();
    for device in [&id, &other] {
        let path = format!("/v1/devices/{device}/commands");
        let command = world.olga.post(&path, json!({"name": "restart"})).await;
        sent.push(text(&command.expect(201)["id"]).to_owned());
    }
    let question = json!({"username": serial_number, "secret": secret, "issueToken": true});
    let answer = world.alice.post("/v1/devices:authenticate", question).await;
    let token = text(&answer.expect(200)["deviceToken"]).to_owned();
    let itself = world.olga.with(format!("Bearer {token}"));

    let pull = format!("/v1/devices/{id}/commands:pull");
    let pulled = itself.post(&pull, json!({})).await.expect(200);
    assert_eq!(pulled["deviceCommands"].as_array().unwrap().len(), 1);
    assert_eq!(pulled["deviceCommands"][0]["id"], *sent[0]);
    let done = format!("/v1/deviceCommands/{}:acknowledge", sent[0]);
    let done = itself.post(&done, json!({})).await.expect(200);
    assert_eq!(done["state"], "STATE_ACKNOWLEDGED");
    let others = format!("/v1/devices/{other}/commands:pull");
    let refused = itself.post(&others, json!({})).await;
    assert_eq!(refused.reason(403), "OTHER_DEVICE");
    for verb in ["acknowledge", "fail"] {
        let path = format!("/v1/deviceCommands/{}:{verb}", sent[1]);
        itself.post(&path, json!({})).await.expect(404);
    }
    let send = format!("/v1/devices/{id}/commands");
    itself.post(&send, json!({"name": "x"})).await.expect(403);
}

#[tokio::test]
async fn a_secret_is_shown_once_and_replaced_while_the_old_one_works_on() {
    let world = need!(world().await);
    let serial_number = unique();
    let (id, secret) = device(&world.olga, &serial_number).await;
    let all = format!("/v1/devices/{id}/credentials");
    let listed = world.olga.get(&all).await;
    assert!(!listed.text.contains(&secret));
    let listed = listed.expect(200);
    let credential = text(&listed["credentials"][0]["id"]);
    let one = format!("{all}/{credential}");
    let rotate = format!("{one}:rotate");
    let rotated = world.olga.post(&rotate, json!({"overlap": "60s"})).await;
    let rotated = rotated.expect(200);
    assert!(rotated["replaced"]["notAfter"].is_string(), "{rotated}");
    let broker = world.alice.key_holder(&["devices.authenticate"]).await;
    for secret in [&secret, text(&rotated["secret"])] {
        let said = verdict(&broker, &serial_number, secret).await;
        assert_eq!(said["valid"], true, "{said}");
    }
    world.olga.delete(&one).await.expect(200);
    let refused = async || verdict(&broker, &serial_number, &secret).await["valid"] != true;
    eventually("the end of the secret", refused).await;
    world.victor.get(&all).await.expect(403);
}

/// Split, two processes of the registry answer in turn.
#[tokio::test]
async fn what_is_taken_from_a_device_is_taken_in_every_process() {
    let replicas = if crate::SHAPE == Shape::Split { 2 } else { 1 };
    let installation = need!(Installation::of(crate::SHAPE, replicas).await);
    assert!(SERVICES.contains(&"device-registry"));
    let server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let broker = alice.key_holder(&["devices.authenticate"]).await;
    let (id, secret) = device(&alice, "s-1").await;
    let ask = async || {
        let mut valid = 0;
        for _ in 0..20 {
            let said = verdict(&broker, "s-1", &secret).await;
            valid += usize::from(said["valid"] == true);
        }
        valid
    };
    assert_eq!(ask().await, 20);
    let device = format!("/v1/devices/{id}");
    for (state, expected) in [("STATE_DISABLED", 0), ("STATE_ACTIVE", 20)] {
        let changed = alice.patch(&device, json!({"state": state})).await;
        changed.expect(200);
        eventually(state, async || ask().await == expected).await;
        assert_eq!(ask().await, expected, "it stays so");
    }
}
