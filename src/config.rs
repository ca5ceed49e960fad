//! What `up` and `serve` are told alike, by flags and environment variables;
//! and how it is checked: every problem at once.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use chassis::store::Postgres;
use chassis::telemetry::{self, LogFormat};
use chassis::tls::ServerTls;
use clap::Args;
use http::HeaderValue;
use ipnet::IpNet;

use crate::data_dir;

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

/// A PostgreSQL database.
#[derive(Args)]
pub(crate) struct Database {
    /// PostgreSQL, such as postgres://muster_identity@db/muster?sslmode=verify-full
    // Hidden, and read as text: neither help nor a refusal may print its password.
    #[arg(
        long,
        value_name = "URL",
        env = "MUSTER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Connections of each kind, for readers and for writers, that a service may open
    #[arg(
        long,
        value_name = "NUMBER",
        env = "MUSTER_DATABASE_CONNECTIONS",
        default_value_t = 10
    )]
    database_connections: u32,
    /// How long one statement may run
    #[arg(
        long,
        value_name = "DURATION",
        env = "MUSTER_DATABASE_STATEMENT_TIMEOUT",
        default_value = "10s",
        value_parser = humantime::parse_duration
    )]
    database_statement_timeout: Duration,
}

impl Database {
    /// The database, if one is named.
    pub(crate) fn check(&self, problems: &mut Problems) -> Option<Postgres> {
        if self.database_connections == 0 {
            problems.add("--database-connections: must be at least 1");
        }
        let text = self.database_url.as_deref().filter(|url| !url.is_empty())?;
        let url: DatabaseUrl = problems.take("--database-url", text.parse())?;
        Some(Postgres {
            url: url.0,
            connections: self.database_connections,
            statement_timeout: self.database_statement_timeout,
        })
    }
}

/// A URL of a PostgreSQL database, whose password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl(pub(crate) String);

impl FromStr for DatabaseUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text
            .strip_prefix("postgres://")
            .or_else(|| text.strip_prefix("postgresql://"))
            .ok_or("must begin with postgres://")?;
        match rest.split_once('/') {
            Some((_, database)) if !database.is_empty() && !database.starts_with('?') => {
                Ok(Self(text.to_owned()))
            }
            _ => Err("must name a database, as in postgres://user:password@host:5432/muster"),
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or_default();
        // What follows the path may hold a password as well: `?password=…`.
        let rest = rest.split('?').next().unwrap_or_default();
        match rest.rsplit_once('@') {
            Some((who, place)) => {
                let user = who.split(':').next().unwrap_or_default();
                write!(f, "{scheme}://{user}@{place}")
            }
            None => write!(f, "{scheme}://{rest}"),
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
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
}

/// What the gateway's port is told, once it was checked.
pub(crate) struct EdgeOptions {
    pub(crate) cors_origins: Vec<HeaderValue>,
    pub(crate) trusted_proxies: Vec<IpNet>,
}

impl Edge {
    pub(crate) fn check(&self, problems: &mut Problems) -> EdgeOptions {
        let mut options = EdgeOptions {
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
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

/// The master key, which comes from the environment or a file only.
#[derive(Args)]
pub(crate) struct Master {
    /// File with the master key, 32 bytes in base64; or set MUSTER_MASTER_KEY
    #[arg(long, env = "MUSTER_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
}

impl Master {
    /// The master key, if one is named.
    pub(crate) fn check(&self, problems: &mut Problems) -> Option<[u8; 32]> {
        let parse = |text: String| data_dir::parse_master_key(text.trim());
        match (secret("MUSTER_MASTER_KEY"), &self.master_key_file) {
            (Some(text), _) => problems.take("MUSTER_MASTER_KEY", parse(text)),
            (None, Some(file)) => {
                let text = problems.take("--master-key-file", read(file));
                text.and_then(|text| problems.take("--master-key-file", parse(text)))
            }
            (None, None) => None,
        }
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

/// The text of a file.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|e| format!("can't read {}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_is_shown_without_its_password() {
        for (text, shown) in [
            (
                "postgres://ada:pa@ss@db:5432/muster?sslmode=require&password=x",
                "postgres://ada@db:5432/muster",
            ),
            ("postgresql://db/muster", "postgresql://db/muster"),
        ] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(format!("{url:?}"), shown);
        }
    }

    #[test]
    fn what_names_no_database_is_refused() {
        for text in [
            "",
            "mysql://db/muster",
            "postgres://db",
            "postgres://db/",
            "postgres://db/?a=b",
        ] {
            assert!(text.parse::<DatabaseUrl>().is_err(), "{text}");
        }
    }
}
