//! Who did what: every change is recorded, and those who may can read it.

use std::collections::BTreeSet;

use crate::support::{
    ADMIN, Answer, Caller, PASSWORD, World, eventually, grpc, join, log_in, send, unique,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::peer::ServiceName;
use proto::access::{Requirement, idempotent, requirement};
use proto::audit::audit_service_client::AuditServiceClient;
use proto::audit::{AuditEvent, ListAuditEventsRequest};
use reqwest::Method;
use serde_json::{Value, json};
use tonic::{Code, Request};

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// One page of the record.
async fn page(caller: &Caller, query: &str) -> (Vec<Value>, String) {
    let answer = caller.get(&format!("/v1/auditEvents?{query}")).await;
    let page = answer.expect(200);
    let events = page["auditEvents"].as_array().cloned().unwrap_or_default();
    let next = page.get("nextPageToken").map(text).unwrap_or_default();
    (events, next.to_owned())
}

/// The whole record, as far as a filter lets it through, newest first.
async fn record(caller: &Caller, filter: &str, size: usize) -> Vec<Value> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let query = format!("pageSize={size}&pageToken={token}&{filter}");
        let (events, next) = page(caller, &query).await;
        assert!(events.len() <= size);
        all.extend(events);
        if next.is_empty() {
            return all;
        }
        token = next;
    }
}

async fn actor(caller: &Caller) -> String {
    let me = caller.get("/v1/me").await.expect(200);
    format!(
        "{}:{}",
        text(&me["principalKind"]),
        text(&me["principalId"])
    )
}

/// Asks under a request id; null is no body.
async fn ask_as(
    request_id: &str,
    caller: &Caller,
    method: Method,
    path: &str,
    body: &Value,
) -> Answer {
    let request = caller.request(method, path);
    let request = request.header("x-request-id", request_id);
    send(match body {
        Value::Null => request,
        body => request.json(body),
    })
    .await
}

/// What was asked, each time under a request id of its own.
#[derive(Default)]
struct Diary(Vec<Entry>);

struct Entry {
    request_id: String,
    /// Such as `TagService/CreateTag`.
    method: &'static str,
    actor: String,
    /// What the record must say was changed.
    resource: String,
}

impl Diary {
    /// Asks, and notes what the record must say of it.
    async fn ask(
        &mut self,
        method: &'static str,
        caller: &Caller,
        (verb, path, body): (Method, &str, Value),
        (actor, resource): (&str, &str),
    ) -> Value {
        let request_id = format!("diary-{}", unique());
        let answer = ask_as(&request_id, caller, verb, path, &body).await;
        assert!(answer.status.is_success(), "{method}: {answer:?}");
        let answer = answer.json();
        // What is made is known by what is answered.
        let made = answer.get("apiKey").or(answer.get("apiClient"));
        let made = made.or(answer.get("webhook")).or(answer.get("credential"));
        let made = made.or(answer.get("claimKey")).unwrap_or(&answer);
        let id = made.get("id").and_then(Value::as_str).unwrap_or_default();
        self.0.push(Entry {
            request_id,
            method,
            actor: actor.to_owned(),
            resource: resource.replace("{id}", id),
        });
        answer
    }

    fn last(&self) -> &Entry {
        self.0.last().unwrap()
    }
}

/// Methods that are no reads, and leave no event: why.
const NOT_RECORDED: [&str; 8] = [
    // Leaves an event for each command that it delivers, for as long as it lasts.
    "DeviceCommandService/ReceiveCommands",
    // Only tells, for as long as somebody listens.
    "DeviceWatchService/WatchDevices",
    // What is observed of devices all the time; nobody decides it.
    "DeviceService/RecordSightings",
    // Needs keys that the operator has; its events are ReportLeak's.
    "LeakService/ReportGithubLeaks",
    // Only tells, for as long as somebody listens.
    "KeyVerificationService/WatchRevoked",
    // Only tells: a stream counts as a change, for it is not asked for twice.
    "DeviceTransferService/ExportDevices",
    // Answers a token that says what is so already; nothing is written.
    "AuthService/Refresh",
    // The same.
    "AuthService/SelectTenant",
];

/// Whether a method only calls others, whose changes are recorded.
fn translates(path: &str) -> bool {
    path.starts_with("/muster.dialect.") || path.starts_with("/muster.oauth.")
}

/// Every method that anybody but services may call, and that is no read.
fn changing() -> BTreeSet<String> {
    let methods = grpc::methods().into_iter().filter(|method| {
        let path = grpc::path(method);
        !translates(&path) && !idempotent(&path) && requirement(&path) != Some(Requirement::Service)
    });
    methods
        .map(|m| format!("{}/{}", m.parent_service().name(), m.name()))
        .collect()
}

fn full_name(short: &str) -> String {
    let methods = grpc::methods().into_iter().map(|m| grpc::path(&m));
    let found = methods
        .filter(|path| !translates(path))
        .find(|path| path.ends_with(&format!(".{short}")));
    found.expect(short).trim_start_matches('/').to_owned()
}

/// Things that are created, renamed and deleted alike: the service, the path
/// and the field that names one.
const KINDS: [[&str; 5]; 5] = [
    [
        "devices",
        "displayName",
        "DeviceService/CreateDevice",
        "DeviceService/UpdateDevice",
        "DeviceService/DeleteDevice",
    ],
    [
        "tags",
        "displayName",
        "TagService/CreateTag",
        "TagService/UpdateTag",
        "TagService/DeleteTag",
    ],
    [
        "sites",
        "displayName",
        "SiteService/CreateSite",
        "SiteService/UpdateSite",
        "SiteService/DeleteSite",
    ],
    [
        "customers",
        "displayName",
        "CustomerService/CreateCustomer",
        "CustomerService/UpdateCustomer",
        "CustomerService/DeleteCustomer",
    ],
    [
        "commands",
        "name",
        "CommandService/CreateCommand",
        "CommandService/UpdateCommand",
        "CommandService/DeleteCommand",
    ],
];

