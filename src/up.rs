//! `muster up`: all services and the gateway in one process, on embedded
//! SQLite. The services call each other through their own stacks in memory,
//! with the same layers as over a wire.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::revocation::{self, Revocations};
use chassis::service_identity::KeyRing;
use chassis::store::Store;
use chassis::telemetry::{self, LogFormat};
use chassis::token::Verifier;
use chassis::{Clock, Error, Result, listen};
use clap::Args;
use gateway::{Gateway, Readiness};
use key_management::MasterKey;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::bootstrap::{self, Administrator};
use crate::data_dir::{self, DataDir};

/// How long the parts may take to find each other.
const START: Duration = Duration::from_secs(10);

/// What `muster up` can be told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  muster up
  muster up --data /var/lib/muster --listen 0.0.0.0:443 --tls-cert cert.pem --tls-key key.pem
  MUSTER_ADMIN_EMAIL=me@example.com MUSTER_ADMIN_PASSWORD=… muster up")]
pub(crate) struct Up {
    /// Folder for the databases and the master key; made if need be
    #[arg(long, env = "MUSTER_DATA", default_value = "muster-data")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, env = "MUSTER_LISTEN", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Certificate chain, PEM; with --tls-key, the port speaks TLS
    #[arg(long, env = "MUSTER_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, env = "MUSTER_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Origins whose pages may call from a browser, such as https://console.example.com
    #[arg(long, env = "MUSTER_CORS_ORIGINS", value_delimiter = ',')]
    cors_origin: Vec<String>,
    /// E-mail address of the administrator that the first start creates; the
    /// password is MUSTER_ADMIN_PASSWORD, else generated and shown once
    #[arg(long, env = "MUSTER_ADMIN_EMAIL", default_value = "admin@example.com")]
    admin_email: String,
    /// How log lines look
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, such as `info` or `debug`
    #[arg(long, env = "MUSTER_LOG", default_value = "info")]
    log: String,
}

/// What is secret, and therefore comes from the environment or a file only.
struct Secrets {
    master_key: Option<[u8; 32]>,
    admin_password: Option<String>,
}

/// Everything that runs, before it listens.
struct Assembled {
    stack: Stack,
    readiness: Readiness,
    first_start: bool,
}

impl Up {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> ExitCode {
        telemetry::init(self.log_format, &self.log);
        match self.start().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => {
                for problem in problems {
                    let _ = writeln!(std::io::stderr(), "error: {problem}");
                }
                ExitCode::FAILURE
            }
        }
    }

    async fn start(self) -> std::result::Result<(), Vec<String>> {
        let one = |problem: String| vec![problem];
        let (secrets, cors_origins) = self.check()?;
        let tls = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => {
                Some(listen::tls(certificate, key).map_err(|e| one(e.to_string()))?)
            }
            _ => None,
        };
        let data = DataDir::open(&self.data).map_err(one)?;
        let listener = TcpListener::bind(self.listen).await;
        let listener =
            listener.map_err(|e| one(format!("can't listen on {}: {e}", self.listen)))?;
        let mut administrator = self.administrator(&secrets).map_err(one)?;
        let assembled = self
            .assemble(
                &data,
                &secrets,
                &mut administrator,
                cors_origins,
                tls.is_some(),
            )
            .await?;
        let address = listener.local_addr().map_err(|e| one(e.to_string()))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        assembled.readiness.set(true);
        greet(
            &url,
            &self.data,
            assembled.first_start.then_some(&administrator),
        );
        if assembled.first_start {
            bootstrap::end_first_start(&data).map_err(|e| one(e.to_string()))?;
        }
        let readiness = assembled.readiness.clone();
        let stop = async move {
            told_to_stop().await;
            readiness.set(false);
            tracing::info!("stopping: what runs may finish");
        };
        listen::serve(listener, assembled.stack, tls, stop).await;
        Ok(())
    }

    /// Reads what clap does not check; all problems at once.
    fn check(&self) -> std::result::Result<(Secrets, Vec<http::HeaderValue>), Vec<String>> {
        let mut problems = Vec::new();
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let master_key = env("MUSTER_MASTER_KEY")
            .map(|text| data_dir::parse_master_key(&text))
            .transpose();
        let master_key = master_key.unwrap_or_else(|problem| {
            problems.push(format!("MUSTER_MASTER_KEY: {problem}"));
            None
        });
        let admin_password = env("MUSTER_ADMIN_PASSWORD");
        if admin_password
            .as_ref()
            .is_some_and(|password| password.chars().count() < 10)
        {
            problems.push("MUSTER_ADMIN_PASSWORD: must have at least 10 characters".to_owned());
        }
        if !self.admin_email.contains('@') {
            problems.push(format!(
                "--admin-email: `{}` is no e-mail address",
                self.admin_email
            ));
        }
        let mut origins = Vec::new();
        for origin in &self.cors_origin {
            match http::HeaderValue::try_from(origin) {
                Ok(value) if origin.contains("://") && !origin.ends_with('/') => {
                    origins.push(value)
                }
                _ => problems.push(format!(
                    "--cors-origin: `{origin}` is no origin such as https://console.example.com"
                )),
            }
        }
        if problems.is_empty() {
            Ok((
                Secrets {
                    master_key,
                    admin_password,
                },
                origins,
            ))
        } else {
            Err(problems)
        }
    }

    fn administrator(&self, secrets: &Secrets) -> std::result::Result<Administrator, String> {
        let email = self.admin_email.clone();
        match &secrets.admin_password {
            Some(password) => Ok(Administrator {
                email,
                password: password.clone(),
                generated: false,
            }),
            None => {
                let random =
                    data_dir::random().map_err(|e| format!("can't make a password: {e}"))?;
                let password = BASE64_URL_SAFE_NO_PAD.encode(&random[..18]);
                Ok(Administrator {
                    email,
                    password,
                    generated: true,
                })
            }
        }
    }

    async fn assemble(
        &self,
        data: &DataDir,
        secrets: &Secrets,
        administrator: &mut Administrator,
        cors_origins: Vec<http::HeaderValue>,
        tls: bool,
    ) -> std::result::Result<Assembled, Vec<String>> {
        let one = |problem: String| vec![problem];
        let clock = Clock::system();
        let master = secrets
            .master_key
            .map_or_else(|| data.master_key(), Ok)
            .map_err(one)?;
        bootstrap::note_first_start(data, &clock, administrator).map_err(one)?;
        assemble(data, &master, administrator, cors_origins, tls, clock)
            .await
            .map_err(|e| one(e.to_string()))
    }
}

