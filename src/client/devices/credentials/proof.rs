//! What a credential is made of: a secret, a certificate or an authority.

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use crate::client::failure::Failure;
use crate::client::secret::read_file;

/// What a device brings; without any of it, a secret is generated.
#[derive(Args)]
#[group(multiple = false)]
pub(super) struct Brought {
    /// Take the secret in this file, 16 characters or more, or that on standard input if it is `-`
    /// [default: one is generated]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Take the certificate (X.509, PEM) in this file, or that on standard input if it is `-`
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

impl Brought {
    /// The secret, and the certificate; one or both are empty.
    pub(super) fn read(&self) -> Result<(String, String), Failure> {
        let read = |path: &Option<PathBuf>, what| {
            path.as_deref()
                .map_or(Ok(String::new()), |path| read_file(path, what))
        };
        let secret = read(&self.secret_file, "secret")?;
        Ok((secret, read(&self.certificate, "certificate")?))
    }
}

/// What a new credential is.
#[derive(Args)]
pub(super) struct Proof {
    #[command(flatten)]
    pub(super) brought: Brought,
    /// Take the certificate of this SHA-256, in hexadecimal digits with or without colons
    #[arg(long, value_name = "SHA256", value_parser = fingerprint, conflicts_with = "Brought")]
    pub(super) fingerprint: Option<String>,
    /// Take any certificate that this authority issues to the device
    #[arg(long, value_name = "ID", conflicts_with_all = ["Brought", "fingerprint"])]
    pub(super) authority: Option<Uuid>,
}

/// A fingerprint as the contract has it; other programs print it with colons and capitals.
fn fingerprint(text: &str) -> Result<String, String> {
    let digits = text.replace(':', "").to_ascii_lowercase();
    match digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => Ok(digits),
        false => Err("write the 64 hexadecimal digits of a SHA-256".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_other_programs_print_it() {
        let printed = ["0A"; 32].join(":");
        assert_eq!(fingerprint(&printed), Ok("0a".repeat(32)));
        assert_eq!(fingerprint(&"0a".repeat(32)), Ok("0a".repeat(32)));
        for text in ["", "0a", &"0a".repeat(33), &"0g".repeat(32)] {
            assert!(fingerprint(text).is_err(), "{text}");
        }
    }
}