async fn things(diary: &mut Diary, olga: &Caller) {
    let who = actor(olga).await;
    for [path, name, create, update, delete] in KINDS {
        let all = format!("/v1/{path}");
        let resource = format!("{path}/{{id}}");
        let body = json!({name: unique()});
        let made = diary
            .ask(create, olga, (Method::POST, &all, body), (&who, &resource))
            .await;
        let one = format!("{all}/{}", text(&made["id"]));
        let resource = format!("{path}/{}", text(&made["id"]));
        let body = json!({name: unique()});
        diary
            .ask(update, olga, (Method::PATCH, &one, body), (&who, &resource))
            .await;
        diary
            .ask(
                delete,
                olga,
                (Method::DELETE, &one, Value::Null),
                (&who, &resource),
            )
            .await;
    }
}

async fn webhooks(diary: &mut Diary, alice: &Caller) {
    let who = actor(alice).await;
    let body = json!({"url": "https://example.com/", "eventTypes": ["nothing.ever"]});
    let ask = (Method::POST, "/v1/webhooks", body);
    let method = "WebhookService/CreateWebhook";
    let made = diary.ask(method, alice, ask, (&who, "webhooks/{id}")).await;
    let webhook = format!("webhooks/{}", text(&made["webhook"]["id"]));
    let one = format!("/v1/{webhook}");
    let ask = (Method::PATCH, &*one, json!({"description": "x"}));
    let method = "WebhookService/UpdateWebhook";
    diary.ask(method, alice, ask, (&who, &webhook)).await;
    let mut sent = Value::Null;
    for (method, verb) in [
        ("WebhookService/RotateWebhookSecret", "rotateSecret"),
        ("WebhookService/SendTestEvent", "sendTestEvent"),
    ] {
        let path = format!("{one}:{verb}");
        let ask = (Method::POST, &*path, json!({}));
        sent = diary.ask(method, alice, ask, (&who, &webhook)).await;
    }
    let path = format!("{one}/deliveries/{}:replay", text(&sent["id"]));
    let ask = (Method::POST, &*path, json!({}));
    let method = "WebhookService/ReplayWebhookDelivery";
    diary.ask(method, alice, ask, (&who, &webhook)).await;
    let path = format!("{one}/deliveries:replay");
    let ask = (
        Method::POST,
        &*path,
        json!({"startTime": "2026-01-01T00:00:00Z"}),
    );
    let method = "WebhookService/ReplayWebhookDeliveries";
    diary.ask(method, alice, ask, (&who, &webhook)).await;
    let ask = (Method::DELETE, &*one, Value::Null);
    let method = "WebhookService/DeleteWebhook";
    diary.ask(method, alice, ask, (&who, &webhook)).await;
}

const MERGE: &str = "TagService/MergeTags";

/// What else becomes of devices, their sensors and tags.
async fn lives(diary: &mut Diary, olga: &Caller) {
    let who = actor(olga).await;
    let device = json!({"displayName": "x"});
    let device = olga.post("/v1/devices", device).await.expect(201);
    let device = text(&device["id"]);
    let (one, resource) = (format!("/v1/devices/{device}"), format!("devices/{device}"));
    olga.delete(&one).await.expect(200);
    let undelete = format!("{one}:undelete");
    let ask = (Method::POST, &*undelete, json!({}));
    let to = (&*who, &*resource);
    diary
        .ask("DeviceService/UndeleteDevice", olga, ask, to)
        .await;

    let sensor = json!({"deviceId": device, "code": "level"});
    let ask = (Method::POST, "/v1/sensors", sensor);
    let to = (&*who, "sensors/{id}");
    let made = diary.ask("SensorService/CreateSensor", olga, ask, to).await;
    let of = format!("sensors/{}", text(&made["id"]));
    let path = format!("/v1/{of}");
    let ask = (Method::PATCH, &*path, json!({"brand": "x"}));
    diary
        .ask("SensorService/UpdateSensor", olga, ask, (&who, &of))
        .await;
    let ask = (Method::DELETE, &*path, Value::Null);
    diary
        .ask("SensorService/DeleteSensor", olga, ask, (&who, &of))
        .await;

    let mut tags = Vec::new();
    for _ in 0..2 {
        let tag = json!({"displayName": unique()});
        let tag = olga.post("/v1/tags", tag).await.expect(201);
        tags.push(text(&tag["id"]).to_owned());
    }
    let (path, gone) = (
        format!("/v1/tags/{}:merge", tags[0]),
        json!({"tagIds": [tags[1]]}),
    );
    let ask = (Method::POST, &*path, gone);
    let kept = format!("tags/{}", tags[0]);
    diary.ask(MERGE, olga, ask, (&who, &kept)).await;

    let ask = (
        Method::POST,
        "/v1/devices:batchDelete",
        json!({"ids": [device]}),
    );
    diary
        .ask(
            "DeviceService/BatchDeleteDevices",
            olga,
            ask,
            (&who, &resource),
        )
        .await;
}

