//! Which PostgreSQL database is meant.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chassis::store::Postgres;
use clap::Args;

use super::Problems;

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
    /// How long a change is tried again when others get in its way
    #[arg(
        long,
        value_name = "DURATION",
        env = "MUSTER_DATABASE_RETRY_TIMEOUT",
        default_value = "5s",
        value_parser = humantime::parse_duration
    )]
    database_retry_timeout: Duration,
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
            retry_timeout: self.database_retry_timeout,
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
