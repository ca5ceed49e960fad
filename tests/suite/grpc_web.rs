//! gRPC-Web with the clients that npm has: in Node.js, and in a page of
//! another origin.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};

use super::pages::browser::Browser;
use crate::support::javascript::{Page, node};
use crate::support::{ADMIN, Answer, Installation, PASSWORD, Server, World, send, unique};

/// What a client is told that shall try this.
async fn settings(world: &World, tries: &[&str]) -> Value {
    let permissions = [
        "devices.read",
        "devices.write",
        "keys.read",
        "keys.write",
        "keys.verify",
    ];
    json!({
        "url": world.server.url,
        "key": world.alice.new_key(&permissions).await,
        "name": unique(),
        "contract": BASE64_STANDARD.encode(proto::DESCRIPTOR_SET),
        "tries": tries,
    })
}

/// What connect-web is answered that tries all it can.
fn answered(name: &Value) -> Value {
    let name = name.as_str().unwrap();
    json!({
        "unary": [name, format!("{name}-request"), true],
        "errors": ["InvalidArgument", "INVALID_ARGUMENT", "device.display_name", "device.code"],
        "stream": ["revoked", "heard", "Canceled"],
        "deadline": ["DeadlineExceeded"],
        "large": [1_200_000, "OutOfRange"],
        "json": ["Unimplemented"],
    })
}

const TRIES: [&str; 6] = ["unary", "errors", "stream", "deadline", "large", "json"];

#[tokio::test(flavor = "multi_thread")]
async fn connect_web_in_node_calls_and_streams() {
    let world = need!(World::shared().await);
    let settings = settings(&world, &TRIES).await;
    let told = need!(node("main.mjs", &settings).await);
    assert_eq!(told, answered(&settings["name"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_and_a_session_count_and_nothing_else_does() {
    let world = need!(World::shared().await);
    let mut settings = settings(&world, &["credentials"]).await;
    let login = json!({"email": ADMIN, "password": PASSWORD});
    let login = world.server.anybody().post("/v1/auth:login", login).await;
    settings["session"] = login.expect(200)["sessionToken"].clone();
    let told = need!(node("main.mjs", &settings).await);
    let expected = json!([
        // No credential, and a wrong one.
        "Unauthenticated",
        "Unauthenticated",
        // A key, and a session; and this from a page of another site.
        "ok",
        "ok",
        "PermissionDenied",
    ]);
    assert_eq!(told["credentials"], expected);
}

/// What a page in a browser is answered that tries this, and what the console
/// says of it; its origin is allowed, or another one.
async fn paged(tries: &[&str], allowed: Option<&str>) -> Option<(Value, Value, String)> {
    let page = Page::new("page.mjs").await?;
    let origin = page.origin();
    let browser = Browser::start().await?;
    let installation = Installation::new().await?;
    let origins = allowed.unwrap_or(&origin);
    let installation =
        installation.with(&[("MUSTER_CORS_ORIGINS", origins), ("MUSTER_LOG", "warn")]);
    let world = World::on(Server::start_on(installation).await).await;
    let settings = settings(&world, tries).await;
    page.serve(&settings);
    browser.open(&origin).await;
    let told = browser.see("#told").await.text().await.unwrap();
    let told = serde_json::from_str(&told).unwrap();
    Some((
        told,
        settings["name"].clone(),
        browser.console().await.join("\n"),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_an_allowed_origin_calls_and_streams() {
    let google = ["googleBinary", "googleText", "googleStream"];
    let tries = [&TRIES[..], &google].concat();
    let (told, name, console) = need!(paged(&tries, None).await);
    let mut expected = answered(&name);
    expected["googleBinary"] = json!([true, true, true]);
    expected["googleText"] = json!([true, true, true]);
    expected["googleStream"] = json!([3]);
    assert_eq!(told, expected, "{console}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_is_answered_nothing() {
    let allowed = "https://console.example.com";
    let (told, _, console) = need!(paged(&["credentials"], Some(allowed)).await);
    assert_eq!(
        told["credentials"],
        json!(["Unknown", "Unknown", "Unknown"]),
        "{told}"
    );
    assert!(console.contains("CORS"), "{console}");
}

/// An answer over HTTP/1.1 to an empty ListDevicesRequest, in this content type.
async fn asked(world: &World, method: Method, kind: &str, body: impl Into<String>) -> Answer {
    let path = "/muster.registry.v1.DeviceService/ListDevices";
    let request = world.victor.request(method, path).body(body.into());
    send(request.header("content-type", kind)).await
}

#[tokio::test]
async fn text_is_answered_in_text_and_a_media_type_may_have_parameters() {
    let world = need!(World::shared().await);
    // A frame of no message, in Base64: a flag and four bytes of length.
    for kind in [
        "application/grpc-web-text",
        "Application/gRPC-Web-Text+Proto; charset=utf-8",
    ] {
        let answer = asked(&world, Method::POST, kind, "AAAAAAA=").await;
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.header("content-type"),
            "application/grpc-web-text+proto"
        );
        // The frame of trailers comes last, and with Base64 of its own.
        let trailers = BASE64_STANDARD.encode(b"\x80\0\0\0\x0fgrpc-status:0\r\n");
        assert!(answer.text.ends_with(&trailers), "{kind}: {answer:?}");
    }
    let broken = asked(&world, Method::POST, "application/grpc-web-text", "!!!!").await;
    // INTERNAL, or CANCELLED if it was on its way to another process.
    let status = broken.header("grpc-status");
    assert!(["13", "1"].contains(&status), "{broken:?}");
}

#[tokio::test]
async fn grpc_that_can_not_work_is_refused_so_that_its_client_understands() {
    let world = need!(World::shared().await);
    let empty = "\0\0\0\0\0";
    let kind = "application/grpc-web+json";
    let foreign = asked(&world, Method::POST, kind, empty).await;
    assert_eq!(
        (foreign.status.as_u16(), foreign.header("grpc-status")),
        (200, "12")
    );
    assert_eq!(foreign.header("content-type"), kind);
    let old = asked(&world, Method::POST, "application/grpc", empty).await;
    assert_eq!(old.status, 505, "{old:?}");
    for kind in ["application/grpc", "application/grpc-web"] {
        let get = asked(&world, Method::GET, kind, "").await;
        assert_eq!((get.status.as_u16(), get.header("allow")), (405, "POST"));
    }
    let other = asked(&world, Method::POST, "application/grpcs", empty).await;
    assert_eq!(other.status, 404);
}
