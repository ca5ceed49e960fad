//! The commands for people and scripts, run as they run them.

use std::process::Command;

use crate::support::{ADMIN, PASSWORD, World, eventually, output, unique};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::OnceCell;

async fn world() -> Option<&'static World> {
    static WORLD: OnceCell<Option<World>> = OnceCell::const_new();
    WORLD.get_or_init(World::new).await.as_ref()
}

/// Somebody's terminal: a folder of settings, and maybe variables.
pub(crate) struct Terminal {
    config: TempDir,
    pub(crate) variables: Vec<(&'static str, String)>,
}

/// What a command left.
pub(crate) struct Told {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) err: String,
}

impl Terminal {
    pub(crate) fn new() -> Self {
        let config = tempfile::tempdir().unwrap();
        Self {
            config,
            variables: Vec::new(),
        }
    }

    /// A terminal that calls with an API key.
    pub(super) fn with_key(world: &World, key: &str) -> Self {
        let url = world.server.url.clone();
        let variables = vec![("MUSTER_SERVER", url), ("MUSTER_API_KEY", key.to_owned())];
        Self {
            variables,
            ..Self::new()
        }
    }

    /// Logs the administrator in, in tenant A.
    pub(super) async fn logged_in(world: &World) -> Self {
        Self::logged_in_to(world, &world.tenant_a).await
    }

    /// Logs the administrator in, in a tenant.
    pub(super) async fn logged_in_to(world: &World, tenant: &str) -> Self {
        let terminal = Self::new();
        let arguments = ["login", "--server", &world.server.url, "--email", ADMIN];
        let arguments = [&arguments[..], &["--password-stdin", "--tenant", tenant]].concat();
        terminal.run(&arguments, PASSWORD).await.ok();
        terminal
    }

