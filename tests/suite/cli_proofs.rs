//! The commands for what devices prove themselves by and register themselves
//! with, run as people and scripts run them.

use serde_json::{Value, json};

use super::cli::{Terminal, text};
use super::native::AUTHORITY;
use crate::support::{World, eventually, unique};

/// A secret that somebody chose.
const CHOSEN: &str = "as-hard-to-guess-as-it-gets";

/// The administrator's terminal, and a new device: its id and its serial number.
async fn with_device(world: &World) -> (Terminal, String, String) {
    let terminal = Terminal::logged_in(world).await;
    let number = unique();
    let id = new_device(&terminal, &number).await;
    (terminal, id, number)
}

async fn new_device(terminal: &Terminal, number: &str) -> String {
    let create = ["device", "create", "--name", "pump", "--serial-number"];
    let made = terminal.json(&[&create[..], &[number]].concat()).await;
    text(&made["id"]).to_owned()
}

/// Runs `muster device credential`, for programs.
async fn credential(terminal: &Terminal, arguments: &[&str]) -> Value {
    let credential = ["device", "credential"];
    terminal.json(&[&credential, arguments].concat()).await
}

/// Whether a device may prove itself so.
async fn is_good(world: &World, proof: Value) -> bool {
    let said = world.alice.post("/v1/devices:authenticate", proof).await;
    said.expect(200)["valid"] == true
}

async fn is_secret(world: &World, number: &str, secret: &str) -> bool {
    is_good(world, json!({"serialNumber": number, "secret": secret})).await
}

/// A file that holds a certificate.
fn certificate() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), AUTHORITY).unwrap();
    file
}

#[tokio::test]
async fn a_device_proves_itself_by_a_secret_that_is_shown_once() {
    let world = need!(World::shared().await);
    let (terminal, device, number) = with_device(&world).await;
    let create = ["device", "credential", "create", &device, "--name", "first"];
    let said = terminal.says(&create).await;
    let last = said.lines().last().unwrap();
    let secret = last.strip_prefix("Secret (shown only now): ").unwrap();
    assert!(is_secret(&world, &number, secret).await);
    let list = ["device", "credential", "list", &device];
    let table = terminal.says(&list).await;
    assert!(
        table.starts_with("ID ") && table.contains("first"),
        "{table}"
    );
    let listed = terminal.json(&list).await;
    assert_eq!(listed[0]["kind"], "KIND_SECRET");
    assert!(listed[0]["lastUseTime"].is_string());
    assert!(!listed.to_string().contains(secret));
    let id = text(&listed[0]["id"]);
    let shown = credential(&terminal, &["get", &device, id]).await;
    assert_eq!(shown, listed[0]);
}

#[tokio::test]
async fn a_secret_that_somebody_chose_is_read_from_a_file_and_never_told() {
    let world = need!(World::shared().await);
    let (terminal, device, number) = with_device(&world).await;
    let create = ["device", "credential", "create", &device, "--secret-file"];
    let create = [&create[..], &["-"]].concat();
    let said = terminal.run(&create, &format!("{CHOSEN}\n")).await.ok();
    assert!(!said.contains(CHOSEN) && !said.contains("Secret"), "{said}");
    assert!(is_secret(&world, &number, CHOSEN).await);
    for (input, why) in [("short-one", "secret"), ("", "there is no secret to read")] {
        let error = terminal.run(&create, input).await.failed(1);
        assert!(error.contains(why), "{error}");
        assert!(input.is_empty() || !error.contains(input), "{error}");
    }
    let missing = [&create[..5], &["/no/such/file"]].concat();
    let error = terminal.fails(&missing).await;
    assert!(error.contains("can't read /no/such/file"), "{error}");
}

#[tokio::test]
async fn a_certificate_is_taken_from_a_file_or_by_its_fingerprint() {
    let world = need!(World::shared().await);
    let (terminal, device, _) = with_device(&world).await;
    let file = certificate();
    let path = file.path().to_str().unwrap();
    let create = ["create", &device, "--certificate", path];
    let made = credential(&terminal, &create).await;
    let first = &made["credential"];
    assert_eq!(
        (&first["kind"], &made["secret"]),
        (&json!("KIND_CERTIFICATE"), &json!(""))
    );
    let digest = text(&first["certificateSha256"]);
    assert!(is_good(&world, json!({"certificateSha256": digest})).await);
    terminal
        .says(&[
            "device",
            "credential",
            "delete",
            &device,
            text(&first["id"]),
        ])
        .await;
    // As openssl prints it.
    let pairs: Vec<_> = digest.as_bytes().chunks(2).collect();
    let printed = String::from_utf8(pairs.join(&b':')).unwrap().to_uppercase();
    let create = ["create", &device, "--fingerprint", &printed];
    let made = credential(&terminal, &create).await;
    assert_eq!(made["credential"]["certificateSha256"], digest);
}

