//! Programs written for Device42, against the running program.

use crate::support::{ADMIN, Answer, Caller, PASSWORD, World, eventually, unique};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use reqwest::Method;
use serde_json::{Value, json};

const TOKEN: &str = "/tauth/1.0/token/";
const FORM: &str = "application/x-www-form-urlencoded";

fn basic(name: &str, secret: &str) -> String {
    let pair = BASE64_STANDARD.encode(format!("{name}:{secret}"));
    format!("Basic {pair}")
}

/// A caller with the key and secret of a new API client of this one's tenant.
async fn client(caller: &Caller, permissions: &[&str]) -> Caller {
    let body = json!({"displayName": unique(), "permissions": permissions});
    let made = caller.post("/v1/apiClients", body).await.expect(201);
    let (key, secret) = (&made["apiClient"]["clientKey"], &made["clientSecret"]);
    caller.with(basic(key.as_str().unwrap(), secret.as_str().unwrap()))
}

/// Asks for a token as the documentation does: with nothing in the body.
async fn issue(client: &Caller) -> Value {
    client.raw(Method::POST, TOKEN, None, "").await.expect(200)
}

/// What a token says (RFC 7519).
fn claims(token: &Value) -> Value {
    let token = token["token"].as_str().unwrap();
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    let claims = BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

/// The same caller, with a token.
fn bearer(caller: &Caller, token: &Value) -> Caller {
    caller.with(format!("Bearer {}", token["token"].as_str().unwrap()))
}

async fn token_holder(caller: &Caller, permissions: &[&str]) -> Caller {
    let client = client(caller, permissions).await;
    bearer(&client, &issue(&client).await)
}

/// Alice with her password: her first tenant is A.
fn password(world: &World) -> Caller {
    world.alice.with(basic(ADMIN, PASSWORD))
}

#[track_caller]
fn refused(answer: &Answer, status: u16, msg: &str) {
    let body = answer.expect(status);
    assert_eq!(body, json!({"msg": msg, "code": status}));
}

/// A refusal that names what is wrong.
#[track_caller]
fn refused_naming(answer: &Answer, status: u16, what: &str) {
    let body = answer.expect(status);
    assert!(body["msg"].as_str().unwrap().contains(what), "{body}");
    assert_eq!(body["code"], status);
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
}

/// Credentials that are none, and what is said of them.
fn strangers(anybody: &Caller) -> Vec<(Caller, &'static str)> {
    let wrong = "the credential is wrong";
    let login = "the e-mail address or the password is wrong";
    let malformed = "the credential is malformed";
    let none = "is required";
    vec![
        (anybody.clone(), none),
        (anybody.with("Basic"), none),
        (anybody.with("Digest dTpw"), none),
        (anybody.with(basic(ADMIN, "wrong")), login),
        (anybody.with(basic("nobody@example.com", PASSWORD)), login),
        (anybody.with(basic("", "")), wrong),
        (anybody.with("Bearer nonsense"), wrong),
        // One client sends how Python shows its bytes.
        (anybody.with("Basic b'dTpw'"), malformed),
    ]
}

#[track_caller]
fn unauthenticated(answer: &Answer, why: &str) {
    refused_naming(answer, 401, why);
    let realm = answer.header("www-authenticate");
    assert_eq!(realm, "Basic realm=\"Device42\"");
}

/// `[text, id, name, added, is_new]` of an answer to a change.
#[track_caller]
fn written(answer: &Answer) -> (String, i64, String, [bool; 2]) {
    let body = answer.expect(200);
    assert_eq!(body["code"], 0);
    assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
    let msg = body["msg"].as_array().unwrap();
    assert_eq!(msg.len(), 5, "{body}");
    let text = |i: usize| msg[i].as_str().unwrap().to_owned();
    let flag = |i: usize| msg[i].as_bool().unwrap();
    (
        text(0),
        msg[1].as_i64().unwrap(),
        text(2),
        [flag(3), flag(4)],
    )
}

const NEW: [bool; 2] = [true, true];
const UPDATED: [bool; 2] = [true, false];
const UNCHANGED: [bool; 2] = [false, false];

#[tokio::test]
async fn the_documented_calls_work_as_they_are_documented() {
    let world = need!(World::new().await);
    let client = client(&world.alice, &["devices.read", "sites.read", "sites.write"]).await;

    // curl -X POST -u "$KEY:$SECRET" $URL/tauth/1.0/token/
    let token = issue(&client).await;
    assert_eq!(token.as_object().unwrap().len(), 6, "{token}");
    assert_eq!(
        (&token["code"], &token["msg"]),
        (&json!(0), &json!("connected"))
    );
    assert_eq!(token["ttl"], 10);
    assert!(token["token_id"].as_i64().unwrap() > 0);
    let expires = token["expires"].as_str().unwrap();
    assert_eq!((expires.len(), &expires[23..]), (24, "Z"), "{expires}");
    let expires = chrono::DateTime::parse_from_rfc3339(expires).unwrap();
    let claims = claims(&token);
    let (begin, end) = (claims["iat"].as_i64(), claims["exp"].as_i64());
    assert_eq!(end, Some(expires.timestamp()));
    // It counts as issued when the client was looked up.
    assert!(begin.map(|begin| begin + 600) <= end, "{claims}");

    // curl -X GET -H "Authorization: Bearer $TOKEN" $URL/api/2.0/devices/
    let program = bearer(&client, &token);
    let devices = program.get("/api/2.0/devices/").await.expect(200);
    let none = json!({"devices": [], "total_count": 0, "limit": 1000, "offset": 0});
    assert_eq!(devices, none);

    // curl -X POST -d 'name=Head-office&address=NY' -H "Authorization: Bearer $TOKEN" …
    let fields = [("name", "Head-office"), ("address", "NY")];
    let made = program.form("/api/1.0/buildings/", &fields).await;
    let (text, id, name, flags) = written(&made);
    assert_eq!(text, "Building added/updated successfully");
    assert_eq!((name.as_str(), flags), ("Head-office", NEW));
    let buildings = program.get("/api/1.0/buildings/").await.expect(200);
    let building = json!({
        "building_id": id,
        "name": "Head-office",
        "address": "NY",
        "contact_name": "",
        "contact_phone": "",
        "notes": "",
        "groups": "",
        "custom_fields": [],
        "tags": [],
    });
    let page = json!({"buildings": [building], "total_count": 1, "limit": 1000, "offset": 0});
    assert_eq!(buildings, page);
}

#[tokio::test]
async fn a_token_is_issued_whatever_form_the_request_has() {
    let world = need!(World::shared().await);
    let client = client(&world.alice, &["devices.read"]).await;
    let grant = "grant_type=client_credentials";
    let mut ids = Vec::new();
    for (path, kind, body) in [
        (TOKEN, None, ""),
        ("/tauth/1.0/token", None, ""),
        (TOKEN, Some(FORM), ""),
        (TOKEN, Some(FORM), grant),
        ("/tauth/1.0/token", Some(FORM), grant),
        (TOKEN, None, grant),
        (TOKEN, Some("application/json"), ""),
        (TOKEN, Some("application/json"), "{}"),
    ] {
        let token = client.raw(Method::POST, path, kind, body).await.expect(200);
        let program = bearer(&client, &token);
        program.get("/api/2.0/devices").await.expect(200);
        ids.push(token["token_id"].as_i64().unwrap());
    }
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
}

#[tokio::test]
async fn a_token_is_issued_only_for_the_right_key_and_secret() {
    let world = need!(World::shared().await);
    let client = client(&world.alice, &["devices.read"]).await;
    let pair = client.authorization.clone().unwrap();
    let pair = BASE64_STANDARD.decode(pair.trim_start_matches("Basic "));
    let pair = String::from_utf8(pair.unwrap()).unwrap();
    let (key, secret) = pair.split_once(':').unwrap();
    let anybody = world.server.anybody();
    let mut callers = strangers(&anybody);
    for pair in [(key, "wrong"), ("nobody", secret), (key, "")] {
        callers.push((
            anybody.with(basic(pair.0, pair.1)),
            "the credential is wrong",
        ));
    }
    for (caller, why) in callers {
        let refusal = caller.raw(Method::POST, TOKEN, Some(FORM), "").await;
        unauthenticated(&refusal, why);
    }
    // Not in the body, as one client's author tried in vain.
    let body = json!({"client_key": key, "secret_key": secret});
    refused_naming(&anybody.post(TOKEN, body).await, 401, "is required");
    // A person is no API client, nor is a key.
    for caller in [
        password(&world),
        world.alice.key_holder(&["devices.read"]).await,
    ] {
        let refusal = caller.raw(Method::POST, TOKEN, None, "").await;
        refused_naming(&refusal, 403, "API client");
    }
    for (body, what) in [
        ("grant_type=password", "grant_type"),
        ("color=red", "color"),
    ] {
        let refusal = client.raw(Method::POST, TOKEN, Some(FORM), body).await;
        refused_naming(&refusal, 400, what);
    }
}

#[tokio::test]
async fn a_token_is_renewed_in_its_own_name() {
    let world = need!(World::shared().await);
    let client = client(&world.alice, &["devices.read"]).await;
    let token = issue(&client).await;
    let program = bearer(&client, &token);
    let path = format!("{TOKEN}{}", token["token_id"]);
    for path in [path.clone(), format!("{path}/")] {
        let renewed = program.raw(Method::PUT, &path, None, "").await.expect(200);
        for same in ["code", "msg", "ttl", "token_id"] {
            assert_eq!(renewed[same], token[same], "{same}");
        }
        assert_eq!(renewed.as_object().unwrap().len(), 6, "{renewed}");
        assert!(renewed["expires"].as_str() > token["expires"].as_str());
        assert_ne!(renewed["token"], token["token"]);
        let program = bearer(&client, &renewed);
        program.get("/api/2.0/devices/").await.expect(200);
    }
}

#[tokio::test]
async fn a_revoked_token_is_refused_within_a_second_and_not_renewed() {
    let world = need!(World::shared().await);
    let client = client(&world.alice, &["devices.read"]).await;
    let (token, other) = (issue(&client).await, issue(&client).await);
    let (program, other) = (&bearer(&client, &token), &bearer(&client, &other));
    let path = format!("{TOKEN}{}/", token["token_id"]);
    let revoked = program.delete(&path).await.expect(200);
    assert_eq!(revoked, json!({"code": 0, "msg": "token revoked"}));
    eventually("a revoked token is refused", || async {
        program.get("/api/2.0/devices/").await.status == 401
    })
    .await;
    let refusal = program.get("/api/2.0/devices/").await;
    refused(&refusal, 401, "the token has been revoked");
    refused_naming(&program.put(&path, json!({})).await, 401, "revoked");
    // The client's other token goes on, and can't bring this one back.
    other.get("/api/2.0/devices/").await.expect(200);
    let renewal = other.raw(Method::PUT, &path, None, "").await;
    refused_naming(&renewal, 404, &token["token_id"].to_string());
}

#[tokio::test]
async fn tokens_that_are_not_the_callers_are_not_found() {
    let world = need!(World::shared().await);
    let client_a = client(&world.alice, &["devices.read"]).await;
    let token = issue(&client_a).await;
    let path = format!("{TOKEN}{}/", token["token_id"]);
    for stranger in [
        token_holder(&world.alice, &["devices.read"]).await,
        token_holder(&world.bob, &["devices.read"]).await,
    ] {
        for answer in [
            stranger.raw(Method::PUT, &path, None, "").await,
            stranger.delete(&path).await,
        ] {
            refused_naming(&answer, 404, &token["token_id"].to_string());
        }
    }
    let program = bearer(&client_a, &token);
    program.get("/api/2.0/devices/").await.expect(200);
    for (id, status) in [
        ("x", 400),
        ("0", 400),
        ("-1", 400),
        ("1.5", 400),
        ("99999999999999999999", 400),
        ("9999999", 404),
    ] {
        let path = format!("{TOKEN}{id}/");
        let renewal = program.raw(Method::PUT, &path, None, "").await;
        refused_naming(&renewal, status, "token");
        refused_naming(&program.delete(&path).await, status, "token");
    }
}

#[tokio::test]
async fn a_client_is_made_from_a_fresh_pair_of_keys_and_gets_tokens() {
    let world = need!(World::new().await);
    let admin = password(&world);
    let pair = admin.get("/api/2.0/api_client_keys/").await.expect(200);
    let (key, secret) = (&pair["apiclient_key"], &pair["apiclient_secret_key"]);
    let (key, secret) = (key.as_str().unwrap(), secret.as_str().unwrap());
    let hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(hex(key), "{key}");
    let halves: Vec<_> = secret.split('_').collect();
    assert!(
        halves.len() == 2 && halves.iter().all(|h| hex(h)),
        "{secret}"
    );
    let another = admin.get("/api/2.0/api_client_keys").await.expect(200);
    assert_ne!(another, pair);

    let fields = [
        ("client_key", key),
        ("client_secret_key", secret),
        ("resource_owner", "joe"),
        ("token_ttl", "60"),
        ("active", "true"),
    ];
    let made = admin.form("/api/2.0/api_clients/", &fields).await;
    let (_, id, name, flags) = written(&made);
    assert_eq!((name.as_str(), flags), (key, NEW));
    let shown = json!({
        "id": id,
        "client_key": key,
        "resource_owner": "joe",
        "token_ttl": 60,
        "active": true,
    });
    let path = format!("/api/2.0/api_clients/{id}");
    assert_eq!(admin.get(&path).await.expect(200), shown);
    let listed = admin.get("/api/2.0/api_clients/").await.expect(200);
    let page = json!({"api_client": [shown], "total_count": 1, "limit": 1000, "offset": 0});
    assert_eq!(listed, page);

    let client = admin.with(basic(key, secret));
    let token = issue(&client).await;
    assert_eq!(token["ttl"], 60);
    let program = &bearer(&client, &token);
    program.get("/api/2.0/devices/").await.expect(200);

    let again = admin.form("/api/2.0/api_clients/", &fields).await;
    assert_eq!(written(&again).3, UNCHANGED);
    program.get("/api/2.0/devices/").await.expect(200);
    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"deleted": "true", "id": id.to_string()}));
    eventually("a deleted client's token is refused", || async {
        program.get("/api/2.0/devices/").await.status == 401
    })
    .await;
    let refusal = client.raw(Method::POST, TOKEN, None, "").await;
    unauthenticated(&refusal, "the credential is wrong");
    refused_naming(&admin.get(&path).await, 404, "API client");
    refused_naming(&admin.delete(&path).await, 404, "API client");
}

