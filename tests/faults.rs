//! What happens when parts of a split installation, or its database, fail.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use support::{
    ADMIN, Answer, Caller, Installation, PASSWORD, SERVICES, Server, Shape, join, log_in, not_run,
    probe, unique,
};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

const SHAPE: Shape = Shape::Split;

/// One test at a time: they share a database's server, and two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

/// Where a part of an installation with one replica stands.
fn part(service: &str) -> usize {
    SERVICES.iter().position(|name| *name == service).unwrap()
}

/// Any answer at all; to a call that is cut, none.
async fn ask(caller: &Caller, method: Method, path: &str, body: Option<Value>) -> Option<Answer> {
    let request = caller.request(method, path);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    let response = request.send().await.ok()?;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.ok()?;
    Some(Answer {
        status,
        headers,
        text,
    })
}

async fn read(caller: &Caller, path: &str) -> Answer {
    let answer = ask(caller, Method::GET, path, None).await;
    answer.expect("the gateway answers")
}

/// A refusal for a while, with a reason for programs and words for people.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert_eq!(answer.status.as_u16(), 503, "{}", answer.text);
    let body = answer.json();
    assert_eq!(body["code"], 14, "{body}");
    assert_eq!(body["details"][0]["reason"], "UNAVAILABLE", "{body}");
    assert!(
        body["message"].as_str().is_some_and(|text| text.len() > 10),
        "{body}"
    );
}

/// Waits for something that comes with time; 30 s are very long for it.
async fn comes<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..600 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} did not come about");
}

/// What the gateway says of itself.
async fn readiness(server: &Server) -> (u16, String) {
    let address = server.url.strip_prefix("http://").unwrap();
    probe(address, "/readyz")
        .await
        .expect("the gateway answers")
}