/// What can be done with what a device is told.
async fn commands(diary: &mut Diary, olga: &Caller) {
    let who = actor(olga).await;
    let device = olga.post("/v1/devices", json!({"displayName": unique()}));
    let device = text(&device.await.expect(201)["id"]).to_owned();
    let path = format!("/v1/devices/{device}/commands");
    let send = ("DeviceCommandService/SendCommand", "deviceCommands/{id}");
    for (end, verb) in [
        ("DeviceCommandService/AcknowledgeCommand", "acknowledge"),
        ("DeviceCommandService/FailCommand", "fail"),
        ("DeviceCommandService/CancelDeviceCommand", "cancel"),
    ] {
        let ask = (Method::POST, &*path, json!({"name": "restart"}));
        let sent = diary.ask(send.0, olga, ask, (&who, send.1)).await;
        let one = format!("deviceCommands/{}", text(&sent["id"]));
        let pull = format!("{path}:pull");
        let ask = (Method::POST, &*pull, json!({}));
        let method = "DeviceCommandService/PullCommands";
        diary.ask(method, olga, ask, (&who, &one)).await;
        let verb = format!("/v1/{one}:{verb}");
        let ask = (Method::POST, &*verb, json!({}));
        diary.ask(end, olga, ask, (&who, &one)).await;
    }
    let all = format!("{path}:cancel");
    let ask = (Method::POST, &*all, json!({}));
    let what = format!("devices/{device}/commands");
    let method = "DeviceCommandService/CancelDeviceCommands";
    diary.ask(method, olga, ask, (&who, &what)).await;
    let body = json!({"deviceIds": [device], "name": "restart"});
    let ask = (Method::POST, "/v1/devices:sendCommand", body);
    let method = "DeviceCommandService/SendCommands";
    let sent = diary
        .ask(method, olga, ask, (&who, "commandBatches/{id}"))
        .await;
    let batch = format!("commandBatches/{}", text(&sent["id"]));
    let path = format!("/v1/{batch}:cancel");
    let ask = (Method::POST, &*path, json!({}));
    let method = "DeviceCommandService/CancelCommandBatch";
    diary.ask(method, olga, ask, (&who, &batch)).await;
}

/// Its answer is lines, of which one tells the device.
async fn import(diary: &mut Diary, olga: &Caller) {
    let (who, request_id) = (actor(olga).await, format!("diary-{}", unique()));
    let path = "/v1/devices:import";
    let body = json!({"displayName": unique()});
    let answer = ask_as(&request_id, olga, Method::POST, path, &body).await;
    let (_, rest) = answer.text.split_once("\"deviceId\":\"").unwrap();
    let (id, _) = rest.split_once('"').unwrap();
    diary.0.push(Entry {
        request_id,
        method: "DeviceTransferService/ImportDevices",
        actor: who,
        resource: format!("devices/{id}"),
    });
}

async fn people(diary: &mut Diary, world: &World) {
    let (alice, anybody) = (&world.alice, world.server.anybody());
    let who = actor(alice).await;
    let email = format!("{}@example.com", unique());
    let path = format!("/v1/users?password={}", PASSWORD.replace(' ', "+"));
    let ask = (Method::POST, &*path, json!({"email": email}));
    let made = diary
        .ask("UserService/CreateUser", alice, ask, (&who, "users/{id}"))
        .await;
    let id = text(&made["id"]).to_owned();
    let user = format!("users/{id}");
    for (method, verb) in [
        ("UserService/DisableUser", "disable"),
        ("UserService/EnableUser", "enable"),
    ] {
        let path = format!("/v1/users/{id}:{verb}");
        let ask = (Method::POST, &*path, json!({}));
        diary.ask(method, alice, ask, (&who, &user)).await;
    }
    let member = format!("members/{id}");
    let one = format!("/v1/members/{id}");
    let ask = (
        Method::POST,
        "/v1/members",
        json!({"userId": id, "role": "viewer"}),
    );
    diary
        .ask("MemberService/CreateMember", alice, ask, (&who, &member))
        .await;
    let ask = (Method::PATCH, &*one, json!({"role": "operator"}));
    diary
        .ask("MemberService/UpdateMember", alice, ask, (&who, &member))
        .await;
    let ask = (Method::DELETE, &*one, Value::Null);
    diary
        .ask("MemberService/DeleteMember", alice, ask, (&who, &member))
        .await;

    let themselves = format!("user:{id}");
    let body = json!({"email": email, "password": PASSWORD});
    let ask = (Method::POST, "/v1/auth:login", body);
    let session = diary
        .ask(
            "AuthService/Login",
            &anybody,
            ask,
            (&themselves, "sessions/*"),
        )
        .await;
    let user_ = anybody.with(format!("Bearer {}", text(&session["accessToken"])));
    let body = json!({"currentPassword": PASSWORD, "newPassword": "another long password"});
    let ask = (Method::POST, "/v1/me:changePassword", body);
    diary
        .ask(
            "UserService/ChangePassword",
            &user_,
            ask,
            (&themselves, &user),
        )
        .await;
    // The token is from before the change of the password.
    let body = json!({"sessionToken": session["sessionToken"]});
    let fresh = anybody.post("/v1/auth:refresh", body).await.expect(200);
    let user_ = anybody.with(format!("Bearer {}", text(&fresh["accessToken"])));
    let ask = (Method::POST, "/v1/auth:logout", json!({}));
    diary
        .ask(
            "AuthService/Logout",
            &user_,
            ask,
            (&themselves, "sessions/*"),
        )
        .await;
}