#[tokio::test]
async fn a_client_lives_as_it_was_made_and_no_longer_than_an_hour() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let pair = admin.get("/api/2.0/api_client_keys/").await.expect(200);
    let mut key = pair["apiclient_key"].as_str().unwrap().to_owned();
    let secret = pair["apiclient_secret_key"].as_str().unwrap().to_owned();
    let make = async |key: &str, field: &str, value: &str| {
        let fields = [("client_key", key), ("client_secret_key", &secret)];
        let fields: Vec<_> = fields.into_iter().filter(|f| f.0 != field).collect();
        let fields = [&fields[..], &[(field, value)]].concat();
        admin.form("/api/2.0/api_clients/", &fields).await
    };
    for (field, value) in [
        ("token_ttl", "61"),
        ("token_ttl", "0"),
        ("token_ttl", "-1"),
        ("token_ttl", "ten"),
        ("active", "perhaps"),
        ("client_key", ""),
        ("client_secret_key", ""),
        ("client_secret_key", "short"),
        ("color", "red"),
    ] {
        let what = if value == "short" {
            "client_secret"
        } else {
            field
        };
        refused_naming(&make(&key, field, value).await, 400, what);
    }
    for (field, value, ttl, tokens) in [
        ("token_ttl", "1", 1, 200),
        ("resource_owner", "joe", 10, 200),
        ("active", "false", 10, 401),
    ] {
        let (_, id, _, _) = written(&make(&key, field, value).await);
        let shown = admin.get(&format!("/api/2.0/api_clients/{id}")).await;
        let shown = shown.expect(200);
        assert_eq!(shown["token_ttl"], ttl);
        assert_eq!(shown["active"], tokens == 200);
        let client = admin.with(basic(&key, &secret));
        let answer = client.raw(Method::POST, TOKEN, None, "").await;
        let token = answer.expect(tokens);
        assert_eq!(token.get("ttl"), (tokens == 200).then_some(&json!(ttl)));
        key = format!("{key}a");
    }
}

