//! The OpenAPI documents, as a running gateway serves them.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::{Answer, Caller, Settings, World, muster, python, send};
use proto::access::{Requirement, requirement};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::OnceCell;
use transcoder::{Rule, Transcoder};

/// The documents, and the packages that each has.
const DOCUMENTS: [(&str, &str, &str); 8] = [
    ("muster", "/openapi.json", "muster."),
    (
        "hardwario",
        "/openapi/hardwario.json",
        "muster.dialect.hardwario.",
    ),
    ("yombo", "/openapi/yombo.json", "muster.dialect.yombo."),
    ("iottly", "/openapi/iottly.json", "muster.dialect.iottly."),
    (
        "sensorbucket",
        "/openapi/sensorbucket.json",
        "muster.dialect.sensorbucket.",
    ),
    (
        "device42",
        "/openapi/device42.json",
        "muster.dialect.device42.",
    ),
    ("emqx", "/openapi/emqx.json", "muster.dialect.emqx."),
    (
        "mosquitto",
        "/openapi/mosquitto.json",
        "muster.dialect.mosquitto.",
    ),
];

async fn world() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    WORLD.get_or_init(World::new).await.as_ref()
}

/// Anybody: the documents are public.
async fn nobody() -> Option<Caller> {
    let url = world().await?.server.url.clone();
    Some(Caller {
        url,
        authorization: None,
    })
}

async fn get(caller: &Caller, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = caller.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send(request).await
}

/// A path without the names of its parameters, as `/v1/devices/{}`.
fn shape(path: &str) -> String {
    let parts = path.split_inclusive(['{', '}']);
    parts
        .filter(|part| !part.ends_with('}'))
        .map(|part| part.replace('{', "{}"))
        .collect()
}

fn documented(document: &Value) -> BTreeSet<String> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(|method| format!("{} {}", method.to_uppercase(), shape(path)))
        })
        .collect()
}

/// The document that has a rule; none has what only services may call.
fn home(rule: &Rule) -> Option<&'static str> {
    if requirement(&rule.method.path) == Some(Requirement::Service) {
        return None;
    }
    let package = |(_, _, package): &(&str, &str, &'static str)| -> Option<&'static str> {
        rule.method.service.starts_with(package).then_some(*package)
    };
    DOCUMENTS.iter().filter_map(package).max_by_key(|p| p.len())
}

#[tokio::test]
async fn every_route_is_in_exactly_its_document_and_nothing_else_is() {
    let nobody = need!(nobody().await);
    let transcoder = Transcoder::builder(proto::DESCRIPTOR_SET).build().unwrap();
    let mut routes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for rule in transcoder.rules() {
        let method = rule.http_method.as_ref().unwrap();
        if let Some(package) = home(rule) {
            let route = format!("{method} {}", shape(&rule.template));
            routes.entry(package).or_default().insert(route);
        }
    }
    for (_, path, package) in DOCUMENTS {
        let document = nobody.get(path).await.expect(200);
        assert_eq!(documented(&document), routes[package], "{path}");
        assert_eq!(document["x-unlisted-rules"], Value::Null, "{path}");
    }
}

#[tokio::test]
async fn every_document_is_valid_and_so_are_its_examples() {
    let nobody = need!(nobody().await);
    let paths = DOCUMENTS.map(|(_, path, _)| path).join(" ");
    let modules = [
        "requests",
        "openapi_spec_validator",
        "jsonschema",
        "referencing",
    ];
    let variables = [("SERVER", nobody.url.as_str()), ("DOCUMENTS", &paths)];
    let Some(run) = python("openapi.py", &modules, &variables) else {
        return;
    };
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    let counted = String::from_utf8(run.stdout).unwrap();
    assert_eq!(counted.lines().count(), DOCUMENTS.len(), "{counted}");
}

#[tokio::test]
async fn a_document_says_what_each_method_requires() {
    let nobody = need!(nobody().await);
    let document = nobody.get("/openapi.json").await.expect(200);
    let devices = &document["paths"]["/v1/devices"]["get"];
    let said = devices["description"].as_str().unwrap();
    assert!(
        said.ends_with("Requires the permission `devices.read`."),
        "{said}"
    );
    let accepted: Vec<&String> = devices["security"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|scheme| scheme.as_object().unwrap().keys())
        .collect();
    assert_eq!(
        accepted,
        [
            "bearer",
            "authorization-apikey",
            "basic",
            "x-api-key",
            "muster_session"
        ]
    );
    let login = &document["paths"]["/v1/auth:login"]["post"];
    assert_eq!(login["security"], serde_json::json!([]));
}

#[tokio::test]
async fn a_document_is_sent_once_and_then_only_asked_for() {
    let nobody = need!(nobody().await);
    let first = get(&nobody, "/openapi.json", &[]).await;
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("cache-control"), "no-cache");
    let again = [("if-none-match", first.header("etag"))];
    let again = get(&nobody, "/openapi.json", &again).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    let head = send(nobody.request(Method::HEAD, "/openapi.json")).await;
    let length = first.text.len().to_string();
    assert_eq!(
        (head.header("content-length"), head.text.as_str()),
        (length.as_str(), "")
    );
    let packed = get(&nobody, "/openapi.json", &[("accept-encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let registered = [("accept", "application/vnd.oai.openapi+json;version=3.1")];
    let registered = get(&nobody, "/openapi.json", &registered).await;
    assert_eq!(
        registered.header("content-type"),
        "application/vnd.oai.openapi+json;version=3.1"
    );
    assert_eq!(registered.text, first.text);
    let posted = send(nobody.request(Method::POST, "/openapi.json")).await;
    assert_eq!(
        (posted.status.as_u16(), posted.header("allow")),
        (405, "GET, HEAD")
    );
}

#[tokio::test]
async fn the_program_prints_what_the_gateway_serves() {
    let nobody = need!(nobody().await);
    for (api, path, _) in DOCUMENTS {
        let printed = muster(&["openapi", "--api", api], &Settings::default()).await;
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed, nobody.get(path).await.expect(200), "{api}");
    }
}
