//! A PostgreSQL server for tests, wherever one can be had.
//!
//! One server serves a test process; each test takes databases of its own on
//! it. Where the server comes from is tried in this order:
//!
//! 1. `MUSTER_TEST_DATABASE_URL`: a running server; a superuser's URL. What
//!    tests make there stays, so give them one that is thrown away.
//! 2. Docker, by testcontainers: the image `MUSTER_TEST_POSTGRES_IMAGE`, or
//!    `postgres:17`.
//! 3. The PostgreSQL that is installed on this machine, on a temporary folder.
//!
//! `MUSTER_TEST_POSTGRES` (`url`, `docker` or `local`) forces one of them.
//! Whatever is started here ends with the test process, however that ends.

#![allow(
    clippy::missing_errors_doc,
    reason = "each error is the reason in words, for whoever reads the test's output"
)]

mod docker;
mod leash;
mod local;
mod port;

use std::fmt::Display;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, raw_sql};
use tokio::runtime::Runtime;

pub use leash::Leash;
pub use port::free_port;

/// Which role a service's sessions take; roles belong to the whole server.
pub const ROLES: [&str; 4] = [
    "muster_identity",
    "muster_tenancy",
    "muster_device_registry",
    "muster_key_management",
];

/// Connections that a server of ours takes: many small worlds at once.
const MAX_CONNECTIONS: u16 = 500;

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(60);

type Result<T> = std::result::Result<T, String>;

/// A running server.
pub struct Postgres {
    /// A superuser's connection, to the database `postgres` or the named one.
    superuser: PgConnectOptions,
    started: Started,
}

enum Started {
    Elsewhere,
    Docker(Box<docker::Container>),
    Local(local::Server),
}

/// Outlives the tests' own runtimes, as the server does.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime for the server")
});

/// The server of this test process. Where none can be had, says loudly why.
pub fn postgres() -> Option<&'static Postgres> {
    try_postgres().ok()
}

/// The same, with the reasons.
pub fn try_postgres() -> std::result::Result<&'static Postgres, &'static str> {
    static SERVER: OnceLock<Result<Postgres>> = OnceLock::new();
    let server = SERVER.get_or_init(|| {
        // Not on the caller's runtime, which may be the one that would wait.
        let (tell, hear) = std::sync::mpsc::channel();
        RUNTIME.spawn(async move { tell.send(find().await) });
        let found = hear.recv().unwrap_or_else(|gone| Err(gone.to_string()));
        if let Err(why) = &found {
            let _ = writeln!(std::io::stderr(), "No PostgreSQL for tests: {why}");
        }
        found
    });
    server.as_ref().map_err(String::as_str)
}

/// Tries the ways in their order.
async fn find() -> Result<Postgres> {
    let forced = variable("MUSTER_TEST_POSTGRES");
    let ways = match forced.as_deref() {
        None => vec!["url", "docker", "local"],
        Some(way @ ("url" | "docker" | "local")) => vec![way],
        Some(other) => return Err(format!("MUSTER_TEST_POSTGRES={other} is no way")),
    };
    let mut reasons = Vec::new();
    for way in ways {
        let found = match way {
            "url" => elsewhere(),
            "docker" => docker::start().await,
            _ => local::start().await,
        };
        let ready = match found {
            Ok(server) => server.prepare().await.map(|()| server),
            Err(why) => Err(why),
        };
        match ready {
            Ok(server) => return Ok(server),
            Err(why) => reasons.push(format!("{way}: {why}")),
        }
    }
    Err(reasons.join("; "))
}

fn elsewhere() -> Result<Postgres> {
    let url = variable("MUSTER_TEST_DATABASE_URL").ok_or("MUSTER_TEST_DATABASE_URL is not set")?;
    Postgres::elsewhere(&url)
}

impl Postgres {
    /// A server that somebody else started, by a superuser's URL.
    fn elsewhere(url: &str) -> Result<Self> {
        Ok(Self {
            superuser: url.parse().map_err(because(url))?,
            started: Started::Elsewhere,
        })
    }

    /// A server that a test has started itself, when it takes connections.
    pub async fn at(url: &str) -> Result<Self> {
        let server = Self::elsewhere(url)?;
        let ready = tokio::time::timeout(START, async {
            while connect(&server.superuser).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            server.prepare().await
        });
        ready.await.map_err(because(&server.address()))??;
        Ok(server)
    }

    /// The URL of a fresh database. Its login is a plain one that owns the
    /// database and may make roles: all that a migration may ask for.
    pub async fn create_database(&self) -> String {
        self.try_create_database()
            .await
            .unwrap_or_else(|why| panic!("no fresh database: {why}"))
    }

    async fn try_create_database(&self) -> Result<String> {
        let (name, password) = (format!("muster_test_{}", random()), random());
        let mut connection = connect(&self.superuser).await?;
        let login = format!("CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'");
        execute(&mut connection, login).await?;
        for role in ROLES {
            // Another login made it, perhaps: then only its makers could use it.
            let grant = format!("GRANT {role} TO {name} WITH ADMIN OPTION");
            execute(&mut connection, grant).await?;
        }
        let database = format!("CREATE DATABASE {name} OWNER {name}");
        execute(&mut connection, database).await?;
        close(connection).await;
        Ok(self.url(&name, &password, &name))
    }

    /// The URL of a fresh copy of a database, for the same login. Nobody may be
    /// connected to the original.
    pub async fn create_copy(&self, database_url: &str) -> String {
        self.try_create_copy(database_url)
            .await
            .unwrap_or_else(|why| panic!("no copy of a database: {why}"))
    }