#[tokio::test]
async fn a_client_is_changed_by_its_key() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let fresh = async || {
        let pair = admin.get("/api/2.0/api_client_keys/").await.expect(200);
        ["apiclient_key", "apiclient_secret_key"].map(|k| pair[k].as_str().unwrap().to_owned())
    };
    let [key, secret] = fresh().await;
    let put = async |caller: &Caller, secret: &str, field: (&str, &str)| {
        let fields = [("client_key", &*key), ("client_secret_key", secret), field];
        caller.form("/api/2.0/api_clients/", &fields).await
    };
    let made = put(&admin, &secret, ("resource_owner", "joe")).await;
    let (_, id, _, _) = written(&made);
    let client = admin.with(basic(&key, &secret));
    let program = &bearer(&client, &issue(&client).await);
    for (field, flags) in [
        (("resource_owner", "ann"), UPDATED),
        (("resource_owner", "ann"), UNCHANGED),
        (("token_ttl", "20"), UPDATED),
        (("active", "yes"), UNCHANGED),
    ] {
        let (_, same, name, told) = written(&put(&admin, &secret, field).await);
        assert_eq!((same, name, told), (id, key.clone(), flags), "{field:?}");
    }
    let shown = admin.get(&format!("/api/2.0/api_clients/{id}")).await;
    let shown = shown.expect(200);
    assert_eq!(shown["resource_owner"], "ann");
    assert_eq!(
        (&shown["token_ttl"], &shown["active"]),
        (&json!(20), &json!(true))
    );
    assert_eq!(issue(&client).await["ttl"], 20);
    program.get("/api/2.0/devices/").await.expect(200);

    // With another secret it has that one, and no longer the old one.
    let [_, other] = fresh().await;
    let changed = put(&admin, &other, ("active", "true")).await;
    assert_eq!(written(&changed).3, UPDATED);
    issue(&admin.with(basic(&key, &other))).await;
    let gone = async || client.raw(Method::POST, TOKEN, None, "").await.status == 401;
    eventually("the old secret is refused", gone).await;

    put(&admin, &other, ("active", "no")).await.expect(200);
    eventually("a disabled client's token is refused", || async {
        program.get("/api/2.0/devices/").await.status == 401
    })
    .await;
    // Another tenant's it can't be.
    let stranger = world
        .bob
        .key_holder(&["clients.write", "clients.read"])
        .await;
    let refusal = put(&stranger, &other, ("active", "yes")).await;
    refused_naming(&refusal, 409, "client_key");
}

#[tokio::test]
async fn a_client_may_what_its_maker_may() {
    let world = need!(World::shared().await);
    let maker = ["clients.write", "devices.read"];
    let maker = token_holder(&world.alice, &maker).await;
    let pair = maker.get("/api/2.0/api_client_keys/").await.expect(200);
    let (key, secret) = (&pair["apiclient_key"], &pair["apiclient_secret_key"]);
    let (key, secret) = (key.as_str().unwrap(), secret.as_str().unwrap());
    let fields = [("client_key", key), ("client_secret_key", secret)];
    written(&maker.form("/api/2.0/api_clients/", &fields).await);
    let client = maker.with(basic(key, secret));
    let program = bearer(&client, &issue(&client).await);
    program.get("/api/2.0/devices/").await.expect(200);
    let refusal = program.form("/api/1.0/device/", &[("name", "d")]).await;
    refused_naming(&refusal, 403, "devices.write");
}

