//! The master key: what protects everything else at rest. It wraps the private
//! keys that sign tokens and the peppers of hashes, so that it can be changed
//! by wrapping these anew. While it changes, the old one still unwraps.

use std::fmt;

use aws_lc_rs::hkdf;
use chassis::wrap::WrappingKey;
use chassis::{Error, Result};

/// What everything at rest is protected by: 32 random bytes that are never in
/// the database.
pub struct MasterKey {
    /// The first pepper, which is not made up: that of the first versions.
    first_pepper: [u8; 32],
    wrapping: WrappingKey,
    old: Option<Box<MasterKey>>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

impl MasterKey {
    /// Derives what is needed (HKDF-SHA-256, RFC 5869).
    pub fn new(key: &[u8; 32]) -> Result<Self> {
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, b"muster").extract(key);
        let wrapping = derive(&prk, b"signing-keys")?;
        Ok(Self {
            first_pepper: derive(&prk, b"pepper-1")?,
            wrapping: WrappingKey::new(&wrapping)?,
            old: None,
        })
    }

    /// The same, and the one before, which still unwraps.
    #[must_use]
    pub fn with_old(self, old: Self) -> Self {
        Self {
            old: Some(Box::new(old)),
            ..self
        }
    }

    /// The first pepper of an installation whose first master key this is.
    pub(crate) fn first_pepper(&self) -> &[u8; 32] {
        // With an old one, the installation began with that, or one before.
        self.old
            .as_ref()
            .map_or(&self.first_pepper, |old| &old.first_pepper)
    }

    /// Encrypts a secret; `name` is bound to it.
    pub(crate) fn wrap(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>> {
        self.wrapping.wrap(name, secret)
    }

    /// Decrypts a secret.
    pub(crate) fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<Vec<u8>> {
        match (self.wrapping.unwrap(name, wrapped), &self.old) {
            (Some(secret), _) => Ok(secret),
            (None, Some(old)) => old.unwrap(name, wrapped),
            (None, None) => Err(wrong_key()),
        }
    }

    /// What another master key wrapped, wrapped by this one; nothing if this
    /// one did.
    pub(crate) fn rewrap(&self, name: &str, wrapped: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.wrapping.unwrap(name, wrapped).is_some() {
            return Ok(None);
        }
        let secret = self.unwrap(name, wrapped)?;
        self.wrap(name, &secret).map(Some)
    }
}

fn wrong_key() -> Error {
    Error::internal(
        "the secrets in the database were wrapped by another master key: start with the one they were wrapped by",
    )
}

fn derive(prk: &hkdf::Prk, purpose: &[u8]) -> Result<[u8; 32]> {
    let mut out = [0; 32];
    let info = [purpose];
    prk.expand(&info, hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut out))
        .map_err(Error::internal)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_key_opens_with_the_same_master_key_and_name_only() {
        let (ours, other) = (
            MasterKey::new(&[1; 32]).unwrap(),
            MasterKey::new(&[2; 32]).unwrap(),
        );
        let wrapped = ours.wrap("kid", b"private").unwrap();
        assert_eq!(ours.unwrap("kid", &wrapped).unwrap(), b"private");
        assert!(other.unwrap("kid", &wrapped).is_err());
        assert!(ours.unwrap("other", &wrapped).is_err());
    }

    #[test]
    fn while_it_changes_the_old_one_still_unwraps() {
        let old = || MasterKey::new(&[1; 32]).unwrap();
        let wrapped = old().wrap("kid", b"private").unwrap();
        let both = MasterKey::new(&[2; 32]).unwrap().with_old(old());
        assert_eq!(both.unwrap("kid", &wrapped).unwrap(), b"private");
        let anew = both.wrap("kid", b"private").unwrap();
        assert!(old().unwrap("kid", &anew).is_err());
        let anew = both.rewrap("kid", &wrapped).unwrap().unwrap();
        let new = MasterKey::new(&[2; 32]).unwrap();
        assert_eq!(new.unwrap("kid", &anew).unwrap(), b"private");
        assert!(both.rewrap("kid", &anew).unwrap().is_none(), "it is done");
    }
}
