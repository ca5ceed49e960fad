//! MQTT brokers that ask whether a client is a device: in the shapes that EMQX
//! and mosquitto-go-auth document, and a broker itself.

use reqwest::Method;
use serde_json::{Value, json};

use super::device_credentials::device;
use super::{AUTHORITY, world};
use crate::support::{Caller, eventually, python, send, unique};

const PERMISSION: &str = "devices.authenticate";

async fn emqx(broker: &Caller, path: &str, body: Value) -> Value {
    let answer = broker.post(&format!("/hooks/emqx/{path}"), body).await;
    answer.expect(200)
}

#[tokio::test]
async fn emqx_lets_devices_in_and_keeps_them_to_their_topics() {
    let world = need!(world().await);
    let broker = world.alice.key_holder(&[PERMISSION]).await;
    let name = unique();
    let (id, secret) = device(&world.olga, &name).await;
    let client = json!({
        "username": name, "password": secret, "clientid": "c-1", "peerhost": "192.0.2.1"
    });
    let answer = emqx(&broker, "authenticate", client).await;
    let expected = json!({
        "result": "allow", "is_superuser": false, "client_attrs": {"device_id": id}
    });
    assert_eq!(answer, expected);
    for client in [
        json!({"username": name, "password": "wrong"}),
        json!({"username": name}),
        json!({}),
        json!({"username": "nobody", "password": secret}),
        json!({"username": "x".repeat(70_000), "password": secret}),
    ] {
        let answer = emqx(&broker, "authenticate", client).await;
        assert_eq!(answer["result"], "deny", "{answer}");
    }
    let may = async |action: &str, topic: &str| {
        let wish = json!({"username": name, "topic": topic, "action": action});
        emqx(&broker, "authorize", wish).await == json!({"result": "allow"})
    };
    let own = format!("devices/{name}/up");
    assert!(may("publish", &own).await);
    assert!(may("subscribe", &format!("devices/{name}/#")).await);
    assert!(!may("subscribe", "devices/#").await);
    assert!(!may("publish", "devices/another/up").await);
    // A device that is disabled may do nothing from then on.
    let change = json!({"state": "STATE_DISABLED"});
    let changed = world.olga.patch(&format!("/v1/devices/{id}"), change).await;
    changed.expect(200);
    eventually("the end of its rights", async || {
        !may("publish", &own).await
    })
    .await;
    // Whatever is wrong is denied, since the broker takes anything else for no opinion.
    let stranger = world.server.anybody();
    let answer = emqx(&stranger, "authenticate", json!({})).await;
    assert_eq!(answer["result"], "deny", "{answer}");
    let unable = world.alice.key_holder(&["devices.read"]).await;
    let answer = emqx(
        &unable,
        "authorize",
        json!({"username": name, "topic": own}),
    )
    .await;
    assert_eq!(answer["result"], "deny", "{answer}");
}

/// Else whoever has one certificate had the topics of all.
#[tokio::test]
async fn a_certificate_lets_in_under_the_name_of_its_own_device_only() {
    let world = need!(world().await);
    let broker = world.alice.key_holder(&[PERMISSION]).await;
    let (name, another) = (unique(), unique());
    let (id, _) = device(&world.olga, &name).await;
    device(&world.olga, &another).await;
    let path = format!("/v1/devices/{id}/credentials");
    let body = json!({"certificate": AUTHORITY});
    world.olga.post(&path, body).await.expect(201);
    let result = async |username: &str, client_id: &str| {
        let client = json!({"username": username, "clientid": client_id, "cert_pem": AUTHORITY});
        emqx(&broker, "authenticate", client).await["result"].clone()
    };
    for (username, client_id) in [(name.as_str(), "c-1"), (&name, &another), ("", &name)] {
        assert_eq!(
            result(username, client_id).await,
            "allow",
            "{username} {client_id}"
        );
    }
    for (username, client_id) in [
        ("", another.as_str()),
        (&another, &name),
        ("", ""),
        ("", "c-1"),
    ] {
        assert_eq!(
            result(username, client_id).await,
            "deny",
            "{username} {client_id}"
        );
    }
}

#[tokio::test]
async fn mosquitto_is_answered_by_the_status_and_by_the_body() {
    let world = need!(world().await);
    let key = world.alice.new_key(&[PERMISSION]).await;
    let name = unique();
    let (_, secret) = device(&world.olga, &name).await;
    let anybody = world.server.anybody();
    // Its key stands in the query, for the plugin sends no header of its own.
    let ask = async |path: &str, fields: &[(&str, &str)]| {
        let path = format!("/hooks/mosquitto/{path}?api_key={key}");
        let form = anybody.form(&path, fields).await;
        let body: serde_json::Map<_, _> = fields
            .iter()
            .map(|(k, v)| {
                (
                    (*k).to_owned(),
                    v.parse::<i64>().map_or(json!(v), |n| json!(n)),
                )
            })
            .collect();
        let as_json = anybody.post(&path, body.into()).await;
        assert_eq!(form.status, as_json.status, "{form:?} {as_json:?}");
        assert_eq!(form.text, as_json.text);
        (form.status.as_u16(), form.json())
    };
    let good = [
        ("username", &*name),
        ("password", &*secret),
        ("clientid", "c"),
    ];
    assert_eq!(
        ask("user", &good).await,
        (200, json!({"Ok": true, "Error": ""}))
    );
    let (status, body) = ask("user", &[("username", &*name), ("password", "wrong")]).await;
    assert_eq!((status, &body["Ok"]), (403, &json!(false)));
    assert_eq!(ask("superuser", &[("username", &*name)]).await.0, 403);
    let (own, plant) = (format!("devices/{name}/up"), format!("plant/{name}/up"));
    for (path, topic, acc, expected) in [
        ("acl", &own, "2", 200),
        ("acl", &own, "4", 200),
        ("acl", &plant, "2", 403),
        ("plant/acl", &plant, "2", 200),
        ("acl", &own, "9", 403),
    ] {
        let fields = [("username", &*name), ("topic", topic), ("acc", acc)];
        assert_eq!(ask(path, &fields).await.0, expected, "{path} {topic} {acc}");
    }
    let refused = send(
        anybody
            .request(Method::POST, "/hooks/mosquitto/user")
            .form(&good),
    )
    .await;
    assert_eq!(refused.expect(401)["Ok"], false);
}

/// A broker that asks in the shapes of mosquitto-go-auth, with real clients.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_is_configured_and_nothing_else() {
    let world = need!(world().await);
    let key = world.alice.new_key(&[PERMISSION]).await;
    let (name, other) = (unique(), unique());
    let (_, secret) = device(&world.olga, &name).await;
    device(&world.olga, &other).await;
    let target = world.server.url.strip_prefix("http://").unwrap().to_owned();
    let run = move || {
        let variables = [
            ("TARGET", &*target),
            ("KEY", &key),
            ("DEVICE", &name),
            ("OTHER", &other),
            ("SECRET", &secret),
        ];
        let output = python(
            "mqtt_broker.py",
            &["amqtt", "amqtt.contrib.http"],
            &variables,
        )?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}{errors}");
        Some(told)
    };
    let told = need!(tokio::task::spawn_blocking(run).await.unwrap());
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        lines,
        [
            "the device is let in",
            "a wrong secret is not",
            "its own topic: heard",
            "another's topic: refused",
            "all topics: refused",
        ]
    );
}
