//! `muster serve`: one service a process. It listens at once and waits for
//! nothing; until what it needs is there, it says what is missing.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use chassis::peer::ServiceName;
use chassis::revocation::Silence;
use chassis::service_identity::{PrivateKey, ServiceIdentity, ServiceKeys};
use chassis::store::Postgres;
use chassis::{Clock, listen, server};
use clap::{Args, ValueEnum};
use gateway::Gateway;
use tokio::net::TcpListener;

use crate::compose::{self, Process, Told};
use crate::config::{
    self, Certificate, Database, DeviceRegistry, Edge, EdgeOptions, Hearing, KeyManagement,
    KeyOptions, Logging, Places, PlacesOf, Problems,
};

/// What `muster serve` can be told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  muster serve identity --database-url postgres://muster_identity@db/muster \\
    --service-key keys/identity.pem --service-keys keys/services.json \\
    --tenancy tenancy:8081 --key-management key-management:8081
  muster serve gateway --listen 0.0.0.0:8080 --service-key keys/gateway.pem --service-keys keys/services.json \\
    --identity identity:8081 --tenancy tenancy:8081 --device-registry registry:8081 --key-management keys:8081

`muster admin service-keys` makes the keys, `muster migrate up` the tables. Each flag can be set by its variable.")]
pub(crate) struct Serve {
    /// The service to run
    #[arg(value_enum)]
    service: Which,
    /// Address to listen on; port 0 takes a free one [default: 127.0.0.1:8081, of the gateway 127.0.0.1:8080]
    #[arg(long, env = "MUSTER_LISTEN")]
    listen: Option<SocketAddr>,
    /// Address of a second port that only tells health, and figures at /metrics, without TLS
    #[arg(long, env = "MUSTER_PROBE_LISTEN")]
    probe_listen: Option<SocketAddr>,
    /// How long to go on taking calls when told to stop, while saying not to be ready
    #[arg(long, value_name = "DURATION", env = "MUSTER_DRAIN_DELAY", default_value = "0s", value_parser = humantime::parse_duration)]
    drain_delay: Duration,
    #[command(flatten)]
    certificate: Certificate,
    /// Callers must present a certificate that this CA signed, PEM; not for the gateway
    #[arg(long, env = "MUSTER_TLS_CLIENT_CA", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
    #[command(flatten)]
    database: Database,
    /// The service's own private key, PEM, as of `muster admin service-keys`
    #[arg(long, value_name = "FILE", env = "MUSTER_SERVICE_KEY")]
    service_key: Option<PathBuf>,
    /// Everybody's public keys: services.json
    #[arg(long, value_name = "FILE", env = "MUSTER_SERVICE_KEYS")]
    service_keys: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyManagement,
    #[command(flatten)]
    devices: DeviceRegistry,
    #[command(flatten)]
    hearing: Hearing,
    #[command(flatten)]
    edge: Edge,
    #[command(flatten)]
    logging: Logging,
}

/// What a process can be.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    Identity,
    Tenancy,
    DeviceRegistry,
    KeyManagement,
    Gateway,
}

impl Which {
    /// The service of the contract; none for the gateway.
    fn service(self) -> Option<ServiceName> {
        Some(match self {
            Self::Identity => ServiceName::Identity,
            Self::Tenancy => ServiceName::Tenancy,
            Self::DeviceRegistry => ServiceName::DeviceRegistry,
            Self::KeyManagement => ServiceName::KeyManagement,
            Self::Gateway => return None,
        })
    }

    fn name(self) -> &'static str {
        self.service().map_or("gateway", ServiceName::as_str)
    }

    /// Whom it can do without: what they record is told by webhooks.
    fn follows(self) -> &'static [ServiceName] {
        match self {
            Self::DeviceRegistry => &[ServiceName::Identity, ServiceName::Tenancy],
            _ => &[],
        }
    }

    /// Whom it calls.
    fn calls(self) -> &'static [ServiceName] {
        use ServiceName::{Identity, KeyManagement, Tenancy};
        match self {
            Self::Identity => &[Tenancy, KeyManagement],
            Self::Tenancy => &[Identity, KeyManagement],
            Self::DeviceRegistry => &[KeyManagement],
            Self::KeyManagement => &[Identity, Tenancy],
            Self::Gateway => &ServiceName::ALL,
        }
    }
}

/// What was told, once it was checked.
struct Checked {
    key: PrivateKey,
    keys: ServiceKeys,
    places: Vec<PlacesOf>,
    /// There for every service, and not for the gateway.
    database: Option<Postgres>,
    /// With a master key for key management.
    key_options: KeyOptions,
    devices: device_registry::Settings,
    silence: Silence,
    edge: EdgeOptions,
}

impl Serve {
    /// Runs until it is told to stop.
    pub(crate) async fn run(self) -> ExitCode {
        self.logging.start();
        match self.start().await {
            Ok(()) => ExitCode::SUCCESS,
            Err(problems) => problems.exit(),
        }
    }

