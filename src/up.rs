//! `muster up`: all services and the gateway in one process, on embedded
//! SQLite or on PostgreSQL. The services call each other through their own
//! stacks in memory, with the same layers as over a wire.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::health::Health;
use chassis::peer::{ServiceName, Stack};
use chassis::revocation::Silence;
use chassis::service_identity::KeyRing;
use chassis::store::{Postgres, Store};
use chassis::{Clock, Error, Result, listen};
use clap::Args;
use gateway::Gateway;
use key_management::admin::Operator;
use tokio::net::TcpListener;

use crate::bootstrap::{self, Administrator, FirstStart};
use crate::compose::{self, Process, Told};
use crate::config::{
    self, Certificate, Database, DeviceRegistry, Edge, EdgeOptions, Hearing, KeyManagement,
    KeyOptions, Logging, Masters, Problems,
};
use crate::data_dir::{self, DataDir};
use crate::migrate;

/// How long the parts may take to find each other.
const START: Duration = Duration::from_secs(10);

/// What `muster up` can be told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  muster up
  muster up --data /var/lib/muster --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
  muster up --database-url postgres://muster@db/muster    # a login that may make schemas and roles
  MUSTER_ADMIN_EMAIL=me@example.com MUSTER_ADMIN_PASSWORD=… muster up")]
pub(crate) struct Up {
    /// Folder for the databases and the master key; made if need be
    #[arg(long, env = "MUSTER_DATA", default_value = "muster-data")]
    data: PathBuf,
    #[command(flatten)]
    database: Database,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "MUSTER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Address of a second port that only tells health, and figures at /metrics, without TLS
    #[arg(long, env = "MUSTER_PROBE_LISTEN")]
    probe_listen: Option<SocketAddr>,
    #[command(flatten)]
    certificate: Certificate,
    #[command(flatten)]
    edge: Edge,
    #[command(flatten)]
    keys: KeyManagement,
    #[command(flatten)]
    devices: DeviceRegistry,
    #[command(flatten)]
    hearing: Hearing,
    /// E-mail address of the administrator that the first start creates; the
    /// password is MUSTER_ADMIN_PASSWORD, else generated and shown once
    #[arg(long, env = "MUSTER_ADMIN_EMAIL", default_value = "admin@example.com")]
    admin_email: String,
    /// How long to go on taking calls when told to stop, while saying not to be ready
    #[arg(long, value_name = "DURATION", env = "MUSTER_DRAIN_DELAY", default_value = "0s", value_parser = humantime::parse_duration)]
    drain_delay: Duration,
    #[command(flatten)]
    logging: Logging,
}

/// What was told, once it was checked.
struct Checked {
    database: Option<Postgres>,
    keys: KeyOptions,
    devices: device_registry::Settings,
    silence: Silence,
    edge: EdgeOptions,
    administrator: Administrator,
}

/// The master key, and whether it is the data folder's own.
struct Master {
    keys: Masters,
    of_folder: bool,
}

impl Master {
    /// Refuses a master key that does not open what is there; and ends a change
    /// of the folder's own, on whose databases nobody else runs.
    async fn settle(&self, store: &Store, clock: &Clock, data: &DataDir) -> Result<()> {
        let operator = Operator::new(store.clone(), clock.clone());
        let key = self.keys.key()?;
        operator.check(&key).await?;
        if self.of_folder && self.keys.old.is_some() {
            operator.rewrap(&key).await?;
            data_dir::forget_old_master_key(data.path()).map_err(Error::internal)?;
        }
        Ok(())
    }
}

/// Everything that runs, before it listens.
struct Assembled {
    stack: Stack,
    health: Health,
    first_start: bool,
}

impl Up {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> ExitCode {
        self.logging.start();
        match self.start().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => problems.exit(),
        }
    }

    async fn start(self) -> std::result::Result<(), Problems> {
        let mut checked = self.check()?;
        let tls = self.certificate.server(None)?;
        let data = DataDir::open(&self.data).map_err(Problems::one)?;
        let listener = compose::bind(self.listen).await?;
        let probes = compose::bind_probes(self.probe_listen).await?;
        let clock = Clock::system();
        let of_folder = checked.keys.master.is_none();
        let master = checked.keys.master.map_or_else(|| data.master_keys(), Ok);
        let master = Master {
            keys: master.map_err(Problems::one)?,
            of_folder,
        };
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = listener.local_addr();
        let address = address.map_err(|e| Problems::one(e.to_string()))?;
        if !checked.keys.has_issuer {
            checked.keys.settings.issuer = issuer(scheme, address);
        }
        let embedded = checked.database.is_none();
        let first = FirstStart::note(&data, embedded, &clock, &mut checked.administrator)
            .map_err(Problems::one)?;
        let assembled = assemble(
            &data,
            &checked,
            &master,
            first.as_ref(),
            tls.is_some(),
            clock,
        )
        .await?;
        greet(
            &format!("{scheme}://{address}"),
            &self.data,
            checked.database.is_some(),
            probes.as_ref(),
            assembled.first_start.then_some(&checked.administrator),
        );
        compose::answer_probes(probes, &assembled.health).await?;
        if first.is_some() {
            bootstrap::end_first_start(&data).map_err(|e| Problems::one(e.to_string()))?;
        }
        let stop = compose::stop(&assembled.health, self.drain_delay);
        listen::serve(listener, assembled.stack, tls, stop).await;
        Ok(())
    }

    /// Reads what clap does not check; all problems at once.
    fn check(&self) -> std::result::Result<Checked, Problems> {
        let mut problems = Problems::default();
        let database = self.database.check(&mut problems);
        let keys = self.keys.check(&mut problems);
        let devices = self.devices.check(&mut problems);
        let silence = self.hearing.check(&mut problems);
        let edge = self.edge.check(&mut problems);
        config::check_email(&self.admin_email, &mut problems);
        let password = config::admin_password(&mut problems);
        let administrator = match password {
            Some(password) => Ok((password, false)),
            None => generated_password().map(|password| (password, true)),
        };
        let administrator =
            problems
                .take("can't make a password", administrator)
                .map(|(password, generated)| Administrator {
                    email: self.admin_email.clone(),
                    password,
                    generated,
                });
        problems.or(administrator.map(|administrator| Checked {
            database,
            keys,
            devices,
            silence,
            edge,
            administrator,
        }))
    }
}