async fn credentials(diary: &mut Diary, alice: &Caller) {
    let who = actor(alice).await;
    leaks(diary, alice).await;
    let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
    let ask = (Method::POST, "/v1/apiKeys", body);
    let key = diary
        .ask(
            "ApiKeyService/CreateApiKey",
            alice,
            ask,
            (&who, "apiKeys/{id}"),
        )
        .await;
    let id = text(&key["apiKey"]["id"]);
    let path = format!("/v1/apiKeys/{id}:revoke");
    let ask = (Method::POST, &*path, json!({}));
    diary
        .ask(
            "ApiKeyService/RevokeApiKey",
            alice,
            ask,
            (&who, &format!("apiKeys/{id}")),
        )
        .await;

    let ask = (
        Method::POST,
        "/v1/apiClients",
        json!({"displayName": unique()}),
    );
    let made = diary
        .ask(
            "ApiClientService/CreateApiClient",
            alice,
            ask,
            (&who, "apiClients/{id}"),
        )
        .await;
    let client = format!("apiClients/{}", text(&made["apiClient"]["id"]));
    let pair = [&made["apiClient"]["clientKey"], &made["clientSecret"]]
        .map(text)
        .join(":");
    let program = alice.with(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    let itself = actor(&program).await;
    let tokens = format!("{client}/tokens");
    let ask = (Method::POST, "/v1/tokens", json!({}));
    let token = diary
        .ask("TokenService/IssueToken", &program, ask, (&itself, &tokens))
        .await;
    let number = text(&token["number"]);
    for (method, verb) in [
        ("TokenService/RenewToken", "renew"),
        ("TokenService/RevokeToken", "revoke"),
    ] {
        let path = format!("/v1/tokens/{number}:{verb}");
        let ask = (Method::POST, &*path, json!({}));
        let resource = format!("{tokens}/{number}");
        diary.ask(method, &program, ask, (&itself, &resource)).await;
    }
    let other = program.post("/v1/tokens", json!({})).await.expect(201);
    let body = json!({"accessToken": other["accessToken"]});
    let ask = (Method::POST, "/v1/tokens:revoke", body);
    let resource = format!("{tokens}/{}", text(&other["number"]));
    let method = "TokenService/RevokeAccessToken";
    diary.ask(method, &program, ask, (&itself, &resource)).await;
    let ask = (
        Method::POST,
        "/v1/tokens:revokeAll",
        json!({"principal": itself}),
    );
    let method = "TokenService/RevokeTokens";
    diary.ask(method, alice, ask, (&who, &client)).await;
    clients(diary, alice, &who, &client).await;
    let path = format!("/v1/{client}");
    let ask = (Method::DELETE, &*path, Value::Null);
    diary
        .ask(
            "ApiClientService/DeleteApiClient",
            alice,
            ask,
            (&who, &client),
        )
        .await;
}

/// What can be done with a client besides making and deleting it.
async fn clients(diary: &mut Diary, alice: &Caller, who: &str, client: &str) {
    for (method, verb, path, body) in [
        (
            "ApiClientService/UpdateApiClient",
            Method::PATCH,
            "",
            json!({"displayName": "x"}),
        ),
        (
            "ApiClientService/RotateApiClient",
            Method::POST,
            ":rotate",
            json!({}),
        ),
        (
            "ApiClientService/FinishApiClientRotation",
            Method::POST,
            "/rotation:finish",
            json!({}),
        ),
    ] {
        let path = format!("/v1/{client}{path}");
        let ask = (verb, &*path, body);
        diary.ask(method, alice, ask, (who, client)).await;
    }
    let body = json!({
        "apiClient": {"clientKey": format!("client-of-others-{}", unique())},
        "secret": {"raw": "a secret of others"},
    });
    let ask = (Method::POST, "/v1/apiClients:import", body);
    let method = "ApiClientService/ImportApiClient";
    diary
        .ask(method, alice, ask, (who, "apiClients/{id}"))
        .await;
}

/// What anybody may do with a key that he has.
async fn leaks(diary: &mut Diary, alice: &Caller) {
    let anybody = Caller {
        authorization: None,
        ..alice.clone()
    };
    for (method, path) in [
        ("LeakService/ReportLeak", "/v1/leaks"),
        ("LeakService/SurrenderApiKey", "/v1/apiKeys:surrender"),
    ] {
        let body = json!({"displayName": unique()});
        let made = alice.post("/v1/apiKeys", body).await.expect(201);
        let id = text(&made["apiKey"]["id"]).to_owned();
        let ask = (Method::POST, path, json!({"apiKey": made["secret"]}));
        let whose = (format!("key:{id}"), format!("apiKeys/{id}"));
        diary.ask(method, &anybody, ask, (&whose.0, &whose.1)).await;
    }
}

/// What can be done with a key besides making and revoking it.
async fn keys(diary: &mut Diary, alice: &Caller) {
    let who = actor(alice).await;
    let body = json!({
        "apiKey": {"displayName": unique(), "permissions": ["devices.read"]},
        "format": "FOREIGN_FORMAT_OPAQUE",
        "secret": {"raw": format!("foreign-{}", unique())},
    });
    let ask = (Method::POST, "/v1/apiKeys:import", body);
    let (method, made) = ("ApiKeyService/ImportApiKey", "apiKeys/{id}");
    let made = diary.ask(method, alice, ask, (&who, made)).await;
    let key = format!("apiKeys/{}", text(&made["id"]));
    let end = chassis::Clock::system().now() + chrono::TimeDelta::hours(2);
    for (method, verb, path, body) in [
        (
            "ApiKeyService/UpdateApiKey",
            Method::PATCH,
            "",
            json!({"description": "x"}),
        ),
        (
            "ApiKeyService/RotateApiKey",
            Method::POST,
            ":rotate",
            json!({}),
        ),
        (
            "ApiKeyService/ExtendApiKeyRotation",
            Method::POST,
            "/rotation:extend",
            json!({"endTime": end.to_rfc3339()}),
        ),
        (
            "ApiKeyService/FinishApiKeyRotation",
            Method::POST,
            "/rotation:finish",
            json!({}),
        ),
        (
            "ApiKeyService/DeleteApiKey",
            Method::DELETE,
            "",
            Value::Null,
        ),
    ] {
        let path = format!("/v1/{key}{path}");
        diary
            .ask(method, alice, (verb, &path, body), (&who, &key))
            .await;
    }
    let me = alice.get("/v1/me").await.expect(200);
    let policy = format!("tenants/{}/keyPolicy", text(&me["currentTenant"]));
    let ask = (
        Method::PATCH,
        "/v1/keyPolicy",
        json!({"expiryRequired": false}),
    );
    let method = "KeyPolicyService/UpdateKeyPolicy";
    diary.ask(method, alice, ask, (&who, &policy)).await;
}

async fn proofs(diary: &mut Diary, world: &World) {
    let alice = &world.alice;
    let who = actor(alice).await;
    let device = alice.post("/v1/devices", json!({"displayName": unique()}));
    let device = format!("devices/{}", text(&device.await.expect(201)["id"]));
    let all = format!("/v1/{device}/credentials");
    let resource = format!("{device}/credentials/{{id}}");
    let ask = (Method::POST, &*all, json!({}));
    let method = "DeviceCredentialService/CreateDeviceCredential";
    let made = diary.ask(method, alice, ask, (&who, &resource)).await;
    let one = format!("{all}/{}", text(&made["credential"]["id"]));
    let resource = one.trim_start_matches("/v1/");
    for (method, verb, path, body) in [
        (
            "UpdateDeviceCredential",
            Method::PATCH,
            "",
            json!({"displayName": "x"}),
        ),
        ("RotateDeviceCredential", Method::POST, ":rotate", json!({})),
        ("DeleteDeviceCredential", Method::DELETE, "", Value::Null),
    ] {
        let method: &'static str = match method {
            "UpdateDeviceCredential" => "DeviceCredentialService/UpdateDeviceCredential",
            "RotateDeviceCredential" => "DeviceCredentialService/RotateDeviceCredential",
            _ => "DeviceCredentialService/DeleteDeviceCredential",
        };
        let path = format!("{one}{path}");
        diary
            .ask(method, alice, (verb, &path, body), (&who, resource))
            .await;
    }
    let authority = json!({"displayName": unique(), "certificate": super::native::AUTHORITY});
    for (all, body, create, update, delete) in [
        (
            "deviceAuthorities",
            authority,
            "DeviceAuthorityService/CreateDeviceAuthority",
            "DeviceAuthorityService/UpdateDeviceAuthority",
            "DeviceAuthorityService/DeleteDeviceAuthority",
        ),
        (
            "claimKeys",
            json!({"displayName": unique()}),
            "ClaimKeyService/CreateClaimKey",
            "ClaimKeyService/UpdateClaimKey",
            "ClaimKeyService/DeleteClaimKey",
        ),
    ] {
        let path = format!("/v1/{all}");
        let resource = format!("{all}/{{id}}");
        let ask = (Method::POST, &*path, body);
        let made = diary.ask(create, alice, ask, (&who, &resource)).await;
        let id = text(made.get("claimKey").unwrap_or(&made).get("id").unwrap());
        let (path, resource) = (format!("{path}/{id}"), format!("{all}/{id}"));
        let ask = (Method::PATCH, &*path, json!({"displayName": unique()}));
        diary.ask(update, alice, ask, (&who, &resource)).await;
        if all == "claimKeys" {
            let claim = json!({"claimKey": made["secret"], "serialNumber": unique()});
            let ask = (Method::POST, "/v1/devices:claim", claim);
            let claimant = (&*format!("claim-key:{id}"), "devices/*");
            let anybody = world.server.anybody();
            let method = "ClaimKeyService/ClaimDevice";
            diary.ask(method, &anybody, ask, claimant).await;
        }
        let ask = (Method::DELETE, &*path, Value::Null);
        diary.ask(delete, alice, ask, (&who, &resource)).await;
    }
}