#[tokio::test]
async fn a_device_is_added_changed_or_left_as_it_is() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let (name, serial) = (unique(), unique());
    let body = |rest: &str| format!("name={name}&serial_no={serial}{rest}");
    let mut number = None;
    for (method, path, kind, rest, flags) in [
        // A text without a content type is a form too: some clients send no other.
        (Method::POST, "/api/1.0/device/", None, "&type=virtual", NEW),
        (
            Method::POST,
            "/api/1.0/device/",
            Some(FORM),
            "&type=virtual",
            UNCHANGED,
        ),
        (
            Method::POST,
            "/api/1.0/device",
            Some(FORM),
            "&notes=hi",
            UPDATED,
        ),
        (
            Method::PUT,
            "/api/1.0/device/",
            None,
            "&notes=hi",
            UNCHANGED,
        ),
        (
            Method::POST,
            "/api/1.0/devices/",
            None,
            "&in_service=no",
            UPDATED,
        ),
        (
            Method::POST,
            "/api/2.0/devices/",
            None,
            "&tags=a,b",
            UPDATED,
        ),
        (
            Method::POST,
            "/api/2.0/devices/",
            Some(FORM),
            "&tags=b,a",
            UNCHANGED,
        ),
        (
            Method::POST,
            "/api/2.0/devices/",
            None,
            "&tags_remove=a",
            UPDATED,
        ),
    ] {
        let answer = admin.raw(method, path, kind, body(rest)).await;
        let (text, id, told, changed) = written(&answer);
        assert_eq!(text, "device added or updated");
        assert_eq!((&told, changed), (&name, flags), "{path} {rest}");
        assert_eq!(*number.get_or_insert(id), id);
    }
    let id = number.unwrap();
    let path = format!("/api/2.0/devices/{id}/");
    let renamed = format!("{name}-2");
    let change = format!("new_name={renamed}&uuid={renamed}");
    let (_, same, told, flags) = written(&admin.raw(Method::PUT, &path, None, change).await);
    assert_eq!((same, &told, flags), (id, &renamed, UPDATED));

    let mut shown = admin.get(&path).await.expect(200);
    let updated = shown.as_object_mut().unwrap().remove("last_updated");
    let updated = updated.unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(updated.as_str().unwrap()).is_ok());
    assert_eq!(
        shown,
        json!({
            "id": id,
            "device_id": id,
            "name": renamed,
            "type": "virtual",
            "serial_no": serial,
            "asset_no": "",
            "uuid": renamed,
            "service_level": "",
            "in_service": false,
            "customer": "",
            "customer_id": null,
            "notes": "hi",
            "tags": ["b"],
            "custom_fields": [],
            "aliases": [],
            "ip_addresses": [],
            "mac_addresses": [],
            "is_it_switch": "no",
            "is_it_virtual_host": "no",
            "is_it_blade_host": "no",
        })
    );
    shown["last_updated"] = updated;
    for path in [
        format!("/api/1.0/devices/{id}"),
        format!("/api/1.0/devices/id/{id}/"),
        format!("/api/1.0/devices/name/{renamed}/"),
        format!("/api/1.0/devices/serial/{serial}/"),
    ] {
        assert_eq!(admin.get(&path).await.expect(200), shown, "{path}");
    }
    let path = format!("/api/1.0/devices/{id}/");
    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"deleted": "true", "id": id.to_string()}));
    refused(
        &admin.get(&path).await,
        404,
        &format!("there is no device {id}"),
    );
    refused(
        &admin.delete(&path).await,
        404,
        &format!("there is no device {id}"),
    );
}

#[tokio::test]
async fn a_building_is_added_changed_or_left_as_it_is() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let name = unique();
    let mut number = None;
    for (kind, rest, flags) in [
        (None, "&address=NY", NEW),
        (Some(FORM), "&address=NY", UNCHANGED),
        (None, "", UNCHANGED),
        (
            Some(FORM),
            "&address=New+York%2C+NY&contact_name=Ann",
            UPDATED,
        ),
        (None, "&address=", UPDATED),
    ] {
        let body = format!("name={name}{rest}");
        let answer = admin
            .raw(Method::POST, "/api/1.0/buildings/", kind, body)
            .await;
        let (_, id, told, changed) = written(&answer);
        assert_eq!((&told, changed), (&name, flags), "{rest}");
        assert_eq!(*number.get_or_insert(id), id);
    }
    let id = number.unwrap();
    let path = format!("/api/1.0/buildings/{id}/");
    let shown = admin.get(&path).await.expect(200);
    assert_eq!(
        (&shown["address"], &shown["contact_name"]),
        (&json!(""), &json!("Ann"))
    );
    let by_name = format!("/api/1.0/buildings/?name={name}");
    let found = admin.get(&by_name).await.expect(200);
    assert_eq!(
        (&found["buildings"], &found["total_count"]),
        (&json!([shown]), &json!(1))
    );

    let device = unique();
    let fields = [("name", device.as_str()), ("building", name.as_str())];
    let (_, device, _, _) = written(&admin.form("/api/1.0/device/", &fields).await);
    let device = format!("/api/1.0/devices/{device}/");
    assert_eq!(admin.get(&device).await.expect(200)["building"], name);
    let in_use = admin.delete(&path).await;
    refused_naming(&in_use, 400, "devices are still");
    admin.delete(&device).await.expect(200);
    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"deleted": "true", "id": id.to_string()}));
    refused(
        &admin.get(&path).await,
        404,
        &format!("there is no building {id}"),
    );
}

#[tokio::test]
async fn a_buildings_tags_and_groups_are_kept_and_it_takes_a_new_name() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let (name, renamed) = (unique(), unique());
    let (mut number, mut called) = (None, &name);
    let new_name = format!("&new_name={renamed}");
    for (rest, flags, tags, groups) in [
        ("&tags=leased,city", NEW, json!(["leased", "city"]), ""),
        ("&tags=city", UNCHANGED, json!(["leased", "city"]), ""),
        (
            "&tags_remove=leased&groups=Corp:yes",
            UPDATED,
            json!(["city"]),
            "Corp:yes",
        ),
        ("&tags=", UNCHANGED, json!(["city"]), "Corp:yes"),
        ("&groups=", UPDATED, json!(["city"]), ""),
        (&new_name, UPDATED, json!(["city"]), ""),
    ] {
        let body = format!("name={called}{rest}");
        let put = admin.raw(Method::POST, "/api/1.0/buildings/", None, body);
        let (_, id, told, changed) = written(&put.await);
        if rest == new_name {
            called = &renamed;
        }
        assert_eq!((&told, changed), (called, flags), "{rest}");
        assert_eq!(*number.get_or_insert(id), id);
        let shown = admin.get(&format!("/api/1.0/buildings/{id}/")).await;
        let shown = shown.expect(200);
        let kept = (&shown["tags"], &shown["groups"]);
        assert_eq!(kept, (&tags, &json!(groups)), "{rest}");
    }
    // They mark no devices.
    let listed = admin.get("/api/1.0/tags/?name=leased").await.expect(200);
    assert_eq!(listed["tags"], json!([]));
}

/// Puts a custom field of a building or customer and answers what it came to.
async fn put_field(caller: &Caller, path: &str, body: &str) -> (String, i64, String, [bool; 2]) {
    written(&caller.raw(Method::PUT, path, Some(FORM), body).await)
}