#[tokio::test]
async fn a_credential_is_one_thing() {
    let world = need!(World::shared().await);
    let (terminal, device, _) = with_device(&world).await;
    let create = ["device", "credential", "create", &device];
    let (secret, pem) = (["--secret-file", "-"], ["--certificate", "-"]);
    let authority = ["--authority", &device];
    for both in [
        [&secret[..], &pem].concat(),
        [&pem[..], &authority].concat(),
        [&authority[..], &["--fingerprint", &"0a".repeat(32)]].concat(),
        vec!["--fingerprint", "0a"],
    ] {
        let told = terminal.run(&[&create[..], &both].concat(), CHOSEN).await;
        told.failed(2);
    }
}

#[tokio::test]
async fn a_credential_is_rotated_while_the_old_one_works_on() {
    let world = need!(World::shared().await);
    let (terminal, device, number) = with_device(&world).await;
    let labels = ["--label", "line=7"];
    let create = [&["create", &device], &labels[..]].concat();
    let made = credential(&terminal, &create).await;
    let old = text(&made["credential"]["id"]);
    let rotate = ["rotate", &device, old, "--overlap", "1h"];
    let rotated = credential(&terminal, &rotate).await;
    assert_eq!(rotated["credential"]["labels"], json!({"line": "7"}));
    assert_eq!(rotated["replaced"]["id"], old);
    assert!(rotated["replaced"]["notAfter"].is_string());
    for secret in [&made["secret"], &rotated["secret"]] {
        assert!(is_secret(&world, &number, text(secret)).await);
    }
    let new = text(&rotated["credential"]["id"]);
    let rotate = ["device", "credential", "rotate", &device, new];
    let told = terminal.run(&rotate, "").await;
    assert!(told.err.contains("good until 2"), "{}", told.err);
    assert!(told.ok().contains("Secret (shown only now): "));
}

#[tokio::test]
async fn a_credential_is_changed_disabled_enabled_and_deleted() {
    let world = need!(World::shared().await);
    let (terminal, device, number) = with_device(&world).await;
    let create = ["create", &device, "--label", "a=b", "--expires", "1h"];
    let made = credential(&terminal, &create).await;
    let (id, secret) = (text(&made["credential"]["id"]), text(&made["secret"]));
    assert!(made["credential"]["notAfter"].is_string());
    let changes = ["--name", "spare", "--no-labels", "--expires", "never"];
    let update = [&["update", &device, id], &changes[..]].concat();
    let changed = credential(&terminal, &update).await;
    let expected = json!({"displayName": "spare", "labels": {}, "notAfter": null});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&changed[field], value, "{field}");
    }
    let update = ["device", "credential", "update", &device, id];
    terminal.run(&update, "").await.failed(2);
    for (verb, good) in [("disable", false), ("enable", true), ("delete", false)] {
        terminal
            .says(&["device", "credential", verb, &device, id])
            .await;
        let so = async || is_secret(&world, &number, secret).await == good;
        eventually(verb, so).await;
    }
    let error = terminal
        .fails(&["device", "credential", "get", &device, id])
        .await;
    assert!(
        error.contains(&format!("there is no credential {id}")),
        "{error}"
    );
}

#[tokio::test]
async fn an_authority_is_trusted_changed_and_deleted() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let create = ["device", "authority", "create", "--name", "Factory 2"];
    let create = [&create[..], &["--any-device", "--certificate", "-"]].concat();
    let said = terminal.run(&create, AUTHORITY).await.ok();
    assert!(said.contains("CN=Factory"), "{said}");
    let listed = terminal.json(&["device", "authority", "list"]).await;
    let made = &listed[0];
    let expected = json!({"displayName": "Factory 2", "anyDevice": true, "disabled": false,
        "namedBy": "NAMED_BY_COMMON_NAME", "names": "NAMES_SERIAL_NUMBER"});
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&made[field], value, "{field}");
    }
    assert_eq!(text(&made["certificate"]).trim(), AUTHORITY.trim());
    let id = text(&made["id"]);
    let update = ["device", "authority", "update", id];
    for changes in [["--names", "external-id"], ["--any-device", "false"]] {
        terminal.json(&[&update[..], &changes].concat()).await;
    }
    let changed = terminal.json(&["device", "authority", "get", id]).await;
    assert_eq!(
        (
            &changed["names"],
            &changed["anyDevice"],
            &changed["namedBy"]
        ),
        (&json!("NAMES_EXTERNAL_ID"), &json!(false), &made["namedBy"])
    );
    terminal.run(&update, "").await.failed(2);
    for (verb, disabled) in [("disable", true), ("enable", false)] {
        let changed = terminal.json(&["device", "authority", verb, id]).await;
        assert_eq!(changed["disabled"], disabled);
    }
    let get = ["device", "authority", "get", id];
    let table = terminal.says(&get).await;
    assert!(table.contains("external id"), "{table}");
    terminal.says(&["device", "authority", "delete", id]).await;
    let error = terminal.fails(&get).await;
    assert!(error.contains("there is no authority"), "{error}");
}

