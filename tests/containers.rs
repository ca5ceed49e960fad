//! The image, as it is deployed: five containers that may do nothing but run,
//! and PostgreSQL, on a network of their own.

#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use support::{ADMIN, Caller, PASSWORD, SERVICES, Shape, grpc, log_in, not_run, probe, send};
use tempfile::TempDir;
use test_database::{Leash, Postgres, free_port};

/// Not used here: the containers are started below.
const SHAPE: Shape = Shape::Split;

/// Whom the image runs as.
const USER: &str = "65532:65532";

/// Runs a command of Docker, which must succeed.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What this machine lacks.
fn lacking() -> Option<String> {
    let info = match Command::new("docker").arg("info").output() {
        Ok(info) => info,
        Err(error) => return Some(format!("there is no command docker ({error})")),
    };
    if !info.status.success() {
        return Some(String::from_utf8_lossy(&info.stderr).trim().to_owned());
    }
    let database = database_image();
    let has = Command::new("docker")
        .args(["image", "inspect", &database])
        .output();
    let pulled = has.is_ok_and(|has| has.status.success()) || {
        let pull = Command::new("docker")
            .args(["pull", "-q", &database])
            .output();
        pull.is_ok_and(|pull| pull.status.success())
    };
    (!pulled).then(|| format!("the image {database} is not to be had"))
}

fn database_image() -> String {
    std::env::var("MUSTER_TEST_POSTGRES_IMAGE").unwrap_or_else(|_| "postgres:17".to_owned())
}

/// Everything that runs; it ends with the test, whatever way that ends.
struct Containers {
    url: String,
    run: Run,
    _folder: TempDir,
    _leash: Leash,
}

/// A failure is explained by what the containers said, or by nothing.
impl Drop for Containers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.run.logs());
        }
    }
}

/// The names of this run's things.
struct Run {
    name: String,
    image: String,
    keys: String,
}

impl Run {
    /// A container of the image that may do nothing but run.
    fn container(&self, more: &[&str], settings: &[(String, String)], command: &[&str]) -> String {
        let mut arguments = vec![
            "run",
            "--network",
            &self.name,
            "--label",
            &self.name,
            "--user",
            USER,
            "--read-only",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "--memory",
            "512m",
        ];
        arguments.extend(more);
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        for setting in &settings {
            arguments.extend(["--env", setting]);
        }
        arguments.push(&self.image);
        arguments.extend(command);
        docker(&arguments)
    }

    /// The flags that give a container one file of the folder of keys.
    fn file(&self, name: &str) -> [String; 2] {
        let path = format!("{}/{name}:/keys/{name}:ro", self.keys);
        ["--volume".to_owned(), path]
    }
}

