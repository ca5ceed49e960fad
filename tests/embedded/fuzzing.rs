//! The documents are true: schemathesis makes requests of them, good ones and
//! bad ones, and compares the answers. MUSTER_TEST_EXAMPLES and
//! MUSTER_TEST_SEED make more of them, and others.

use serde_json::json;

use crate::support::{ADMIN, Caller, Installation, PASSWORD, Server, join, log_in, python, unique};

/// What ends sessions or memberships, or changes which keys a tenant may have,
/// so that all after it may be refused: asked for by itself.
const ENDS: &str = "auth:logout|changePassword|members/|:suspend|:disable|[}s]:revoke\
    |oauth2/revoke|surrender|keyPolicy";
/// Streams without an end.
const ENDLESS: &str = "revoked:watch|devices:watch|ommands:receive";

/// A server that takes any number of wrong credentials.
async fn start() -> Option<Server> {
    let installation = Installation::new().await?;
    let installation = installation.with(&[("MUSTER_LIMIT_FAILURES", "off")]);
    Some(Server::start_on(installation).await)
}

/// The owner of a new tenant, where nothing of others can be broken.
async fn owner(server: &Server) -> Caller {
    let anybody = server.anybody();
    let admin = log_in(&anybody, ADMIN, PASSWORD, None).await;
    let body = json!({"displayName": "where anything may happen"});
    let tenant = admin.post("/v1/tenants", body).await.expect(201);
    let tenant = tenant["id"].as_str().unwrap();
    let founder = log_in(&anybody, ADMIN, PASSWORD, Some(tenant)).await;
    let email = format!("owner-{}@example.com", unique());
    join(&founder, tenant, &email, "owner").await
}

/// Lets an owner ask what is in a document.
async fn fuzz(document: &str, only: &str, except: &str) {
    let server = need!(start().await);
    let owner = owner(&server).await;
    ask(&server, &owner, document, only, except).await;
    if only.is_empty() {
        // Else the last answers were all the same refusal.
        owner.get("/v1/me").await.expect(200);
    }
}

/// The same for what an MQTT broker asks, with a key like a broker's.
async fn fuzz_hooks(document: &str) {
    let server = need!(start().await);
    let broker = owner(&server).await;
    let broker = broker.key_holder(&["devices.authenticate"]).await;
    ask(&server, &broker, document, "", "").await;
}

/// Lets schemathesis ask what is in a document, as somebody.
async fn ask(server: &Server, caller: &Caller, document: &str, only: &str, except: &str) {
    let token = caller.authorization.as_deref().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (url, document) = (server.url.clone(), document.to_owned());
    let variables = [
        ("MUSTER_URL", url.as_str()),
        ("MUSTER_DOCUMENT", &document),
        ("MUSTER_TOKEN", token.trim_start_matches("Bearer ")),
        ("MUSTER_ONLY", only),
        ("MUSTER_EXCEPT", except),
        // Where it keeps what it found.
        ("MUSTER_FOLDER", folder.path().to_str().unwrap()),
    ];
    let told = need!(python("fuzzing.py", &["schemathesis"], &variables));
    let out = String::from_utf8_lossy(&told.stdout);
    let errors = String::from_utf8_lossy(&told.stderr);
    assert!(
        told.status.success(),
        "{document}: {out}{errors}\n{}",
        server.log()
    );
    assert!(out.contains(" passed"), "nothing was asked: {out}");
}

#[tokio::test]
async fn the_native_api_answers_as_its_document_says() {
    fuzz("/openapi.json", "", &format!("{ENDLESS}|{ENDS}")).await;
}

#[tokio::test]
async fn what_ends_sessions_answers_as_the_native_document_says() {
    fuzz("/openapi.json", ENDS, "").await;
}

#[tokio::test]
async fn hardwario_answers_as_its_document_says() {
    fuzz("/openapi/hardwario.json", "", "").await;
}

#[tokio::test]
async fn yombo_answers_as_its_document_says() {
    fuzz("/openapi/yombo.json", "", "").await;
}

#[tokio::test]
async fn iottly_answers_as_its_document_says() {
    fuzz("/openapi/iottly.json", "", "").await;
}

#[tokio::test]
async fn sensorbucket_answers_as_its_document_says() {
    fuzz("/openapi/sensorbucket.json", "", "").await;
}

#[tokio::test]
async fn device42_answers_as_its_document_says() {
    fuzz("/openapi/device42.json", "", "").await;
}

#[tokio::test]
async fn emqx_is_answered_as_its_document_says() {
    fuzz_hooks("/openapi/emqx.json").await;
}

#[tokio::test]
async fn mosquitto_is_answered_as_its_document_says() {
    fuzz_hooks("/openapi/mosquitto.json").await;
}