/// The events of an entry's request must be one, and say what happened.
fn is_recorded(entry: &Entry, all: &[Value]) {
    let method = full_name(entry.method);
    let found: Vec<_> = all
        .iter()
        .filter(|event| event["requestId"] == entry.request_id)
        // What another service is told of a change, it records as its own.
        .filter(|event| !text(&event["actor"]).starts_with("service:"))
        // Tags that become one leave an event each.
        .filter(|event| entry.method != MERGE || event["resource"] == entry.resource)
        .collect();
    let [event] = found[..] else {
        panic!("{method}: {found:?}");
    };
    assert_eq!(event["method"], method);
    assert_eq!(event["actor"], entry.actor, "{method}");
    let resource = text(&event["resource"]);
    match entry.resource.strip_suffix('*') {
        Some(collection) => assert!(resource.starts_with(collection), "{event}"),
        None => assert_eq!(resource, entry.resource, "{method}"),
    }
    let service = ServiceName::of_path(&format!("/{method}")).unwrap();
    assert_eq!(event["service"], service.as_str());
    assert_eq!(event["source"], "127.0.0.1", "{event}");
    assert!(text(&event["time"]).ends_with('Z'));
}

#[tokio::test]
async fn every_method_that_changes_something_leaves_one_event_that_says_who_did_what() {
    let world = &*need!(World::shared().await);
    let mut diary = Diary::default();
    things(&mut diary, &world.olga).await;
    lives(&mut diary, &world.olga).await;
    commands(&mut diary, &world.olga).await;
    import(&mut diary, &world.olga).await;
    people(&mut diary, world).await;
    webhooks(&mut diary, &world.alice).await;
    credentials(&mut diary, &world.alice).await;
    keys(&mut diary, &world.alice).await;
    proofs(&mut diary, world).await;
    let all = record(&world.alice, "", 1000).await;
    for entry in &diary.0 {
        is_recorded(entry, &all);
    }

    // A new tenant's record begins with its creation.
    let who = actor(&world.alice).await;
    let ask = (Method::POST, "/v1/tenants", json!({"displayName": "C"}));
    let mut own = Diary::default();
    let expected = (&*who, "tenants/{id}");
    let made = own
        .ask("TenantService/CreateTenant", &world.alice, ask, expected)
        .await;
    let anybody = world.server.anybody();
    let founder = log_in(&anybody, ADMIN, PASSWORD, Some(text(&made["id"]))).await;
    let first = record(&founder, "", 1000).await;
    assert_eq!(first.len(), 1, "{first:?}");
    is_recorded(own.last(), &first);
    assert!(!record(&world.alice, "", 1000).await.contains(&first[0]));

    // What is above decides whether it may be used; its own record has that.
    let tenant = format!("tenants/{}", text(&made["id"]));
    for (method, verb) in [
        ("TenantService/SuspendTenant", "suspend"),
        ("TenantService/ResumeTenant", "resume"),
    ] {
        let path = format!("/v1/{tenant}:{verb}");
        let ask = (Method::POST, &*path, json!({}));
        own.ask(method, &world.alice, ask, (&who, &tenant)).await;
    }
    let founder = log_in(&anybody, ADMIN, PASSWORD, Some(text(&made["id"]))).await;
    let after = record(&founder, "", 1000).await;
    for entry in &own.0 {
        is_recorded(entry, &after);
    }

    let told = diary.0.iter().chain(&own.0).map(|e| e.method.to_owned());
    let told: BTreeSet<_> = told.chain(NOT_RECORDED.map(str::to_owned)).collect();
    assert_eq!(told, changing(), "every change is tried here");
}

