//! Secrets of other systems that are taken over.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, ValueEnum};
use proto::keys::ForeignSecret;
use proto::keys::foreign_secret::Known;

use super::failure::Failure;
use super::secret::Source;

/// A secret, or what is known of it.
#[derive(Args)]
pub(crate) struct Foreign {
    /// What is read: the secret itself, or a hash of it
    #[arg(long, value_enum, default_value_t)]
    known_as: KnownAs,
    #[command(flatten)]
    source: Source,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum KnownAs {
    /// The secret itself
    #[default]
    Secret,
    /// SHA-256, in hexadecimal digits
    Sha256,
    /// bcrypt, such as `$2b$10$…`
    Bcrypt,
}

impl Foreign {
    /// Reads it.
    pub(crate) fn read(&self) -> Result<ForeignSecret, Failure> {
        let (what, known): (_, fn(String) -> Known) = match self.known_as {
            KnownAs::Secret => ("secret", Known::Raw),
            KnownAs::Sha256 => ("SHA-256", Known::Sha256),
            KnownAs::Bcrypt => ("bcrypt hash", Known::Bcrypt),
        };
        let text = self.source.read(what)?;
        Ok(ForeignSecret {
            known: Some(known(text)),
        })
    }

    /// Reads a key that is written as base64 of `<number>:<secret>`: the
    /// number, and its secret.
    pub(crate) fn read_pair(&self) -> Result<(String, ForeignSecret), Failure> {
        if self.known_as != KnownAs::Secret {
            return Err(
                Failure::new("a hash does not tell the number within the key")
                    .hint("say it with --foreign-id"),
            );
        }
        let text = self.source.read("key")?;
        let (id, secret) = taken_apart(&text).ok_or_else(|| {
            Failure::new("this is no base64 of a number, a colon and a secret")
                .hint("if it is the secret alone, say the number with --foreign-id")
        })?;
        let known = Some(Known::Raw(secret));
        Ok((id, ForeignSecret { known }))
    }
}

fn taken_apart(key: &str) -> Option<(String, String)> {
    let pair = String::from_utf8(BASE64_STANDARD.decode(key).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let number = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
    number.then(|| (id.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_with_a_number_is_taken_apart() {
        let key = BASE64_STANDARD.encode("17:s3cret:with:colons");
        let expected = ("17".to_owned(), "s3cret:with:colons".to_owned());
        assert_eq!(taken_apart(&key), Some(expected));
        for text in ["17:s3cret", "", &BASE64_STANDARD.encode("a:b")] {
            assert_eq!(taken_apart(text), None, "{text}");
        }
    }
}
