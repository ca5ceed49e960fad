//! Secrets never reach the log.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::json;

use super::people::login;
use super::text;
use crate::support::{ADMIN, PASSWORD, Server, World, eventually, send};

#[tokio::test]
async fn no_secret_is_in_the_log_even_when_it_tells_most() {
    let server = need!(Server::start_logging("debug").await);
    let world = World::on(server).await;
    let (alice, anybody) = (&world.alice, world.server.anybody());
    let device_secret = "a-claim-token-of-a-device";
    let new_password = "a-password-in-a-query";
    let mut secrets = vec![
        PASSWORD.to_owned(),
        PASSWORD.replace(' ', "+"),
        PASSWORD.replace(' ', "%20"),
        device_secret.to_owned(),
        new_password.to_owned(),
        "not-the-password".to_owned(),
    ];
    let bearer = |caller: &crate::support::Caller| {
        let value = caller.authorization.as_deref().unwrap();
        value.split(' ').nth(1).unwrap().to_owned()
    };
    secrets.extend([alice, &world.olga, &world.victor, &world.bob].map(bearer));

    let made = login(&anybody, ADMIN, PASSWORD).await.expect(200);
    let session = text(&made["sessionToken"]);
    secrets.extend([text(&made["accessToken"]).to_owned(), session.to_owned()]);
    login(&anybody, ADMIN, "not-the-password").await.expect(401);
    let body = json!({"sessionToken": session});
    let fresh = anybody.post("/v1/auth:refresh", body).await.expect(200);
    secrets.push(text(&fresh["accessToken"]).to_owned());
    let request = anybody.request(Method::GET, "/v1/me");
    send(request.header("cookie", format!("muster_session={session}")))
        .await
        .expect(200);

    let path = format!("/v1/devices?secret={device_secret}");
    alice
        .post(&path, json!({"displayName": "x"}))
        .await
        .expect(201);
    alice
        .post(&path, json!({"displayName": ""}))
        .await
        .expect(400);
    let path = format!("/v1/users?password={new_password}");
    alice
        .post(&path, json!({"email": "new@example.com"}))
        .await
        .expect(201);
    alice
        .post(&path, json!({"email": "new@example.com"}))
        .await
        .expect(409);
    alice
        .post(&format!("{path}&nope=1"), json!({}))
        .await
        .expect(400);

    let key = alice.new_key(&["devices.read", "commands.read"]).await;
    for (name, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("ApiKey {key}")),
        ("authentication", format!("bearer {key}")),
        ("x-api-key", key.clone()),
        ("x-auth-key", key.clone()),
        ("x-api-auth", key.clone()),
    ] {
        for path in [
            "/v1/devices",
            "/api/v1/device",
            "/v1.0/project/ping",
            "/v2/devices",
            "/nothing",
        ] {
            let request = anybody.request(Method::GET, path);
            send(request.header(name, &value)).await;
        }
    }
    for query in ["_auth_key", "_api_auth", "apikey"] {
        for path in [
            "/v1/devices",
            "/api/v1/device",
            "/api/v1/nothing",
            "/nothing",
        ] {
            anybody.get(&format!("{path}?{query}={key}")).await;
        }
    }
    let body = json!({"email": ADMIN, "password": PASSWORD});
    anybody.post("/v2/auth/login", body).await.expect(200);
    secrets.push(key);

    let body = json!({"displayName": "c", "permissions": ["devices.read"]});
    let client = alice.post("/v1/apiClients", body).await.expect(201);
    let secret = text(&client["clientSecret"]).to_owned();
    let pair = format!("{}:{secret}", text(&client["apiClient"]["clientKey"]));
    let pair = BASE64_STANDARD.encode(pair);
    let caller = anybody.with(format!("Basic {pair}"));
    let token = caller.post("/v1/tokens", json!({})).await.expect(201);
    send(caller.request(Method::POST, "/tauth/1.0/token/"))
        .await
        .expect(200);
    secrets.extend([secret, pair, text(&token["accessToken"]).to_owned()]);
    secrets.push(BASE64_STANDARD.encode(format!("{ADMIN}:{PASSWORD}")));
    let caller = anybody.with(format!("Basic {}", secrets.last().unwrap()));
    caller.get("/v1/me").await.expect(200);

    let last = "the-last-request-of-this-test";
    let request = anybody.request(Method::GET, "/v1/me");
    send(request.header("x-request-id", last)).await.expect(401);
    let logged = async || world.server.log().contains(last);
    eventually("the last request in the log", logged).await;
    let log = world.server.log();
    assert!(log.contains("DEBUG") && log.lines().count() > 50, "{log}");
    for secret in &secrets {
        let line = log.lines().find(|line| line.contains(secret.as_str()));
        assert_eq!(line, None, "{secret} is in the log");
    }
}
