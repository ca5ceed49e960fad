//! The commands in README and docs, and the programs, run as they stand, and
//! answer what is said of them.

#![allow(missing_docs, clippy::unwrap_used)]

#[macro_use]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use support::{ADMIN, Caller, Installation, Server, Shape, javascript, not_run, python_file};

const SHAPE: Shape = Shape::Sqlite;

const README: &str = include_str!("../README.md");
const KEYS: &str = include_str!("../docs/keys.md");
const CLIENTS: &str = include_str!("../docs/clients.md");
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
    // .ci/run installs buf beside Python.
    let python = std::env::var("MUSTER_TEST_PYTHON").map(PathBuf::from);
    let tools = python.as_deref().ok().and_then(Path::parent);
    let tools = tools.unwrap_or(Path::new("")).display();
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &lines.replace(URL, &server.url)])
        .current_dir(folder)
        .env("NO_PROXY", "127.0.0.1")
        .env("MUSTER_CONFIG_DIR", folder)
        .env("PATH", format!("{}:{path}:{tools}", program.display()))
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

/// The program on a page in this language.
fn program<'a>(page: &'a str, language: &str) -> &'a str {
    let marker = format!("<!-- {language}: tests/readme.rs runs this as it stands -->\n```");
    let (_, rest) = page.split_once(&marker).expect("it is there");
    let (_, rest) = rest.split_once('\n').unwrap();
    rest.split_once("```").expect("it ends").0
}

/// A key for what the programs do.
async fn key(server: &Server) -> String {
    let admin = BASE64_STANDARD.encode(format!("{ADMIN}:{}", support::PASSWORD));
    let admin: Caller = server.caller(format!("Basic {admin}"));
    let permissions = ["devices.read", "devices.write", "keys.verify"];
    admin.new_key(&permissions).await
}

#[tokio::test]
async fn the_calls_of_clients_run_as_they_stand() {
    if let Some(why) = lacking() {
        return not_run("the commands in docs/clients.md", &why);
    }
    let server = need!(start().await);
    let folder = tempfile::tempdir().unwrap();
    let out = run(CLIENTS, &server, folder.path());
    for (told, times) in [
        ("muster.registry.v1.DeviceService/RecordSightings", 1),
        // By JSON when it was made, and twice by gRPC.
        ("\"serialNumber\": \"2112345678\"", 2),
        ("\"unheard of\"", 1),
        ("{\"knownCount\":\"2\"}{\"synchronised\":true}\n", 1),
        ("data: {\"synchronised\":true}", 1),
    ] {
        assert!(out.matches(told).count() >= times, "{told}: {out}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_program_of_a_client_runs_as_it_stands() {
    let server = need!(start().await);
    let key = key(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.py");
    let address = |url: &str| url.strip_prefix("http://").unwrap().to_owned();
    let text = program(CLIENTS, "python").replace(&address(URL), &address(&server.url));
    fs::write(&file, text).unwrap();
    let modules = ["grpc", "grpc_reflection", "grpc_status"];
    let output = need!(python_file(&file, &modules, &[("KEY", &key)]));
    let out = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let told = "dev-002\n3\nINVALID_ARGUMENT ['device.display_name']\n";
    assert_eq!(out, told, "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_of_a_page_runs_as_it_stands() {
    let server = need!(start().await);
    let key = key(&server).await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("page.mjs"),
        program(CLIENTS, "javascript"),
    )
    .unwrap();
    let main = folder.path().join("main.mjs");
    let text = "import { readFileSync } from \"node:fs\"; import { show } from \"./page.mjs\";\n\
        const { url, key, contract } = JSON.parse(readFileSync(0)); const told = [];\n\
        const print = (...words) => told.push(words.join(\" \"));\n\
        await show(url, key, Buffer.from(contract, \"base64\"), print);\n\
        console.log(JSON.stringify(told));";
    fs::write(&main, text).unwrap();
    let body = json!({"displayName": "dev-001"});
    let holder = server.caller(format!("Bearer {key}"));
    holder.post("/v1/devices", body).await.expect(201);
    let contract = BASE64_STANDARD.encode(proto::DESCRIPTOR_SET);
    let settings = json!({"url": server.url, "key": key, "contract": contract});
    let told = need!(javascript::node(main.to_str().unwrap(), &settings).await);
    let wrong = "InvalidArgument device.display_name";
    assert_eq!(told, json!(["dev-001", wrong, "synchronised true"]));
}