impl Containers {
    async fn start() -> Self {
        let name = format!("muster-test-{}", free_port());
        let at_the_end = r#"
            docker ps --all --quiet --filter "label=$1" | xargs -r docker rm --force --volumes
            docker network rm "$1"; docker image rm "$1""#;
        let leash = Leash::new(at_the_end, &[&name]).unwrap();
        let root = env!("CARGO_MANIFEST_DIR");
        let built = Command::new(format!("{root}/k8s/image.sh"))
            .args([&name, env!("CARGO_BIN_EXE_muster")])
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        docker(&["network", "create", &name]);

        // The service user writes its keys here, each readable for it alone.
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let run = Run {
            image: name.clone(),
            keys: folder.path().to_str().unwrap().to_owned(),
            name,
        };
        let (database, owner) = start_database(&run).await;
        let keys = format!("{}:/keys", run.keys);
        run.container(
            &["--rm", "--volume", &keys],
            &[],
            &["admin", "service-keys", "--out", "/keys"],
        );
        let master_key = run.container(&["--rm"], &[], &["admin", "master-key"]);
        let inside = |url: &str| url.replace(&database.address(), "postgres:5432");
        let migrate = [("MUSTER_DATABASE_URL".to_owned(), inside(&owner))];
        run.container(&["--rm"], &migrate, &["migrate", "up"]);

        let port = free_port();
        let mut started = Vec::new();
        for service in SERVICES {
            let mut told = told(service);
            if service != "gateway" {
                let role = format!("muster_{}", service.replace('-', "_"));
                let url = inside(&database.create_login(&owner, &role).await);
                told.push(("MUSTER_DATABASE_URL".to_owned(), url));
            }
            if service == "key-management" {
                told.push(("MUSTER_MASTER_KEY".to_owned(), master_key.clone()));
            }
            let (own, all) = (
                run.file(&format!("{service}.pem")),
                run.file("services.json"),
            );
            let publish = format!("127.0.0.1:{port}:8080");
            let mut more = vec!["--detach", "--network-alias", service];
            more.extend(own.iter().chain(&all).map(String::as_str));
            if service == "gateway" {
                more.extend(["--publish", &publish]);
            }
            let container = run.container(&more, &told, &["serve", service]);
            started.push((container, listens_on(service)));
        }
        let mut operator = told("operator");
        operator.push(("MUSTER_ADMIN_EMAIL".to_owned(), ADMIN.to_owned()));
        operator.push(("MUSTER_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()));
        let (own, all) = (run.file("operator.pem"), run.file("services.json"));
        let mut more = vec!["--rm"];
        more.extend(own.iter().chain(&all).map(String::as_str));
        run.container(&more, &operator, &["admin", "init"]);

        // Each says that it has its database, and the gateway that it has found the others.
        let ready = async || {
            for (container, port) in &started {
                match probe(&format!("{}:{port}", address_of(container)), "/readyz").await {
                    Some((200, text)) if !text.contains("degraded") => {}
                    _ => return false,
                }
            }
            true
        };
        for _ in 0..600 {
            if ready().await {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(ready().await, "{}", run.logs());
        Self {
            url: format!("http://127.0.0.1:{port}"),
            run,
            _folder: folder,
            _leash: leash,
        }
    }
}

impl Run {
    /// What all containers said.
    fn logs(&self) -> String {
        let label = format!("label={}", self.name);
        let all = docker(&[
            "ps",
            "--all",
            "--filter",
            &label,
            "--format",
            "{{.Names}} {{.Command}}",
        ]);
        let logs = all.lines().map(|line| {
            let name = line.split(' ').next().unwrap();
            let output = Command::new("docker")
                .args(["logs", "--timestamps", "--tail", "40", name])
                .output()
                .unwrap();
            let (said, errors) = (&output.stdout, &output.stderr);
            let [said, errors] = [said, errors].map(|text| String::from_utf8_lossy(text));
            format!("{line}\n{said}{errors}")
        });
        logs.collect()
    }
}

/// PostgreSQL, seen from here, and the URL of a fresh database's owner.
async fn start_database(run: &Run) -> (Postgres, String) {
    let port = free_port();
    let publish = format!("127.0.0.1:{port}:5432");
    docker(&[
        "run",
        "--detach",
        "--network",
        &run.name,
        "--network-alias",
        "postgres",
        "--label",
        &run.name,
        "--env",
        "POSTGRES_PASSWORD=muster",
        "--publish",
        &publish,
        &database_image(),
    ]);
    let url = format!("postgres://postgres:muster@127.0.0.1:{port}/postgres");
    let database = Postgres::at(&url).await.unwrap();
    let owner = database.create_database().await;
    (database, owner)
}

/// Where a container is on its network.
fn address_of(container: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    docker(&["inspect", "--format", format, container])
}

fn listens_on(service: &str) -> u16 {
    if service == "gateway" { 8080 } else { 8081 }
}

/// What a process is told, but for its database.
fn told(service: &str) -> Vec<(String, String)> {
    let listen = format!("0.0.0.0:{}", listens_on(service));
    let mut told = vec![
        ("MUSTER_LISTEN".to_owned(), listen),
        (
            "MUSTER_SERVICE_KEY".to_owned(),
            format!("/keys/{service}.pem"),
        ),
        (
            "MUSTER_SERVICE_KEYS".to_owned(),
            "/keys/services.json".to_owned(),
        ),
    ];
    for peer in SERVICES.iter().filter(|peer| **peer != "gateway") {
        let variable = format!("MUSTER_{}", peer.replace('-', "_").to_uppercase());
        told.push((variable, format!("{peer}:8081")));
    }
    told
}

async fn with_header(caller: &Caller, method: Method, path: &str, header: (&str, &str)) -> Value {
    let request = caller.request(method, path).header(header.0, header.1);
    send(request).await.expect(200)
}

/// The first of HARDWARIO's documented calls.
async fn hardwario(anybody: &Caller) {
    let token = async |caller: &Caller, path: &str, body: Value| {
        let answer = caller.post(path, body).await.expect(200);
        caller.with(format!(
            "Bearer {}",
            answer["access_token"].as_str().unwrap()
        ))
    };
    let login = json!({"email": ADMIN, "password": PASSWORD});
    let user = token(anybody, "/v2/auth/login", login).await;
    let spaces = user.get("/v2/spaces").await.expect(200);
    let space = token(
        &user,
        "/v2/auth/space",
        json!({"space_id": spaces[0]["id"]}),
    )
    .await;
    let device = json!({"name": "dev-001", "serial_number": "2112345678", "token": "hie1koh5toh0ga6iedoJ1hah"});
    let made = space.post("/v2/devices", device).await.expect(201);
    let listed = space.get("/v2/devices").await.expect(201);
    assert_eq!(listed, json!([made]));
}

async fn yombo(alice: &Caller) {
    let key = alice
        .new_key(&["devices.read", "commands.read", "commands.write"])
        .await;
    let anybody = Caller {
        authorization: None,
        ..alice.clone()
    };
    let devices = with_header(
        &anybody,
        Method::GET,
        "/api/v1/device",
        ("x-auth-key", &key),
    )
    .await;
    assert_eq!(devices["message"], "OK", "{devices}");
    assert_eq!(devices["payload"].as_array().unwrap().len(), 1, "{devices}");
    let wrong = anybody
        .request(Method::GET, "/api/v1/device")
        .header("x-auth-key", "wrong");
    send(wrong).await.expect(401);
}

async fn iottly(alice: &Caller) {
    let key = alice.new_key(&["devices.read"]).await;
    let anybody = Caller {
        authorization: None,
        ..alice.clone()
    };
    let bearer = format!("bearer {key}");
    let header = ("authentication", bearer.as_str());
    let pong = with_header(&anybody, Method::GET, "/v1.0/project/ping", header).await;
    assert_eq!(pong, json!({"status": "pong"}));
}

async fn sensorbucket(alice: &Caller) {
    let wanted = json!({"name": "program", "permissions": ["READ_DEVICES"], "tenant_id": 1});
    let made = alice.post("/api/api-keys", wanted).await.expect(201);
    let program = alice.with(format!("Bearer {}", made["api_key"].as_str().unwrap()));
    let devices = program.get("/api/devices").await.expect(200);
    assert_eq!(devices["data"].as_array().unwrap().len(), 1, "{devices}");
    program
        .post("/api/devices", json!({"code": "d1"}))
        .await
        .expect(403);
}

async fn device42(alice: &Caller) {
    let permissions = ["devices.read", "sites.read", "sites.write"];
    let body = json!({"displayName": "reader", "permissions": permissions});
    let client = alice.post("/v1/apiClients", body).await.expect(201);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pair = format!(
        "{}:{}",
        text(&client["apiClient"]["clientKey"]),
        text(&client["clientSecret"])
    );
    let client = alice.with(format!("Basic {}", BASE64_STANDARD.encode(pair)));
    let token = client
        .raw(Method::POST, "/tauth/1.0/token/", None, "")
        .await
        .expect(200);
    let program = client.with(format!("Bearer {}", text(&token["token"])));
    let devices = program.get("/api/2.0/devices/").await.expect(200);
    assert_eq!(devices["total_count"], 1, "{devices}");
    let made = program
        .form("/api/1.0/buildings/", &[("name", "Head-office")])
        .await
        .expect(200);
    assert_eq!(made["code"], 0, "{made}");
}

/// By gRPC, with reflection's help for whoever has no contract.
async fn native(alice: &Caller) {
    let method = grpc::methods()
        .into_iter()
        .find(|m| m.name() == "ListDevices")
        .unwrap();
    let channel = grpc::connect(&alice.url).await;
    let message = prost_reflect::DynamicMessage::new(method.input());
    let authorization = alice.authorization.as_deref();
    let bytes = grpc::call(&channel, &method, authorization, &message)
        .await
        .unwrap();
    let answer = prost_reflect::DynamicMessage::decode(method.output(), bytes).unwrap();
    assert_eq!(
        answer
            .get_field_by_name("devices")
            .unwrap()
            .as_list()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn five_containers_that_may_do_nothing_but_run_serve_every_dialect() {
    if let Some(why) = lacking() {
        return not_run("the image in containers", &why);
    }
    let containers = Containers::start().await;
    let anybody = Caller {
        url: containers.url.clone(),
        authorization: None,
    };
    let alice = log_in(&anybody, ADMIN, PASSWORD, None).await;
    hardwario(&anybody).await;
    yombo(&alice).await;
    iottly(&alice).await;
    sensorbucket(&alice).await;
    device42(&alice).await;
    native(&alice).await;
}

/// Runs one of the programs about k8s/ with more variables.
fn program(name: &str, modules: &[&str], variables: &[(&str, &str)]) {
    let missing = ["kubectl"].iter().find(|p| {
        Command::new(p)
            .arg("version")
            .arg("--client")
            .output()
            .is_err()
    });
    if let Some(missing) = missing {
        return not_run(name, &format!("there is no {missing}"));
    }
    let Some(run) = support::python(name, modules, variables) else {
        return;
    };
    let told = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}{errors}");
}

#[test]
fn the_manifests_are_valid_and_confine_what_they_start() {
    let variables = [("MUSTER_BINARY", env!("CARGO_BIN_EXE_muster"))];
    program("manifests.py", &["kubernetes_validate", "yaml"], &variables);
}

/// Runs an overlay of k8s/ as a kubelet would.
fn overlay(name: &str) {
    let what = format!("the overlay {name}");
    for program in ["psql", "openssl"] {
        if Command::new(program).arg("--version").output().is_err() {
            return not_run(&what, &format!("there is no {program}"));
        }
    }
    // A kubelet is root: it gives the files of Secrets to a group.
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    if user != b"0\n" {
        return not_run(&what, "this is not root");
    }
    if let Some(why) = lacking() {
        return not_run(&what, &why);
    }
    let database = database_image();
    let variables = [
        ("MUSTER_BINARY", env!("CARGO_BIN_EXE_muster")),
        ("MUSTER_TEST_POSTGRES_IMAGE", database.as_str()),
        ("OVERLAY", name),
    ];
    program("k8s_on_docker.py", &["grpc", "yaml"], &variables);
}

#[test]
fn the_overlay_dev_runs_and_replaces_replicas_under_reads() {
    overlay("dev");
}

#[test]
fn the_overlay_production_runs_with_mutual_tls_and_replaces_replicas_under_reads() {
    overlay("production");
}