#[tokio::test]
async fn what_a_program_of_another_system_changes_is_recorded_alike() {
    let world = &*need!(World::shared().await);
    let program = world
        .alice
        .key_holder(&["devices.write", "devices.read"])
        .await;
    let request_id = format!("other-{}", unique());
    let body = json!({"name": unique(), "serial_number": unique()});
    let path = "/v2/devices";
    let made = ask_as(&request_id, &program, Method::POST, path, &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let filter = format!("actor={}", actor(&program).await);
    let found = record(&world.alice, &filter, 10).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["method"], full_name("DeviceService/CreateDevice"));
    assert_eq!(found[0]["requestId"], request_id);
    assert_eq!(found[0]["source"], "127.0.0.1");
}

#[tokio::test]
async fn nobody_says_himself_where_a_request_comes_from() {
    let world = &*need!(World::shared().await);
    let request = world.olga.request(Method::POST, "/v1/tags");
    let request = request.header("x-muster-source", "192.0.2.66");
    let request = request.header("x-forwarded-for", "192.0.2.66");
    let made = send(request.json(&json!({"displayName": unique()}))).await;
    let filter = format!("resource=tags/{}", text(&made.expect(201)["id"]));
    let found = record(&world.alice, &filter, 10).await;
    assert_eq!(found[0]["source"], "127.0.0.1");
    // Without an id of the client, the request has the one that it was answered.
    assert_eq!(found[0]["requestId"], made.header("x-request-id"));
}

#[tokio::test]
async fn how_an_installation_began_is_recorded() {
    let world = need!(World::shared().await);
    let all = record(&world.alice, "resource=tenants", 1000).await;
    // The oldest is last.
    let first = all.last().unwrap();
    assert_eq!(first["resource"], format!("tenants/{}", world.tenant_a));
    assert_eq!(
        first["method"],
        full_name("TenantService/CreateFirstTenant")
    );
    assert!(text(&first["actor"]).starts_with("service:"));
    let users = record(&world.alice, "resource=users", 1000).await;
    let oldest = text(&users.last().unwrap()["resource"]);
    let alice = actor(&world.alice).await;
    assert_eq!(oldest.split('/').next_back(), alice.split(':').next_back());
}

