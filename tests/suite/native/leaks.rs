//! Keys that were found where they should not be.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use key_management::key_format;
use reqwest::Method;
use serde_json::{Value, json};

use super::{text, world};
use crate::support::{Answer, Caller, Installation, Server, World, eventually, send, unique};

/// A key of the caller's tenant: its id and its secret.
async fn new_key(owner: &Caller) -> (String, String) {
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let made = owner.post("/v1/apiKeys", body).await.expect(201);
    (
        text(&made["apiKey"]["id"]).to_owned(),
        text(&made["secret"]).to_owned(),
    )
}

async fn show(owner: &Caller, id: &str) -> Value {
    owner.get(&format!("/v1/apiKeys/{id}")).await.expect(200)
}

async fn is_refused(anybody: &Caller, secret: &str) {
    let holder = anybody.with(format!("Bearer {secret}"));
    eventually("401", async || {
        holder.get("/v1/me/tenants").await.status == 401
    })
    .await;
}

#[tokio::test]
async fn whoever_holds_a_key_may_end_it() {
    let World { alice, server, .. } = &*need!(world().await);
    let (id, secret) = new_key(alice).await;
    let anybody = server.anybody();
    let path = "/v1/apiKeys:surrender";
    let answer = anybody.post(path, json!({"apiKey": secret})).await;
    assert_eq!(answer.expect(200), json!({}));
    is_refused(&anybody, &secret).await;
    let key = show(alice, &id).await;
    assert_eq!(key["state"], "STATE_REVOKED");
    assert_eq!(key["revokeReason"], "surrendered by a holder");
}

#[tokio::test]
async fn nobody_learns_from_a_report_whether_there_is_such_a_key() {
    let World { alice, server, .. } = &*need!(world().await);
    let (id, secret) = new_key(alice).await;
    // With a right checksum, of a key that there is, and another secret.
    let parts = key_format::parse(&secret).unwrap();
    let other = key_format::write(parts.prefix, parts.environment, parts.id, &"0".repeat(36));
    assert!(key_format::parse(&other).is_ok_and(|other| other.id == parts.id));
    for path in ["/v1/apiKeys:surrender", "/v1/leaks"] {
        for nothing in ["x", "muster_1_2", &other] {
            let answer = server
                .anybody()
                .post(path, json!({"apiKey": nothing}))
                .await;
            assert_eq!(answer.expect(200), json!({}), "{nothing}");
        }
    }
    let key = show(alice, &id).await;
    assert_eq!(key["state"], "STATE_ACTIVE");
    assert_eq!(key.get("leakTime"), None);
    let holder = server.anybody().with(format!("Bearer {secret}"));
    holder.get("/v1/me/tenants").await.expect(200);
}

#[tokio::test]
async fn a_secret_that_was_rotated_away_ends_nothing() {
    let World { alice, server, .. } = &*need!(world().await);
    let anybody = server.anybody();
    let (id, old) = new_key(alice).await;
    let new = rotate(alice, &id).await;
    let body = json!({"apiKey": old});
    let surrendered = anybody.post("/v1/apiKeys:surrender", body).await;
    assert_eq!(surrendered.expect(200), json!({}));
    assert_eq!(show(alice, &id).await.get("leakTime"), None);
    report(&anybody, &old, "an old backup").await;
    let key = show(alice, &id).await;
    assert_eq!(key["state"], "STATE_ACTIVE");
    assert_eq!(key["leakSource"], "an old backup");
    assert!(key["leakTime"].is_string());
    let holder = anybody.with(format!("Bearer {new}"));
    holder.get("/v1/me/tenants").await.expect(200);
    // The one that works does, and then no secret of the key is noted any more.
    report(&anybody, &new, "a paste").await;
    is_refused(&anybody, &new).await;
    report(&anybody, &old, "another backup").await;
    assert_eq!(show(alice, &id).await["leakSource"], "a paste");
}

#[tokio::test]
async fn what_is_revoked_is_not_revoked_again() {
    let World { alice, server, .. } = &*need!(world().await);
    let anybody = server.anybody();
    let (id, secret) = new_key(alice).await;
    report(&anybody, &secret, "first").await;
    is_refused(&anybody, &secret).await;
    let recorded = async || {
        let events = format!("/v1/auditEvents?resource=apiKeys/{id}");
        alice.get(&events).await.expect(200)
    };
    let (key, events) = (show(alice, &id).await, recorded().await);
    assert_eq!(key["state"], "STATE_REVOKED");
    assert!(events.to_string().contains("ReportLeak"), "{events}");
    report(&anybody, &secret, "second").await;
    let body = json!({"apiKey": secret});
    let surrendered = anybody.post("/v1/apiKeys:surrender", body).await;
    assert_eq!(surrendered.expect(200), json!({}));
    assert_eq!(show(alice, &id).await, key);
    assert_eq!(recorded().await, events);
}

/// Gives a key a new secret, without an overlap.
async fn rotate(owner: &Caller, id: &str) -> String {
    let path = format!("/v1/apiKeys/{id}:rotate");
    let rotated = owner.post(&path, json!({"overlap": "0s"})).await;
    text(&rotated.expect(200)["secret"]).to_owned()
}

async fn report(anybody: &Caller, secret: &str, source: &str) {
    let body = json!({"apiKey": secret, "source": source});
    let answer = anybody.post("/v1/leaks", body).await;
    assert_eq!(answer.expect(200), json!({}));
}

