//! The tour in README runs as it stands, and answers what it says.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{ADMIN, Installation, Server, Shape, not_run};

const SHAPE: Shape = Shape::Sqlite;

const README: &str = include_str!("../README.md");
const MARKER: &str = "<!-- tour: tests/readme.rs runs these lines as they stand -->\n```sh\n";
/// Where README's server listens.
const URL: &str = "http://127.0.0.1:8080";
/// The option --json came with this one.
const CURL: (u32, u32) = (7, 82);

/// The lines between the markers.
fn tour() -> &'static str {
    let (_, rest) = README.split_once(MARKER).expect("the tour begins");
    let (lines, _) = rest
        .split_once("```\n<!-- end of tour -->")
        .expect("it ends");
    lines
}

/// What this machine lacks to run the tour.
fn lacking() -> Option<String> {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for program in ["bash", "python3", "curl"] {
        if version(program).is_none() {
            return Some(format!("there is no {program}"));
        }
    }
    let curl = version("curl")?;
    let mut numbers = curl
        .split_whitespace()
        .nth(1)?
        .split('.')
        .map(|n| n.parse().unwrap_or(0));
    let found = (numbers.next()?, numbers.next()?);
    (found < CURL).then(|| format!("curl {found:?} is older than {CURL:?}"))
}

/// The JSON documents that the tour prints, one after the other.
fn documents(out: &str) -> Vec<Value> {
    let documents = serde_json::Deserializer::from_str(out).into_iter();
    documents
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {out}"))
}

#[tokio::test]
async fn the_tour_runs_as_it_stands() {
    if let Some(why) = lacking() {
        return not_run("the tour in README", &why);
    }
    let email = README
        .split("MUSTER_ADMIN_EMAIL=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let password = README
        .split("MUSTER_ADMIN_PASSWORD='")
        .nth(1)
        .unwrap()
        .split('\'')
        .next();
    let settings = [
        ("MUSTER_ADMIN_EMAIL", email),
        ("MUSTER_ADMIN_PASSWORD", password.unwrap()),
    ];
    let installation = need!(Installation::new().await);
    let server = Server::start_on(installation.with(&settings)).await;
    assert_eq!(
        tour().matches(URL).count(),
        1,
        "the tour names its server once"
    );
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &tour().replace(URL, &server.url)])
        .env("NO_PROXY", "127.0.0.1")
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}{errors}");
    assert_eq!(errors, "");
    let [me, device, devices, refused, wrong, keys] = &documents(&out)[..] else {
        panic!("not six answers: {out}");
    };
    assert_eq!((email, &me["user"]["email"]), (ADMIN, &json!(ADMIN)));
    assert!(
        me["permissions"]
            .as_array()
            .unwrap()
            .contains(&json!("devices.write"))
    );
    assert_eq!(device["displayName"], "dev-001");
    assert_eq!(device["serialNumber"], "2112345678");
    assert_eq!(device["tagIds"].as_array().unwrap().len(), 1);
    assert_eq!(*devices, json!({"devices": [device]}));
    assert_eq!(refused["code"], 7);
    assert_eq!(refused["details"][0]["reason"], "PERMISSION_DENIED");
    let fields = wrong["details"][1]["fieldViolations"].as_array().unwrap();
    let fields: Vec<_> = fields.iter().map(|violation| &violation["field"]).collect();
    let expected = [
        "device.display_name",
        "device.code",
        "device.location.latitude",
    ];
    assert_eq!(fields, expected);
    assert_eq!(keys["keys"][0]["kty"], "EC");
}
