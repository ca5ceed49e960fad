//! OAuth 2.0, as its standards and its clients have it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proto::access::{ALL_PERMISSIONS, scope};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{ADMIN, Answer, Caller, PASSWORD, World, eventually, python, send, unique};

const TOKEN: &str = "/oauth2/token";
const INTROSPECT: &str = "/oauth2/introspect";
const REVOKE: &str = "/oauth2/revoke";
const GRANT: (&str, &str) = ("grant_type", "client_credentials");

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn basic(name: &str, secret: &str) -> String {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {pair}")
}

/// An API client of a caller's tenant: its key and secret.
async fn client(owner: &Caller, permissions: &[&str]) -> (String, String) {
    let body = json!({"displayName": unique(), "permissions": permissions});
    let made = owner.post("/v1/apiClients", body).await.expect(201);
    let part = |value: &Value| text(value).to_owned();
    (
        part(&made["apiClient"]["clientKey"]),
        part(&made["clientSecret"]),
    )
}

/// A refusal as RFC 6749 has it.
#[track_caller]
fn refused(answer: &Answer, status: u16, error: &str) {
    let body = answer.expect(status);
    assert_eq!(body["error"], error, "{body}");
    assert!(!text(&body["error_description"]).is_empty());
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("cache-control"), "no-store");
    let challenge = answer.header("www-authenticate");
    match error {
        "invalid_client" => assert_eq!(challenge, "Basic realm=\"muster\""),
        "invalid_token" => assert!(challenge.contains("error=\"invalid_token\"")),
        _ => assert_eq!(challenge, ""),
    }
}

/// A token, and a caller with it.
async fn issue(client: &Caller) -> (String, Caller) {
    let token = client.form(TOKEN, &[GRANT]).await.expect(200);
    let token = text(&token["access_token"]).to_owned();
    let caller = client.with(format!("Bearer {token}"));
    (token, caller)
}

#[tokio::test]
async fn a_client_gets_a_token_whichever_way_it_shows_who_it_is() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let (key, secret) = client(&world.alice, &["devices.read", "tags.read"]).await;
    let (by_id, by_secret) = (("client_id", &*key), ("client_secret", &*secret));
    let header = anybody.with(basic(&key, &secret));
    for (caller, form) in [
        (&header, vec![GRANT]),
        (&header, vec![GRANT, by_id]),
        (&header, vec![GRANT, ("audience", "what others know")]),
        (&anybody, vec![GRANT, by_id, by_secret]),
    ] {
        let answer = caller.form(TOKEN, &form).await;
        let token = answer.expect(200);
        assert_eq!(token["token_type"], "Bearer");
        assert_eq!(token["expires_in"], 600);
        assert_eq!(token["scope"], "devices.read tags.read");
        assert_eq!(token.as_object().unwrap().len(), 4, "{token}");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("pragma"), "no-cache");
        let bearer = format!("Bearer {}", text(&token["access_token"]));
        let program = anybody.with(bearer);
        program.get("/v1/devices").await.expect(200);
        program.get("/v1/tags").await.expect(200);
    }
}

#[tokio::test]
async fn a_token_has_the_scope_that_was_asked_for() {
    let world = need!(World::shared().await);
    let (key, secret) = client(&world.alice, &["devices.read", "tags.read"]).await;
    let client = world.alice.with(basic(&key, &secret));
    let scope = ("scope", "tags.read  tags.read");
    let token = client.form(TOKEN, &[GRANT, scope]).await.expect(200);
    assert_eq!(token["scope"], "tags.read");
    let bearer = format!("Bearer {}", text(&token["access_token"]));
    let program = client.with(bearer);
    program.get("/v1/tags").await.expect(200);
    program.get("/v1/devices").await.expect(403);
    for scope in ["devices.write", "tags.read devices.fly", "openid"] {
        let answer = client.form(TOKEN, &[GRANT, ("scope", scope)]).await;
        refused(&answer, 400, "invalid_scope");
    }
}

#[tokio::test]
async fn who_is_no_client_gets_no_token() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let (key, secret) = client(&world.alice, &["devices.read"]).await;
    let (by_id, by_secret) = (("client_id", &*key), ("client_secret", &*secret));
    let other = world.alice.key_holder(&["devices.read"]).await;
    let wrong = anybody.with(basic(&key, "wrong"));
    let nobody = anybody.with(basic("nobody", &secret));
    let person = anybody.with(basic(ADMIN, PASSWORD));
    let malformed = anybody.with("Basic b'dTpw'");
    let itself = issue(&anybody.with(basic(&key, &secret))).await.1;
    for (caller, form) in [
        (&anybody, vec![GRANT]),
        (&anybody, vec![GRANT, by_id]),
        (&anybody, vec![GRANT, by_secret]),
        (&anybody, vec![GRANT, by_id, ("client_secret", "wrong")]),
        (
            &anybody,
            vec![GRANT, ("client_id", ADMIN), ("client_secret", PASSWORD)],
        ),
        (&wrong, vec![GRANT]),
        (&nobody, vec![GRANT]),
        (&person, vec![GRANT]),
        (&malformed, vec![GRANT]),
        (&world.alice, vec![GRANT]),
        (&other, vec![GRANT]),
        (&itself, vec![GRANT]),
    ] {
        let answer = caller.form(TOKEN, &form).await;
        refused(&answer, 401, "invalid_client");
    }
}