#[tokio::test]
async fn custom_fields_of_buildings_and_customers_are_put_and_shown() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    for (list, field, shown_as) in [
        ("buildings", "building", "custom_fields"),
        ("customers", "customer", "Custom Fields"),
    ] {
        let name = unique();
        let path = format!("/api/1.0/{list}/");
        let made = admin.form(&path, &[("name", &name)]).await;
        let (_, id, _, _) = written(&made);
        let one = format!("{path}{id}/");
        let field = format!("/api/1.0/custom_fields/{field}/");
        let (by_name, by_id) = (format!("name={name}"), format!("id={id}"));
        for (which, rest, flags, shown) in [
            (
                &by_name,
                "key=bldgID&value=42",
                UPDATED,
                json!([{"key": "bldgID", "value": "42", "notes": null}]),
            ),
            (
                &by_id,
                "key=bldgID&value=42&type=text&filterable=yes",
                UNCHANGED,
                json!([{"key": "bldgID", "value": "42", "notes": null}]),
            ),
            (
                &by_id,
                "key=bldgID&notes=from+the+deed",
                UPDATED,
                json!([{"key": "bldgID", "value": "42", "notes": "from the deed"}]),
            ),
            (
                &by_name,
                "key=bldgID&clear_value=yes",
                UPDATED,
                json!([{"key": "bldgID", "value": "", "notes": "from the deed"}]),
            ),
            (
                &by_name,
                "key=bldgID&clear_notes=yes&bulk_fields=b:2,a:1",
                UPDATED,
                json!([
                    {"key": "a", "value": "1", "notes": null},
                    {"key": "b", "value": "2", "notes": null},
                ]),
            ),
        ] {
            let body = format!("{which}&{rest}");
            let (text, told, of, changed) = put_field(&admin, &field, &body).await;
            assert_eq!(text, "custom key pair values added or updated");
            assert_eq!((told, &of, changed), (id, &name, flags), "{rest}");
            assert_eq!(admin.get(&one).await.expect(200)[shown_as], shown, "{rest}");
        }
    }
}

#[tokio::test]
async fn a_custom_field_that_cannot_be_put_is_refused_and_nothing_changes() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    for (list, path) in [
        ("buildings", "/api/1.0/custom_fields/building/"),
        ("customers", "/api/1.0/custom_fields/customer/"),
        ("customers", "/api/1.0/customer/custom_field/"),
    ] {
        let name = unique();
        let all = format!("/api/1.0/{list}/");
        let (_, id, _, _) = written(&admin.form(&all, &[("name", &name)]).await);
        let before = admin.get(&format!("{all}{id}/")).await.expect(200);
        for (rest, status, what) in [
            ("key=a&value=1".to_owned(), 400, "name"),
            ("name=nobody&key=a&value=1".to_owned(), 404, "nobody"),
            ("id=99999999&key=a&value=1".to_owned(), 404, "99999999"),
            ("id=-1&key=a&value=1".to_owned(), 404, "-1"),
            ("id=x&key=a&value=1".to_owned(), 400, "id"),
            (format!("id={id}&value=1"), 400, "key"),
            (
                format!("id={id}&key=a&clear_value=maybe"),
                400,
                "clear_value",
            ),
            (format!("id={id}&bulk_fields=a"), 400, "bulk_fields"),
            (format!("id={id}&key=a&groups=Corp:yes"), 400, "groups"),
            (
                format!("id={id}&key=a&type=related_field&related_field_name=rack"),
                400,
                "related_field_name",
            ),
            (format!("id={id}&key=a&value=%00"), 400, "value"),
            (format!("id={id}&key=a&color=red"), 400, "color"),
        ] {
            let answer = admin.raw(Method::PUT, path, Some(FORM), &*rest).await;
            refused_naming(&answer, status, what);
        }
        assert_eq!(admin.get(&format!("{all}{id}/")).await.expect(200), before);
    }
}

#[tokio::test]
async fn a_customer_is_added_changed_or_left_as_it_is_and_deleted() {
    let world = need!(World::new().await);
    let admin = password(&world);
    let mut number = None;
    for (kind, rest, flags) in [
        (None, "&contact_info=555+Lane", NEW),
        (Some(FORM), "&contact_info=555+Lane", UNCHANGED),
        (None, "", UNCHANGED),
        (Some(FORM), "&notes=pays&groups=Corp:yes", UPDATED),
    ] {
        let body = format!("name=ABC+Inc{rest}");
        let put = admin.raw(Method::POST, "/api/1.0/customers/", kind, body);
        let (text, id, name, changed) = written(&put.await);
        assert_eq!(text, "customer added or updated");
        assert_eq!((name.as_str(), changed), ("ABC Inc", flags), "{rest}");
        assert_eq!(*number.get_or_insert(id), id);
    }
    let id = number.unwrap();
    let path = format!("/api/1.0/customers/{id}/");
    let mut customer = json!({
        "id": id,
        "name": "ABC Inc",
        "contact_info": "555 Lane",
        "notes": "pays",
        "groups": "Corp:yes",
        "Contacts": [],
        "Custom Fields": [],
        "devices_url": format!("/api/1.0/devices/customer_id/{id}/"),
    });
    assert_eq!(admin.get(&path).await.expect(200), customer);
    let body = [("name", "ABC Inc"), ("new_name", "ABC"), ("groups", "")];
    let (_, same, _, flags) = written(&admin.form("/api/1.0/customers", &body).await);
    assert_eq!((same, flags), (id, UPDATED));
    (customer["name"], customer["groups"]) = (json!("ABC"), json!(""));
    assert_eq!(admin.get(&path).await.expect(200), customer);

    admin.form("/api/1.0/customers/", &[("name", "Z")]).await;
    let taken = admin.form("/api/1.0/customers/", &[("name", "Z"), ("new_name", "ABC")]);
    refused_naming(&taken.await, 409, "display_name");
    let found = admin.get("/api/1.0/customers/?name=ABC").await.expect(200);
    let page = json!({"Customers": [customer], "total_count": 1, "limit": 1000, "offset": 0});
    assert_eq!(found, page);
    let second = admin.get("/api/1.0/customers/?limit=1&offset=1").await;
    let second = second.expect(200);
    assert_eq!(second["Customers"][0]["name"], "Z");
    assert_eq!(
        (&second["total_count"], &second["limit"], &second["offset"]),
        (&json!(2), &json!(1), &json!(1))
    );

    let deleted = admin.delete(&path).await.expect(200);
    assert_eq!(deleted, json!({"deleted": "true", "id": id.to_string()}));
    refused(
        &admin.get(&path).await,
        404,
        &format!("there is no customer {id}"),
    );
    refused_naming(&admin.delete(&path).await, 404, "customer");
}