    /// Runs a command, not blocking the runtime that others need.
    pub(crate) async fn run(&self, arguments: &[&str], input: &str) -> Told {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster"));
        for name in ["MUSTER_SERVER", "MUSTER_API_KEY", "MUSTER_CA_CERT"] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .env("MUSTER_CONFIG_DIR", self.config.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        let input = input.to_owned();
        let output = tokio::task::spawn_blocking(move || output(&mut command, &input));
        let output = output.await.unwrap().unwrap();
        Told {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, for people.
    pub(super) async fn says(&self, arguments: &[&str]) -> String {
        self.run(arguments, "").await.ok()
    }

    /// Runs a command that must succeed, for programs.
    pub(super) async fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.says(&arguments).await).unwrap()
    }

    /// Runs a command that must fail, and tells why on standard error only.
    pub(super) async fn fails(&self, arguments: &[&str]) -> String {
        self.run(arguments, "").await.failed(1)
    }
}

impl Told {
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    /// What a command that must succeed noted beside its answer.
    #[track_caller]
    pub(super) fn err(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.err
    }

    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> String {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

#[tokio::test]
async fn a_login_is_remembered_until_the_logout() {
    let world = need!(world().await);
    let terminal = Terminal::new();
    let arguments = [
        "login",
        "--server",
        &world.server.url,
        "--email",
        "olga@example.com",
    ];
    let arguments = [&arguments[..], &["--password-stdin"]].concat();
    let said = terminal
        .run(&arguments, &format!("{PASSWORD}\n"))
        .await
        .ok();
    assert!(
        said.starts_with("Logged in to ") && said.contains(&world.tenant_a),
        "{said}"
    );
    let me = terminal.json(&["whoami"]).await;
    assert_eq!(me["user"]["email"], "olga@example.com");
    assert_eq!(me["currentTenant"], json!(world.tenant_a));
    assert_eq!(me["principalKind"], "user");
    let saved = std::fs::read_to_string(terminal.config.path().join("credentials.json")).unwrap();
    assert!(!saved.contains(PASSWORD));
    let said = terminal.says(&["logout"]).await;
    assert_eq!(said, format!("Logged out of {}.\n", world.server.url));
    let error = terminal.fails(&["whoami"]).await;
    assert!(
        error.contains("you are not logged in") && error.contains("muster login"),
        "{error}"
    );
    // The session ended at the server, not only here.
    let saved: Value = serde_json::from_str(&saved).unwrap();
    let body = json!({"sessionToken": saved["sessionToken"]});
    let anybody = world.server.anybody();
    anybody.post("/v1/auth:refresh", body).await.expect(401);
}

#[tokio::test]
async fn a_wrong_password_fails_and_leaves_no_session() {
    let world = need!(world().await);
    let terminal = Terminal::new();
    let arguments = [
        "login",
        "--server",
        &world.server.url,
        "--email",
        ADMIN,
        "--password-stdin",
    ];
    let error = terminal.run(&arguments, "not the password").await.failed(1);
    assert!(
        error.contains("the e-mail address or the password is wrong"),
        "{error}"
    );
    assert!(!error.contains("not the password"), "{error}");
    terminal.run(&arguments, "").await.failed(1);
    assert_eq!(
        std::fs::read_dir(terminal.config.path()).unwrap().count(),
        0
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told() {
    let terminal = Terminal::new();
    let arguments = [
        "login",
        "--server",
        "http://127.0.0.1:1",
        "--email",
        ADMIN,
        "--password-stdin",
    ];
    let error = terminal.run(&arguments, PASSWORD).await.failed(1);
    assert!(error.contains("can't reach http://127.0.0.1:1"), "{error}");
}

#[tokio::test]
async fn what_is_no_command_fails_with_2_and_tells_the_usage() {
    let terminal = Terminal::new();
    for arguments in [
        &["nothing"][..],
        &["device"],
        &["device", "get"],
        &["device", "get", "x"],
        &["key", "create", "--name", "x"],
        &["key", "create", "--name", "x", "--permission", "nope"],
        &["login", "--server", "nowhere", "--email", "x"],
        &["whoami", "--output", "xml"],
    ] {
        let error = terminal.run(arguments, "").await.failed(2);
        assert!(
            error.contains("--help") || error.contains("Usage"),
            "{arguments:?}: {error}"
        );
    }
}

#[tokio::test]
async fn help_tells_every_command() {
    let help = Terminal::new().says(&["--help"]).await;
    for command in [
        "up",
        "login",
        "logout",
        "whoami",
        "key",
        "client",
        "token",
        "key-policy",
        "device",
        "claim-key",
        "command",
        "webhook",
        "user",
        "tenant",
        "audit",
    ] {
        let told = help
            .lines()
            .any(|line| line.trim_start().starts_with(command));
        assert!(told, "{command}: {help}");
    }
}

#[tokio::test]
async fn a_device_is_created_listed_shown_and_deleted() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let (name, serial) = (unique(), unique());
    let made = terminal
        .json(&[
            "device",
            "create",
            "--name",
            &name,
            "--serial-number",
            &serial,
            "--label",
            "a=b",
        ])
        .await;
    assert_eq!(
        (&made["displayName"], &made["serialNumber"]),
        (&json!(name), &json!(serial))
    );
    assert_eq!(made["labels"], json!({"a": "b"}));
    let id = text(&made["id"]);
    assert_eq!(terminal.json(&["device", "get", id]).await, made);
    let listed = terminal.json(&["device", "list"]).await;
    assert!(listed.as_array().unwrap().contains(&made));
    let table = terminal.says(&["device", "list"]).await;
    assert!(
        table.starts_with("ID ") && table.contains(id) && table.contains(&serial),
        "{table}"
    );
    let error = terminal
        .fails(&[
            "device",
            "create",
            "--name",
            "x",
            "--serial-number",
            &serial,
        ])
        .await;
    assert!(error.contains("device.serial_number is taken"), "{error}");
    terminal.says(&["device", "delete", "--purge", id]).await;
    for command in ["get", "delete", "undelete"] {
        let error = terminal.fails(&["device", command, id]).await;
        assert!(
            error.contains(&format!("there is no device {id}")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn devices_are_found_by_filter_and_come_back_when_they_were_deleted() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let label = unique();
    let mut ids = Vec::new();
    for name in ["b", "a", "c"] {
        let label = format!("batch={label}");
        let create = ["device", "create", "--name", name, "--label", &label];
        let made = terminal.json(&create).await;
        ids.push(text(&made["id"]).to_owned());
    }
    let filter = format!("labels.batch = \"{label}\" AND NOT display_name = \"c\"");
    let list = ["device", "list", "--filter", &filter, "--order-by"];
    let columns = [
        &list[..],
        &["display_name", "--columns", "name,state,deleted"],
    ]
    .concat();
    let table = terminal.says(&columns).await;
    let lines: Vec<_> = table.lines().map(str::trim_end).collect();
    assert_eq!(
        lines,
        ["NAME  STATE   DELETED", "a     active", "b     active"],
        "{table}"
    );
    terminal.says(&["device", "delete", &ids[0], &ids[1]]).await;
    let descending = [&list[..], &["display_name desc"]].concat();
    assert_eq!(terminal.json(&descending).await, json!([]));
    let shown = [&descending[..], &["--show-deleted"]].concat();
    let table = terminal.says(&shown).await;
    assert!(table.lines().next().unwrap().contains("DELETED"), "{table}");
    let deleted = terminal.json(&shown).await;
    assert_eq!(deleted[0]["displayName"], "b");
    assert!(deleted[0]["purgeTime"].is_string());
    terminal.says(&["device", "undelete", &ids[0]]).await;
    let back = terminal.json(&descending).await;
    assert_eq!(back.as_array().unwrap().len(), 1);
    let quota = terminal.json(&["device", "quota"]).await;
    assert!(text(&quota["deviceCount"]).parse::<u64>().unwrap() >= 3);
    let error = terminal
        .fails(&["device", "list", "--filter", "colour = 1"])
        .await;
    assert!(error.contains("there is no field `colour`"), "{error}");
}

#[tokio::test]
async fn who_did_what_is_told() {
    let world = need!(world().await);
    let terminal = Terminal::logged_in(world).await;
    let me = terminal.json(&["whoami"]).await;
    let actor = format!("user:{}", text(&me["principalId"]));
    let made = terminal.json(&["device", "create", "--name", "x"]).await;
    let id = text(&made["id"]);
    let resource = format!("devices/{id}");
    terminal.says(&["device", "delete", id]).await;
    let list = ["audit", "list", "--resource", &resource, "--actor", &actor];
    let told = terminal.json(&list).await;
    let methods = told.as_array().unwrap().iter();
    let methods: Vec<_> = methods.map(|event| text(&event["method"])).collect();
    let both = ["DeleteDevice", "CreateDevice"];
    assert_eq!(
        methods,
        both.map(|name| format!("muster.registry.v1.DeviceService/{name}"))
    );
    let newest = [&list[..], &["--limit", "1", "--since", "1h"]].concat();
    assert_eq!(terminal.json(&newest).await, json!([told[0]]));
    let none = [&list[..], &["--since", "2100-01-01T00:00:00Z"]].concat();
    assert_eq!(terminal.json(&none).await, json!([]));
    let table = terminal.says(&list).await;
    assert!(
        table.starts_with("TIME ") && table.contains("DeviceService/DeleteDevice"),
        "{table}"
    );
    let other = ["audit", "list", "--service", "tenancy"];
    let told = terminal.json(&other).await;
    let events = told.as_array().unwrap();
    assert!(!events.is_empty() && events.iter().all(|event| event["service"] == "tenancy"));
    terminal
        .run(&["audit", "list", "--service", "nope"], "")
        .await
        .failed(2);
}

#[tokio::test]
async fn every_violation_is_told() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let error = terminal
        .fails(&["device", "create", "--name", "", "--code", "?"])
        .await;
    for field in ["device.display_name", "device.code"] {
        assert!(error.contains(field), "{error}");
    }
}

#[tokio::test]
async fn a_key_is_created_used_listed_and_revoked() {
    let world = need!(world().await);
    let terminal = Terminal::logged_in(world).await;
    let name = unique();
    let arguments = [
        "key",
        "create",
        "--name",
        &name,
        "--permission",
        "devices.read,tags.read",
    ];
    let made = terminal.json(&arguments).await;
    let (id, secret) = (text(&made["apiKey"]["id"]), text(&made["secret"]));
    assert_eq!(
        made["apiKey"]["permissions"],
        json!(["devices.read", "tags.read"])
    );
    let holder = Terminal::with_key(world, secret);
    let me = holder.json(&["whoami"]).await;
    assert_eq!(
        (&me["principalKind"], &me["principalId"]),
        (&json!("key"), &json!(id))
    );
    holder.json(&["device", "list"]).await;
    let error = holder.fails(&["device", "create", "--name", "x"]).await;
    assert!(
        error.contains("devices.write") && !error.contains(secret),
        "{error}"
    );
    let listed = terminal.json(&["key", "list"]).await;
    assert!(listed.as_array().unwrap().contains(&made["apiKey"]));
    let said = terminal.says(&["key", "revoke", id]).await;
    assert_eq!(said, format!("Revoked key {name} ({id}).\n"));
    let refused = async || holder.run(&["whoami"], "").await.code == 1;
    eventually("the key's refusal", refused).await;
    assert!(!terminal.says(&["key", "list"]).await.contains(id));
    assert!(terminal.says(&["key", "list", "--all"]).await.contains(id));
}

#[tokio::test]
async fn people_see_a_secret_on_a_line_of_its_own() {
    let terminal = Terminal::logged_in(need!(world().await)).await;
    let name = unique();
    let said = terminal
        .says(&[
            "key",
            "create",
            "--name",
            &name,
            "--permission",
            "devices.read",
        ])
        .await;
    let last = said.lines().last().unwrap();
    let secret = last.strip_prefix("Secret (shown only now): ").unwrap();
    assert!(secret.starts_with("muster_"), "{said}");
}

#[tokio::test]
async fn a_client_is_created_used_listed_and_deleted() {
    use base64::Engine;
    let world = need!(world().await);
    let terminal = Terminal::logged_in(world).await;
    let name = unique();
    let arguments = [
        "client",
        "create",
        "--name",
        &name,
        "--permission",
        "devices.read",
    ];
    let made = terminal
        .json(&[&arguments[..], &["--token-ttl", "5m"]].concat())
        .await;
    let client = &made["apiClient"];
    assert_eq!(
        (&client["displayName"], &client["tokenTtl"]),
        (&json!(name), &json!("300s"))
    );
    let pair = format!(
        "{}:{}",
        text(&client["clientKey"]),
        text(&made["clientSecret"])
    );
    let pair = base64::prelude::BASE64_STANDARD.encode(pair);
    let caller = world.server.caller(format!("Basic {pair}"));
    caller.get("/v1/devices").await.expect(200);
    let listed = terminal.json(&["client", "list"]).await;
    assert!(listed.as_array().unwrap().contains(client));
    let id = text(&client["id"]);
    terminal.says(&["client", "delete", id]).await;
    let error = terminal.fails(&["client", "delete", id]).await;
    assert!(error.contains(id), "{error}");
}

#[tokio::test]
async fn a_user_is_created_with_a_role_disabled_and_enabled() {
    let world = need!(world().await);
    let terminal = Terminal::logged_in(world).await;
    let email = format!("{}@example.com", unique());
    let arguments = [
        "user",
        "create",
        "--email",
        &email,
        "--role",
        "operator",
        "--password-stdin",
    ];
    let arguments = [&arguments[..], &["--output", "json"]].concat();
    let made = terminal.run(&arguments, PASSWORD).await.ok();
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(
        (&made["email"], &made["role"]),
        (&json!(email), &json!("operator"))
    );
    let id = text(&made["id"]);
    assert!(terminal.says(&["user", "list"]).await.contains(&email));
    let log_in = async || {
        let terminal = Terminal::new();
        let url = &world.server.url;
        let arguments = [
            "login",
            "--server",
            url,
            "--email",
            &email,
            "--password-stdin",
        ];
        terminal.run(&arguments, PASSWORD).await.code
    };
    assert_eq!(log_in().await, 0);
    let said = terminal.says(&["user", "disable", id]).await;
    assert_eq!(said, format!("Disabled user {email} ({id}).\n"));
    assert_eq!(log_in().await, 1);
    terminal.says(&["user", "enable", id]).await;
    assert_eq!(log_in().await, 0);
}

#[tokio::test]
async fn a_member_of_several_tenants_chooses_one() {
    let world = need!(world().await);
    let terminal = Terminal::new();
    let arguments = [
        "login",
        "--server",
        &world.server.url,
        "--email",
        ADMIN,
        "--password-stdin",
    ];
    let told = terminal.run(&arguments, PASSWORD).await;
    assert!(told.err.contains("muster tenant use ID"), "{}", told.err);
    assert!(told.ok().contains(&world.tenant_b));
    let error = terminal.fails(&["device", "list"]).await;
    assert!(error.contains("no tenant is chosen"), "{error}");
    let listed = terminal.json(&["tenant", "list"]).await;
    let ids: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|t| text(&t["tenant"]["id"]))
        .collect();
    assert_eq!(ids, [&world.tenant_a, &world.tenant_b]);
    for tenant in ids {
        terminal.says(&["tenant", "use", tenant]).await;
        assert_eq!(terminal.json(&["whoami"]).await["currentTenant"], tenant);
    }
    let foreign = "0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";
    let error = terminal.fails(&["tenant", "use", foreign]).await;
    assert!(
        error.contains(&format!("can't act for tenant {foreign}")),
        "{error}"
    );
    // It goes on for the one that was chosen before.
    assert_eq!(
        terminal.json(&["whoami"]).await["currentTenant"],
        json!(world.tenant_b)
    );
}
