//! How an API key is written: `<prefix>_<id>_<secret><checksum>`, where the
//! prefix may be followed by an environment: `muster_test_…`.
//!
//! It is found by its id; the secret has 214 random bits; and the checksum
//! lets anybody, such as a scanner for leaked secrets, tell a key from a
//! string that only looks like one, without asking us.

use aws_lc_rs::rand;
use uuid::Uuid;

use crate::error::{Error, Result};

/// What keys begin with if the operator does not say.
pub const PREFIX: &str = "muster";
/// The longest prefix, in characters.
const LONGEST_PREFIX: usize = 16;
/// Letters and digits, in the order of ASCII.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 36 characters of 62: 214 bits.
const SECRET: usize = 36;
/// CRC-32 in base 62.
const CHECKSUM: usize = 6;
/// A UUID without hyphens.
const ID: usize = 32;

/// A key that was presented, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What it begins with, without an environment.
    pub prefix: &'a str,
    /// Its environment; empty if it has none.
    pub environment: &'a str,
    /// The key's id.
    pub id: Uuid,
    /// Its secret.
    pub secret: &'a str,
}

/// Why a text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKey {
    /// It is not written like one.
    Form,
    /// It is, but its checksum is wrong.
    Checksum,
}

/// Takes a key apart.
pub fn parse(key: &str) -> Result<Parts<'_>, NoKey> {
    let (rest, tail) = key.rsplit_once('_').ok_or(NoKey::Form)?;
    let (rest, id) = rest.rsplit_once('_').ok_or(NoKey::Form)?;
    let (prefix, environment) = rest.split_once('_').unwrap_or((rest, ""));
    let well_formed = tail.len() == SECRET + CHECKSUM
        && tail.bytes().all(|b| b.is_ascii_alphanumeric())
        && is_prefix(prefix)
        && (rest.len() == prefix.len() || is_prefix(environment))
        && id.len() == ID
        && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !well_formed {
        return Err(NoKey::Form);
    }
    let (body, sum) = key.split_at(key.len() - CHECKSUM);
    if checksum(body) != sum {
        return Err(NoKey::Checksum);
    }
    Ok(Parts {
        prefix,
        environment,
        id: Uuid::try_parse(id).map_err(|_| NoKey::Form)?,
        secret: &tail[..SECRET],
    })
}

/// Whether keys may begin with this: a letter, then letters and digits, all
/// in lower case, at most 16.
pub fn is_prefix(text: &str) -> bool {
    text.len() <= LONGEST_PREFIX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// A regular expression that every key of a prefix matches, without `^` and `$`.
pub fn pattern(prefix: &str) -> String {
    format!(
        "{prefix}_(?:[a-z][a-z0-9]{{0,15}}_)?[0-9a-f]{{{ID}}}_[0-9A-Za-z]{{{}}}",
        SECRET + CHECKSUM
    )
}

/// A well-formed key that nobody has, for whoever tries a scanner's rule.
pub fn example(prefix: &str) -> String {
    write(prefix, "", Uuid::nil(), &"0".repeat(SECRET))
}

/// Writes a key, with the checksum of what it is made of.
pub fn write(prefix: &str, environment: &str, id: Uuid, secret: &str) -> String {
    let id = id.simple();
    let body = match environment {
        "" => format!("{prefix}_{id}_{secret}"),
        environment => format!("{prefix}_{environment}_{id}_{secret}"),
    };
    let sum = checksum(&body);
    body + &sum
}

/// A new secret.
pub fn new_secret() -> Result<String> {
    random(SECRET)
}

/// Random letters and digits, each equally likely.
pub fn random(length: usize) -> Result<String> {
    let mut out = String::with_capacity(length);
    let mut bytes = [0u8; 64];
    while out.len() < length {
        rand::fill(&mut bytes).map_err(Error::internal)?;
        // 248 is the last multiple of 62: beyond it, some letters were likelier.
        let fair = bytes
            .iter()
            .filter(|b| **b < 248)
            .map(|b| char::from(BASE62[usize::from(b % 62)]));
        out.extend(fair.take(length - out.len()));
    }
    Ok(out)
}

fn checksum(body: &str) -> String {
    let mut rest = u64::from(crc32fast::hash(body.as_bytes()));
    let mut digits = [b'0'; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_as_it_was_written() {
        let (id, secret) = (Uuid::from_u128(7), new_secret().unwrap());
        for environment in ["", "test"] {
            let key = write("muster", environment, id, &secret);
            let read = parse(&key).unwrap();
            assert_eq!((read.prefix, read.environment), ("muster", environment));
            assert_eq!((read.id, read.secret), (id, secret.as_str()));
        }
    }

    #[test]
    fn one_changed_character_breaks_a_key() {
        let key = write(PREFIX, "live", Uuid::from_u128(7), &new_secret().unwrap());
        for at in 0..key.len() {
            let other = if &key[at..=at] == "x" { "y" } else { "x" };
            let changed = format!("{}{other}{}", &key[..at], &key[at + 1..]);
            assert!(parse(&changed).is_err(), "{at}");
        }
        for other in [
            "",
            "muster__",
            "\u{e9}\u{e9}\u{e9}_\u{e9}\u{e9}_a",
            "a_b_c_d_e",
        ] {
            assert_eq!(parse(other), Err(NoKey::Form), "{other}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_told_from_a_wrong_form() {
        let mut key = write(PREFIX, "", Uuid::from_u128(7), &new_secret().unwrap());
        let last = key.pop().unwrap();
        key.push(if last == 'a' { 'b' } else { 'a' });
        assert_eq!(parse(&key), Err(NoKey::Checksum));
    }

    #[test]
    fn secrets_differ_and_are_letters_and_digits() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(
            one != two && one.len() == SECRET && one.bytes().all(|b| b.is_ascii_alphanumeric())
        );
    }
}