#[tokio::test]
async fn a_device_is_a_customers_by_name_or_id_and_follows_its_new_name() {
    let world = need!(World::new().await);
    let admin = password(&world);
    let put = async |body: &str| {
        let put = admin.raw(Method::POST, "/api/1.0/device/", Some(FORM), body);
        written(&put.await)
    };
    let shown = async |number: i64| {
        let path = format!("/api/1.0/devices/id/{number}/");
        let device = admin.get(&path).await.expect(200);
        (device["customer"].clone(), device["customer_id"].clone())
    };
    // Who is not known yet is added.
    let (_, first, _, _) = put("name=a&customer=ABC").await;
    let found = admin.get("/api/1.0/customers/?name=ABC").await.expect(200);
    let abc = found["Customers"][0]["id"].as_i64().unwrap();
    assert_eq!(shown(first).await, (json!("ABC"), json!(abc)));
    let (_, second, _, _) = put(&format!("name=b&customer_id={abc}")).await;
    put("name=c&customer=Other").await;
    assert_eq!(put("name=a&customer=ABC").await.3, UNCHANGED);

    let renamed = [("name", "ABC"), ("new_name", "ABC Inc")];
    written(&admin.form("/api/1.0/customers/", &renamed).await);
    let path = format!("/api/1.0/devices/customer_id/{abc}/");
    let names = async |path: &str, list: &str| {
        let page = admin.get(path).await.expect(200);
        let devices = page[list].as_array().unwrap().iter();
        let names: Vec<_> = devices.map(|d| d["name"].as_str().unwrap()).collect();
        (names.join(" "), page["total_count"].as_i64().unwrap())
    };
    assert_eq!(names(&path, "Devices").await, ("a b".to_owned(), 2));
    let paged = format!("{path}?limit=1&offset=1");
    assert_eq!(names(&paged, "Devices").await, ("b".to_owned(), 2));
    for (query, found) in [("ABC+Inc", ("a b", 2)), ("ABC", ("", 0))] {
        let path = format!("/api/2.0/devices/?customer={query}");
        assert_eq!(names(&path, "devices").await, (found.0.to_owned(), found.1));
    }
    let whole = admin.get(&path).await.expect(200);
    let told = &whole["Devices"][1];
    assert_eq!(told["customer"], "ABC Inc");
    assert_eq!(
        *told,
        admin
            .get(&format!("/api/1.0/devices/{second}"))
            .await
            .expect(200)
    );

    // Nobody's again; and nobody's when the customer is gone.
    assert_eq!(put("name=a&customer=").await.3, UPDATED);
    assert_eq!(shown(first).await, (json!(""), Value::Null));
    admin
        .delete(&format!("/api/1.0/customers/{abc}/"))
        .await
        .expect(200);
    assert_eq!(shown(second).await, (json!(""), Value::Null));
    refused_naming(&admin.get(&path).await, 404, "customer");
}

#[tokio::test]
async fn who_may_only_look_changes_no_customers_and_no_custom_fields() {
    let world = need!(World::shared().await);
    let victor = world.alice.with(basic("victor@example.com", PASSWORD));
    let made = victor.form("/api/1.0/customers/", &[("name", "c")]).await;
    refused_naming(&made, 403, "devices.write");
    let name = unique();
    let admin = password(&world);
    for (path, field, permission) in [
        ("/api/1.0/buildings/", "building", "sites.write"),
        ("/api/1.0/customers/", "customer", "devices.write"),
    ] {
        let (_, id, _, _) = written(&admin.form(path, &[("name", &name)]).await);
        let field = format!("/api/1.0/custom_fields/{field}/");
        let body = format!("id={id}&key=a&value=1");
        let put = victor.raw(Method::PUT, &field, Some(FORM), body).await;
        refused_naming(&put, 403, permission);
        let deleted = victor.delete(&format!("{path}{id}/")).await;
        refused_naming(&deleted, 403, permission);
    }
}

#[tokio::test]
async fn lists_come_in_pages_with_the_count_of_all() {
    let world = need!(World::new().await);
    let admin = password(&world);
    for i in 1..=5 {
        let (name, serial) = (format!("d{i}"), format!("S{i}"));
        let tags = if i % 2 == 1 { "odd,all" } else { "all" };
        let fields = [
            ("name", name.as_str()),
            ("serial_no", serial.as_str()),
            ("tags", tags),
            ("in_service", if i == 5 { "no" } else { "yes" }),
        ];
        written(&admin.form("/api/2.0/devices/", &fields).await);
        written(&admin.form("/api/1.0/buildings/", &fields[..1]).await);
    }
    for (path, list, name) in [
        ("/api/2.0/devices/", "devices", "name"),
        ("/api/1.0/devices/", "Devices", "name"),
        ("/api/1.0/devices/all/", "Devices", "name"),
        ("/api/1.0/buildings/", "buildings", "name"),
    ] {
        for (query, limit, offset, names) in [
            ("", 1000, 0, vec!["d1", "d2", "d3", "d4", "d5"]),
            ("?limit=2", 2, 0, vec!["d1", "d2"]),
            ("?limit=2&offset=2", 2, 2, vec!["d3", "d4"]),
            ("?limit=2&offset=4", 2, 4, vec!["d5"]),
            ("?limit=2&offset=9", 2, 9, vec![]),
            ("?offset=3", 1000, 3, vec!["d4", "d5"]),
            ("?limit=5000", 1000, 0, vec!["d1", "d2", "d3", "d4", "d5"]),
        ] {
            let page = admin.get(&format!("{path}{query}")).await.expect(200);
            let shown = page[list].as_array().unwrap();
            let shown: Vec<_> = shown
                .iter()
                .map(|one| one[name].as_str().unwrap())
                .collect();
            assert_eq!(shown, names, "{path}{query}");
            // Some clients take the first other key for the data.
            assert_eq!(page.as_object().unwrap().len(), 4, "{path}{query}");
            let told = (&page["total_count"], &page["limit"], &page["offset"]);
            assert_eq!(
                told,
                (&json!(5), &json!(limit), &json!(offset)),
                "{path}{query}"
            );
        }
    }
    for (query, names) in [
        ("name=d2", vec!["d2"]),
        ("serial_no=S3", vec!["d3"]),
        ("in_service=no", vec!["d5"]),
        ("tags=odd", vec!["d1", "d3", "d5"]),
        ("tags_and=odd,all", vec!["d1", "d3", "d5"]),
        ("tags=none", vec![]),
        ("building=d1", vec![]),
        ("name=d9", vec![]),
    ] {
        let page = admin.get(&format!("/api/2.0/devices/?{query}")).await;
        let page = page.expect(200);
        let shown = page["devices"].as_array().unwrap();
        let shown: Vec<_> = shown
            .iter()
            .map(|one| one["name"].as_str().unwrap())
            .collect();
        assert_eq!(shown, names, "{query}");
        assert_eq!(page["total_count"], names.len(), "{query}");
    }
    let tags = admin.get("/api/1.0/tags/?limit=1").await.expect(200);
    let all = tags["tags"][0]["name"].as_str().unwrap().to_owned();
    let page = json!({"tags": [{"name": all}], "total_count": 2, "limit": 1, "offset": 0});
    assert_eq!(tags, page);

    let names = admin.get("/api/1.0/devices/?name=d1").await.expect(200);
    let id = &names["Devices"][0]["device_id"];
    let name = json!({
        "asset_no": "",
        "device_id": id,
        "device_url": format!("/api/1.0/devices/id/{id}/"),
        "name": "d1",
        "serial_no": "S1",
        "uuid": "",
    });
    assert_eq!(names["Devices"], json!([name]));
    let all = admin.get("/api/1.0/devices/all/?blankasnull=yes").await;
    let all = all.expect(200);
    for blank in [
        "uuid",
        "asset_no",
        "customer",
        "customer_id",
        "service_level",
    ] {
        assert_eq!(all["Devices"][0][blank], Value::Null, "{blank}");
    }
}

