//! The commands in README and docs/keys.md run as they stand, and answer what
//! is said of them.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use support::{ADMIN, Installation, Server, Shape, not_run};

const SHAPE: Shape = Shape::Sqlite;

const README: &str = include_str!("../README.md");
const KEYS: &str = include_str!("../docs/keys.md");
const END: &str = "```\n<!-- end of tour -->";
const MARKER: &str = "<!-- tour: tests/readme.rs runs these lines as they stand -->\n```sh\n";
/// Where README's server listens.
const URL: &str = "http://127.0.0.1:8080";
/// The option --json came with this one.
const CURL: (u32, u32) = (7, 82);

/// The lines between the markers.
fn tour(page: &str) -> String {
    let blocks = page.split(MARKER).skip(1);
    let lines = blocks.map(|rest| rest.split_once(END).expect("it ends").0);
    lines.collect()
}

/// A server with README's administrator.
async fn start() -> Option<Server> {
    let email = README.split("MUSTER_ADMIN_EMAIL=").nth(1).unwrap();
    let email = email.split(' ').next().unwrap();
    let password = README.split("MUSTER_ADMIN_PASSWORD='").nth(1).unwrap();
    let settings = [
        ("MUSTER_ADMIN_EMAIL", email),
        (
            "MUSTER_ADMIN_PASSWORD",
            password.split('\'').next().unwrap(),
        ),
    ];
    assert_eq!(email, ADMIN);
    let installation = Installation::new().await?;
    Some(Server::start_on(installation.with(&settings)).await)
}

/// What the lines of a page print. `muster` is the program that is tested, and
/// `folder` is where they run.
fn run(page: &str, server: &Server, folder: &Path) -> String {
    let lines = tour(page);
    assert_eq!(lines.matches(URL).count(), 1, "its server is named once");
    let program = Path::new(env!("CARGO_BIN_EXE_muster")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &lines.replace(URL, &server.url)])
        .current_dir(folder)
        .env("NO_PROXY", "127.0.0.1")
        .env("MUSTER_CONFIG_DIR", folder)
        .env("PATH", format!("{}:{path}", program.display()))
        .output()
        .unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{out}{errors}");
    assert_eq!(errors, "");
    out
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
    let server = need!(start().await);
    let folder = tempfile::tempdir().unwrap();
    let out = run(README, &server, folder.path());
    let [me, device, devices, refused, wrong, keys, metadata] = &documents(&out)[..] else {
        panic!("not seven answers: {out}");
    };
    assert_eq!(me["user"]["email"], json!(ADMIN));
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
    assert_eq!(metadata["issuer"], json!(server.url));
}

#[tokio::test]
async fn the_commands_for_keys_run_as_they_stand() {
    if let Some(why) = lacking() {
        return not_run("the commands in docs/keys.md", &why);
    }
    let server = need!(start().await);
    let folder = tempfile::tempdir().unwrap();
    let out = run(KEYS, &server, folder.path());
    for told in [
        "PREFIX       muster",
        "[[rules]]",
        "muster-credential: superseded;ends=@",
        "old, works",
        "REASON       surrendered by a holder",
        "FOUND AT     https://example.com/paste/1",
        "\"code\":\"CODE_VALID\"",
        "\"metadata\":{\"plan\":\"gold\"}",
        "\"active\":true",
        "PRINCIPAL    client:",
        "FOREIGN      base64 of number and secret",
    ] {
        assert!(out.contains(told), "{told}: {out}");
    }
    for refused in ["\"reason\":", "\"active\":false"] {
        assert!(!out.contains(refused), "{refused}: {out}");
    }
}
