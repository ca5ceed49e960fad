//! The program in one of its shapes.

use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;
use test_database::{Postgres, free_port};
use tokio::sync::OnceCell;

use super::process::{Log, Process, Settings, muster, settings};
use super::{ADMIN, Caller, PASSWORD, not_run};

/// How the program runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// `muster up` on embedded SQLite.
    Sqlite,
    /// `muster up` on PostgreSQL.
    Postgres,
    /// A process a service, on PostgreSQL.
    Split,
}

/// What runs as processes of its own in the split shape. The gateway is last.
pub const SERVICES: [&str; 5] = [
    "identity",
    "tenancy",
    "device-registry",
    "key-management",
    "gateway",
];

/// How long the processes may take until they are ready.
const START: Duration = Duration::from_secs(60);

/// What is kept when the processes end.
pub struct Installation {
    pub shape: Shape,
    /// The data folder; in the split shape, the folder of keys.
    pub folder: TempDir,
    /// The database's URL for its owner.
    pub database_url: Option<String>,
    /// What each process of the split shape is told, by service and replica.
    parts: Vec<Part>,
    settings: Settings,
}

/// A database with the schemas, which each test copies, since making them
/// takes longer than most tests.
struct Model {
    owner: String,
    /// For each service, the URL with a login that owns nothing.
    logins: Vec<(&'static str, String)>,
}

static MODEL: OnceCell<Model> = OnceCell::const_new();

impl Model {
    async fn new(postgres: &Postgres) -> Self {
        let owner = postgres.create_database().await;
        let flags = ["migrate", "up", "--database-url", &owner];
        muster(&flags, &Settings::new()).await;
        let mut logins = Vec::new();
        for service in SERVICES.into_iter().filter(|service| *service != "gateway") {
            let role = format!("muster_{}", service.replace('-', "_"));
            logins.push((service, postgres.create_login(&owner, &role).await));
        }
        Self { owner, logins }
    }

    /// The URL of a service's login to a copy of the model.
    fn login(&self, service: &str, copy: &str) -> String {
        let (_, url) = self
            .logins
            .iter()
            .find(|(whose, _)| *whose == service)
            .unwrap();
        let (url, _) = url.rsplit_once('/').unwrap();
        let (_, database) = copy.rsplit_once('/').unwrap();
        format!("{url}/{database}")
    }
}

/// One process of the split shape.
#[derive(Clone)]
pub struct Part {
    pub service: &'static str,
    /// Where it listens.
    pub address: String,
    settings: Settings,
}

/// A running installation.
pub struct Server {
    pub url: String,
    pub installation: Installation,
    log: Log,
    /// One process, or those of the parts in their order.
    processes: Vec<Option<Process>>,
}

impl Installation {
    /// A fresh one of the target's shape, if that can be had. PostgreSQL has
    /// its schemas already.
    pub async fn new() -> Option<Self> {
        Self::of(crate::SHAPE, 1).await
    }

    /// One of a shape on an empty database.
    pub async fn empty(shape: Shape) -> Option<Self> {
        let mut installation = Self::of(shape, 1).await?;
        if shape != Shape::Sqlite {
            let postgres = test_database::postgres()?;
            installation.database_url = Some(postgres.create_database().await);
        }
        Some(installation)
    }

    /// One of a shape; split, with this many replicas of each service.
    pub async fn of(shape: Shape, replicas: usize) -> Option<Self> {
        let postgres = match shape {
            Shape::Sqlite => None,
            Shape::Postgres | Shape::Split => match test_database::try_postgres() {
                Ok(postgres) => Some(postgres),
                Err(why) => {
                    let test = std::thread::current();
                    let name = test.name().unwrap_or("a test");
                    not_run(&format!("{name} on {shape:?}"), why);
                    return None;
                }
            },
        };
        let mut installation = Self {
            shape,
            folder: tempfile::tempdir().unwrap(),
            database_url: None,
            parts: Vec::new(),
            settings: Settings::new(),
        };
        if let Some(postgres) = postgres {
            let model = MODEL.get_or_init(|| Model::new(postgres)).await;
            let url = postgres.create_copy(&model.owner).await;
            if shape == Shape::Split {
                installation.prepare_parts(model, &url, replicas).await;
            }
            installation.database_url = Some(url);
        }
        Some(installation)
    }