#[tokio::test]
async fn a_device_has_a_credential_of_an_authority_which_is_not_rotated() {
    let world = need!(World::shared().await);
    // The other test has the same authority in tenant A.
    let terminal = Terminal::logged_in_to(&world, &world.tenant_b).await;
    let device = new_device(&terminal, &unique()).await;
    let file = certificate();
    let path = file.path().to_str().unwrap();
    let create = ["device", "authority", "create", "--name", "x"];
    let authority = terminal
        .json(&[&create[..], &["--certificate", path]].concat())
        .await;
    let create = ["create", &device, "--authority", text(&authority["id"])];
    let made = &credential(&terminal, &create).await["credential"];
    assert_eq!(
        (&made["kind"], &made["authorityId"]),
        (&json!("KIND_AUTHORITY"), &authority["id"])
    );
    let rotate = ["device", "credential", "rotate", &device];
    let error = terminal
        .fails(&[&rotate[..], &[text(&made["id"])]].concat())
        .await;
    assert!(error.contains("NOT_ROTATED"), "{error}");
}

/// A claim of a new serial number: the answer, whatever it is.
async fn claim(world: &World, key: &str) -> crate::support::Answer {
    let claim = json!({"claimKey": key, "serialNumber": unique()});
    let anybody = world.server.anybody();
    anybody.post("/v1/devices:claim", claim).await
}

/// The device that comes of a claim.
async fn claimed(world: &World, key: &str) -> Value {
    let claimed = claim(world, key).await.expect(200);
    let device = format!("/v1/devices/{}", text(&claimed["deviceId"]));
    world.alice.get(&device).await.expect(200)
}

#[tokio::test]
async fn a_claim_key_registers_devices_as_its_template_says() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let create = ["claim-key", "create", "--name", "batch", "--max-uses", "2"];
    let template = ["--device-name", "Pump {serial_number}", "--label", "b=7"];
    let more = ["--network", "127.0.0.0/8,::1", "--expires", "1h"];
    let create = [&create[..], &template, &more].concat();
    let said = terminal.says(&create).await;
    let last = said.lines().last().unwrap();
    let secret = last.strip_prefix("Secret (shown only now): ").unwrap();
    assert!(secret.starts_with("musterclaim_"), "{said}");
    let device = claimed(&world, secret).await;
    let name = format!("Pump {}", text(&device["serialNumber"]));
    assert_eq!(
        (&device["displayName"], &device["labels"]),
        (&json!(name), &json!({"b": "7"}))
    );
    let listed = terminal.json(&["claim-key", "list"]).await;
    assert!(!listed.to_string().contains(secret));
    let id = said.split_whitespace().nth(1).unwrap();
    let table = terminal.says(&["claim-key", "get", id]).await;
    assert!(table.contains("1 of 2") && table.contains("b=7"), "{table}");
    let listed = listed.as_array().unwrap();
    assert!(listed.iter().any(|key| key["id"] == id));
}

#[tokio::test]
async fn a_claim_key_keeps_of_its_template_what_is_not_said_to_change() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let create = ["claim-key", "create", "--name", "batch", "--label", "b=7"];
    let state = ["--device-state", "provisioned"];
    let made = terminal.json(&[&create[..], &state].concat()).await;
    let (id, secret) = (text(&made["claimKey"]["id"]), text(&made["secret"]));
    let update = ["claim-key", "update", id];
    let name = ["--device-name", "Valve", "--max-uses", "9"];
    let changed = terminal.json(&[&update[..], &name].concat()).await;
    let template = json!({"displayName": "Valve", "tagIds": [], "siteId": "",
        "labels": {"b": "7"}, "state": "STATE_PROVISIONED"});
    assert_eq!(
        (&changed["template"], &changed["maxUses"]),
        (&template, &json!("9"))
    );
    let device = claimed(&world, secret).await;
    assert_eq!(device["state"], "STATE_PROVISIONED");
    let anew = ["--new-template", "--label", "c=8"];
    let changed = terminal.json(&[&update[..], &anew].concat()).await;
    let template = &changed["template"];
    assert_eq!(
        (&template["displayName"], &template["labels"]),
        (&json!(""), &json!({"c": "8"}))
    );
    assert_eq!(changed["maxUses"], "9");
    let renamed = terminal
        .json(&[&update[..], &["--name", "late"]].concat())
        .await;
    assert_eq!(
        (&renamed["displayName"], &renamed["template"]),
        (&json!("late"), template)
    );
    terminal.run(&update, "").await.failed(2);
}

#[tokio::test]
async fn a_claim_key_is_disabled_enabled_and_deleted() {
    let world = need!(World::shared().await);
    let terminal = Terminal::logged_in(&world).await;
    let create = ["claim-key", "create", "--name", "batch"];
    let made = terminal.json(&create).await;
    let (id, secret) = (text(&made["claimKey"]["id"]), text(&made["secret"]));
    for (verb, good) in [("disable", false), ("enable", true), ("delete", false)] {
        terminal.says(&["claim-key", verb, id]).await;
        let status = claim(&world, secret).await.status;
        assert_eq!(status == 200, good, "{verb}: {status}");
    }
    let error = terminal.fails(&["claim-key", "get", id]).await;
    assert!(
        error.contains(&format!("there is no claim key {id}")),
        "{error}"
    );
}
