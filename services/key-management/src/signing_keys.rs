//! Signing keys, without a database: which one signs, which are published, and
//! how a pair is made and signs. What a key does follows from the rows and the
//! time alone, so all replicas agree on it.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::revocation::MAX_TOKEN_LIFE;
use chassis::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use proto::keys::Jwk;
use serde_json::{Value, json};

use crate::entity::signing_key::Model;

/// How long before it signs a key is published: longer than anybody keeps the
/// published keys.
pub(crate) const LEAD: TimeDelta = TimeDelta::minutes(10);
/// How much longer than its last token a key is published: clocks may be apart.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// How tokens are signed (RFC 7518, RFC 8037).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256 and 2048 bits.
    Rs256,
}

impl Algorithm {
    /// All that there are.
    const ALL: [Self; 3] = [Self::Es256, Self::EdDsa, Self::Rs256];

    /// As in `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|known| known.as_str().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("`{text}` is none of ES256, EdDSA and RS256"))
    }
}

/// What a key does at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is published, and will sign.
    Pending,
    /// It signs.
    Signing,
    /// It has signed, and is published as long as what it signed may live.
    Retired,
    /// All that it signed has expired.
    Expired,
    /// What it signed is refused.
    Revoked,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Signing => "signing",
            Self::Retired => "retired",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// From when on a key signs.
pub(crate) fn activate_time(key: &Model) -> DateTime<Utc> {
    key.activate_time.unwrap_or(key.create_time)
}

fn order(key: &Model) -> (DateTime<Utc>, i64) {
    (activate_time(key), key.number)
}

/// The keys that can sign, best first: the last one whose time has come, those
/// before it, and those whose time will come, for another process's clock may
/// be ahead of ours.
pub(crate) fn signers(keys: &[Model], now: DateTime<Utc>) -> Vec<&Model> {
    let can = |key: &&Model| key.revoke_time.is_none() && !key.wrapped.is_empty();
    let (mut come, mut to_come): (Vec<_>, Vec<_>) = keys
        .iter()
        .filter(can)
        .partition(|key| activate_time(key) <= now);
    come.sort_by_key(|key| std::cmp::Reverse(order(key)));
    to_come.sort_by_key(|key| order(key));
    come.extend(to_come);
    come
}

/// The key that signs.
pub(crate) fn signing(keys: &[Model], now: DateTime<Utc>) -> Option<&Model> {
    signers(keys, now).into_iter().next()
}

/// When another key begins to sign in this one's place, if one is known.
pub(crate) fn supersede_time(keys: &[Model], key: &Model) -> Option<DateTime<Utc>> {
    let after = |other: &&Model| other.revoke_time.is_none() && order(other) > order(key);
    keys.iter().filter(after).map(activate_time).min()
}

/// Until when a key is published, if its end is known.
pub(crate) fn publish_end(keys: &[Model], key: &Model) -> Option<DateTime<Utc>> {
    supersede_time(keys, key).map(|time| time + MAX_TOKEN_LIFE + MARGIN)
}

/// What a key does.
pub(crate) fn state(keys: &[Model], key: &Model, now: DateTime<Utc>) -> State {
    if key.revoke_time.is_some() {
        return State::Revoked;
    }
    if activate_time(key) > now {
        return State::Pending;
    }
    match (supersede_time(keys, key), publish_end(keys, key)) {
        (_, Some(end)) if end <= now => State::Expired,
        (Some(superseded), _) if superseded <= now => State::Retired,
        _ => State::Signing,
    }
}

/// The key that will sign next, if it is there.
pub(crate) fn pending(keys: &[Model], now: DateTime<Utc>) -> Option<&Model> {
    let mut all = keys.iter();
    all.find(|key| state(keys, key, now) == State::Pending)
}

/// The keys that verifiers must know.
pub(crate) fn published(keys: &[Model], now: DateTime<Utc>) -> impl Iterator<Item = &Model> {
    let is_known =
        move |key: &&Model| !matches!(state(keys, key, now), State::Expired | State::Revoked);
    keys.iter().filter(is_known)
}