    /// More variables for all its processes.
    pub fn with(mut self, more: &[(&str, &str)]) -> Self {
        self.settings.extend(settings(more.iter().copied()));
        self
    }

    /// A port of probes for each of its processes; and where these are.
    pub fn with_probes(mut self) -> (Self, Vec<String>) {
        let mut all = Vec::new();
        let mut told = || {
            let address = format!("127.0.0.1:{}", free_port());
            all.push(address.clone());
            ("MUSTER_PROBE_LISTEN".to_owned(), address)
        };
        match self.shape {
            Shape::Split => self.parts.iter_mut().for_each(|p| p.settings.push(told())),
            _ => self.settings.push(told()),
        }
        (self, all)
    }

    /// Makes the keys, and says where everybody is.
    async fn prepare_parts(&mut self, model: &Model, database_url: &str, replicas: usize) {
        let folder = self.folder.path().join("keys");
        let folder = folder.to_str().unwrap();
        muster(
            &["admin", "service-keys", "--out", folder],
            &Settings::new(),
        )
        .await;
        let master_key = muster(&["admin", "master-key"], &Settings::new()).await;
        let addresses: Vec<(&str, Vec<String>)> = SERVICES
            .into_iter()
            .map(|service| {
                let replicas = (0..replicas).map(|_| format!("127.0.0.1:{}", free_port()));
                (service, replicas.collect())
            })
            .collect();
        for (service, replicas) in &addresses {
            let mut told = settings([
                ("MUSTER_SERVICE_KEY", format!("{folder}/{service}.pem")),
                ("MUSTER_SERVICE_KEYS", format!("{folder}/services.json")),
            ]);
            let peers = addresses.iter().filter(|(peer, _)| *peer != "gateway");
            told.extend(peers.map(|(peer, replicas)| (variable(peer), replicas.join(","))));
            if *service != "gateway" {
                let url = model.login(service, database_url);
                told.extend(settings([("MUSTER_DATABASE_URL", url)]));
                told.extend(settings([("MUSTER_DATABASE_CONNECTIONS", "4")]));
            }
            if *service == "key-management" {
                told.extend(settings([("MUSTER_MASTER_KEY", master_key.trim())]));
            }
            self.parts.extend(replicas.iter().map(|address| {
                let mut settings = told.clone();
                settings.push(("MUSTER_LISTEN".to_owned(), address.clone()));
                Part {
                    service,
                    address: address.clone(),
                    settings,
                }
            }));
        }
    }

    /// What commands that speak for an operator are told.
    fn operator(&self) -> Settings {
        let mut told = self.parts.last().unwrap().settings.clone();
        let key = self.folder.path().join("keys/operator.pem");
        told.extend(settings([
            ("MUSTER_SERVICE_KEY", key.to_str().unwrap()),
            ("MUSTER_ADMIN_EMAIL", ADMIN),
            ("MUSTER_ADMIN_PASSWORD", PASSWORD),
        ]));
        told
    }

    /// What `muster admin` is told that works on key management's database.
    pub fn keys(&self) -> Settings {
        self.service("key-management")
    }

    /// The same for any service.
    pub fn service(&self, name: &str) -> Settings {
        let mut parts = self.parts.iter();
        let part = parts.find(|part| part.service == name);
        let mut told = part.map_or_else(|| self.whole(), |part| part.settings.clone());
        told.extend(self.settings.clone());
        told
    }

    /// What the only process of the other shapes is told.
    fn whole(&self) -> Settings {
        let folder = self.folder.path().to_str().unwrap();
        let mut told = settings([
            ("MUSTER_DATA", folder),
            ("MUSTER_LISTEN", "127.0.0.1:0"),
            ("MUSTER_ADMIN_EMAIL", ADMIN),
            ("MUSTER_ADMIN_PASSWORD", PASSWORD),
        ]);
        if let Some(url) = &self.database_url {
            told.extend(settings([("MUSTER_DATABASE_URL", url.as_str())]));
            told.extend(settings([("MUSTER_DATABASE_CONNECTIONS", "4")]));
        }
        told
    }
}

/// The variable that says where a service is.
fn variable(service: &str) -> String {
    format!("MUSTER_{}", service.replace('-', "_").to_uppercase())
}

impl Server {
    /// Starts the program afresh, in the target's shape.
    pub async fn start() -> Option<Self> {
        let level = std::env::var("MUSTER_TEST_LOG").unwrap_or_else(|_| "warn".into());
        Self::start_logging(&level).await
    }

