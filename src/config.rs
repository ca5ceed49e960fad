//! What `up` and `serve` are told alike, by flags and environment variables;
//! and how it is checked: every problem at once.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chassis::peer::ServiceName;
use chassis::service_identity::PrivateKey;
use chassis::telemetry::{self, LogFormat};
use chassis::tls::{ClientTls, ServerTls};
use clap::Args;
use gateway::Limits;
use http::HeaderValue;
use ipnet::IpNet;

mod database;
mod devices;
mod keys;
mod limits;
mod silence;

pub(crate) use database::{Database, DatabaseUrl};
pub(crate) use devices::DeviceRegistry;
pub(crate) use keys::{KeyManagement, KeyOptions, Master, Masters};
use limits::RateLimits;
pub(crate) use silence::Hearing;

/// What is wrong with a configuration, each in a sentence.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// One problem.
    pub(crate) fn one(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }

    pub(crate) fn add(&mut self, problem: impl Into<String>) {
        self.0.push(problem.into());
    }

    /// The value; without one, its problem is added under the name of what is set.
    pub(crate) fn take<T, E: fmt::Display>(
        &mut self,
        name: &str,
        result: Result<T, E>,
    ) -> Option<T> {
        result.map_err(|e| self.add(format!("{name}: {e}"))).ok()
    }

    /// The value if nothing is wrong.
    pub(crate) fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// Tells them, and is the program's end.
    pub(crate) fn exit(self) -> ExitCode {
        use std::io::Write;
        for problem in self.0 {
            let _ = writeln!(std::io::stderr(), "error: {problem}");
        }
        ExitCode::FAILURE
    }
}

impl From<chassis::Error> for Problems {
    fn from(error: chassis::Error) -> Self {
        Self::one(error.to_string())
    }
}

/// A variable of the environment that is no flag, for what is secret; empty is unset.
pub(crate) fn secret(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What is logged, and how.
#[derive(Args)]
pub(crate) struct Logging {
    /// How log lines look
    #[arg(long, env = "MUSTER_LOG_FORMAT", value_enum, default_value_t)]
    log_format: LogFormat,
    /// What is logged, such as `info` or `debug`
    #[arg(long, env = "MUSTER_LOG", default_value = "info")]
    log: String,
}

impl Logging {
    pub(crate) fn start(&self) {
        telemetry::init(self.log_format, &self.log);
    }
}

/// The port's certificate.
#[derive(Args)]
pub(crate) struct Certificate {
    /// Certificate chain, PEM; with --tls-key, the port speaks TLS. Read again when it changes
    #[arg(long, env = "MUSTER_TLS_CERT", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Private key of the certificate, PEM
    #[arg(long, env = "MUSTER_TLS_KEY", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

impl Certificate {
    /// The port's side of TLS, if it speaks it.
    pub(crate) fn server(&self, client_ca: Option<&Path>) -> Result<Option<ServerTls>, Problems> {
        let files = self.files();
        let made = files.map(|(certificate, key)| ServerTls::new(certificate, key, client_ca));
        made.transpose()
            .map_err(|e| Problems::one(format!("--tls-cert: {e}")))
    }

    /// The files of the certificate and its key.
    pub(crate) fn files(&self) -> Option<(&Path, &Path)> {
        self.tls_cert.as_deref().zip(self.tls_key.as_deref())
    }
}

/// Where the services are, and how they are called.
#[derive(Args)]
pub(crate) struct Places {
    /// Where identity is: host:port, separated by commas; a name stands for all its addresses
    #[arg(long, value_name = "PLACES", env = "MUSTER_IDENTITY")]
    identity: Option<String>,
    /// Where tenancy is
    #[arg(long, value_name = "PLACES", env = "MUSTER_TENANCY")]
    tenancy: Option<String>,
    /// Where the device registry is
    #[arg(long, value_name = "PLACES", env = "MUSTER_DEVICE_REGISTRY")]
    device_registry: Option<String>,
    /// Where key management is
    #[arg(long, value_name = "PLACES", env = "MUSTER_KEY_MANAGEMENT")]
    key_management: Option<String>,
    /// Call the services by TLS and trust this CA only, PEM; --tls-cert is shown to them
    #[arg(long, value_name = "FILE", env = "MUSTER_PEER_CA")]
    peer_ca: Option<PathBuf>,
}

/// The places of one service.
pub(crate) type PlacesOf = (ServiceName, Vec<String>);

impl Places {
    /// Where those are that are called.
    pub(crate) fn check(&self, called: &[ServiceName], problems: &mut Problems) -> Vec<PlacesOf> {
        let mut all = Vec::new();
        for name in called {
            let places = self.text(*name).iter().flat_map(|text| text.split(','));
            let places: Vec<String> = places
                .map(|place| place.trim().to_owned())
                .filter(|place| !place.is_empty())
                .collect();
            let name = *name;
            if places.is_empty() {
                problems.add(format!(
                    "--{} is needed: host:port of that service",
                    name.as_str()
                ));
            }
            let is_none = |place: &&String| !proto::validate::is_host_and_port(place);
            for place in places.iter().filter(is_none) {
                problems.add(format!("--{}: `{place}` is no host:port", name.as_str()));
            }
            all.push((name, places));
        }
        all
    }

    /// Where those are that are called only if it is said where they are.
    pub(crate) fn check_told(
        &self,
        called: &[ServiceName],
        problems: &mut Problems,
    ) -> Vec<PlacesOf> {
        let told = called.iter().copied();
        let told: Vec<_> = told.filter(|name| self.text(*name).is_some()).collect();
        self.check(&told, problems)
    }

    fn text(&self, name: ServiceName) -> &Option<String> {
        match name {
            ServiceName::Identity => &self.identity,
            ServiceName::Tenancy => &self.tenancy,
            ServiceName::DeviceRegistry => &self.device_registry,
            ServiceName::KeyManagement => &self.key_management,
        }
    }

    /// The callers' side of TLS, if the services speak it.
    pub(crate) fn client(&self, own: &Certificate) -> Result<Option<ClientTls>, Problems> {
        let made = self.peer_ca.as_deref();
        made.map(|ca| ClientTls::new(ca, own.files()))
            .transpose()
            .map_err(|e| Problems::one(format!("--peer-ca: {e}")))
    }
}

/// What is for the gateway's port only.
#[derive(Args)]
pub(crate) struct Edge {
    /// Origins whose pages may call from a browser, such as https://console.example.com
    #[arg(long, env = "MUSTER_CORS_ORIGINS", value_delimiter = ',')]
    cors_origin: Vec<String>,
    /// Networks of the proxies in front, such as 10.0.0.0/8, whose X-Forwarded-For and
    /// X-Forwarded-Proto are believed
    #[arg(
        long,
        value_name = "CIDR",
        env = "MUSTER_TRUSTED_PROXIES",
        value_delimiter = ','
    )]
    trusted_proxy: Vec<String>,
    #[command(flatten)]
    limits: RateLimits,
}