/// Puts the services and the gateway together.
async fn assemble(
    data: &DataDir,
    master: &[u8; 32],
    administrator: &Administrator,
    cors_origins: Vec<http::HeaderValue>,
    tls: bool,
    clock: Clock,
) -> Result<Assembled> {
    let peers = Peers::default();
    // The services are one process: their keys need not outlive it.
    let ring = KeyRing::generate()?;
    let revocations = Revocations::default();
    let verifier = Verifier::new(
        peers.clone(),
        ring.public().clone(),
        revocations.clone(),
        clock.clone(),
    );
    let identity_of = |name: ServiceName| ring.identity(name.as_str(), clock.clone());

    let store =
        Store::sqlite::<key_management::Migrator>(&data.database("key-management"), &clock).await?;
    let keys = key_management::stack(
        store,
        clock.clone(),
        peers.clone(),
        identity_of(ServiceName::KeyManagement)?,
        verifier.clone(),
        MasterKey::new(master)?,
    );
    peers.set(ServiceName::KeyManagement, keys);

    let store = Store::sqlite::<tenancy::Migrator>(&data.database("tenancy"), &clock).await?;
    let tenants = tenancy::stack(
        store,
        clock.clone(),
        peers.clone(),
        identity_of(ServiceName::Tenancy)?,
        verifier.clone(),
    );
    peers.set(ServiceName::Tenancy, tenants);

    let store = Store::sqlite::<identity::Migrator>(&data.database("identity"), &clock).await?;
    let users = identity::stack(
        store,
        clock.clone(),
        peers.clone(),
        identity_of(ServiceName::Identity)?,
        verifier.clone(),
    );
    peers.set(ServiceName::Identity, users);

    let store =
        Store::sqlite::<device_registry::Migrator>(&data.database("device-registry"), &clock)
            .await?;
    peers.set(
        ServiceName::DeviceRegistry,
        device_registry::stack(store, clock.clone(), verifier.clone()),
    );

    let gateway_identity = ring.identity("gateway", clock.clone())?;
    let operator = ring.identity("operator", clock.clone())?;
    tokio::spawn(revocation::follow(
        peers.clone(),
        gateway_identity.clone(),
        revocations.clone(),
        clock.clone(),
    ));
    wait_for(&revocations).await?;
    let first_start = bootstrap::first_start(data, &peers, &operator, administrator).await?;
    let readiness = Readiness::default();
    let gateway = Gateway {
        peers,
        identity: gateway_identity,
        verifier,
        clock,
        readiness: readiness.clone(),
        tls,
        cors_origins,
    };
    Ok(Assembled {
        stack: gateway.build().await?,
        readiness,
        first_start,
    })
}

/// No token is accepted before the revocations are known.
async fn wait_for(revocations: &Revocations) -> Result<()> {
    let live = async {
        while !revocations.is_live() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(START, live)
        .await
        .map_err(|_| Error::internal("the parts did not find each other in time"))
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        // Without handlers, the signals end the process at once.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => (),
        _ = interrupt.recv() => (),
    }
}

/// Tells where it listens and, on the first start, what to do next. On
/// standard output, where the log is not: it may hold a password.
fn greet(url: &str, data: &std::path::Path, administrator: Option<&Administrator>) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(
        out,
        "Muster listens on {url} and keeps its data in {}",
        data.display()
    );
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

"
    )
}