/// Writes and reads devices until it is told to stop. Answers the ids of those
/// that were acknowledged.
fn write(
    caller: Caller,
    stop: Arc<AtomicBool>,
    told: mpsc::UnboundedSender<u16>,
) -> JoinHandle<Vec<String>> {
    tokio::spawn(async move {
        let mut made = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let body = json!({"displayName": format!("device {}", unique())});
            let answer = ask(&caller, Method::POST, "/v1/devices", Some(body)).await;
            let answer = answer.expect("the gateway answers");
            match answer.status.as_u16() {
                201 => {
                    let id = answer.json()["id"].as_str().unwrap().to_owned();
                    made.push(id);
                }
                _ => is_unavailable(&answer),
            }
            let _ = told.send(answer.status.as_u16());
            if let Some(id) = made.last() {
                let answer = read(&caller, &format!("/v1/devices/{id}")).await;
                if answer.status.as_u16() != 200 {
                    is_unavailable(&answer);
                }
            }
        }
        made
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgresql_is_away_calls_are_refused_for_a_while_and_then_all_goes_on() {
    let _alone = ALONE.lock().await;
    let server = need!(Server::start().await);
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let (stop, (told, mut hear)) = (Arc::new(AtomicBool::new(false)), mpsc::unbounded_channel());
    let writers: Vec<_> = (0..3)
        .map(|_| write(alice.clone(), stop.clone(), told.clone()))
        .collect();
    let mut wait_for = async |status: u16| {
        let heard = async { while hear.recv().await != Some(status) {} };
        let heard = tokio::time::timeout(Duration::from_secs(30), heard).await;
        heard.unwrap_or_else(|_| panic!("no {status} under load"));
    };
    let postgres = test_database::postgres().unwrap();
    for outage in [Duration::from_millis(500), Duration::from_secs(13)] {
        wait_for(201).await;
        if let Err(why) = postgres.stop().await {
            return not_run("PostgreSQL stopped under load", &why);
        }
        wait_for(503).await;
        let registry = &server.parts()[part("device-registry")].address;
        comes(
            "a registry that is not ready for want of its database",
            async || {
                let (status, text) = probe(registry, "/readyz").await.unwrap();
                status == 503 && text.contains("database")
            },
        )
        .await;
        tokio::time::sleep(outage).await;
        postgres.start().await.unwrap();
        wait_for(201).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        for id in writer.await.unwrap() {
            alice.get(&format!("/v1/devices/{id}")).await.expect(200);
        }
    }
    log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_while_one_process_of_a_service_after_the_other_is_killed() {
    let _alone = ALONE.lock().await;
    let installation = need!(Installation::of(SHAPE, 2).await);
    let mut server = Server::start_on(installation).await;
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let basic = BASE64_STANDARD.encode(format!("{ADMIN}:{PASSWORD}"));
    let callers = [
        alice.clone(),
        alice.key_holder(&["devices.read", "keys.read"]).await,
        alice.with(format!("Basic {basic}")),
    ];
    let (stop, reads) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let readers: Vec<_> = callers
        .into_iter()
        .map(|caller| {
            let (stop, reads) = (stop.clone(), reads.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    // One path of each service.
                    for path in ["/v1/me", "/v1/me/tenants", "/v1/devices", "/v1/apiKeys"] {
                        let answer = read(&caller, path).await;
                        let status = answer.status.as_u16();
                        let may_not = status == 403 && ["/v1/apiKeys", "/v1/me"].contains(&path);
                        assert!(status == 200 || may_not, "{path}: {status} {}", answer.text);
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    let more = async || {
        let before = reads.load(Ordering::Relaxed);
        let failed = || readers.iter().any(JoinHandle::is_finished);
        comes("reads", async || {
            failed() || reads.load(Ordering::Relaxed) > before + 30
        })
        .await;
    };
    let services: Vec<_> = (0..server.parts().len())
        .filter(|part| server.parts()[*part].service != "gateway")
        .collect();
    assert_eq!(services.len(), 8);
    for part in services {
        more().await;
        server.kill_part(part);
        more().await;
        server.start_part(part);
        server.part_is_ready(part).await;
    }
    more().await;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_start_in_any_order() {
    let _alone = ALONE.lock().await;
    let [identity, tenancy, registry, keys, gateway] = [0, 1, 2, 3, 4];
    for order in [
        [gateway, registry, identity, tenancy, keys],
        [keys, tenancy, identity, registry, gateway],
        [tenancy, gateway, keys, registry, identity],
    ] {
        let installation = need!(Installation::new().await);
        let mut server = Server::launch(installation, &[]);
        for part in order {
            server.start_part(part);
            // Each has looked for the others before the next one comes.
            let address = server.parts()[part].address.clone();
            comes("a process that is alive", async || {
                matches!(probe(&address, "/healthz").await, Some((200, _)))
            })
            .await;
        }
        server.is_ready().await;
        server.init().await;
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        alice.get("/v1/devices").await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_away_is_told_and_the_others_go_on() {
    let _alone = ALONE.lock().await;
    let mut server = need!(Server::start().await);
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let login = json!({"email": ADMIN, "password": PASSWORD});
    for (service, path) in [
        ("device-registry", "/v1/devices"),
        ("tenancy", "/v1/members"),
        ("identity", "/v1/users"),
    ] {
        alice.get(path).await.expect(200);
        server.kill_part(part(service));
        let refused = async || read(&alice, path).await.status.as_u16() != 200;
        comes(&format!("a refusal without {service}"), refused).await;
        is_unavailable(&read(&alice, path).await);
        let told = format!("degraded: {service}: ");
        comes(&format!("word that {service} is away"), async || {
            let (status, text) = readiness(&server).await;
            assert_eq!(status, 200, "{text}");
            text.contains(&told)
        })
        .await;
        for (other, works) in [
            ("device-registry", "/v1/devices"),
            ("tenancy", "/v1/members"),
            ("identity", "/v1/users"),
            ("key-management", "/v1/apiKeys"),
        ] {
            if other != service {
                alice.get(works).await.expect(200);
            }
        }
        if service == "identity" {
            let (anybody, login) = (server.anybody(), Some(login.clone()));
            let answer = ask(&anybody, Method::POST, "/v1/auth:login", login).await;
            is_unavailable(&answer.unwrap());
        }
        server.start_part(part(service));
        server.part_is_ready(part(service)).await;
        let back = async || read(&alice, path).await.status.as_u16() == 200;
        comes(&format!("{service}, back again"), back).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_key_management_tokens_work_until_nobody_knows_what_is_revoked() {
    let _alone = ALONE.lock().await;
    let mut server = need!(Server::start().await);
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let key = alice.new_key(&["devices.read"]).await;
    server.kill_part(part("key-management"));
    alice.get("/v1/devices").await.expect(200);
    is_unavailable(&read(&alice, "/v1/apiKeys").await);
    // This key was not seen before, so that nobody knows whom it stands for.
    is_unavailable(&read(&alice.with(format!("Bearer {key}")), "/v1/devices").await);
    comes("a gateway that is not ready", async || {
        let (status, text) = readiness(&server).await;
        status == 503 && text.contains("revocations: ")
    })
    .await;
    is_unavailable(&read(&alice, "/v1/devices").await);
    server.start_part(part("key-management"));
    server.is_ready().await;
    let back = async || read(&alice, "/v1/devices").await.status.as_u16() == 200;
    comes("the same token", back).await;
}

async fn status(caller: &Caller) -> u16 {
    read(caller, "/v1/devices").await.status.as_u16()
}

/// What ends is known to nobody but whoever was asked to end it, and that dies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ended_without_key_management_is_refused_once_it_is_back_though_all_others_were_killed()
 {
    let _alone = ALONE.lock().await;
    // Tokens must be taken for as long as key management is away.
    let bound = [("MUSTER_REVOCATION_SILENCE", "10m")];
    let installation = need!(Installation::new().await).with(&bound);
    let mut server = Server::start_on(installation).await;
    let anybody = server.anybody();
    let alice = log_in(&anybody, ADMIN, PASSWORD, None).await;
    let me = alice.get("/v1/me").await.expect(200);
    let tenant = me["currentTenant"].as_str().unwrap();
    let [disabled, signed_out, removed] = ["disabled", "signed-out", "removed"]
        .map(|name| format!("{name}@example.com"))
        .map(|email| (alice.clone(), tenant, email))
        .map(async |(alice, tenant, email)| join(&alice, tenant, &email, "viewer").await);
    let ending = [disabled.await, signed_out.await, removed.await];
    let goes_on = join(&alice, tenant, "goes-on@example.com", "viewer").await;
    let body = json!({"displayName": "below"});
    let below = alice.post("/v1/tenants", body).await.expect(201)["id"].clone();
    let below = below.as_str().unwrap();
    let suspended = log_in(&anybody, ADMIN, PASSWORD, Some(below)).await;
    let mut ids = Vec::new();
    for caller in &ending {
        let me = caller.get("/v1/me").await.expect(200);
        ids.push(me["principalId"].as_str().unwrap().to_owned());
    }

    server.kill_part(part("key-management"));
    let disable = format!("/v1/users/{}:disable", ids[0]);
    alice.post(&disable, json!({})).await.expect(200);
    ending[1]
        .post("/v1/auth:logout", json!({}))
        .await
        .expect(200);
    let remove = format!("/v1/members/{}", ids[2]);
    alice.delete(&remove).await.expect(200);
    let suspend = format!("/v1/tenants/{below}:suspend");
    alice.post(&suspend, json!({})).await.expect(200);
    for caller in ending.iter().chain([&suspended]) {
        assert_eq!(status(caller).await, 200, "nobody can know yet");
    }

    for service in ["identity", "tenancy"] {
        server.kill_part(part(service));
    }
    for service in ["identity", "tenancy", "key-management"] {
        server.start_part(part(service));
    }
    server.is_ready().await;
    for caller in ending.iter().chain([&suspended]) {
        comes("a refusal", async || status(caller).await == 401).await;
    }
    for caller in [&alice, &goes_on] {
        assert_eq!(status(caller).await, 200);
    }
}
