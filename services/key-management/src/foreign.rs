//! Secrets of other systems: how they are found and compared, until they are
//! hashed in our way or rotated.

use chassis::hash::sha256;
use chassis::{Error, Result};
use proto::Violation;
use proto::keys::ForeignFormat;
use proto::keys::foreign_secret::Known;
use tokio::sync::Semaphore;

use crate::entity::generation::Scheme;
use crate::key_format::{self, NoKey};
use crate::rotation::Kept;
use crate::vault::{Hash, Peppers};

/// How many bcrypt hashes are made at once: each takes a processor for tens of
/// milliseconds.
static BCRYPT: Semaphore = Semaphore::const_new(2);
/// How many may wait for that.
static WAITING: Semaphore = Semaphore::const_new(64);

/// The most digits that the id of a foreign key has.
const DIGITS: usize = 20;

/// `<number>:<secret>` taken apart.
pub(crate) fn pair(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.split_once(':')?;
    (is_number(id) && !secret.is_empty()).then_some((id, secret))
}

fn is_number(id: &str) -> bool {
    (1..=DIGITS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit())
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
    let _waits = WAITING.try_acquire().map_err(|_| Error::Exhausted {
        reason: "TOO_MANY_LOGINS",
        message: "too many secrets are being compared; try again later".into(),
    })?;
    let _permit = BCRYPT.acquire().await.map_err(Error::internal)?;
    let compared = tokio::task::spawn_blocking(move || bcrypt::verify(secret, &hash));
    // What can't be compared is not equal.
    Ok(compared.await.map_err(Error::internal)?.unwrap_or(false))
}

/// What is wrong with a key that shall be imported, all of it.
pub(crate) fn wrong(format: ForeignFormat, id: &str, known: &Known) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut add = |field: &str, description: &str| {
        wrong.push(Violation {
            field: field.to_owned(),
            rule: "value",
            description: description.to_owned(),
        });
    };
    if has_id(format.into()) {
        if !is_number(id) {
            add("foreign_id", "must be a number of at most 20 digits");
        }
        return wrong;
    }
    if !id.is_empty() {
        add("foreign_id", "must be empty: keys of this format have none");
    }
    match known {
        Known::Raw(raw) if key_format::parse(raw) != Err(NoKey::Form) => add(
            "secret.raw",
            "is written like a key of Muster, and would be taken for one",
        ),
        Known::Bcrypt(_) => add(
            "secret.bcrypt",
            "can't be: keys of this format are found by their hash, which bcrypt makes anew each time",
        ),
        Known::Raw(_) | Known::Sha256(_) => {}
    }
    wrong
}

/// By what a key that is imported is found.
pub(crate) fn digest(format: ForeignFormat, id: &str, known: &Known) -> Result<String> {
    Ok(match known {
        _ if has_id(format.into()) => digest_of_id(id),
        Known::Raw(raw) => digest_of_text(raw),
        Known::Sha256(digits) => digits.to_ascii_lowercase(),
        Known::Bcrypt(_) => return Err(Error::invalid("secret.bcrypt", "can't be found")),
    })
}

/// What is kept of a key that is imported, and by what it is found.
pub(crate) fn kept(peppers: &Peppers, digest: &str, known: Known) -> Result<Kept> {
    let lookup = peppers.lookup(digest)?;
    let mut kept = secret(peppers, known)?;
    if kept.scheme == Scheme::Bcrypt {
        // By this pepper it is found, though its hash needs none.
        kept.hash.pepper = lookup.pepper;
    }
    kept.lookup = Some(lookup.bytes);
    Ok(kept)
}

/// What is kept of a foreign secret.
pub(crate) fn secret(peppers: &Peppers, known: Known) -> Result<Kept> {
    Ok(match known {
        Known::Raw(raw) => peppers.hash(&raw)?.into(),
        Known::Sha256(digits) => Kept {
            scheme: Scheme::HmacOfSha256,
            ..peppers.hash(&digits.to_ascii_lowercase())?.into()
        },
        Known::Bcrypt(text) => Kept {
            scheme: Scheme::Bcrypt,
            hash: Hash {
                pepper: 0,
                bytes: text.into_bytes(),
            },
            lookup: None,
        },
    })
}
