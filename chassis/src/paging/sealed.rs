//! Page tokens that nobody can make up, and that fit one query only.

use aws_lc_rs::{constant_time, hmac};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::error::{Error, Result};

/// First byte of a sealed token; [`super::write`] has others.
const VERSION: u8 = 2;
/// Bytes of the seal: half of an HMAC-SHA-256 (RFC 2104 allows it).
const SEAL: usize = 16;

/// Seals page tokens, with a key that all processes of a service share.
#[derive(Clone)]
pub struct Sealer(hmac::Key);

impl Sealer {
    /// Seals with this key.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token of a place in the answer to a query; `query` is whatever
    /// decides which rows there are, and in which order.
    pub fn seal(&self, query: &[&[u8]], place: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(place);
        bytes.extend(self.seal_of(query, place));
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token of the same query names.
    pub fn open(&self, query: &[&[u8]], token: &str) -> Result<Vec<u8>> {
        let refused = || {
            Error::invalid(
                "page_token",
                "is no token of a page of this very list; leave it out to begin at the first \
                 page, and change neither filter nor order from page to page",
            )
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token);
        let bytes = bytes.map_err(|_| refused())?;
        let (version, rest) = bytes.split_first().ok_or_else(refused)?;
        let split = rest.len().checked_sub(SEAL).ok_or_else(refused)?;
        let (place, seal) = rest.split_at(split);
        let genuine =
            constant_time::verify_slices_are_equal(&self.seal_of(query, place), seal).is_ok();
        match *version == VERSION && genuine {
            true => Ok(place.to_vec()),
            false => Err(refused()),
        }
    }

    fn seal_of(&self, query: &[&[u8]], place: &[u8]) -> [u8; SEAL] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in query {
            // Each with its length: no two queries look alike.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.update(place);
        let tag = context.sign();
        let mut seal = [0; SEAL];
        seal.copy_from_slice(&tag.as_ref()[..SEAL]);
        seal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_for_its_own_query_only() {
        let sealer = Sealer::new(&[7; 32]);
        let token = sealer.seal(&[b"tenant", b"a = 1"], b"place");
        assert_eq!(
            sealer.open(&[b"tenant", b"a = 1"], &token).unwrap(),
            b"place"
        );
        for query in [
            &[&b"tenant"[..], b"a = 2"][..],
            &[b"tenanta = 1"],
            &[b"tenant"],
        ] {
            assert!(sealer.open(query, &token).is_err(), "{query:?}");
        }
        let other = Sealer::new(&[8; 32]);
        assert!(other.open(&[b"tenant", b"a = 1"], &token).is_err());
    }

    #[test]
    fn whatever_is_changed_in_a_token_is_noticed() {
        let sealer = Sealer::new(&[7; 32]);
        let token = sealer.seal(&[b"q"], b"place");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            let token = BASE64_URL_SAFE_NO_PAD.encode(changed);
            assert!(sealer.open(&[b"q"], &token).is_err(), "{index}");
        }
        for token in ["", "x", "AgAA", "!"] {
            assert!(sealer.open(&[b"q"], token).is_err(), "{token}");
        }
    }
}
