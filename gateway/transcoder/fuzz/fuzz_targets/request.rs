//! Whatever is asked: the service gets messages, or the client a reason; a
//! form means what the same query means.

#![no_main]

use bytes::Bytes;
use http_body_util::Full;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use prost_reflect::{DescriptorPool, DynamicMessage};
use std::sync::LazyLock;
use tonic_transcoder_fuzz::{LIBRARY, Seen, send};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    route: u8,
    path: &'a str,
    query: &'a str,
    media: u8,
    body: &'a [u8],
}

const ROUTES: [(&str, &str); 9] = [
    ("POST", "/v1/echo"),
    ("GET", "/v1/echo"),
    ("GET", "/v1/echo/1/x/"),
    ("PUT", "/v1/echo/path/"),
    ("PUT", "/v1/echo"),
    ("PATCH", "/v1/shelves/1/books/"),
    ("POST", "/styled/echo"),
    ("GET", "/v1/files/"),
    ("PUT", "/v1/shelves/1/books/2/cover"),
];

const MEDIA: [&str; 5] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-8",
    "image/png",
    "",
];

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(LIBRARY).expect("the set is good"));

fuzz_target!(|input: Input<'_>| {
    let (method, prefix) = ROUTES[usize::from(input.route) % ROUTES.len()];
    let path = if prefix.ends_with('/') {
        input.path
    } else {
        ""
    };
    let media = MEDIA[usize::from(input.media) % MEDIA.len()];
    let Some(seen) = ask(
        method,
        &format!("{prefix}{path}?{}", input.query),
        media,
        input.body,
    ) else {
        return;
    };
    checked(&seen);

    let form = ask("POST", "/v1/echo", MEDIA[1], input.query.as_bytes());
    let query = ask("GET", &format!("/v1/echo?{}", input.query), "", b"");
    // Not every text is a query, but every one may be sent as a form.
    if let (Some(form), Some(query)) = (form, query) {
        match (form.call, query.call) {
            (Some((_, form)), Some((_, query))) => assert_eq!(form, query),
            (None, None) => {}
            // A query ends where its fragment starts, and its length is limited.
            (form, query) => assert!(
                input.query.contains('#') || input.query.len() > 16 << 10,
                "{form:?} {query:?}"
            ),
        }
    }
});

fn ask(method: &str, uri: &str, media: &str, body: &[u8]) -> Option<Seen> {
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", media)
        .body(Full::new(Bytes::copy_from_slice(body)));
    send(request.ok()?)
}

fn checked(seen: &Seen) {
    let Some((path, messages)) = &seen.call else {
        assert!(seen.status.is_client_error(), "{}", seen.status);
        let _: serde_json::Value = serde_json::from_slice(&seen.body).expect("an error is JSON");
        return;
    };
    let (service, method) = path[1..].split_once('/').expect("a method");
    let service = POOL.get_service_by_name(service).expect("a service");
    let method = service
        .methods()
        .find(|m| m.name() == method)
        .expect("a method");
    for message in messages {
        DynamicMessage::decode(method.input(), message.clone()).expect("a message");
    }
    assert!(!messages.is_empty() || method.is_client_streaming());
}