#[tokio::test]
async fn what_is_read_refused_or_fails_leaves_no_event() {
    let world = &*need!(World::shared().await);
    let World {
        alice,
        olga,
        victor,
        server,
        ..
    } = world;
    let anybody = server.anybody();
    let device = json!({"displayName": "x", "serialNumber": unique()});
    let made = olga.post("/v1/devices", device.clone()).await.expect(201);
    let one = format!("/v1/devices/{}", text(&made["id"]));
    let nobody = format!("/v1/users/{}:disable", uuid::Uuid::nil());
    let me = actor(alice).await;
    let myself = format!("/v1/users/{}:disable", &me[5..]);
    let wrong = json!({"email": ADMIN, "password": "not the password"});
    let stale = json!({"displayName": "y", "etag": "0"});
    let last_owner = format!("/v1/members/{}", &me[5..]);
    for (caller, method, path, body, status) in [
        (olga, Method::GET, "/v1/devices", Value::Null, 200),
        (olga, Method::GET, &*one, Value::Null, 200),
        (alice, Method::GET, "/v1/auditEvents", Value::Null, 200),
        (alice, Method::GET, "/v1/me", Value::Null, 200),
        (
            olga,
            Method::POST,
            "/v1/devices",
            json!({"displayName": ""}),
            400,
        ),
        (olga, Method::POST, "/v1/devices", device, 409),
        (olga, Method::PATCH, &*one, stale, 409),
        (
            victor,
            Method::POST,
            "/v1/devices",
            json!({"displayName": "x"}),
            403,
        ),
        (
            &anybody,
            Method::POST,
            "/v1/devices",
            json!({"displayName": "x"}),
            401,
        ),
        (alice, Method::POST, &*nobody, json!({}), 404),
        (alice, Method::POST, &*myself, json!({}), 400),
        (alice, Method::DELETE, &*last_owner, Value::Null, 400),
        (&anybody, Method::POST, "/v1/auth:login", wrong, 401),
    ] {
        let request_id = format!("none-{}", unique());
        let answer = ask_as(&request_id, caller, method, path, &body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        let all = record(alice, "", 1000).await;
        let found = all.iter().find(|event| event["requestId"] == request_id);
        assert_eq!(found, None, "{path}");
    }
}

#[tokio::test]
async fn the_record_is_read_by_owners_and_admins_and_whoever_is_given_it() {
    let world = &*need!(World::shared().await);
    let World {
        alice,
        olga,
        victor,
        server,
        ..
    } = world;
    let admin = format!("{}@example.com", unique());
    let admin = join(alice, &world.tenant_a, &admin, "admin").await;
    let program = alice.key_holder(&["audit.read"]).await;
    let other = alice.key_holder(&["devices.read", "keys.read"]).await;
    for caller in [alice, &admin, &program] {
        caller.get("/v1/auditEvents").await.expect(200);
    }
    for caller in [olga, victor, &other] {
        let refused = caller.get("/v1/auditEvents").await.expect(403);
        assert!(
            text(&refused["message"]).contains("audit.read"),
            "{refused}"
        );
    }
    server.anybody().get("/v1/auditEvents").await.expect(401);
}

#[tokio::test]
async fn each_tenant_has_a_record_of_its_own() {
    let world = &*need!(World::shared().await);
    let (alice, bob) = (&world.alice, &world.bob);
    let mut ids = Vec::new();
    for caller in [alice, bob] {
        let made = caller.post("/v1/tags", json!({"displayName": unique()}));
        ids.push(format!("tags/{}", text(&made.await.expect(201)["id"])));
    }
    let has = |all: &[Value], id: &str| all.iter().any(|event| event["resource"] == id);
    let (of_a, of_b) = (record(alice, "", 1000).await, record(bob, "", 1000).await);
    assert!(has(&of_a, &ids[0]) && has(&of_b, &ids[1]));
    assert!(!has(&of_a, &ids[1]) && !has(&of_b, &ids[0]));
    assert!(of_a.iter().all(|event| !of_b.contains(event)));
    // Not even who asks for it by name.
    let filter = format!("resource={}", ids[0]);
    assert_eq!(record(bob, &filter, 10).await, Vec::<Value>::new());
    let filter = format!("actor={}", actor(&world.olga).await);
    assert_eq!(record(bob, &filter, 10).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_record_is_filtered() {
    let world = &*need!(World::shared().await);
    let World { alice, olga, .. } = world;
    let made = olga.post("/v1/sites", json!({"displayName": unique()}));
    let id = text(&made.await.expect(201)["id"]).to_owned();
    let key = alice.key_holder(&["tags.write", "sites.write"]).await;
    let path = format!("/v1/sites/{id}");
    key.patch(&path, json!({"notes": "by a key"}))
        .await
        .expect(200);
    key.post("/v1/tags", json!({"displayName": unique()}))
        .await
        .expect(201);
    let (olga, key) = (actor(olga).await, actor(&key).await);

    let of_key = record(alice, &format!("actor={key}"), 1).await;
    let resources = of_key.iter().map(|event| text(&event["resource"]));
    let resources: Vec<_> = resources
        .map(|name| name.split('/').next().unwrap())
        .collect();
    assert_eq!(resources, ["tags", "sites"]);

    let of_site = record(alice, &format!("resource=sites/{id}"), 1).await;
    let actors: Vec<_> = of_site.iter().map(|event| text(&event["actor"])).collect();
    assert_eq!(actors, [&*key, &*olga]);
    let both = format!("resource=sites/{id}&actor={olga}");
    assert_eq!(record(alice, &both, 10).await, of_site[1..]);

    let sites = record(alice, "resource=sites", 2).await;
    assert!(of_site.iter().all(|event| sites.contains(event)));
    assert!(
        sites
            .iter()
            .all(|e| text(&e["resource"]).starts_with("sites/"))
    );
    assert_eq!(
        record(alice, "resource=site", 10).await,
        Vec::<Value>::new()
    );

    // The first moment counts, the last one does not.
    let (newer, older) = (text(&of_site[0]["time"]), text(&of_site[1]["time"]));
    let between = format!("resource=sites/{id}&startTime={older}&endTime={newer}");
    assert_eq!(record(alice, &between, 10).await, of_site[1..]);
    let since = format!("resource=sites/{id}&startTime={newer}");
    assert_eq!(record(alice, &since, 10).await, of_site[..1]);

    for service in ServiceName::ALL.map(ServiceName::as_str) {
        let all = record(alice, &format!("service={service}"), 3).await;
        assert!(!all.is_empty(), "{service}");
        assert!(all.iter().all(|event| event["service"] == service));
    }
}

#[tokio::test]
async fn what_no_page_and_no_filter_can_be_is_refused() {
    let world = &*need!(World::shared().await);
    for (query, field) in [
        ("pageToken=x", "page_token"),
        ("pageSize=-1", "page_size"),
        ("service=billing", "service"),
        ("startTime=yesterday", "start_time"),
    ] {
        let answer = world.alice.get(&format!("/v1/auditEvents?{query}")).await;
        let refused = answer.expect(400);
        assert!(refused.to_string().contains(field), "{query}: {refused}");
    }
}

#[tokio::test]
async fn pages_hold_every_event_once_and_the_newest_first_while_more_are_made() {
    let world = &*need!(World::new().await.map(std::sync::Arc::new));
    let alice = &world.alice;
    // Many at once, so that several services record at the same time.
    let change = async |path: &str, body: Value| {
        alice.post(path, body).await.expect(201);
    };
    for _ in 0..5 {
        let (name, email) = (unique(), format!("{}@example.com", unique()));
        let key = json!({"displayName": name, "permissions": ["tags.read"]});
        tokio::join!(
            change("/v1/tags", json!({"displayName": unique()})),
            change("/v1/sites", json!({"displayName": unique()})),
            change("/v1/devices", json!({"displayName": "x"})),
            change("/v1/commands", json!({"name": unique()})),
            change("/v1/users", json!({"email": email})),
            change("/v1/apiKeys", key.clone()),
            change("/v1/apiClients", json!({"displayName": unique()})),
            change("/v1/tenants", json!({"displayName": "x"})),
        );
    }
    let whole = record(alice, "", 1000).await;
    assert!(whole.len() >= 35, "{}", whole.len());
    let services: BTreeSet<_> = whole.iter().map(|e| text(&e["service"])).collect();
    assert_eq!(services.len(), 4, "{services:?}");
    let ids: BTreeSet<_> = whole.iter().map(|event| text(&event["id"])).collect();
    assert_eq!(ids.len(), whole.len());
    let time = |event: &Value| chrono::DateTime::parse_from_rfc3339(text(&event["time"])).unwrap();
    assert!(whole.is_sorted_by(|newer, older| time(newer) >= time(older)));
    for size in [1, 2, 3, 7, 50] {
        let (mut all, mut token) = (Vec::new(), String::new());
        loop {
            let query = format!("pageSize={size}&pageToken={token}");
            let (events, next) = page(alice, &query).await;
            // What is newer than the first page does not get into the others.
            change("/v1/tags", json!({"displayName": unique()})).await;
            all.extend(events);
            token = next;
            if token.is_empty() {
                break;
            }
        }
        let known: Vec<_> = all.iter().filter(|event| whole.contains(event)).collect();
        assert_eq!(known, whole.iter().collect::<Vec<_>>(), "{size}");
        assert!(all.ends_with(&whole), "{size}");
    }
}

#[tokio::test]
async fn no_secret_is_in_the_record() {
    let world = &*need!(World::shared().await);
    let (alice, anybody) = (&world.alice, world.server.anybody());
    let mut secrets = vec![PASSWORD.to_owned(), "a-secret-of-a-device".to_owned()];
    let path = "/v1/devices?secret=a-secret-of-a-device";
    alice
        .post(path, json!({"displayName": "x"}))
        .await
        .expect(201);
    secrets.push(alice.new_key(&["devices.read"]).await);
    let body = json!({"displayName": unique()});
    let client = alice.post("/v1/apiClients", body).await.expect(201);
    secrets.push(text(&client["clientSecret"]).to_owned());
    let body = json!({"email": ADMIN, "password": PASSWORD});
    let session = anybody.post("/v1/auth:login", body).await.expect(200);
    for field in ["accessToken", "sessionToken"] {
        secrets.push(text(&session[field]).to_owned());
    }
    let all = Value::from(record(alice, "", 1000).await).to_string();
    assert!(all.contains("apiClients/"));
    for secret in secrets {
        assert!(!all.contains(&secret), "{secret}");
    }
}

async fn ask(
    world: &World,
    request: ListAuditEventsRequest,
) -> Result<(Vec<AuditEvent>, Vec<String>), tonic::Status> {
    let mut client = AuditServiceClient::new(grpc::connect(&world.server.url).await);
    let mut request = Request::new(request);
    let token = world.alice.authorization.as_deref().unwrap();
    request
        .metadata_mut()
        .insert("authorization", token.parse().unwrap());
    let answer = client.list_audit_events(request).await?.into_inner();
    Ok((answer.audit_events, answer.unreachable))
}

#[tokio::test]
async fn the_record_is_the_same_by_grpc() {
    let world = &*need!(World::shared().await);
    let made = world
        .alice
        .post("/v1/tags", json!({"displayName": unique()}));
    let resource = format!("tags/{}", text(&made.await.expect(201)["id"]));
    let http = record(&world.alice, &format!("resource={resource}"), 10).await;
    let request = ListAuditEventsRequest {
        resource,
        ..Default::default()
    };
    let (events, unreachable) = ask(world, request).await.unwrap();
    let ids: Vec<_> = events.iter().map(|event| &*event.id).collect();
    assert_eq!(ids, [text(&http[0]["id"])]);
    assert_eq!(unreachable, Vec::<String>::new());
}

/// Only where services are processes of their own can one of them be away.
#[tokio::test]
async fn a_service_that_is_away_is_named_and_the_others_answer_if_that_is_wanted() {
    if crate::SHAPE != crate::support::Shape::Split {
        return;
    }
    let mut world = need!(World::new().await);
    let away = world
        .server
        .parts()
        .iter()
        .position(|p| p.service == "tenancy");
    world.server.kill_part(away.unwrap());
    let world = &world;
    eventually("the tenancy service is missed", async || {
        ask(world, ListAuditEventsRequest::default()).await.is_err()
    })
    .await;
    let refused = ask(world, ListAuditEventsRequest::default()).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("tenancy"), "{refused:?}");
    let request = ListAuditEventsRequest {
        return_partial_success: true,
        page_size: 1000,
        ..Default::default()
    };
    let (events, unreachable) = ask(world, request).await.unwrap();
    assert_eq!(unreachable, ["tenancy"]);
    let services: BTreeSet<_> = events.iter().map(|event| &*event.service).collect();
    assert!(
        services.contains("identity") && !services.contains("tenancy"),
        "{services:?}"
    );
}
