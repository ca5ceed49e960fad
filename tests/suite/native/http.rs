//! What HTTP itself has for requests and answers: encodings, conditions, waits,
//! other origins, and methods that are what they say.

use std::io::{Read, Write};

use crate::support::{ADMIN, Caller, Installation, PASSWORD, Server, World, send, unique};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::world;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An answer's status, headers and bytes as they came.
async fn bytes(request: RequestBuilder) -> (u16, HeaderMap, Vec<u8>) {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    (status, headers, response.bytes().await.unwrap().to_vec())
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

/// A device that is worth compressing.
async fn large_device(caller: &Caller) -> Value {
    let attributes = json!({"note": "long ".repeat(500)});
    let device = json!({"displayName": unique(), "attributes": attributes});
    caller.post("/v1/devices", device).await.expect(201)
}

#[tokio::test]
async fn answers_are_compressed_for_whoever_accepts_it() {
    let world = need!(world().await);
    let device = large_device(&world.olga).await;
    let path = format!("/v1/devices/{}", device["id"].as_str().unwrap());
    let get = |accept: &str| {
        let request = world.olga.request(Method::GET, &path);
        bytes(request.header("accept-encoding", accept))
    };
    let (_, plain_headers, plain) = get("identity").await;
    assert_eq!(header(&plain_headers, "content-encoding"), "");
    let etag = header(&plain_headers, "etag");
    assert!(etag.starts_with('"'), "{etag}");
    for (accept, encoding) in [
        ("gzip", "gzip"),
        ("gzip;q=0.5, br", "br"),
        ("br;q=0, gzip, deflate, zstd", "gzip"),
    ] {
        let (status, headers, body) = get(accept).await;
        assert_eq!(
            (status, header(&headers, "content-encoding")),
            (200, encoding)
        );
        assert_eq!(header(&headers, "vary"), "accept-encoding");
        assert!(body.len() < plain.len() / 2, "{accept}");
        // Not the same bytes, so not the same strong tag.
        assert_eq!(header(&headers, "etag"), format!("W/{etag}"));
        if encoding == "gzip" {
            let mut decoded = Vec::new();
            GzDecoder::new(&body[..]).read_to_end(&mut decoded).unwrap();
            assert_eq!(decoded, plain);
        }
    }
    for accept in ["", "zstd", "gzip;q=0", "identity;q=0", "*;q=0"] {
        let (status, headers, body) = get(accept).await;
        assert_eq!(status, 200, "nothing is refused that was done: {accept}");
        assert_eq!(header(&headers, "content-encoding"), "");
        assert_eq!(body, plain);
    }
}

#[tokio::test]
async fn a_tag_of_a_compressed_answer_is_a_condition_like_any_other() {
    let world = need!(world().await);
    let device = large_device(&world.olga).await;
    let path = format!("/v1/devices/{}", device["id"].as_str().unwrap());
    let request = world.olga.request(Method::GET, &path);
    let (_, headers, _) = bytes(request.header("accept-encoding", "gzip")).await;
    let weak = header(&headers, "etag").to_owned();
    let request = world.olga.request(Method::GET, &path);
    let request = request.header("accept-encoding", "gzip");
    let (status, _, body) = bytes(request.header("if-none-match", &weak)).await;
    assert_eq!((status, body.len()), (304, 0));
    let patch = async |etag: &str, name: &str| {
        let request = world.olga.request(Method::PATCH, &path);
        let request = request.header("if-match", etag);
        send(request.json(&json!({"displayName": name}))).await
    };
    let changed = patch(&weak, "first").await;
    assert_eq!(changed.expect(200)["displayName"], "first");
    let refused = patch(&weak, "second").await;
    assert_eq!(refused.expect(412)["code"], 10, "{}", refused.text);
    let now = changed.header("etag").to_owned();
    assert_eq!(
        patch(&now, "third").await.expect(200)["displayName"],
        "third"
    );
    assert_eq!(
        patch("*", "fourth").await.expect(200)["displayName"],
        "fourth"
    );
    patch("\"1\", \"2\"", "fifth").await.expect(400);
}

#[tokio::test]
async fn what_holds_a_secret_or_is_small_is_not_compressed() {
    let world = need!(world().await);
    let post = |path: &str, body: Value| {
        let request = world.alice.request(Method::POST, path);
        bytes(request.header("accept-encoding", "gzip, br").json(&body))
    };
    let key = json!({"displayName": unique(), "description": "d".repeat(300)});
    let (status, headers, _) = post("/v1/apiKeys", key).await;
    assert_eq!((status, header(&headers, "content-encoding")), (201, ""));
    let login = json!({"email": ADMIN, "password": PASSWORD});
    let (status, headers, _) = post("/v1/auth:login", login).await;
    assert_eq!((status, header(&headers, "content-encoding")), (200, ""));
    let request = world.alice.request(Method::GET, "/v1/me");
    let (_, headers, _) = bytes(request.header("accept-encoding", "gzip")).await;
    assert_eq!(header(&headers, "content-encoding"), "");
}

#[tokio::test]
async fn a_body_may_come_gzipped_and_counts_as_what_it_becomes() {
    let world = need!(world().await);
    let post = async |caller: &Caller, path: &str, encoding: &str, body: Vec<u8>| {
        let request = caller.request(Method::POST, path).body(body);
        let request = request.header("content-type", "application/json");
        send(request.header("content-encoding", encoding)).await
    };
    let name = unique();
    let tag = json!({"displayName": name}).to_string();
    let answer = post(&world.olga, "/v1/tags", "gzip", gzip(tag.as_bytes())).await;
    assert_eq!(answer.expect(201)["displayName"], name);
    // 64 MiB in some tens of kilobytes.
    let bomb = gzip(&[b"{\"displayName\":\"".as_slice(), &vec![b'x'; 64 << 20]].concat());
    assert!(bomb.len() < 1 << 20);
    let answer = post(&world.olga, "/v1/tags", "gzip", bomb.clone()).await;
    assert_eq!(answer.expect(413)["details"][0]["reason"], "BODY_TOO_LARGE");
    let anybody = world.server.anybody();
    let answer = post(&anybody, "/v1/auth:login", "gzip", bomb).await;
    assert_eq!(answer.expect(413)["details"][0]["reason"], "BODY_TOO_LARGE");
    let mut broken = gzip(tag.as_bytes());
    broken.truncate(broken.len() - 9);
    for broken in [broken, b"no gzip".to_vec()] {
        let answer = post(&world.olga, "/v1/tags", "gzip", broken).await;
        assert_eq!(
            answer.expect(400)["details"][0]["reason"],
            "UNREADABLE_BODY"
        );
    }
    for encoding in ["br", "zstd", "gzip, gzip", "x"] {
        let answer = post(&world.olga, "/v1/tags", encoding, gzip(tag.as_bytes())).await;
        let reason = answer.expect(415)["details"][0]["reason"].clone();
        assert_eq!(reason, "UNSUPPORTED_MEDIA_TYPE", "{encoding}");
    }
}

#[tokio::test]
async fn a_client_says_how_long_it_waits() {
    let world = need!(world().await);
    let get = async |name: &str, value: &str| {
        let request = world.olga.request(Method::GET, "/v1/devices?pageSize=1");
        let answer = request.header(name, value).send().await.unwrap();
        let applied = header(answer.headers(), "preference-applied").to_owned();
        (answer.status().as_u16(), applied)
    };
    let told = |status: u16, applied: &str| (status, applied.to_owned());
    assert_eq!(get("prefer", "wait=10").await, told(200, "wait=10"));
    let several = "respond-async, wait=20; x=y";
    assert_eq!(get("prefer", several).await, told(200, "wait=20"));
    // Nobody waits longer than a minute, so that is not granted.
    assert_eq!(get("prefer", "wait=600").await, told(200, ""));
    assert_eq!(get("prefer", "wait=soon").await, told(200, ""));
    assert_eq!(get("grpc-timeout", "10S").await, told(200, ""));
    for wrong in ["10", "10s", "123456789S", "-1S"] {
        let request = world.olga.request(Method::GET, "/v1/devices");
        let answer = send(request.header("grpc-timeout", wrong))
            .await
            .expect(400);
        let field = &answer["details"][1]["fieldViolations"][0]["field"];
        assert_eq!(field, "grpc-timeout", "{answer}");
    }
}

#[tokio::test]
async fn a_method_is_what_the_request_line_says() {
    let world = need!(world().await);
    let tag = json!({"displayName": unique()});
    let tag = world.olga.post("/v1/tags", tag).await.expect(201);
    let path = format!("/v1/tags/{}", tag["id"].as_str().unwrap());
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        for method in [Method::GET, Method::POST] {
            let request = world.olga.request(method, &path);
            let _ = send(request.header(name, "DELETE")).await;
        }
    }
    let form = [("_method", "DELETE")];
    world.olga.form(&path, &form).await.expect(405);
    world
        .olga
        .get(&format!("{path}?_method=DELETE"))
        .await
        .expect(400);
    world.olga.get(&path).await.expect(200);
}