    /// The same, logging at this level.
    pub async fn start_logging(level: &str) -> Option<Self> {
        let installation = Installation::new().await?;
        Some(Self::start_on(installation.with(&[("MUSTER_LOG", level)])).await)
    }

    /// Starts the program on what was there before.
    pub async fn start_on(installation: Installation) -> Self {
        let all: Vec<_> = (0..installation.parts.len()).collect();
        let mut server = Self::launch(installation, &all);
        server.is_ready().await;
        if server.installation.shape == Shape::Split {
            server.init().await;
        }
        server
    }

    /// Creates the first tenant and its administrator; by way of the split
    /// services.
    pub async fn init(&self) {
        muster(&["admin", "init"], &self.installation.operator()).await;
    }

    /// Starts the only process, or these parts in this order, and does not wait
    /// until they are ready.
    pub fn launch(installation: Installation, order: &[usize]) -> Self {
        let log = Log::new(Mutex::default());
        let mut server = Self {
            url: String::new(),
            log,
            processes: Vec::new(),
            installation,
        };
        if server.installation.shape != Shape::Split {
            let mut told = server.installation.whole();
            told.extend(server.installation.settings.clone());
            let mut process = Process::start(&["up"], &told, &server.log);
            let first = process.first_line();
            let url = first.split(' ').find(|word| word.starts_with("http"));
            server.url = url.expect(&first).to_owned();
            server.processes.push(Some(process));
            return server;
        }
        let count = server.installation.parts.len();
        server.processes.extend((0..count).map(|_| None));
        for part in order {
            server.start_part(*part);
        }
        let gateway = server.parts().iter().find(|part| part.service == "gateway");
        server.url = format!("http://{}", gateway.unwrap().address);
        server
    }

    /// The processes of the split shape.
    pub fn parts(&self) -> &[Part] {
        &self.installation.parts
    }

    fn process(&self, part: usize) -> Process {
        let part = &self.installation.parts[part];
        let mut told = part.settings.clone();
        told.extend(self.installation.settings.clone());
        Process::start(&["serve", part.service], &told, &self.log)
    }

    /// Kills one process of the split shape (SIGKILL).
    pub fn kill_part(&mut self, part: usize) {
        self.processes[part] = None;
    }

    /// Starts it, perhaps again; does not wait until it is ready.
    pub fn start_part(&mut self, part: usize) {
        self.processes[part] = Some(self.process(part));
    }

    /// Waits until every process is ready.
    pub async fn is_ready(&mut self) {
        if self.installation.shape != Shape::Split {
            return;
        }
        for part in 0..self.installation.parts.len() {
            self.part_is_ready(part).await;
        }
    }

    /// Waits until one process of the split shape is ready.
    pub async fn part_is_ready(&mut self, part: usize) {
        let Part {
            service, address, ..
        } = self.installation.parts[part].clone();
        let deadline = tokio::time::Instant::now() + START;
        loop {
            let told = super::probe(&address, "/readyz").await;
            if matches!(told, Some((200, _))) {
                return;
            }
            let process = self.processes[part].as_mut().expect("it was started");
            let ended = process.has_ended();
            assert!(!ended, "{service} has ended: {}", self.log());
            let late = tokio::time::Instant::now() > deadline;
            assert!(!late, "{service} is not ready after {START:?}: {told:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What the processes have written to standard error until now.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Kills all processes at once (SIGKILL), and gives back what they leave.
    pub fn kill(mut self) -> Installation {
        // All are killed before one is waited for.
        self.processes.iter_mut().flatten().for_each(Process::cut);
        self.processes.clear();
        self.installation
    }

    /// A client of this server without credentials.
    pub fn anybody(&self) -> Caller {
        Caller {
            url: self.url.clone(),
            authorization: None,
        }
    }

    /// A client that sends this `Authorization` header.
    pub fn caller(&self, authorization: impl Into<String>) -> Caller {
        Caller {
            url: self.url.clone(),
            authorization: Some(authorization.into()),
        }
    }
}
