//! The master key: what protects everything else at rest. The pepper of
//! hashes and the key that wraps private keys are derived from it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::{hkdf, hmac};
use chassis::{Error, Result};

/// Which pepper hashes are made with today.
pub(crate) const PEPPER: i32 = 1;
/// Length of an AES-GCM nonce.
const NONCE: usize = 12;

/// What everything at rest is protected by: 32 random bytes that are never in
/// the database.
pub struct MasterKey {
    pepper: hmac::Key,
    wrapping: RandomizedNonceKey,
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
        let pepper = derive(&prk, b"pepper-1")?;
        let wrapping = derive(&prk, b"signing-keys")?;
        Ok(Self {
            pepper: hmac::Key::new(hmac::HMAC_SHA256, &pepper),
            wrapping: RandomizedNonceKey::new(&AES_256_GCM, &wrapping).map_err(Error::internal)?,
        })
    }

    /// What is kept of a secret that has enough random bits of its own.
    pub(crate) fn hash(&self, secret: &str) -> Vec<u8> {
        hmac::sign(&self.pepper, secret.as_bytes())
            .as_ref()
            .to_vec()
    }

    /// Whether a secret is the one that was hashed; in constant time.
    pub(crate) fn verify(&self, secret: &str, hash: &[u8]) -> bool {
        hmac::verify(&self.pepper, secret.as_bytes(), hash).is_ok()
    }

    /// Encrypts a private key; `name` is bound to it.
    pub(crate) fn wrap(&self, name: &str, private: &[u8]) -> Result<Vec<u8>> {
        let mut sealed = private.to_vec();
        let nonce = self
            .wrapping
            .seal_in_place_append_tag(Aad::from(name.as_bytes()), &mut sealed)
            .map_err(Error::internal)?;
        let mut out = nonce.as_ref().to_vec();
        out.append(&mut sealed);
        Ok(out)
    }

    /// Decrypts a private key.
    pub(crate) fn unwrap(&self, name: &str, wrapped: &[u8]) -> Result<Vec<u8>> {
        let (nonce, sealed) = wrapped.split_at_checked(NONCE).ok_or_else(wrong_key)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(Error::internal)?;
        let mut opened = sealed.to_vec();
        let private = self
            .wrapping
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut opened)
            .map_err(|_| wrong_key())?;
        Ok(private.to_vec())
    }
}

fn wrong_key() -> Error {
    Error::internal(
        "the signing keys were wrapped by another master key: start with the one they were made with",
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
    fn a_hash_verifies_its_secret_only() {
        let key = MasterKey::new(&[1; 32]).unwrap();
        assert!(key.verify("secret", &key.hash("secret")));
        assert!(!key.verify("Secret", &key.hash("secret")));
    }
}
