//! The harness of the whole-system tests: the real program on a free port,
//! real clients, and named callers of two tenants.
//!
//! Everything goes through the wire. What is started ends with the test
//! process, whatever way that ends. A test target says in `SHAPE` how it runs
//! the program.

#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    unused_imports,
    unused_macros,
    reason = "each test file uses its part"
)]

pub mod grpc;
pub mod javascript;
mod process;
mod server;

use std::io::Write;
use std::panic::Location;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

pub use process::{Settings, muster, output};
pub use server::{Installation, SERVICES, Server, Shape};

/// What a test needs and may not be had here: then the test ends, and what was
/// asked for has said why.
macro_rules! need {
    ($what:expr) => {
        match $what {
            Some(had) => had,
            None => return,
        }
    };
}

/// A secret or a token that is almost this one.
pub fn altered(text: &str) -> String {
    let (before, last) = text.split_at(text.len() - 2);
    let other = if last.starts_with('A') { "B" } else { "A" };
    format!("{before}{other}{}", &last[1..])
}

pub const ADMIN: &str = "admin@example.com";
pub const PASSWORD: &str = "correct horse battery";

/// Names everything that belongs to tenant A, so that a leak can be seen.
pub const MARK: &str = "belongs-to-a";

/// Somebody who calls the server.
#[derive(Clone)]
pub struct Caller {
    pub url: String,
    pub authorization: Option<String>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The JSON body of an answer that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|v| v.to_str().unwrap())
            .unwrap_or_default()
    }
}

static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    // A connection of its own for each call: runtimes come and go with tests.
    // An answer that never comes fails a test, instead of holding up all.
    reqwest::Client::builder()
        .timeout(Duration::from_secs(300))
        .pool_max_idle_per_host(0)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
});

/// What a process says at a path of its own: status and text, if it answers.
pub async fn probe(address: &str, path: &str) -> Option<(u16, String)> {
    let response = HTTP
        .get(format!("http://{address}{path}"))
        .send()
        .await
        .ok()?;
    Some((response.status().as_u16(), response.text().await.ok()?))
}

pub async fn send(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    assert!(
        status.as_u16() < 500 || matches!(status.as_u16(), 501 | 505),
        "a client's mistake is no {status}: {text}"
    );
    Answer {
        status,
        headers,
        text,
    }
}

