//! `muster migrate`: the schemas of a PostgreSQL database.

mod copy;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use chassis::Result;
use chassis::peer::ServiceName;
use chassis::store::Postgres;
use chassis::store::schema::{self, Migration, Schema};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets};

use crate::compose::with_migrator;

/// A migration of a large table may take its time.
const PATIENCE: Duration = Duration::ZERO;

/// What `muster migrate` can be told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  muster migrate up --database-url postgres://owner@db.example.com/muster
  MUSTER_DATABASE_URL=postgres://owner@db.example.com/muster muster migrate status

The login owns the tables; it must be allowed to create schemas and, unless they are there already, the roles
muster_identity, muster_tenancy, muster_device_registry and muster_key_management. On SQLite, `muster up` migrates by itself.")]
pub(crate) struct Migrate {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring all schemas up to date; safe to run by many at once
    Up(Target),
    /// Take the last migrations of one service back
    Down(Down),
    /// Show which migrations the database has
    Status(Target),
    /// Move an installation from SQLite into an empty PostgreSQL database
    Copy(copy::From),
}

/// The database that is migrated.
#[derive(Args)]
struct Target {
    /// The PostgreSQL database, as the login that owns the tables
    #[arg(long, env = "MUSTER_DATABASE_URL", hide_env_values = true)]
    database_url: String,
}

#[derive(Args)]
struct Down {
    #[command(flatten)]
    target: Target,
    /// The service whose schema is meant
    #[arg(long, value_parser = service)]
    service: ServiceName,
    /// How many migrations to take back; what they made is lost
    #[arg(long, default_value_t = 1)]
    steps: u32,
}

fn service(text: &str) -> std::result::Result<ServiceName, String> {
    let found = ServiceName::ALL.into_iter().find(|s| s.as_str() == text);
    found.ok_or_else(|| {
        let names = ServiceName::ALL.map(ServiceName::as_str);
        format!("is one of {}", names.join(", "))
    })
}

impl Target {
    fn database(&self) -> Postgres {
        Postgres {
            statement_timeout: PATIENCE,
            ..Postgres::new(&self.database_url)
        }
    }
}

impl Migrate {
    /// Does what it is told, and says what it did.
    pub(crate) async fn run(self) -> ExitCode {
        let done = match self.command {
            Command::Up(target) => up(&target.database()).await,
            Command::Down(down) => take_back(&down).await,
            Command::Status(target) => status(&target.database()).await,
            Command::Copy(told) => copy::copy(&told).await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let _ = writeln!(std::io::stderr(), "error: {error}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Brings the schema of one service up to date. Answers what it applied.
pub(crate) async fn service_up(service: ServiceName, database: &Postgres) -> Result<Vec<String>> {
    with_migrator!(service, M => schema::up::<M>(database, Schema::of(service)).await)
}

async fn up(database: &Postgres) -> Result<()> {
    for service in ServiceName::ALL {
        let applied = service_up(service, database).await?;
        say(service, "applied", &applied, "is up to date");
    }
    Ok(())
}

async fn take_back(down: &Down) -> Result<()> {
    let (database, service) = (down.target.database(), down.service);
    let gone = with_migrator!(service, M => schema::down::<M>(&database, Schema::of(service), down.steps).await)?;
    say(service, "took back", &gone, "has nothing to take back");
    Ok(())
}

async fn status(database: &Postgres) -> Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["SERVICE", "MIGRATION", "STATE"]);
    for service in ServiceName::ALL {
        let migrations: Vec<Migration> =
            with_migrator!(service, M => schema::status::<M>(database, Schema::of(service)).await)?;
        for migration in migrations {
            let state = if migration.applied {
                "applied"
            } else {
                "pending"
            };
            table.add_row([service.as_str(), &migration.name, state]);
        }
    }
    let _ = writeln!(std::io::stdout(), "{table}");
    Ok(())
}

fn say(service: ServiceName, done: &str, migrations: &[String], nothing: &str) {
    let service = service.as_str();
    let mut out = std::io::stdout().lock();
    for migration in migrations {
        let _ = writeln!(out, "{service}: {done} {migration}");
    }
    if migrations.is_empty() {
        let _ = writeln!(out, "{service} {nothing}");
    }
}
