//! How soon what ends is refused, with two processes of each service on
//! PostgreSQL; and what happens when nothing is heard of what ends.
//!
//! The figures are printed: `cargo test --test revocation -- --nocapture`.

#![allow(missing_docs, clippy::unwrap_used)]
#![allow(clippy::print_stdout, reason = "figures are what it is for")]

#[macro_use]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::{
    ADMIN, Caller, Installation, PASSWORD, SERVICES, Server, Shape, join, log_in, unique,
};
use tokio::sync::{Mutex, Semaphore};

const SHAPE: Shape = Shape::Split;

/// One test at a time: they share two cores.
static ALONE: Mutex<()> = Mutex::const_new(());

/// How many things of each kind end.
const TIMES: usize = 200;
/// How many end at the same time.
const AT_ONCE: usize = 4;

/// A bound that only a fault exceeds.
const VERY_LONG: Duration = Duration::from_secs(60);

/// An installation with two processes of each service, and a caller through
/// each of its two gateways.
struct Doubled {
    server: Server,
    gateways: Vec<String>,
    alice: Caller,
    tenant: String,
}

impl Doubled {
    async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        // Here, what is refused is asked again and again from one address.
        let usual = [("MUSTER_LOG", "error"), ("MUSTER_LIMIT_FAILURES", "off")];
        let installation = Installation::of(SHAPE, 2).await?;
        let installation = installation.with(&usual).with(settings);
        let server = Server::start_on(installation).await;
        let gateways = server.parts().iter();
        let gateways = gateways
            .filter(|part| part.service == "gateway")
            .map(|part| format!("http://{}", part.address))
            .collect();
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        let tenant = alice.get("/v1/me").await.expect(200)["currentTenant"].clone();
        Some(Self {
            server,
            gateways,
            alice,
            tenant: text(&tenant),
        })
    }

    /// The same credential, through each gateway.
    fn everywhere(&self, authorization: &str) -> Vec<Caller> {
        let through = |url: &String| Caller {
            url: url.clone(),
            authorization: Some(authorization.to_owned()),
        };
        self.gateways.iter().map(through).collect()
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value}"))
        .to_owned()
}

fn basic(name: &str, secret: &str) -> String {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {pair}")
}

/// Something that can end: how it is used, and the call that ends it.
struct Mortal {
    authorization: String,
    end: (Caller, String, Value),
}