#[tokio::test]
async fn what_no_request_for_a_token_can_be_is_refused() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let (key, secret) = client(&world.alice, &["devices.read"]).await;
    let header = anybody.with(basic(&key, &secret));
    for (form, error) in [
        (vec![], "invalid_request"),
        (vec![("grant_type", "password")], "unsupported_grant_type"),
        (vec![GRANT, GRANT], "invalid_request"),
        (vec![GRANT, ("client_secret", &*secret)], "invalid_request"),
        (vec![GRANT, ("client_id", "another")], "invalid_request"),
    ] {
        let answer = header.form(TOKEN, &form).await;
        refused(&answer, 400, error);
    }
    let xml = header.raw(Method::POST, TOKEN, Some("text/xml"), "<a/>");
    refused(&xml.await, 415, "invalid_request");
    refused(&header.get(TOKEN).await, 405, "invalid_request");
    refused(
        &header.get("/oauth2/authorize").await,
        404,
        "invalid_request",
    );
}

#[tokio::test]
async fn a_secret_with_marks_of_forms_is_taken_encoded_and_as_it_is() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    for (secret, encoded) in [
        ("a+secret/of=others&%41", "a%2Bsecret%2Fof%3Dothers%26%2541"),
        ("two words+1", "two+words%2B1"),
    ] {
        let key = format!("client-of-others-{}", unique());
        let body = json!({"apiClient": {"clientKey": key}, "secret": {"raw": secret}});
        let made = world.alice.post("/v1/apiClients:import", body).await;
        made.expect(201);
        for written in [secret, encoded] {
            let caller = anybody.with(basic(&key, written));
            caller.form(TOKEN, &[GRANT]).await.expect(200);
        }
        let form = [GRANT, ("client_id", &key), ("client_secret", secret)];
        anybody.form(TOKEN, &form).await.expect(200);
    }
}

#[tokio::test]
async fn a_token_is_introspected_as_the_standard_has_it() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let (key, secret) = client(&world.alice, &["devices.read"]).await;
    let header = anybody.with(basic(&key, &secret));
    let (token, itself) = issue(&header).await;
    let asked = ("token", token.as_str());
    let hint = ("token_type_hint", "access_token");
    let (by_id, by_secret) = (("client_id", &*key), ("client_secret", &*secret));
    let verifier = world.alice.key_holder(&["keys.verify"]).await;
    let mut answers = Vec::new();
    for (caller, form) in [
        (&header, vec![asked, hint]),
        (&anybody, vec![asked, by_id, by_secret]),
        (&itself, vec![asked]),
        (&verifier, vec![asked]),
    ] {
        let answer = caller.form(INTROSPECT, &form).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        answers.push(answer.expect(200));
    }
    let known = &answers[0];
    assert!(answers.iter().all(|answer| answer == known));
    assert_eq!(known["active"], true);
    assert_eq!(known["scope"], "devices.read");
    assert_eq!(known["client_id"], key);
    assert_eq!(known["token_type"], "Bearer");
    assert_eq!(known["aud"], "muster");
    assert_eq!(known["tenant_id"], world.tenant_a);
    assert!(text(&known["sub"]).starts_with("client:"));
    assert!(known["jti"].is_string() && known["iss"].is_string());
    let (begin, end) = (known["iat"].as_i64(), known["exp"].as_i64());
    assert!(begin.unwrap() + 600 <= end.unwrap(), "{known}");

    let inactive = json!({"active": false});
    let (other, its) = client(&world.alice, &["devices.read"]).await;
    let other = anybody.with(basic(&other, &its));
    let theirs = world.bob.key_holder(&["keys.verify"]).await;
    for (caller, token) in [
        (&other, token.as_str()),
        (&theirs, &token),
        (&header, "nonsense"),
        (&header, &"x".repeat(9000)),
    ] {
        let answer = caller.form(INTROSPECT, &[("token", token)]).await;
        assert_eq!(answer.expect(200), inactive);
    }
    refused(&header.form(INTROSPECT, &[]).await, 400, "invalid_request");
    let answer = anybody.form(INTROSPECT, &[asked]).await;
    refused(&answer, 401, "invalid_client");
    let stranger = anybody.with("Bearer eyJ.eyJ.x");
    let answer = stranger.form(INTROSPECT, &[asked]).await;
    refused(&answer, 401, "invalid_token");
}

