//! Webhooks hear of what every service records, and what waits for them
//! survives.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{fresh_id, text};
use crate::support::{
    ADMIN, Caller, Installation, PASSWORD, Server, World, eventually, log_in, python, unique,
};

/// What a receiver got: its headers and its body.
pub(crate) type Received = Arc<Mutex<VecDeque<(HeaderMap, String)>>>;

pub(crate) async fn receive(listener: TcpListener) -> Received {
    let received = Received::default();
    let all = received.clone();
    let take = move |headers: HeaderMap, body: String| async move {
        all.lock().unwrap().push_back((headers, body));
        StatusCode::NO_CONTENT
    };
    let router = Router::new().route("/hook", post(take));
    tokio::spawn(async move { axum::serve(listener, router).await });
    received
}

/// An installation whose webhooks may call this machine.
pub(crate) async fn installation() -> Option<Installation> {
    let open = [
        ("MUSTER_WEBHOOK_ALLOW_NETWORKS", "127.0.0.0/8"),
        ("MUSTER_WEBHOOK_ALLOW_HTTP", "true"),
    ];
    Some(Installation::new().await?.with(&open))
}

pub(crate) async fn webhook(caller: &Caller, listener: &TcpListener, types: &[&str]) -> Value {
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let webhook = json!({"url": url, "eventTypes": types});
    caller.post("/v1/webhooks", webhook).await.expect(201)
}

/// Waits for an event of a type, and takes what came before it.
pub(crate) async fn heard(received: &Received, event_type: &str) -> (HeaderMap, String) {
    let found = Mutex::new(None);
    eventually(event_type, || async {
        let mut found = found.lock().unwrap();
        while found.is_none()
            && let Some(one) = received.lock().unwrap().pop_front()
        {
            let body: Value = serde_json::from_str(&one.1).unwrap();
            if body["type"] == event_type {
                *found = Some(one);
            }
        }
        found.is_some()
    })
    .await;
    found.into_inner().unwrap().unwrap()
}

/// Checks by the specification's library that a delivery is signed by a secret.
pub(crate) fn is_signed(secret: &str, headers: &HeaderMap, body: &str) -> Option<()> {
    let headers: BTreeMap<_, _> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
        .collect();
    let output = python(
        "webhook.py",
        &["standardwebhooks"],
        &[
            ("SECRET", secret),
            ("HEADERS", &serde_json::to_string(&headers).unwrap()),
            ("BODY", body),
        ],
    )?;
    let told = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.trim(), "verified", "{error}");
    Some(())
}

#[tokio::test]
async fn a_webhook_hears_of_what_every_service_records() {
    let installation = need!(installation().await);
    let server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let made = webhook(&alice, &listener, &["*"]).await;
    let received = receive(listener).await;
    // Each service is followed from when it was first reached.
    heard(&received, "webhook.created").await;
    let device = json!({"displayName": "heard"});
    alice.post("/v1/devices", device).await.expect(201);
    let (headers, body) = heard(&received, "device.created").await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(told["data"]["device"]["displayName"], "heard");
    assert!(text(&told["data"]["actor"]).starts_with("user:"));
    eventually("a key is heard of", || async {
        let key = json!({"displayName": unique()});
        alice.post("/v1/apiKeys", key).await.expect(201);
        let all = received.lock().unwrap();
        all.iter().any(|(_, body)| body.contains("\"key.created\""))
    })
    .await;
    eventually("a user is heard of", || async {
        let user = json!({"email": format!("{}@example.com", unique())});
        alice.post("/v1/users", user).await.expect(201);
        let all = received.lock().unwrap();
        all.iter()
            .any(|(_, body)| body.contains("\"user.created\""))
    })
    .await;
    let secret = text(&made["secret"]);
    need!(is_signed(secret, &headers, &body));
    // The secret is shown once.
    let id = text(&made["webhook"]["id"]);
    let shown = alice.get(&format!("/v1/webhooks/{id}")).await.expect(200);
    assert_eq!(shown.get("secret"), None);
}

#[tokio::test]
async fn webhooks_of_two_tenants_may_have_the_same_id_and_each_hears_of_its_own() {
    let server = Server::start_on(need!(installation().await)).await;
    let world = World::on(server).await;
    let path = format!("/v1/webhooks?webhookId={}", fresh_id());
    let mut receivers = Vec::new();
    // Bob's is the first, and no less found by the id alone.
    for owner in [&world.bob, &world.alice] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let webhook = json!({"url": url, "eventTypes": ["device.created"]});
        owner.post(&path, webhook).await.expect(201);
        let device = json!({"displayName": "own"});
        let device = owner.post("/v1/devices", device).await.expect(201);
        receivers.push((receive(listener).await, device["id"].clone()));
    }
    for (received, device) in receivers {
        let (_, body) = heard(&received, "device.created").await;
        assert!(body.contains(text(&device)), "{body}");
        assert!(received.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_waits_for_a_webhook_survives_a_kill() {
    let installation = need!(installation().await);
    let server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = webhook(&alice, &listener, &["device.created"]).await;
    // Nobody is there.
    drop(listener);
    let device = json!({"displayName": "waits"});
    alice.post("/v1/devices", device).await.expect(201);
    let id = text(&made["webhook"]["id"]);
    let path = format!("/v1/webhooks/{id}/deliveries?state=STATE_PENDING");
    eventually("an attempt failed", || async {
        let page = alice.get(&path).await.expect(200);
        page["deliveries"][0].get("error").is_some()
    })
    .await;
    let installation = server.kill();
    let received = receive(TcpListener::bind(address).await.unwrap()).await;
    let _server = Server::start_on(installation).await;
    let (_, body) = heard(&received, "device.created").await;
    assert!(body.contains("waits"));
}
