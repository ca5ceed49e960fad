//! Secrets that are needed again as they were, encrypted where they are kept.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

use crate::error::{Error, Result};

/// Bytes of a key of AES-256-GCM (NIST SP 800-38D).
pub const KEY: usize = 32;
/// Bytes of its nonce.
const NONCE: usize = 12;

/// A key that wraps secrets (AES-256-GCM, each with a random nonce).
pub struct WrappingKey(RandomizedNonceKey);

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey(..)")
    }
}

impl WrappingKey {
    /// Fails unless the key has [`KEY`] bytes.
    pub fn new(key: &[u8]) -> Result<Self> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(Error::internal)?;
        Ok(Self(key))
    }

    /// Encrypts a secret; `name`, what it is the secret of, is bound to it.
    pub fn wrap(&self, name: &str, secret: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = secret.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(Error::internal)?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Decrypts a secret; nothing if this key did not wrap it for this name.
    pub fn unwrap(&self, name: &str, wrapped: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut opened = sealed.to_vec();
        let name = Aad::from(name.as_bytes());
        let secret = self.0.open_in_place(nonce, name, &mut opened).ok()?;
        Some(secret.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_secret_opens_with_the_same_key_and_name_only() {
        let ours = WrappingKey::new(&[1; KEY]).unwrap();
        let other = WrappingKey::new(&[2; KEY]).unwrap();
        let wrapped = ours.wrap("name", b"secret").unwrap();
        assert_eq!(ours.unwrap("name", &wrapped).unwrap(), b"secret");
        assert!(other.unwrap("name", &wrapped).is_none());
        assert!(ours.unwrap("other", &wrapped).is_none());
        for length in 0..wrapped.len() {
            assert!(ours.unwrap("name", &wrapped[..length]).is_none());
        }
        assert_ne!(ours.wrap("name", b"secret").unwrap(), wrapped);
        assert!(WrappingKey::new(&[1; 16]).is_err());
    }
}