/// What a report does to a key by the policy of its tenant.
async fn reported(action: Option<&str>) -> (Caller, Value, String) {
    let server = Server::start().await.unwrap();
    let world = World::on(server).await;
    if let Some(action) = action {
        let policy = json!({"leakAction": action});
        world.alice.patch("/v1/keyPolicy", policy).await.expect(200);
    }
    let (id, secret) = new_key(&world.alice).await;
    let anybody = world.server.anybody();
    report(&anybody, &secret, "https://example.com/paste/1").await;
    let key = show(&world.alice, &id).await;
    assert_eq!(key["leakSource"], "https://example.com/paste/1");
    assert!(key["leakTime"].is_string());
    let holder = world.alice.with(format!("Bearer {secret}"));
    let refused = key["state"] != "STATE_ACTIVE";
    match refused {
        true => is_refused(&holder, &secret).await,
        false => drop(holder.get("/v1/me/tenants").await.expect(200)),
    }
    (holder, key, secret)
}

#[tokio::test]
async fn a_reported_key_is_revoked_disabled_or_only_marked_as_the_tenant_wants() {
    need!(world().await);
    for (action, state) in [
        (None, "STATE_REVOKED"),
        (Some("LEAK_ACTION_REVOKE"), "STATE_REVOKED"),
        (Some("LEAK_ACTION_DISABLE"), "STATE_DISABLED"),
        (Some("LEAK_ACTION_NOTIFY"), "STATE_ACTIVE"),
    ] {
        let (_, key, _) = reported(action).await;
        assert_eq!(key["state"], state, "{action:?}");
    }
}

/// GitHub, whose public keys the operator has in a file.
struct Github {
    pair: EcdsaKeyPair,
}

impl Github {
    fn new() -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
                .unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref()).unwrap();
        Self { pair }
    }

    /// The file, as GitHub publishes it.
    fn published(&self) -> String {
        // SubjectPublicKeyInfo of a point of P-256 (RFC 5480).
        let mut der = vec![
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06,
            0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        der.extend(self.pair.public_key().as_ref());
        let inside = BASE64_STANDARD.encode(der);
        let (one, two) = inside.split_at(64);
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{one}\n{two}\n-----END PUBLIC KEY-----\n");
        let key = json!({"key_identifier": "k1", "key": pem, "is_current": true});
        json!({"public_keys": [key]}).to_string()
    }

    async fn report(&self, to: &Caller, body: &str, signed: &str) -> Answer {
        let random = SystemRandom::new();
        let signature = self.pair.sign(&random, signed.as_bytes()).unwrap();
        let request = to
            .request(Method::POST, "/v1/leaks:github")
            .header("content-type", "application/json")
            .header("github-public-key-identifier", "k1")
            .header(
                "github-public-key-signature",
                BASE64_STANDARD.encode(signature.as_ref()),
            );
        send(request.body(body.to_owned())).await
    }
}

#[tokio::test]
async fn github_reports_leaked_keys_with_its_signature() {
    let github = Github::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), github.published()).unwrap();
    let installation = need!(Installation::new().await);
    let path = file.path().to_str().unwrap();
    let server = Server::start_on(installation.with(&[("MUSTER_GITHUB_KEYS", path)])).await;
    let World { alice, server, .. } = World::on(server).await;
    let anybody = server.anybody();
    let (id, secret) = new_key(&alice).await;
    let (rotated, old) = new_key(&alice).await;
    rotate(&alice, &rotated).await;
    let body = json!([
        {"token": secret, "type": "muster_api_key", "url": "https://github.com/a/b", "source": "content"},
        {"token": "muster_no_key", "type": "muster_api_key", "url": "", "source": "commit"},
        {"token": old, "type": "muster_api_key", "url": "https://github.com/a/b", "source": "commit"},
    ])
    .to_string();
    let forged = github.report(&anybody, &body, "something else").await;
    let refusal = forged.expect(403);
    assert_eq!(refusal["details"][0]["reason"], "BAD_SIGNATURE");
    assert_eq!(show(&alice, &id).await["state"], "STATE_ACTIVE");
    let told = github.report(&anybody, &body, &body).await.expect(200);
    assert_eq!(told[0]["label"], "true_positive");
    assert_eq!(told[0]["token_raw"], secret.as_str());
    assert_eq!(told[1]["label"], "false_positive");
    assert_eq!(told[2]["label"], "false_positive");
    assert_eq!(show(&alice, &rotated).await["state"], "STATE_ACTIVE");
    is_refused(&anybody, &secret).await;
    let key = show(&alice, &id).await;
    assert_eq!(key["state"], "STATE_REVOKED");
    assert_eq!(key["leakSource"], "https://github.com/a/b");
    let events = format!("/v1/auditEvents?resource=apiKeys/{id}");
    let events = alice.get(&events).await.expect(200).to_string();
    assert!(events.contains("ReportGithubLeaks"), "{events}");
    let no_list = github.report(&anybody, "{}", "{}").await;
    no_list.expect(400);
    // A key that the operator has taken out signs nothing any more.
    std::fs::write(file.path(), json!({"public_keys": []}).to_string()).unwrap();
    let refused = github.report(&anybody, "[]", "[]").await;
    assert_eq!(refused.reason(403), "BAD_SIGNATURE");
    std::fs::write(file.path(), github.published()).unwrap();
    let told = github.report(&anybody, "[]", "[]").await;
    assert_eq!(told.expect(200), json!([]));
}

#[tokio::test]
async fn reports_of_github_are_refused_while_its_keys_are_not_configured() {
    let server = &need!(world().await).server;
    let github = Github::new();
    let answer = github.report(&server.anybody(), "[]", "[]").await;
    let refusal = answer.expect(400);
    assert_eq!(refusal["details"][0]["reason"], "LEAKS_NOT_CONFIGURED");
}
