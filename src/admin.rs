//! `muster admin`: what whoever sets an installation up needs.

use std::fs::DirBuilder;
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chassis::balance::Balance;
use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::{KeyRing, NAMES, PrivateKey, ServiceIdentity};
use chassis::{Clock, Error};
use clap::{Args, Subcommand};
use tonic::Code;

use crate::bootstrap::{self, Administrator, Ids, Outcome};
use crate::config::{self, Certificate, Logging, Places, PlacesOf, Problems};
use crate::data_dir;

mod devices;
mod keys;
mod target;

/// What `muster admin` can be told.
#[derive(Args)]
pub(crate) struct Admin {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make the key pairs by which the services prove themselves to each other
    ServiceKeys(ServiceKeys),
    /// Print a new master key, which protects signing keys and the hashes of secrets; or change it
    MasterKey(keys::MasterKeys),
    /// The keys that tokens are signed with
    SigningKey(keys::SigningKeys),
    /// What the hashes of secrets are keyed with
    Pepper(keys::Peppers),
    /// Set how many devices a tenant may have
    DeviceLimit(devices::DeviceLimit),
    /// Create the first tenant and its administrator through the services that run; once,
    /// however often it is called
    Init(Box<Init>),
}

#[derive(Args)]
#[command(after_help = "\
The administrator's password comes from the environment only:
  MUSTER_ADMIN_PASSWORD=… muster admin init --admin-email me@example.com --service-key keys/operator.pem \\
    --identity identity:8081 --tenancy tenancy:8081")]
struct Init {
    /// E-mail address of the administrator
    #[arg(long, env = "MUSTER_ADMIN_EMAIL")]
    admin_email: Option<String>,
    /// The operator's private key, PEM, as of `muster admin service-keys`
    #[arg(long, value_name = "FILE", env = "MUSTER_SERVICE_KEY")]
    service_key: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    certificate: Certificate,
    /// How long to wait for the services
    #[arg(long, value_name = "DURATION", env = "MUSTER_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    logging: Logging,
}

#[derive(Args)]
#[command(after_help = "\
Each service gets its own file and services.json, which is not secret:
  muster admin service-keys --out keys
  muster serve identity --service-key keys/identity.pem --service-keys keys/services.json …")]
struct ServiceKeys {
    /// Folder for the files; made if need be. It must not hold keys yet
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
}

impl Admin {
    /// Carries the action out.
    pub(crate) async fn run(self) -> ExitCode {
        let done = match self.action {
            Action::ServiceKeys(keys) => service_keys(&keys.out),
            Action::MasterKey(keys) => keys.run().await,
            Action::SigningKey(keys) => keys.run().await,
            Action::Pepper(peppers) => peppers.run().await,
            Action::DeviceLimit(limit) => limit.run().await,
            Action::Init(init) => init.run().await,
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => problems.exit(),
        }
    }
}

/// The file with everybody's public keys.
const PUBLIC: &str = "services.json";

fn service_keys(out: &Path) -> Result<(), Problems> {
    let told = |what: &str, error: std::io::Error| {
        Problems::one(format!("can't {what} {}: {error}", out.display()))
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(out)
        .map_err(|e| told("make the folder", e))?;
    let private = |name: &str| out.join(format!("{name}.pem"));
    let mut files = vec![out.join(PUBLIC)];
    files.extend(NAMES.map(private));
    if let Some(file) = files.iter().find(|file| file.exists()) {
        return Err(Problems::one(format!(
            "{} is there already; name another folder, or take it away",
            file.display()
        )));
    }
    let ring = KeyRing::generate()?;
    for name in NAMES {
        data_dir::write_private(&private(name), &ring.private(name)?.to_pem())
            .map_err(|e| told("write to", e))?;
    }
    // Last: where it is, all the others are.
    data_dir::write_private(&out.join(PUBLIC), &(ring.public().to_json()? + "\n"))
        .map_err(|e| told("write to", e))?;
    say(&format!(
        "Wrote the keys of {} and {PUBLIC} to {}",
        NAMES.join(", "),
        out.display()
    ));
    Ok(())
}

/// Services that the first start calls.
const CALLED: [ServiceName; 2] = [ServiceName::Identity, ServiceName::Tenancy];
/// How long to wait before asking services again that were not there.
const AGAIN: Duration = Duration::from_millis(500);

impl Init {
    async fn run(self) -> Result<(), Problems> {
        self.logging.start();
        let (key, administrator, places) = self.check()?;
        let tls = self.places.client(&self.certificate)?;
        let operator = ServiceIdentity::new("operator", &key, Clock::system());
        let peers = Peers::default();
        for (name, places) in &places {
            peers.set(*name, Balance::new(*name, places, tls.clone())?.stack());
        }
        let end = Instant::now() + self.timeout;
        let outcome = loop {
            let made = bootstrap::create(&peers, &operator, Ids::named(), &administrator);
            match made.await {
                Err(error) if may_pass(&error) && Instant::now() < end => {
                    tracing::info!(%error, "waiting for the services");
                    tokio::time::sleep(AGAIN).await;
                }
                done => break done?,
            }
        };
        let Ids { tenant, user } = Ids::named();
        let email = &administrator.email;
        say(&match outcome {
            Outcome::Created => {
                format!(
                    "Created the first tenant ({tenant}) and its administrator {email} ({user})"
                )
            }
            Outcome::Known => {
                "The first tenant and its administrator are there already; nothing was changed"
                    .to_owned()
            }
            Outcome::Other => {
                "The installation has a first tenant already; nothing was changed".to_owned()
            }
        });
        Ok(())
    }

    fn check(&self) -> Result<(PrivateKey, Administrator, Vec<PlacesOf>), Problems> {
        let mut problems = Problems::default();
        let email = self.admin_email.clone().unwrap_or_default();
        config::check_email(&email, &mut problems);
        let password = config::admin_password(&mut problems);
        if password.is_none() {
            problems.add("MUSTER_ADMIN_PASSWORD is needed: the administrator's password");
        }
        let key = config::private_key(self.service_key.as_deref(), &mut problems);
        let places = self.places.check(&CALLED, &mut problems);
        let checked = key.zip(password).map(|(key, password)| {
            let administrator = Administrator {
                email,
                password,
                generated: false,
            };
            (key, administrator, places)
        });
        problems.or(checked)
    }
}

/// Whether a failure may be gone when the services have started.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unavailable { .. } | Error::Contention => true,
        Error::Peer(status) => matches!(
            status.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Aborted
        ),
        _ => false,
    }
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
