//! What key management is told, in whichever process it runs.

use std::path::PathBuf;
use std::time::Duration;

use chassis::Result;
use clap::Args;
use key_management::{Algorithm, MasterKey, Settings, key_format};

use super::{Problems, read, secret};
use crate::data_dir;

/// A signing key is published this long before it signs, and for the life of
/// its tokens after; one that lived no longer would pile up with others.
const SHORTEST_LIFE: Duration = Duration::from_secs(3600);

/// What is for key management only.
#[derive(Args)]
pub(crate) struct KeyManagement {
    #[command(flatten)]
    master: Master,
    /// Who issues the tokens, best the URL at which clients reach the gateway: discovery
    /// needs it [default: of `up` the URL on which it listens, else `muster`]
    #[arg(long, value_name = "URL", env = "MUSTER_ISSUER")]
    issuer: Option<String>,
    /// What new API keys begin with: letters and digits in lower case
    #[arg(long, value_name = "TEXT", env = "MUSTER_KEY_PREFIX", default_value = key_format::PREFIX)]
    key_prefix: String,
    /// How new signing keys sign tokens: ES256, EdDSA or RS256
    #[arg(
        long,
        value_name = "ALGORITHM",
        env = "MUSTER_SIGNING_ALGORITHM",
        default_value = "ES256"
    )]
    signing_algorithm: String,
    /// How long a signing key signs before a new one does; 0s: for ever
    #[arg(long, value_name = "DURATION", env = "MUSTER_SIGNING_KEY_LIFE", default_value = "90days", value_parser = humantime::parse_duration)]
    signing_key_life: Duration,
    /// File with the public keys by which GitHub's secret scanning proves its reports, JSON
    /// as of https://api.github.com/meta/public_keys/secret_scanning
    #[arg(long, value_name = "FILE", env = "MUSTER_GITHUB_KEYS")]
    github_keys: Option<PathBuf>,
}

/// What key management is told, once it was checked.
#[derive(Clone)]
pub(crate) struct KeyOptions {
    /// None if none is named.
    pub(crate) master: Option<Masters>,
    /// With the issuer, if one is named.
    pub(crate) settings: Settings,
    /// Whether an issuer is named.
    pub(crate) has_issuer: bool,
}

impl KeyManagement {
    pub(crate) fn check(&self, problems: &mut Problems) -> KeyOptions {
        let mut settings = Settings::default();
        let issuer = self.issuer.as_deref().filter(|text| !text.is_empty());
        if let Some(issuer) = issuer {
            check_issuer(issuer, problems);
            issuer.clone_into(&mut settings.issuer);
        }
        if !key_format::is_prefix(&self.key_prefix) {
            problems.add(format!(
                "--key-prefix: `{}` is no letter, followed by letters and digits, all in lower case and at most 16",
                self.key_prefix
            ));
        }
        settings.key_prefix.clone_from(&self.key_prefix);
        let algorithm = self.signing_algorithm.parse::<Algorithm>();
        if let Some(algorithm) = problems.take("--signing-algorithm", algorithm) {
            settings.algorithm = algorithm;
        }
        if !self.signing_key_life.is_zero() && self.signing_key_life < SHORTEST_LIFE {
            problems.add("--signing-key-life: must be an hour at least, or 0s for ever");
        }
        settings.signing_key_life = self.signing_key_life;
        let github_keys = self.github_keys.clone();
        settings.github_keys = github_keys.filter(|file| !file.as_os_str().is_empty());
        if let Some(file) = &settings.github_keys {
            problems.take("--github-keys", read(file));
        }
        KeyOptions {
            master: self.master.check(problems),
            has_issuer: issuer.is_some(),
            settings,
        }
    }
}

/// An issuer is compared letter by letter, and paths are appended to it (RFC 8414).
fn check_issuer(issuer: &str, problems: &mut Problems) {
    let uri = issuer.parse::<http::Uri>().ok();
    let is_url = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_url || issuer.contains(['?', '#']) || issuer.ends_with('/') {
        problems.add(format!(
            "--issuer: `{issuer}` is no URL such as https://muster.example.com, without a slash at its end"
        ));
    }
}

/// The master key, which comes from the environment or a file only; and the
/// one before, while it changes.
#[derive(Args)]
pub(crate) struct Master {
    /// File with the master key, 32 bytes in base64; or set MUSTER_MASTER_KEY
    #[arg(long, value_name = "FILE", env = "MUSTER_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    /// File with the master key before this one, while it changes; or set MUSTER_OLD_MASTER_KEY
    #[arg(long, value_name = "FILE", env = "MUSTER_OLD_MASTER_KEY_FILE")]
    old_master_key_file: Option<PathBuf>,
}

/// The master key, and the one before while it changes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Masters {
    pub(crate) key: [u8; 32],
    pub(crate) old: Option<[u8; 32]>,
}

impl Master {
    /// The master key, if one is named.
    pub(crate) fn check(&self, problems: &mut Problems) -> Option<Masters> {
        let key = one(
            ("MUSTER_MASTER_KEY", "--master-key-file"),
            self.master_key_file.as_ref(),
            problems,
        );
        let old = one(
            ("MUSTER_OLD_MASTER_KEY", "--old-master-key-file"),
            self.old_master_key_file.as_ref(),
            problems,
        );
        if key.is_none() && old.is_some() {
            problems.add("--old-master-key-file: the new master key is missing; set MUSTER_MASTER_KEY or --master-key-file");
        }
        key.map(|key| Masters { key, old })
    }
}

/// A key of the environment or, if it has none, of a file.
fn one(
    (variable, flag): (&str, &str),
    file: Option<&PathBuf>,
    problems: &mut Problems,
) -> Option<[u8; 32]> {
    let parse = |text: String| data_dir::parse_master_key(text.trim());
    let file = file.filter(|file| !file.as_os_str().is_empty());
    match (secret(variable), file) {
        (Some(text), _) => problems.take(variable, parse(text)),
        (None, Some(file)) => {
            let text = problems.take(flag, read(file));
            text.and_then(|text| problems.take(flag, parse(text)))
        }
        (None, None) => None,
    }
}

impl Masters {
    /// One without another before it.
    pub(crate) fn only(key: [u8; 32]) -> Self {
        Self { key, old: None }
    }

    /// What wraps and unwraps.
    pub(crate) fn key(&self) -> Result<MasterKey> {
        let key = MasterKey::new(&self.key)?;
        Ok(match &self.old {
            Some(old) => key.with_old(MasterKey::new(old)?),
            None => key,
        })
    }
}