impl Caller {
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = HTTP.request(method, format!("{}{path}", self.url));
        match &self.authorization {
            Some(value) => request.header("authorization", value),
            None => request,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        send(self.request(Method::GET, path)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::POST, path).json(&body)).await
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PUT, path).json(&body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        send(self.request(Method::PATCH, path).json(&body)).await
    }

    /// Sends a body as it stands, under this content type or under none.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        content_type: Option<&str>,
        body: impl Into<String>,
    ) -> Answer {
        let request = self.request(method, path).body(body.into());
        send(match content_type {
            Some(kind) => request.header("content-type", kind),
            None => request,
        })
        .await
    }

    pub async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        send(self.request(Method::POST, path).form(fields)).await
    }

    /// The same, by another URL path of the same server and another credential.
    pub fn with(&self, authorization: impl Into<String>) -> Self {
        Self {
            authorization: Some(authorization.into()),
            ..self.clone()
        }
    }

    /// An API key of this caller's tenant, with these permissions.
    pub async fn new_key(&self, permissions: &[&str]) -> String {
        let name = format!("key {}", unique());
        let body = json!({"displayName": name, "permissions": permissions});
        self.post("/v1/apiKeys", body).await.expect(201)["secret"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// A caller with such a key.
    pub async fn key_holder(&self, permissions: &[&str]) -> Self {
        let key = self.new_key(permissions).await;
        self.with(format!("Bearer {key}"))
    }
}

/// A text that no other test has.
pub fn unique() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(
        "{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Two tenants, and people in them.
pub struct World {
    pub server: Server,
    /// Owner of tenant A, which is the first tenant.
    pub alice: Caller,
    /// Operator of tenant A.
    pub olga: Caller,
    /// Viewer of tenant A.
    pub victor: Caller,
    /// Owner of tenant B, and nothing in A.
    pub bob: Caller,
    pub tenant_a: String,
    pub tenant_b: String,
}

impl World {
    pub async fn new() -> Option<Self> {
        Some(Self::on(Server::start().await?).await)
    }

    /// One for all tests of the caller's file that do not mind what the others
    /// leave in it. It ends when the tests of another file have one.
    #[track_caller]
    pub fn shared() -> impl Future<Output = Option<Arc<Self>>> {
        type Shared = Option<(&'static str, Arc<World>)>;
        static SHARED: tokio::sync::Mutex<Shared> = tokio::sync::Mutex::const_new(None);
        let file = Location::caller().file();
        async move {
            let mut shared = SHARED.lock().await;
            if let Some((whose, world)) = &*shared
                && *whose == file
            {
                return Some(world.clone());
            }
            let world = Arc::new(Self::new().await?);
            *shared = Some((file, world.clone()));
            Some(world)
        }
    }

    /// The same on a server that has just been started on an empty folder.
    pub async fn on(server: Server) -> Self {
        let root = server.anybody();
        let alice = log_in(&root, ADMIN, PASSWORD, None).await;
        let tenant_a = alice.get("/v1/me").await.expect(200)["currentTenant"]
            .as_str()
            .unwrap()
            .to_owned();
        let olga = join(&alice, &tenant_a, "olga@example.com", "operator").await;
        let victor = join(&alice, &tenant_a, "victor@example.com", "viewer").await;
        let created = alice
            .post("/v1/tenants", json!({"displayName": "B"}))
            .await
            .expect(201);
        let tenant_b = created["id"].as_str().unwrap().to_owned();
        let founder = log_in(&root, ADMIN, PASSWORD, Some(&tenant_b)).await;
        let bob = join(&founder, &tenant_b, "bob@example.com", "owner").await;
        Self {
            server,
            alice,
            olga,
            victor,
            bob,
            tenant_a,
            tenant_b,
        }
    }
}

/// Logs a user in, scoped to a tenant: the named one, else the first.
pub async fn log_in(anybody: &Caller, email: &str, password: &str, tenant: Option<&str>) -> Caller {
    let answer = anybody
        .post(
            "/v1/auth:login",
            json!({"email": email, "password": password}),
        )
        .await
        .expect(200);
    let user = anybody.with(format!(
        "Bearer {}",
        answer["accessToken"].as_str().unwrap()
    ));
    let tenant = match tenant {
        Some(tenant) => tenant.to_owned(),
        None => {
            let mine = user.get("/v1/me/tenants").await.expect(200);
            mine["tenants"][0]["tenant"]["id"]
                .as_str()
                .unwrap()
                .to_owned()
        }
    };
    let answer = user
        .post("/v1/auth:selectTenant", json!({"tenantId": tenant}))
        .await
        .expect(200);
    user.with(format!(
        "Bearer {}",
        answer["accessToken"].as_str().unwrap()
    ))
}

/// Creates a user and makes it a member with a role; logs it in.
pub async fn join(admin: &Caller, tenant: &str, email: &str, role: &str) -> Caller {
    let user = admin.request(
        Method::POST,
        &format!("/v1/users?password={}", PASSWORD.replace(' ', "+")),
    );
    let user = send(user.json(&json!({"email": email, "displayName": email})))
        .await
        .expect(201);
    admin
        .post("/v1/members", json!({"userId": user["id"], "role": role}))
        .await
        .expect(201);
    let anybody = Caller {
        authorization: None,
        ..admin.clone()
    };
    log_in(&anybody, email, PASSWORD, Some(tenant)).await
}

/// Waits until something is so: revocations are known everywhere within a second.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    // A busy machine may take its time.
    for _ in 0..500 {
        if so().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("{what} did not come about within ten seconds");
}

/// Says on standard error, also when the test passes, that something was not
/// run; where everything must run, fails.
#[track_caller]
pub fn not_run(what: &str, why: &str) {
    let told = format!("NOT RUN: {what}: {why}");
    let _ = writeln!(std::io::stderr(), "{told}");
    let must = std::env::var("MUSTER_REQUIRE_ALL").is_ok_and(|value| value == "1");
    assert!(!must, "{told}");
}

/// Runs a Python program of tests/programs with these variables set, if this
/// machine has Python and the modules that the program needs.
pub fn python(program: &str, modules: &[&str], variables: &[(&str, &str)]) -> Option<Output> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs");
    python_file(&Path::new(folder).join(program), modules, variables)
}

/// The same of any folder.
pub fn python_file(program: &Path, modules: &[&str], variables: &[(&str, &str)]) -> Option<Output> {
    let probe = format!("import {}", modules.join(", "));
    let interpreter = std::env::var("MUSTER_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&interpreter).args(["-c", &probe]).output();
    let lack = match probe {
        Err(error) => Some(format!("there is no {interpreter} ({error})")),
        Ok(probe) if !probe.status.success() => {
            let error = String::from_utf8_lossy(&probe.stderr);
            Some(error.lines().last().unwrap_or_default().to_owned())
        }
        Ok(_) => None,
    };
    if let Some(lack) = lack {
        not_run(&program.display().to_string(), &lack);
        return None;
    }
    let mut command = Command::new(&interpreter);
    command
        .arg(program)
        .env("NO_PROXY", "127.0.0.1")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(variables.iter().copied());
    Some(output(&mut command, "").unwrap())
}
