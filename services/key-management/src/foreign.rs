//! Secrets of other systems: how they are found and compared, until they are
//! hashed in our way or rotated.

use chassis::{Error, Result};
use proto::keys::ForeignFormat;
use tokio::sync::Semaphore;

use chassis::hash::sha256;

/// How many bcrypt hashes are made at once: each takes a processor for tens of
/// milliseconds.
static BCRYPT: Semaphore = Semaphore::const_new(2);

/// `<number>:<secret>` taken apart.
pub(crate) fn pair(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.split_once(':')?;
    let number = !id.is_empty() && id.len() <= 20 && id.bytes().all(|b| b.is_ascii_digit());
    (number && !secret.is_empty()).then_some((id, secret))
}

/// Whether keys of this format have an id by which they are found.
pub(crate) fn has_id(format: i32) -> bool {
    ForeignFormat::try_from(format) == Ok(ForeignFormat::Base64IdSecret)
}

/// What an opaque key is found by.
pub(crate) fn digest_of_text(text: &str) -> String {
    sha256_hex(text)
}

/// What a key with an id is found by: no text's SHA-256 looks like this.
pub(crate) fn digest_of_id(id: &str) -> String {
    format!("id:{id}")
}

/// In lower case.
pub(crate) fn sha256_hex(text: &str) -> String {
    let digest = sha256(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a secret is the one of a bcrypt hash.
pub(crate) async fn is_bcrypt(secret: &str, hash: &[u8]) -> Result<bool> {
    let hash = String::from_utf8(hash.to_vec()).map_err(Error::internal)?;
    let secret = secret.to_owned();
    let _permit = BCRYPT.acquire().await.map_err(Error::internal)?;
    let compared = tokio::task::spawn_blocking(move || bcrypt::verify(secret, &hash));
    // What can't be compared is not equal.
    Ok(compared.await.map_err(Error::internal)?.unwrap_or(false))
}