    async fn start(self) -> Result<(), Problems> {
        let checked = self.check()?;
        let name = self.service.name();
        let tls = self.certificate.server(self.tls_client_ca.as_deref())?;
        let listener = compose::bind(self.listen.unwrap_or_else(|| self.usual_address())).await?;
        let probes = compose::bind_probes(self.probe_listen).await?;
        if self.service == Which::KeyManagement && !checked.key_options.has_issuer {
            tracing::warn!("--issuer is not set: who discovers us needs the URL of the gateway");
        }
        let clock = Clock::system();
        let process = Process::new(clock.clone(), checked.keys.clone(), checked.silence);
        let identity = ServiceIdentity::new(name, &checked.key, clock);
        let stack = self.assemble(&process, identity, checked).await?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        greet(name, scheme, &listener, probes.as_ref());
        compose::answer_probes(probes, &process.health).await?;
        let stop = compose::stop(&process.health, self.drain_delay);
        listen::serve(listener, stack, tls, stop).await;
        Ok(())
    }

    fn usual_address(&self) -> SocketAddr {
        let port = match self.service {
            Which::Gateway => 8080,
            _ => 8081,
        };
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// Reads what clap does not check; all problems at once.
    fn check(&self) -> Result<Checked, Problems> {
        let mut problems = Problems::default();
        let name = self.service.name();
        let key = config::private_key(self.service_key.as_deref(), &mut problems);
        let keys = self.service_keys.as_deref();
        let keys = config::needed("--service-keys", keys, &mut problems)
            .and_then(|json| problems.take("--service-keys", ServiceKeys::from_json(&json)));
        if let (Some(key), Some(keys)) = (&key, &keys)
            && !keys.has(name, key)
        {
            problems.add(format!(
                "--service-key is not the key that --service-keys has for {name}"
            ));
        }
        let mut places = self.places.check(self.service.calls(), &mut problems);
        places.extend(
            self.places
                .check_told(self.service.follows(), &mut problems),
        );
        let database = self.database.check(&mut problems);
        if database.is_none() && self.service != Which::Gateway {
            problems.add("--database-url is needed, such as postgres://user@host/muster");
        }
        let key_options = self.keys.check(&mut problems);
        let devices = self.devices.check(&mut problems);
        let silence = self.hearing.check(&mut problems);
        if key_options.master.is_none() && self.service == Which::KeyManagement {
            problems.add("MUSTER_MASTER_KEY or --master-key-file is needed; `muster admin master-key` makes one");
        }
        if self.tls_client_ca.is_some() && self.service == Which::Gateway {
            problems.add("--tls-client-ca: the gateway's callers have credentials instead");
        }
        let edge = self.edge.check(&mut problems);
        let checked = key.zip(keys).map(|(key, keys)| Checked {
            key,
            keys,
            places,
            database,
            key_options,
            devices,
            silence,
            edge,
        });
        problems.or(checked)
    }

    async fn assemble(
        &self,
        process: &Process,
        identity: ServiceIdentity,
        checked: Checked,
    ) -> Result<chassis::peer::Stack, Problems> {
        let tls = self.places.client(&self.certificate)?;
        for (name, places) in &checked.places {
            process.call(*name, places, tls.clone())?;
        }
        let Some(service) = self.service.service() else {
            process.follow(identity.clone());
            let gateway = Gateway {
                peers: process.peers.clone(),
                identity,
                verifier: process.verifier.clone(),
                clock: process.clock.clone(),
                health: process.health.clone(),
                tls: self.certificate.files().is_some(),
                trusted_proxies: checked.edge.trusted_proxies,
                cors_origins: checked.edge.cors_origins,
                limits: checked.edge.limits,
            };
            return Ok(gateway.build().await?);
        };
        let database = checked.database.ok_or_else(Problems::default)?;
        let store = compose::postgres(service, &database, &process.clock).await?;
        process.health.need_database("database", store.clone());
        let KeyOptions {
            master, settings, ..
        } = &checked.key_options;
        if let (ServiceName::KeyManagement, Some(master)) = (service, master) {
            process.need_master_key(store.clone(), master)?;
        }
        let told = Told {
            keys: master.as_ref().map(|master| (master, settings)),
            devices: checked.devices.clone(),
        };
        let stack = process.service(service, store, identity.clone(), told)?;
        // Key management asks itself for its keys and revocations.
        process.peers.set(service, stack.clone());
        process.follow(identity);
        Ok(server::port(service, stack, &process.health).await?)
    }
}

/// Tells where it listens: on standard output, where the log is not.
fn greet(name: &str, scheme: &str, listener: &TcpListener, probes: Option<&TcpListener>) {
    let mut out = std::io::stdout().lock();
    let address = listener.local_addr();
    let address = address.map_or_else(|e| e.to_string(), |address| address.to_string());
    let _ = writeln!(out, "Muster {name} listens on {scheme}://{address}");
    let _ = out.write_all(compose::told_of(probes).as_bytes());
    let _ = out.flush();
}