/// The keys that never sign again, and whose private halves are still there.
pub(crate) fn spent(keys: &[Model], now: DateTime<Utc>) -> impl Iterator<Item = &Model> {
    let is_spent = move |key: &&Model| {
        !key.wrapped.is_empty() && matches!(state(keys, key, now), State::Expired | State::Revoked)
    };
    keys.iter().filter(is_spent)
}

/// When a key must be made to begin signing, so that no key signs for longer
/// than `life`; nothing as long as that has time, or if it is zero.
pub(crate) fn due(keys: &[Model], now: DateTime<Utc>, life: TimeDelta) -> Option<DateTime<Utc>> {
    let Some(signing) = signing(keys, now) else {
        // Without any, there is nothing to overlap with.
        return Some(now);
    };
    if life.is_zero() || pending(keys, now).is_some() {
        return None;
    }
    let end = activate_time(signing) + life;
    (end - LEAD <= now).then(|| end.max(now + LEAD))
}

/// The number of the next key: of those who make one at once, one wins.
pub(crate) fn next_number(keys: &[Model]) -> i64 {
    keys.iter().map(|key| key.number).max().unwrap_or(0) + 1
}

/// The public half, as it is published.
pub(crate) fn jwk(key: &Model) -> Jwk {
    let member = |name: &str| {
        let value = key.jwk.as_ref().and_then(|jwk| jwk.get(name));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Jwk {
        kty: member("kty"),
        r#use: "sig".to_owned(),
        alg: key.algorithm.clone(),
        kid: key.kid.clone(),
        crv: member("crv"),
        x: member("x"),
        y: member("y"),
        n: member("n"),
        e: member("e"),
    }
}

/// A private key that is read once: an RSA key takes longer to read than to
/// sign with.
pub(crate) enum Pair {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
    Rs256(rsa::KeyPair),
}

impl Pair {
    pub(crate) fn generate(algorithm: Algorithm) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                Self::Es256(pair.map_err(Error::internal)?)
            }
            Algorithm::EdDsa => Self::EdDsa(Ed25519KeyPair::generate().map_err(Error::internal)?),
            Algorithm::Rs256 => {
                Self::Rs256(rsa::KeyPair::generate(KeySize::Rsa2048).map_err(Error::internal)?)
            }
        })
    }

    /// Reads PKCS #8.
    pub(crate) fn read(algorithm: Algorithm, private: &[u8]) -> Result<Self> {
        Ok(match algorithm {
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private);
                Self::Es256(pair.map_err(Error::internal)?)
            }
            Algorithm::EdDsa => {
                Self::EdDsa(Ed25519KeyPair::from_pkcs8(private).map_err(Error::internal)?)
            }
            Algorithm::Rs256 => {
                Self::Rs256(rsa::KeyPair::from_pkcs8(private).map_err(Error::internal)?)
            }
        })
    }

    /// PKCS #8, to be wrapped.
    pub(crate) fn private(&self) -> Result<Vec<u8>> {
        Ok(match self {
            Self::Es256(pair) => pair.to_pkcs8v1().map_err(Error::internal)?.as_ref().into(),
            Self::EdDsa(pair) => pair.to_pkcs8v1().map_err(Error::internal)?.as_ref().into(),
            Self::Rs256(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair)
                .map_err(Error::internal)?
                .as_ref()
                .into(),
        })
    }

    /// The public half, without `kid`, `alg` and `use` (RFC 7517).
    pub(crate) fn public(&self) -> Value {
        let text = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Es256(pair) => {
                // An uncompressed point: 4, then 32 bytes of x and 32 bytes of y (SEC 1).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "x": text(x), "y": text(y)})
            }
            Self::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
            Self::Rs256(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (
                    n.big_endian_without_leading_zero(),
                    e.big_endian_without_leading_zero(),
                );
                json!({"kty": "RSA", "n": text(n), "e": text(e)})
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let random = SystemRandom::new();
        Ok(match self {
            Self::Es256(pair) => {
                let signature = pair.sign(&random, message).map_err(Error::internal)?;
                signature.as_ref().to_vec()
            }
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(Error::internal)?;
                signature
            }
        })
    }
}

#[cfg(test)]
#[path = "signing_keys/tests.rs"]
mod tests;