/// Who issues tokens, if nobody says: where we listen.
fn issuer(scheme: &str, address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => {
            tracing::warn!("--issuer is not set: who discovers us from elsewhere needs our URL");
            format!("{scheme}://localhost:{}", address.port())
        }
        false => format!("{scheme}://{address}"),
    }
}

fn generated_password() -> std::io::Result<String> {
    Ok(BASE64_URL_SAFE_NO_PAD.encode(&data_dir::random()?[..18]))
}

/// Puts the services and the gateway together.
async fn assemble(
    data: &DataDir,
    checked: &Checked,
    master: &Master,
    first: Option<&FirstStart>,
    tls: bool,
    clock: Clock,
) -> Result<Assembled> {
    // The services are one process: their keys need not outlive it.
    let ring = KeyRing::generate()?;
    let process = Process::new(clock.clone(), ring.public().clone(), checked.silence);
    for name in ServiceName::ALL {
        let store = match &checked.database {
            Some(database) => {
                let store = compose::postgres(name, database, &clock).await?;
                // All in one is one command: who may not migrate finds it done.
                if store.ready().await.is_err() {
                    migrate::service_up(name, database).await?;
                }
                store
            }
            None => compose::sqlite(name, &data.database(name.as_str()), &clock).await?,
        };
        store.ready().await?;
        let part = format!("{}'s database", name.as_str());
        process.health.need_database(&part, store.clone());
        if name == ServiceName::KeyManagement {
            master.settle(&store, &clock, data).await?;
        }
        let identity = ring.identity(name.as_str(), clock.clone())?;
        let told = Told {
            keys: Some((&master.keys, &checked.keys.settings)),
            devices: checked.devices.clone(),
        };
        let stack = process.service(name, store, identity, told)?;
        process.peers.set(name, stack);
    }
    let identity = ring.identity("gateway", clock.clone())?;
    process.follow(identity.clone());
    wait_until_ready(&process.health).await?;
    let operator = ring.identity("operator", clock.clone())?;
    let first_start = match first {
        Some(first) => {
            first
                .run(&process.peers, &operator, &checked.administrator)
                .await?
        }
        None => false,
    };
    let gateway = Gateway {
        peers: process.peers,
        identity,
        verifier: process.verifier,
        clock,
        health: process.health.clone(),
        tls,
        trusted_proxies: checked.edge.trusted_proxies.clone(),
        cors_origins: checked.edge.cors_origins.clone(),
        limits: checked.edge.limits.clone(),
    };
    Ok(Assembled {
        stack: gateway.build().await?,
        health: process.health,
        first_start,
    })
}

/// No token is accepted before the revocations are known.
async fn wait_until_ready(health: &Health) -> Result<()> {
    let ready = async {
        while !health.report().ready {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(START, ready).await.map_err(|_| {
        let missing = health.report().missing.join("; ");
        Error::internal(format!(
            "the parts did not find each other in time: {missing}"
        ))
    })
}

/// Tells where it listens and, on the first start, what to do next. On
/// standard output, where the log is not: it may hold a password.
fn greet(
    url: &str,
    data: &std::path::Path,
    postgres: bool,
    probes: Option<&TcpListener>,
    administrator: Option<&Administrator>,
) {
    let mut out = std::io::stdout().lock();
    let data = data.display();
    let _ = match postgres {
        true => writeln!(
            out,
            "Muster listens on {url} and keeps its data in PostgreSQL, its master key in {data}"
        ),
        false => writeln!(out, "Muster listens on {url} and keeps its data in {data}"),
    };
    let _ = out.write_all(compose::told_of(probes).as_bytes());
    if let Some(administrator) = administrator {
        let _ = out.write_all(welcome(url, administrator).as_bytes());
    }
    let _ = out.flush();
}

fn welcome(url: &str, administrator: &Administrator) -> String {
    let email = &administrator.email;
    let password = if administrator.generated {
        administrator.password.as_str()
    } else {
        "$MUSTER_ADMIN_PASSWORD"
    };
    let note = if administrator.generated {
        " (shown only now)"
    } else {
        ""
    };
    format!(
        "
First start. The administrator is {email}, the password {password}{note}

Who am I, and what may I do?
  curl -u \"{email}:{password}\" {url}/v1/me
Create a device:
  curl -u \"{email}:{password}\" --json '{{\"displayName\":\"dev-001\",\"serialNumber\":\"2112345678\"}}' {url}/v1/devices
Create an API key for a program:
  curl -u \"{email}:{password}\" --json '{{\"displayName\":\"ci\",\"permissions\":[\"devices.read\"]}}' {url}/v1/apiKeys
All calls, to read about and to try in a browser:
  {url}/docs/

"
    )
}