#[tokio::test]
async fn devices_are_found_by_all_that_is_kept_with_them() {
    let world = need!(World::new().await);
    let admin = password(&world);
    for body in [
        "name=a&type=virtual&customer=ACME+%22B%22*&asset_no=7",
        "name=b&type=virtual&service_level=gold",
        "name=c",
    ] {
        let put = admin.raw(Method::POST, "/api/1.0/device/", Some(FORM), body);
        put.await.expect(200);
    }
    let names = async |query: &str| {
        let page = admin.get(&format!("/api/2.0/devices/?{query}")).await;
        let page = page.expect(200);
        let devices = page["devices"].as_array().unwrap().iter();
        let names: Vec<_> = devices
            .map(|d| d["name"].as_str().unwrap().to_owned())
            .collect();
        (names.join(" "), page["total_count"].as_i64().unwrap())
    };
    for (query, wanted, total) in [
        ("type=virtual", "a b", 2),
        ("type=virtual&limit=1&offset=1", "b", 2),
        ("type=unknown", "c", 1),
        ("type=virtual&service_level=gold", "b", 1),
        ("customer=ACME+%22B%22*", "a", 1),
        ("customer=ACME", "", 0),
        ("customer=ACME+%22B%22*&type=cluster", "", 0),
        ("asset_no=7&name=a", "a", 1),
    ] {
        assert_eq!(names(query).await, (wanted.to_owned(), total), "{query}");
    }
    let one = admin.get("/api/1.0/devices/asset/7/").await.expect(200);
    assert_eq!(one["name"], "a");
    refused_naming(&admin.get("/api/1.0/devices/asset/8/").await, 404, "8");
}

#[tokio::test]
async fn a_custom_field_is_put_and_a_device_archived() {
    let world = need!(World::new().await);
    let admin = password(&world);
    let put = admin.raw(Method::POST, "/api/1.0/device/", Some(FORM), "name=db-1");
    let id = put.await.expect(200)["msg"][1].as_i64().unwrap();
    let field = "/api/1.0/device/custom_field/";
    for (body, changed) in [
        ("name=db-1&key=owner&value=ops", true),
        ("name=db-1&key=owner&value=ops", false),
    ] {
        let put = admin.raw(Method::PUT, field, Some(FORM), body).await;
        let told = put.expect(200);
        assert_eq!(told["code"], 0);
        assert_eq!(told["msg"][1].as_i64(), Some(id));
        assert_eq!(told["msg"][3], changed);
    }
    let shown = admin.get(&format!("/api/1.0/devices/id/{id}/")).await;
    let fields = &shown.expect(200)["custom_fields"];
    assert_eq!(
        (&fields[0]["key"], &fields[0]["value"]),
        (&"owner".into(), &"ops".into())
    );
    let nobody = admin.raw(Method::PUT, field, Some(FORM), "name=nobody&key=a&value=b");
    refused_naming(&nobody.await, 404, "nobody");

    let archive = format!("/api/2.0/devices/{id}/archive/");
    let archived = admin
        .raw(Method::POST, &archive, None, "")
        .await
        .expect(200);
    assert_eq!(archived["msg"][1].as_i64(), Some(id));
    refused_naming(
        &admin.get(&format!("/api/1.0/devices/id/{id}/")).await,
        404,
        "device",
    );
}