impl Mortal {
    /// Uses it through every gateway, so that all have it at hand; ends it; and
    /// tells when it was last taken by one of them: since the call that ended
    /// it was made, which is before its commit, and since it was answered.
    async fn live_and_end(self, all: &Doubled) -> [Duration; 2] {
        let users = all.everywhere(&self.authorization);
        for user in &users {
            let answer = user.get("/v1/me/tenants").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        let (caller, path, body) = self.end;
        let made = Instant::now();
        let answer = match body {
            Value::Null => caller.delete(&path).await,
            body => caller.post(&path, body).await,
        };
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        let ended = Instant::now();
        let mut late = [ended - made, Duration::ZERO];
        for user in &users {
            while user.get("/v1/me/tenants").await.status != 401 {
                assert!(ended.elapsed() < VERY_LONG, "it is still taken");
                late = [made.elapsed(), ended.elapsed()];
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        late
    }
}

/// Ends many of one kind, some at a time, and prints how long they were taken.
async fn measure<F>(kind: &str, all: &Arc<Doubled>, make: impl Fn(Arc<Doubled>) -> F)
where
    F: Future<Output = Mortal> + Send + 'static,
{
    let few = Arc::new(Semaphore::new(AT_ONCE));
    let tasks: Vec<_> = (0..TIMES)
        .map(|_| {
            let (all, made, few) = (all.clone(), make(all.clone()), few.clone());
            tokio::spawn(async move {
                let _turn = few.acquire().await.unwrap();
                made.await.live_and_end(&all).await
            })
        })
        .collect();
    let mut late = Vec::with_capacity(TIMES);
    for task in tasks {
        late.push(task.await.unwrap());
    }
    for (which, since) in ["the call", "the answer"].into_iter().enumerate() {
        let mut late: Vec<_> = late.iter().map(|late| late[which].as_millis()).collect();
        late.sort_unstable();
        let at = |percent: usize| late[(TIMES * percent / 100).min(TIMES - 1)];
        println!(
            "{kind:>8}: taken since {since}, at most: p50 {} ms, p99 {} ms, all {} ms",
            at(50),
            at(99),
            at(100)
        );
    }
}

async fn new_key(alice: &Caller) -> (String, String) {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = alice.post("/v1/apiKeys", body).await.expect(201);
    (text(&made["apiKey"]["id"]), text(&made["secret"]))
}

async fn new_client(alice: &Caller) -> (String, String) {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = alice.post("/v1/apiClients", body).await.expect(201);
    let client = &made["apiClient"];
    let secret = text(&made["clientSecret"]);
    (
        text(&client["id"]),
        basic(&text(&client["clientKey"]), &secret),
    )
}

async fn a_key(all: Arc<Doubled>) -> Mortal {
    let (id, secret) = new_key(&all.alice).await;
    Mortal {
        authorization: format!("Bearer {secret}"),
        end: (
            all.alice.clone(),
            format!("/v1/apiKeys/{id}:revoke"),
            json!({}),
        ),
    }
}

async fn a_client(all: Arc<Doubled>) -> Mortal {
    let (id, authorization) = new_client(&all.alice).await;
    Mortal {
        authorization,
        end: (
            all.alice.clone(),
            format!("/v1/apiClients/{id}"),
            Value::Null,
        ),
    }
}

async fn a_token(all: Arc<Doubled>) -> Mortal {
    let (_, client) = new_client(&all.alice).await;
    let client = all.alice.with(client);
    let token = client.post("/v1/tokens", json!({})).await.expect(201);
    let path = format!("/v1/tokens/{}:revoke", text(&token["number"]));
    Mortal {
        authorization: format!("Bearer {}", text(&token["accessToken"])),
        end: (client, path, json!({})),
    }
}

async fn a_session(all: Arc<Doubled>) -> Mortal {
    let user = log_in(&all.server.anybody(), ADMIN, PASSWORD, None).await;
    Mortal {
        authorization: user.authorization.clone().unwrap(),
        end: (user, "/v1/auth:logout".to_owned(), json!({})),
    }
}

async fn a_user(all: Arc<Doubled>) -> Mortal {
    let email = format!("{}@example.com", unique());
    let user = join(&all.alice, &all.tenant, &email, "viewer").await;
    let me = user.get("/v1/me").await.expect(200);
    let path = format!("/v1/users/{}:disable", text(&me["principalId"]));
    Mortal {
        authorization: user.authorization.unwrap(),
        end: (all.alice.clone(), path, json!({})),
    }
}

/// A key of a tenant that is suspended.
async fn a_tenant(all: Arc<Doubled>) -> Mortal {
    let body = json!({"displayName": unique()});
    let tenant = all.alice.post("/v1/tenants", body).await.expect(201);
    let id = text(&tenant["id"]);
    let body = json!({"tenantId": id});
    let token = all
        .alice
        .post("/v1/auth:selectTenant", body)
        .await
        .expect(200);
    let owner = format!("Bearer {}", text(&token["accessToken"]));
    let (_, secret) = new_key(&all.alice.with(owner)).await;
    Mortal {
        authorization: format!("Bearer {secret}"),
        end: (
            all.alice.clone(),
            format!("/v1/tenants/{id}:suspend"),
            json!({}),
        ),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_is_soon_refused_through_every_process() {
    let _alone = ALONE.lock().await;
    let all = Arc::new(need!(Doubled::start(&[]).await));
    measure("key", &all, a_key).await;
    measure("client", &all, a_client).await;
    measure("token", &all, a_token).await;
    measure("session", &all, a_session).await;
    measure("user", &all, a_user).await;
    measure("tenant", &all, a_tenant).await;
}

/// A lookup that a revocation overtakes must not bring the credential back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_once_is_never_taken_again_however_often_it_is_presented() {
    let _alone = ALONE.lock().await;
    let all = need!(Doubled::start(&[]).await);
    for _ in 0..20 {
        let (id, secret) = new_key(&all.alice).await;
        // Each asks anew all the time, from before the revocation until long after it.
        let askers: Vec<_> = all
            .everywhere(&format!("Bearer {secret}"))
            .into_iter()
            .cycle()
            .take(6)
            .map(|user| {
                tokio::spawn(async move {
                    let (mut refused, begun) = (0, Instant::now());
                    while refused < 20 {
                        match user.get("/v1/me/tenants").await.status.as_u16() {
                            200 => assert_eq!(refused, 0, "it was refused, and is taken again"),
                            401 => refused += 1,
                            other => panic!("{other}"),
                        }
                        assert!(begun.elapsed() < VERY_LONG, "it is still taken");
                    }
                })
            })
            .collect();
        let revoke = format!("/v1/apiKeys/{id}:revoke");
        all.alice.post(&revoke, json!({})).await.expect(200);
        for asker in askers {
            asker.await.unwrap();
        }
    }
}

/// The parts that run key management.
fn key_management() -> [usize; 2] {
    let at = SERVICES.iter().position(|name| *name == "key-management");
    [at.unwrap() * 2, at.unwrap() * 2 + 1]
}

/// What is answered to a token while nothing is heard of what ends.
async fn in_silence(settings: &[(&str, &str)], expected: u16) {
    let _alone = ALONE.lock().await;
    let mut all = need!(Doubled::start(settings).await);
    let devices = async |all: &Doubled| {
        let answer = all.alice.request(reqwest::Method::GET, "/v1/devices");
        answer.send().await.unwrap().status().as_u16()
    };
    assert_eq!(devices(&all).await, 200);
    for part in key_management() {
        assert_eq!(all.server.parts()[part].service, "key-management");
        all.server.kill_part(part);
    }
    let silent = Instant::now();
    // Well beyond the bound, whichever answer there is in between.
    while silent.elapsed() < Duration::from_secs(5) {
        devices(&all).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(devices(&all).await, expected);
    for part in key_management() {
        all.server.start_part(part);
        all.server.part_is_ready(part).await;
    }
    let begun = Instant::now();
    while devices(&all).await != 200 {
        assert!(begun.elapsed() < VERY_LONG, "it does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refused_for_a_while_when_nothing_is_heard_of_what_ends() {
    in_silence(&[("MUSTER_REVOCATION_SILENCE", "3s")], 503).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_taken_in_silence_if_the_operator_wants_that() {
    let accept = [
        ("MUSTER_REVOCATION_SILENCE", "3s"),
        ("MUSTER_ON_REVOCATION_SILENCE", "accept"),
    ];
    in_silence(&accept, 200).await;
}
