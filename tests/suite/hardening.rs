//! What somebody would try who means harm.

use crate::support::{ADMIN, Caller, PASSWORD, World, join, send, unique};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

fn basic(name: &str, secret: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{name}:{secret}"))
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn bearer(caller: &Caller, path: &str, body: Value) -> Caller {
    let answer = caller.post(path, body).await.expect(200);
    caller.with(format!("Bearer {}", text(&answer["accessToken"])))
}

#[tokio::test]
async fn a_token_that_came_from_a_password_ends_with_the_password() {
    let world = need!(World::new().await);
    let email = format!("{}@example.com", unique());
    join(&world.alice, &world.tenant_a, &email, "viewer").await;
    let by_password = world.server.caller(basic(&email, PASSWORD));
    let tenant = json!({"tenantId": world.tenant_a});
    // A token for a token, and one more for that.
    let first = bearer(&by_password, "/v1/auth:selectTenant", tenant.clone()).await;
    let second = bearer(&first, "/v1/auth:selectTenant", tenant.clone()).await;
    second.get("/v1/devices").await.expect(200);
    let change = json!({"currentPassword": PASSWORD, "newPassword": "a wholly new password"});
    by_password
        .post("/v1/me:changePassword", change)
        .await
        .expect(200);
    for caller in [&first, &second] {
        let refused = async || caller.get("/v1/devices").await.status == 401;
        crate::support::eventually("the end of the token", refused).await;
        caller
            .post("/v1/auth:selectTenant", tenant.clone())
            .await
            .expect(401);
    }
}

#[tokio::test]
async fn nobody_disables_a_user_who_may_do_more_than_he() {
    let world = need!(World::new().await);
    let email = format!("{}@example.com", unique());
    let admin = join(&world.alice, &world.tenant_a, &email, "admin").await;
    let me = world.alice.get("/v1/me").await.expect(200);
    let owner = text(&me["principalId"]);
    for verb in ["disable", "enable"] {
        let answer = admin
            .post(&format!("/v1/users/{owner}:{verb}"), json!({}))
            .await
            .expect(403);
        assert_eq!(answer["details"][0]["reason"], "PERMISSION_NOT_HELD");
    }
    world.alice.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a_session_cookie_does_not_work_for_another_sites_page() {
    let world = need!(World::new().await);
    let login = json!({"email": ADMIN, "password": PASSWORD});
    let session = world
        .server
        .anybody()
        .post("/v1/auth:login", login)
        .await
        .expect(200);
    let cookie = format!("muster_session={}", text(&session["sessionToken"]));
    let tag = async |site: &str| {
        let request = world.server.anybody().request(Method::POST, "/v1/tags");
        let request = request
            .header("cookie", &cookie)
            .header("sec-fetch-site", site);
        send(request.json(&json!({"displayName": unique()}))).await
    };
    tag("same-origin").await.expect(201);
    for site in ["cross-site", "same-site"] {
        assert_eq!(
            tag(site).await.expect(403)["details"][0]["reason"],
            "CROSS_SITE"
        );
    }
}

#[tokio::test]
async fn what_anybody_may_send_is_small() {
    let world = need!(World::new().await);
    let login = json!({"email": "a@example.com", "password": "x".repeat(100_000)});
    let answer = world.server.anybody().post("/v1/auth:login", login).await;
    assert_eq!(answer.expect(413)["details"][0]["reason"], "BODY_TOO_LARGE");
}

#[tokio::test]
async fn a_token_renews_and_revokes_itself_only() {
    let world = need!(World::new().await);
    let client = world
        .alice
        .post("/v1/apiClients", json!({"displayName": "c"}))
        .await
        .expect(201);
    let (key, secret) = (
        text(&client["apiClient"]["clientKey"]),
        text(&client["clientSecret"]),
    );
    let by_secret = world.server.caller(basic(key, secret));
    let one = by_secret.post("/v1/tokens", json!({})).await.expect(201);
    let other = by_secret.post("/v1/tokens", json!({})).await.expect(201);
    let holder = by_secret.with(format!("Bearer {}", text(&one["accessToken"])));
    for verb in ["renew", "revoke"] {
        let path = |token: &Value| format!("/v1/tokens/{}:{verb}", text(&token["number"]));
        holder.post(&path(&other), json!({})).await.expect(404);
        holder.post(&path(&one), json!({})).await.expect(200);
        by_secret.post(&path(&other), json!({})).await.expect(200);
    }
}

#[tokio::test]
async fn a_time_that_json_can_not_tell_is_refused() {
    use proto::keys::api_key_service_client::ApiKeyServiceClient;
    use proto::keys::{ApiKey, CreateApiKeyRequest};
    let world = need!(World::new().await);
    let channel = crate::support::grpc::connect(&world.server.url).await;
    let api_key = ApiKey {
        display_name: unique(),
        expire_time: Some(prost_types::Timestamp {
            seconds: 300_000_000_000,
            nanos: 0,
        }),
        ..ApiKey::default()
    };
    let mut request = tonic::Request::new(CreateApiKeyRequest {
        api_key: Some(api_key),
        ..CreateApiKeyRequest::default()
    });
    let token = world
        .alice
        .authorization
        .as_deref()
        .unwrap()
        .parse()
        .unwrap();
    request.metadata_mut().insert("authorization", token);
    let refusal = ApiKeyServiceClient::new(channel)
        .create_api_key(request)
        .await
        .unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
}

#[tokio::test]
async fn options_without_a_browser_tells_the_methods() {
    let world = need!(World::new().await);
    let answer = send(
        world
            .server
            .anybody()
            .request(Method::OPTIONS, "/v1/devices"),
    )
    .await;
    assert_eq!(answer.status.as_u16(), 204);
    assert_eq!(answer.header("allow"), "GET, HEAD, POST");
}
