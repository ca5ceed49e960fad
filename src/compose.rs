//! How the parts of the program are put together, in one process or many.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use chassis::balance::Balance;
use chassis::health::Health;
use chassis::peer::{Peers, ServiceName, Stack};
use chassis::revocation::{self, Revocations, Silence};
use chassis::service_identity::{ServiceIdentity, ServiceKeys};
use chassis::store::schema::Schema;
use chassis::store::{Postgres, Store};
use chassis::tls::ClientTls;
use chassis::token::Verifier;
use chassis::{Clock, Error, Result, listen, metrics, server};
use key_management::Settings;
use key_management::admin::Operator;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Masters, Problems};

/// How long before the master key is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// What services are told, each its own.
pub(crate) struct Told<'a> {
    /// The master key and the settings of key management, where that may be.
    pub(crate) keys: Option<(&'a Masters, &'a Settings)>,
    /// The settings of the device registry.
    pub(crate) devices: device_registry::Settings,
}

/// What every process has once.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) revocations: Revocations,
    pub(crate) verifier: Verifier,
    pub(crate) health: Health,
}

impl Process {
    /// A process that knows the services by these keys.
    pub(crate) fn new(clock: Clock, services: ServiceKeys, silence: Silence) -> Self {
        let (peers, revocations) = (Peers::default(), Revocations::new(silence));
        let verifier = Verifier::new(peers.clone(), services, revocations.clone(), clock.clone());
        Self {
            clock,
            peers,
            revocations,
            verifier,
            health: Health::default(),
        }
    }

    /// Learns what must not be accepted and by which keys, from key
    /// management, for as long as the process lives; without either it is not
    /// ready.
    pub(crate) fn follow(&self, identity: ServiceIdentity) {
        let revocations = self.revocations.clone();
        self.health.need("revocations", move || {
            let silent = "the stream from key management is not heard".to_owned();
            revocations.is_live().then_some(()).ok_or(silent)
        });
        let verifier = self.verifier.clone();
        self.health.need("public keys", move || {
            let unknown = "key management has not told them yet".to_owned();
            verifier.has_keys().then_some(()).ok_or(unknown)
        });
        self.peers.call_as(identity.clone());
        tokio::spawn(revocation::follow(
            self.peers.clone(),
            identity,
            self.revocations.clone(),
            self.clock.clone(),
        ));
        let verifier = self.verifier.clone();
        tokio::spawn(async move { verifier.renew().await });
    }

    /// Calls a service that runs elsewhere. That nobody can be reached is told,
    /// and no reason to take no calls.
    pub(crate) fn call(
        &self,
        name: ServiceName,
        places: &[String],
        tls: Option<ClientTls>,
    ) -> Result<()> {
        let balance = Balance::new(name, places, tls)?;
        self.peers.set(name, balance.stack());
        self.health.list(name.as_str(), move || {
            let away = "can't be reached".to_owned();
            balance.is_live().then_some(()).ok_or(away)
        });
        Ok(())
    }

    /// Is not ready before the master key was found to open what the database
    /// holds; with a wrong one, never.
    pub(crate) fn need_master_key(&self, store: Store, master: &Masters) -> Result<()> {
        let (master, operator) = (master.key()?, Operator::new(store, self.clock.clone()));
        let (tell, told) = watch::channel(Err("it was not tried yet".to_owned()));
        self.health
            .need("master key", move || told.borrow().clone());
        tokio::spawn(async move {
            while let Err(error) = operator.check(&master).await {
                tracing::warn!(%error, "the master key was not found to open what the database holds");
                let _ = tell.send_replace(Err(error.to_string()));
                tokio::time::sleep(AGAIN).await;
            }
            let _ = tell.send_replace(Ok(()));
        });
        Ok(())
    }

    /// A service, on its store, with what it was told.
    pub(crate) fn service(
        &self,
        name: ServiceName,
        store: Store,
        identity: ServiceIdentity,
        told: Told<'_>,
    ) -> Result<Stack> {
        let (clock, peers, verifier) = (
            self.clock.clone(),
            self.peers.clone(),
            self.verifier.clone(),
        );
        Ok(match name {
            ServiceName::Identity => identity::stack(store, clock, peers, identity, verifier),
            ServiceName::Tenancy => tenancy::stack(store, clock, peers, identity, verifier),
            ServiceName::DeviceRegistry => {
                device_registry::stack(store, clock, peers, identity, verifier, told.devices)
            }
            ServiceName::KeyManagement => {
                let (master, settings) = told
                    .keys
                    .ok_or_else(|| Error::internal("there is no master key"))?;
                let (master, settings) = (master.key()?, settings.clone());
                key_management::stack(store, clock, peers, identity, verifier, master, settings)
            }
        })
    }
}

/// An expression with the history of a service's schema as the type `$migrator`.
macro_rules! with_migrator {
    ($service:expr, $migrator:ident => $work:expr) => {{
        use chassis::peer::ServiceName;
        match $service {
            ServiceName::Identity => {
                type $migrator = identity::Migrator;
                $work
            }
            ServiceName::Tenancy => {
                type $migrator = tenancy::Migrator;
                $work
            }
            ServiceName::DeviceRegistry => {
                type $migrator = device_registry::Migrator;
                $work
            }
            ServiceName::KeyManagement => {
                type $migrator = key_management::Migrator;
                $work
            }
        }
    }};
}
pub(crate) use with_migrator;

/// A service's own SQLite file, made and migrated if need be.
pub(crate) async fn sqlite(name: ServiceName, file: &Path, clock: &Clock) -> Result<Store> {
    with_migrator!(name, M => Store::sqlite::<M>(file, clock).await)
}

/// A service's schema of a PostgreSQL database, whether it answers by now or not.
pub(crate) async fn postgres(
    name: ServiceName,
    database: &Postgres,
    clock: &Clock,
) -> Result<Store> {
    with_migrator!(name, M => Store::postgres::<M>(database, Schema::of(name), clock).await)
}

/// A port to listen on.
pub(crate) async fn bind(address: SocketAddr) -> std::result::Result<TcpListener, Problems> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|e| Problems::one(format!("can't listen on {address}: {e}")))
}

/// The port of probes and figures, if there is to be one; only then the
/// process counts anything.
pub(crate) async fn bind_probes(
    address: Option<SocketAddr>,
) -> std::result::Result<Option<TcpListener>, Problems> {
    let Some(address) = address else {
        return Ok(None);
    };
    let listener = bind(address).await?;
    metrics::start()?;
    Ok(Some(listener))
}

/// Answers probes to the end, and says then that the process stops.
pub(crate) async fn answer_probes(listener: Option<TcpListener>, health: &Health) -> Result<()> {
    if let Some(listener) = listener {
        let stack = server::probes(health).await?;
        tokio::spawn(listen::serve(listener, stack, None, std::future::pending()));
    }
    Ok(())
}

/// Where probes are answered, for whoever reads the output.
pub(crate) fn told_of(probes: Option<&TcpListener>) -> String {
    let address = probes.and_then(|listener| listener.local_addr().ok());
    address.map_or_else(String::new, |address| {
        format!("Probes are answered on http://{address}\n")
    })
}

/// Done when the process is told to stop and, after a while in which it says
/// that it is not ready, has to stop.
pub(crate) fn stop(health: &Health, delay: Duration) -> impl Future<Output = ()> + use<> {
    let health = health.clone();
    async move {
        told_to_stop().await;
        health.stop();
        tracing::info!("stopping: what runs may finish");
        tokio::time::sleep(delay).await;
    }
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