/// What the gateway's port is told, once it was checked.
pub(crate) struct EdgeOptions {
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) limits: Limits,
}

impl Edge {
    pub(crate) fn check(&self, problems: &mut Problems) -> EdgeOptions {
        let mut options = EdgeOptions {
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            limits: self.limits.check(problems),
        };
        for origin in self.cors_origin.iter().filter(|text| !text.is_empty()) {
            match HeaderValue::try_from(origin) {
                Ok(value) if origin.contains("://") && !origin.ends_with('/') => {
                    options.cors_origins.push(value);
                }
                _ => problems.add(format!(
                    "--cors-origin: `{origin}` is no origin such as https://console.example.com"
                )),
            }
        }
        for text in self.trusted_proxy.iter().filter(|text| !text.is_empty()) {
            let address = || text.parse::<IpAddr>().map(IpNet::from);
            match text.parse::<IpNet>().or_else(|_| address()) {
                Ok(network) => options.trusted_proxies.push(network),
                Err(_) => problems.add(format!(
                    "--trusted-proxy: `{text}` is no network such as 10.0.0.0/8"
                )),
            }
        }
        options
    }
}

/// MUSTER_ADMIN_PASSWORD, if it is set.
pub(crate) fn admin_password(problems: &mut Problems) -> Option<String> {
    let password = secret("MUSTER_ADMIN_PASSWORD")?;
    if password.chars().count() < 10 {
        problems.add("MUSTER_ADMIN_PASSWORD: must have at least 10 characters");
    }
    Some(password)
}

/// The administrator's e-mail address must look like one.
pub(crate) fn check_email(email: &str, problems: &mut Problems) {
    if !email.contains('@') {
        problems.add(format!("--admin-email: `{email}` is no e-mail address"));
    }
}

/// A service's own key, which has to be there.
pub(crate) fn private_key(file: Option<&Path>, problems: &mut Problems) -> Option<PrivateKey> {
    let pem = needed("--service-key", file, problems)?;
    problems.take("--service-key", PrivateKey::from_pem(&pem))
}

/// The text of a file that `muster admin service-keys` makes, which has to be there.
pub(crate) fn needed(flag: &str, file: Option<&Path>, problems: &mut Problems) -> Option<String> {
    match file {
        Some(file) => problems.take(flag, read(file)),
        None => {
            problems.add(format!(
                "{flag} is needed; `muster admin service-keys` makes it"
            ));
            None
        }
    }
}

/// The text of a file.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("can't read {}: {e}", file.display()))
}