#[tokio::test]
async fn what_cannot_be_asked_or_written_is_named_and_changes_nothing() {
    let world = need!(World::new().await);
    let admin = password(&world);
    for (path, status, what) in [
        ("/api/2.0/devices/?limit=x", 400, "limit"),
        ("/api/2.0/devices/?limit=-1", 400, "limit"),
        ("/api/1.0/devices/?offset=x", 400, "offset"),
        ("/api/1.0/devices/all/?offset=4294967295", 400, "offset"),
        ("/api/1.0/devices/all/?limit=1.5", 400, "limit"),
        ("/api/2.0/devices/?in_service=maybe", 400, "in_service"),
        ("/api/2.0/devices/?device_id=x", 400, "device_id"),
        ("/api/2.0/devices/?color=red", 400, "color"),
        ("/api/1.0/buildings/?limit=x", 400, "limit"),
        ("/api/1.0/tags/?limit=x", 400, "limit"),
        ("/api/2.0/api_clients/?offset=x", 400, "offset"),
        ("/api/1.0/devices/x", 400, "device_id"),
        ("/api/1.0/devices/id/1.5/", 400, "device_id"),
        ("/api/2.0/devices/99999999999999999999/", 400, "device_id"),
        ("/api/1.0/devices/0/", 404, "device"),
        ("/api/1.0/devices/-1/", 404, "device"),
        ("/api/1.0/devices/id/77/", 404, "77"),
        ("/api/1.0/devices/name/nobody/", 404, "nobody"),
        ("/api/1.0/devices/serial/none/", 404, "none"),
        ("/api/1.0/buildings/77", 404, "77"),
        ("/api/1.0/buildings/x", 400, "building_id"),
        ("/api/1.0/customers/?limit=x", 400, "limit"),
        ("/api/1.0/customers/?color=red", 400, "color"),
        ("/api/1.0/customers/77", 404, "there is no customer 77"),
        ("/api/1.0/customers/-1/", 404, "customer"),
        ("/api/1.0/customers/x", 400, "id"),
        (
            "/api/1.0/devices/customer_id/77/",
            404,
            "there is no customer 77",
        ),
        ("/api/1.0/devices/customer_id/0/", 404, "customer"),
        ("/api/1.0/devices/customer_id/x/", 400, "customer_id"),
        ("/api/2.0/api_clients/77", 404, "77"),
        ("/api/2.0/api_clients/x", 400, "id"),
        ("/api/1.0/nothing/", 404, "path"),
        ("/tauth/1.0/nothing/", 404, "path"),
    ] {
        refused_naming(&admin.get(path).await, status, what);
    }
    let long = format!("name={}", "n".repeat(5000));
    for (path, body, what) in [
        ("/api/1.0/device/", "", "name"),
        ("/api/1.0/device/", "notes=hi", "name"),
        ("/api/1.0/device/", "name=d&type=toaster", "type"),
        (
            "/api/1.0/device/",
            "name=d&in_service=perhaps",
            "in_service",
        ),
        ("/api/1.0/device/", "name=d&building=nowhere", "building"),
        ("/api/1.0/device/", "name=d&color=red", "color"),
        ("/api/1.0/device/", "name=d&device_id=x", "device_id"),
        ("/api/1.0/device/", "name=d&notes=%FF", "notes"),
        ("/api/1.0/device/", long.as_str(), "name"),
        ("/api/1.0/buildings/", "", "name"),
        ("/api/1.0/buildings/", "address=NY", "name"),
        ("/api/1.0/device/", "name=d&customer_id=77", "customer_id"),
        ("/api/1.0/device/", "name=d&customer_id=x", "customer_id"),
        (
            "/api/1.0/device/",
            "name=d&customer=a&customer_id=1",
            "customer_id",
        ),
        ("/api/1.0/customers/", "", "name"),
        ("/api/1.0/customers/", "notes=x", "name"),
        ("/api/1.0/customers/", "name=c&color=red", "color"),
        ("/api/1.0/customers/", "name=c&notes=%FF", "notes"),
        ("/api/1.0/customers/", long.as_str(), "name"),
        ("/api/1.0/buildings/", "name=b&groups=%00", "groups"),
        ("/api/1.0/buildings/", "name=b&color=red", "color"),
        ("/api/1.0/buildings/", long.as_str(), "name"),
    ] {
        let answer = admin.raw(Method::POST, path, None, body).await;
        refused_naming(&answer, 400, what);
    }
    let put = admin.raw(Method::PUT, "/api/2.0/devices/77/", None, "notes=x");
    refused_naming(&put.await, 404, "77");
    let large = format!("name=d&notes={}", "n".repeat(5 << 20));
    let large = admin.raw(Method::POST, "/api/1.0/device/", Some(FORM), large);
    refused_naming(&large.await, 413, "larger than");
    let broken = admin.raw(
        Method::POST,
        "/api/1.0/device/",
        Some("application/json"),
        "{",
    );
    refused_naming(&broken.await, 400, "line 1");
    let xml = admin.raw(Method::POST, "/api/1.0/device/", Some("text/xml"), "<a/>");
    refused_naming(&xml.await, 415, "neither application/json");
    let patch = admin.patch("/api/1.0/device/", json!({})).await;
    refused_naming(&patch, 405, "method");
    for path in [
        "/api/2.0/devices/",
        "/api/1.0/buildings/",
        "/api/1.0/customers/",
        "/api/1.0/tags/",
    ] {
        let page = admin.get(path).await.expect(200);
        assert_eq!(page["total_count"], 0, "{path}");
    }
}

#[tokio::test]
async fn a_persons_password_works_on_every_api_path() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let paths = [
        "/api/1.0/devices/",
        "/api/1.0/devices/all/",
        "/api/2.0/devices/",
        "/api/1.0/buildings/",
        "/api/1.0/customers/",
        "/api/1.0/tags/",
        "/api/2.0/api_client_keys/",
        "/api/2.0/api_clients/",
    ];
    for path in paths {
        admin.get(path).await.expect(200);
        admin.get(path.trim_end_matches('/')).await.expect(200);
    }
    let victor = admin.with(basic("victor@example.com", PASSWORD));
    victor.get("/api/2.0/devices/").await.expect(200);
    let refusal = victor.form("/api/1.0/device/", &[("name", "d")]).await;
    refused_naming(&refusal, 403, "devices.write");
    let refusal = victor.get("/api/2.0/api_clients/").await;
    refused_naming(&refusal, 403, "clients.read");

    let anybody = world.server.anybody();
    for (caller, why) in strangers(&anybody) {
        for path in paths {
            unauthenticated(&caller.get(path).await, why);
        }
        let refusal = caller.form("/api/1.0/device/", &[("name", "d")]).await;
        unauthenticated(&refusal, why);
    }
}

#[tokio::test]
async fn things_of_another_tenant_are_not_found() {
    let world = need!(World::shared().await);
    let admin = password(&world);
    let bob = admin.with(basic("bob@example.com", PASSWORD));
    let (name, serial) = (unique(), unique());
    let fields = [("name", name.as_str()), ("serial_no", serial.as_str())];
    let (_, device, _, _) = written(&admin.form("/api/1.0/device/", &fields).await);
    let (_, building, _, _) = written(&admin.form("/api/1.0/buildings/", &fields[..1]).await);
    let made = admin.form("/api/1.0/customers/", &fields[..1]).await;
    let (_, customer, _, _) = written(&made);
    let of = format!("/api/1.0/devices/customer_id/{customer}/");
    admin.get(&of).await.expect(200);
    refused_naming(&bob.get(&of).await, 404, "there is no customer");
    client(&world.alice, &["devices.read"]).await;
    let clients = admin.get("/api/2.0/api_clients/").await.expect(200);
    let client = clients["api_client"][0]["id"].clone();
    for path in [
        format!("/api/1.0/devices/{device}/"),
        format!("/api/1.0/buildings/{building}/"),
        format!("/api/1.0/customers/{customer}/"),
        format!("/api/2.0/api_clients/{client}"),
    ] {
        let shown = admin.get(&path).await.expect(200);
        refused_naming(&bob.get(&path).await, 404, "there is no");
        refused_naming(&bob.delete(&path).await, 404, "there is no");
        assert_eq!(admin.get(&path).await.expect(200), shown);
    }
    for path in [
        format!("/api/1.0/devices/name/{name}/"),
        format!("/api/1.0/devices/serial/{serial}/"),
    ] {
        refused_naming(&bob.get(&path).await, 404, "there is no device");
    }
    let path = format!("/api/2.0/devices/{device}/");
    let put = bob.raw(Method::PUT, &path, None, "notes=mine").await;
    refused_naming(&put, 404, &device.to_string());
    let elsewhere = [("name", "his"), ("building", name.as_str())];
    let put = bob.form("/api/1.0/device/", &elsewhere).await;
    refused_naming(&put, 400, "building");
    // Under the same name and serial number he gets things of his own.
    let (_, his, _, flags) = written(&bob.form("/api/1.0/device/", &fields).await);
    assert_eq!(flags, NEW);
    assert_ne!(his, device);
    let devices = bob.get("/api/2.0/devices/").await.expect(200);
    assert_eq!(devices["total_count"], 1);
    assert_eq!(devices["devices"][0]["device_id"], his);
    let buildings = bob.get("/api/1.0/buildings/").await.expect(200);
    assert_eq!(buildings["buildings"], json!([]));
    assert_eq!(admin.get(&path).await.expect(200)["notes"], "");
}