#[tokio::test]
async fn an_empty_object_is_no_body_and_any_other_is_refused_by_name() {
    let world = need!(world().await);
    let tag = json!({"displayName": unique()});
    let tag = world.olga.post("/v1/tags", tag).await.expect(201);
    let path = format!("/v1/tags/{}", tag["id"].as_str().unwrap());
    let delete = async |body: Value| {
        let request = world.olga.request(Method::DELETE, &path);
        send(request.json(&body)).await
    };
    let refused = delete(json!({"force": true})).await.expect(400);
    let message = "force: the method takes no body";
    assert_eq!(refused["message"], message);
    let deleted = delete(json!({})).await;
    assert!(deleted.status.is_success(), "{}", deleted.text);
}

const ORIGIN: &str = "https://console.example.com";

#[tokio::test]
async fn a_page_of_a_known_origin_is_told_what_it_may_send_and_read() {
    let installation = need!(Installation::new().await);
    let installation = installation.with(&[("MUSTER_CORS_ORIGINS", ORIGIN)]);
    let world = World::on(Server::start_on(installation).await).await;
    let ask = async |origin: &str| {
        let request = world.server.anybody();
        let request = request.request(Method::OPTIONS, "/v1/devices");
        let request = request
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header(
                "access-control-request-headers",
                "authorization,if-match,prefer",
            );
        send(request).await
    };
    let answer = ask(ORIGIN).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    assert_eq!(answer.header("access-control-allow-methods"), "*");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization,if-match,prefer"
    );
    assert_eq!(answer.header("access-control-allow-credentials"), "");
    let other = ask("https://evil.example").await;
    assert_eq!(other.header("access-control-allow-origin"), "");

    // The call itself, which is answered compressed to a browser.
    let request = world.alice.request(Method::GET, "/v1/devices");
    let request = request.header("origin", ORIGIN).header("prefer", "wait=5");
    let answer = send(request.header("accept-encoding", "gzip")).await;
    answer.expect(200);
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);
    let exposed: Vec<_> = answer
        .header("access-control-expose-headers")
        .split(',')
        .collect();
    for name in [
        "etag",
        "location",
        "preference-applied",
        "retry-after",
        "www-authenticate",
        "x-request-id",
    ] {
        assert!(exposed.contains(&name), "{name}: {exposed:?}");
    }
}
