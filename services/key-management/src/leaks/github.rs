//! Reports in the format of GitHub's secret scanning partner programme, and
//! the signature that shows that they come from there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tonic::metadata::MetadataMap;

/// The header that names the key of the signature.
const IDENTIFIER: &str = "github-public-key-identifier";
/// The header that holds the signature: base64 of ASN.1.
const SIGNATURE: &str = "github-public-key-signature";
/// How often the file is read again, though nothing says that it has changed.
const AGAIN: Duration = Duration::from_secs(60);

/// GitHub's public keys, from a file that the operator keeps.
pub(super) struct Github {
    file: Option<PathBuf>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// DER of SubjectPublicKeyInfo (RFC 5280), by identifier.
    keys: HashMap<String, Vec<u8>>,
    read: Option<Read>,
}

/// When the file was read, and what time of its last change it had.
struct Read {
    at: Instant,
    changed: SystemTime,
}

/// The file, as GitHub publishes it.
#[derive(Deserialize)]
struct Published {
    public_keys: Vec<PublishedKey>,
}

#[derive(Deserialize)]
struct PublishedKey {
    key_identifier: String,
    key: String,
}

/// A found token.
#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) token: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    pub(super) url: String,
}

/// What GitHub is told of it.
#[derive(Serialize)]
pub(super) struct Label {
    token_raw: String,
    token_type: String,
    label: &'static str,
}

impl Found {
    pub(super) fn label(self, known: bool) -> Label {
        Label {
            token_raw: self.token,
            token_type: self.kind,
            label: if known {
                "true_positive"
            } else {
                "false_positive"
            },
        }
    }
}

/// The found tokens of a report, of which it may have so many.
pub(super) fn read(body: &[u8], most: usize) -> Result<Vec<Found>> {
    let wrong = |description: String| Error::invalid("body", description);
    let found: Vec<Found> = serde_json::from_slice(body).map_err(|error| {
        wrong(format!(
            "must be a JSON array of objects with `token`, `type`, `url` and `source`: {error}"
        ))
    })?;
    match found.len() <= most {
        true => Ok(found),
        false => Err(wrong(format!("must have at most {most} tokens"))),
    }
}

impl Github {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            known: Mutex::default(),
        }
    }

    /// Refuses what GitHub has not signed.
    pub(super) async fn check(&self, metadata: &MetadataMap, body: &[u8]) -> Result<()> {
        let file = self.file.as_ref().ok_or_else(|| {
            Error::precondition(
                "LEAKS_NOT_CONFIGURED",
                "the operator has not configured GitHub's public keys (--github-keys)",
            )
        })?;
        let text = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let (Some(identifier), Some(signature)) = (text(IDENTIFIER), text(SIGNATURE)) else {
            return Err(refused());
        };
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| refused())?;
        let key = self.key(file, identifier).await?.ok_or_else(refused)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key)
            .verify(body, &signature)
            .map_err(|_| refused())
    }

    /// A public key that is in the file now: what the operator has taken out
    /// is not trusted any more.
    async fn key(&self, file: &Path, identifier: &str) -> Result<Option<Vec<u8>>> {
        let mut known = self.known.lock().await;
        let changed = tokio::fs::metadata(file).await.and_then(|of| of.modified());
        let changed = changed.map_err(Error::internal)?;
        let read = known.read.as_ref();
        if read.is_none_or(|read| read.changed != changed || read.at.elapsed() >= AGAIN) {
            let text = tokio::fs::read(file).await.map_err(Error::internal)?;
            let published: Published = serde_json::from_slice(&text).map_err(Error::internal)?;
            let keys = published.public_keys.into_iter();
            known.keys = keys
                .filter_map(|key| Some((key.key_identifier, der(&key.key)?)))
                .collect();
            known.read = Some(Read {
                at: Instant::now(),
                changed,
            });
        }
        Ok(known.keys.get(identifier).cloned())
    }
}

fn refused() -> Error {
    Error::denied(
        "BAD_SIGNATURE",
        "the report is not signed by a key that the operator has configured",
    )
}

/// The inside of a PEM block (RFC 7468).
fn der(pem: &str) -> Option<Vec<u8>> {
    let inside: String = pem
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .map(str::trim)
        .collect();
    BASE64_STANDARD.decode(inside).ok()
}