#[tokio::test]
async fn a_token_is_revoked_as_the_standard_has_it() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let (key, secret) = client(&world.alice, &["devices.read"]).await;
    let header = anybody.with(basic(&key, &secret));
    let (other, its) = client(&world.alice, &["devices.read"]).await;
    let other = anybody.with(basic(&other, &its));
    let (token, itself) = issue(&header).await;
    let form = [("token", token.as_str())];
    let answer = anybody.form(REVOKE, &form).await;
    refused(&answer, 401, "invalid_client");
    refused(&header.form(REVOKE, &[]).await, 400, "invalid_request");
    // Not the other's, which it does not get to know.
    other.form(REVOKE, &form).await.expect(200);
    for unknown in ["nonsense", "eyJ.eyJ.x", &"x".repeat(9000)] {
        let answer = header.form(REVOKE, &[("token", unknown)]).await;
        answer.expect(200);
    }
    itself.get("/v1/devices").await.expect(200);
    for _ in 0..2 {
        header.form(REVOKE, &form).await.expect(200);
    }
    eventually("a revoked token is refused", async || {
        itself.get("/v1/devices").await.status == 401
    })
    .await;
    eventually("a revoked token is inactive", async || {
        let known = header.form(INTROSPECT, &form).await.expect(200);
        known == json!({"active": false})
    })
    .await;
    issue(&header).await.1.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn whoever_wants_to_know_the_server_finds_it_described() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let answer = anybody.get("/.well-known/openid-configuration").await;
    assert_eq!(answer.header("cache-control"), "public, max-age=300");
    let known = answer.expect(200);
    let other = anybody.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(other.expect(200), known);
    for (name, path) in [
        ("jwks_uri", "/.well-known/jwks.json"),
        ("token_endpoint", TOKEN),
        ("introspection_endpoint", INTROSPECT),
        ("revocation_endpoint", REVOKE),
    ] {
        assert_eq!(known[name], format!("{}{path}", world.server.url));
    }
    let (key, secret) = client(&world.alice, &[]).await;
    let (token, _) = issue(&anybody.with(basic(&key, &secret))).await;
    let verifier = world.alice.key_holder(&["keys.verify"]).await;
    let told = verifier.form(INTROSPECT, &[("token", &token)]).await;
    assert_eq!(known["issuer"], told.expect(200)["iss"]);
    let methods = json!(["client_secret_basic", "client_secret_post"]);
    for endpoint in ["token", "introspection", "revocation"] {
        let name = format!("{endpoint}_endpoint_auth_methods_supported");
        assert_eq!(known[&name], methods);
    }
    assert_eq!(
        known["grant_types_supported"],
        json!(["client_credentials"])
    );
    assert_eq!(known["response_types_supported"], json!([]));
    assert_eq!(known["subject_types_supported"], json!(["public"]));
    let algorithms = &known["id_token_signing_alg_values_supported"];
    assert_eq!(*algorithms, json!(["ES256"]));
    let scopes: Vec<_> = ALL_PERMISSIONS.iter().map(|p| scope(*p)).collect();
    assert_eq!(known["scopes_supported"], json!(scopes));
}

#[tokio::test]
async fn a_proxy_in_front_is_where_the_endpoints_are() {
    let world = need!(World::shared().await);
    let anybody = world.server.anybody();
    let path = "/.well-known/openid-configuration";
    let known = anybody.get(path).await.expect(200);
    let request = anybody.request(Method::GET, path);
    let asked = request.header("host", "muster.example.com");
    let asked = send(asked).await.expect(200);
    // Whoever is configured with a URL has no other.
    let expected = match text(&known["issuer"]).starts_with("http") {
        true => text(&known["token_endpoint"]).to_owned(),
        false => format!("http://muster.example.com{TOKEN}"),
    };
    assert_eq!(asked["token_endpoint"], expected);
}

#[tokio::test]
async fn standard_libraries_get_verify_and_introspect_a_token() {
    let world = need!(World::shared().await);
    let (key, secret) = client(&world.alice, &["devices.read", "tags.read"]).await;
    let variables = [
        ("MUSTER_URL", world.server.url.as_str()),
        ("CLIENT_ID", &key),
        ("CLIENT_SECRET", &secret),
    ];
    let modules = ["requests_oauthlib", "jwt.algorithms", "cryptography"];
    let Some(run) = python("oauth_client.py", &modules, &variables) else {
        return;
    };
    assert!(run.status.success(), "{run:?}");
    let told: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(told["scope"], json!(["devices.read"]));
    assert_eq!(told["claims"]["scope"], "devices.read");
    assert_eq!(told["claims"]["tid"], world.tenant_a);
    assert_eq!(told["introspection"]["active"], true);
    assert_eq!(told["introspection"]["client_id"], key);
    assert_eq!(told["introspection"]["sub"], told["claims"]["sub"]);
    assert_eq!(told["devices"], 200);
    assert_eq!(told["altered"], "InvalidSignatureError");
    assert_eq!(told["other_audience"], "InvalidAudienceError");
    assert_eq!(told["other_issuer"], "InvalidIssuerError");
    assert_eq!(told["wrong_secret"], "invalid_client");
    assert_eq!(told["wrong_scope"], "invalid_scope");
    assert_eq!(told["revoked"], 200);
    assert_eq!(told["after"], json!({"active": false}));
}