    async fn try_create_copy(&self, database_url: &str) -> Result<String> {
        let original: PgConnectOptions = database_url.parse().map_err(because("database URL"))?;
        let template = original.get_database().ok_or("the URL names no database")?;
        let (name, owner) = (format!("muster_test_{}", random()), original.get_username());
        let mut connection = connect(&self.superuser).await?;
        let copy = format!("CREATE DATABASE {name} TEMPLATE {template} OWNER {owner}");
        execute(&mut connection, copy).await?;
        close(connection).await;
        let (server, _) = database_url
            .rsplit_once('/')
            .ok_or("the URL names no server")?;
        Ok(format!("{server}/{name}"))
    }

    /// The URL of the same database with a fresh login that owns nothing and
    /// is a member of this role only, as a service has in production.
    pub async fn create_login(&self, database_url: &str, role: &str) -> String {
        self.try_create_login(database_url, role)
            .await
            .unwrap_or_else(|why| panic!("no fresh login for {role}: {why}"))
    }

    async fn try_create_login(&self, database_url: &str, role: &str) -> Result<String> {
        let options: PgConnectOptions = database_url.parse().map_err(because("database URL"))?;
        let database = options.get_database().ok_or("the URL names no database")?;
        let (name, password) = (format!("{role}_{}", random()), random());
        let mut connection = connect(&self.superuser).await?;
        let login = format!("CREATE ROLE {name} LOGIN PASSWORD '{password}' IN ROLE {role}");
        execute(&mut connection, login).await?;
        close(connection).await;
        Ok(self.url(&name, &password, database))
    }

    /// Runs statements as the superuser in the database that a URL names.
    pub async fn execute(&self, database_url: &str, statements: &str) -> Result<()> {
        let mut connection = self.superuser_of(database_url).await?;
        let done = execute(&mut connection, statements.to_owned()).await;
        close(connection).await;
        done
    }

    /// The text that a statement answers, as the superuser.
    pub async fn answer(&self, database_url: &str, statement: &str) -> Result<String> {
        let mut connection = self.superuser_of(database_url).await?;
        let answer = sqlx::query_scalar(AssertSqlSafe(statement.to_owned()));
        let answer = answer.fetch_one(&mut connection).await;
        close(connection).await;
        answer.map_err(because("the statement"))
    }

    async fn superuser_of(&self, database_url: &str) -> Result<PgConnection> {
        let options: PgConnectOptions = database_url.parse().map_err(because("database URL"))?;
        let database = options.get_database().ok_or("the URL names no database")?;
        connect(&self.superuser.clone().database(database)).await
    }

    /// Ends the server at once, as a fault would; what it had acknowledged is
    /// there after `start`. A server that was not started here is not ended.
    pub async fn stop(&'static self) -> Result<()> {
        self.on_runtime(async {
            match &self.started {
                Started::Elsewhere => Err("the server was not started by the tests".to_owned()),
                Started::Docker(container) => container.stop().await,
                Started::Local(server) => server.stop(),
            }
        })
        .await
    }

    /// Starts the server again that `stop` ended, at the same address.
    pub async fn start(&'static self) -> Result<()> {
        self.on_runtime(async {
            match &self.started {
                Started::Elsewhere => return Err("it was not started by the tests".to_owned()),
                Started::Docker(container) => container.start().await?,
                Started::Local(server) => server.start()?,
            }
            close(self.answers().await?).await;
            Ok(())
        })
        .await
    }

    /// Where the server listens.
    pub fn address(&self) -> String {
        let (host, port) = (self.superuser.get_host(), self.superuser.get_port());
        format!("{host}:{port}")
    }

    async fn on_runtime(
        &'static self,
        work: impl Future<Output = Result<()>> + Send + 'static,
    ) -> Result<()> {
        RUNTIME.spawn(work).await.map_err(because("the runtime"))?
    }

    fn url(&self, login: &str, password: &str, database: &str) -> String {
        format!(
            "postgres://{login}:{password}@{}/{database}",
            self.address()
        )
    }

    /// Waits for the server, and makes what all databases share.
    async fn prepare(&self) -> Result<()> {
        let mut connection = self.answers().await?;
        for role in ROLES {
            // Test processes may do this on one server at once.
            let create = format!(
                "DO $$ BEGIN CREATE ROLE {role} NOLOGIN; \
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"
            );
            execute(&mut connection, create).await?;
        }
        close(connection).await;
        Ok(())
    }

    /// A superuser's connection, as soon as the server takes one.
    async fn answers(&self) -> Result<PgConnection> {
        let asked = tokio::time::timeout(START, async {
            loop {
                match (connect(&self.superuser).await, &self.started) {
                    (Ok(connection), _) => break Ok(connection),
                    (Err(why), Started::Elsewhere) => break Err(why),
                    (Err(_), Started::Local(_)) => {}
                    (Err(_), Started::Docker(container)) => {
                        if let Some(words) = container.last_words().await {
                            break Err(words);
                        }
                    }
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        asked
            .await
            .unwrap_or_else(|_| Err(format!("{} did not answer in {START:?}", self.address())))
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection> {
    options.connect().await.map_err(because("the connection"))
}

async fn execute(connection: &mut PgConnection, statements: String) -> Result<()> {
    raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map(drop)
        .map_err(because("a statement"))
}

/// A server that is going away takes no goodbye.
async fn close(connection: PgConnection) {
    let _ = connection.close().await;
}

fn because<E: Display>(what: &str) -> impl FnOnce(E) -> String {
    let what = what.to_owned();
    move |error| format!("{what}: {error}")
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A text that no other database, login or container has.
fn random() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
