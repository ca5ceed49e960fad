//! How an API key is written: `<prefix>_<id>_<secret><checksum>`.
//!
//! It is found by its id; the secret has 214 random bits; and the checksum
//! lets anybody, such as a scanner for leaked secrets, tell a key from a
//! string that only looks like one, without asking us.

use aws_lc_rs::rand;
use chassis::{Error, Result};
use sea_orm::prelude::Uuid;

/// What every key begins with.
pub(crate) const PREFIX: &str = "muster";
/// Letters and digits, in the order of ASCII.
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 36 characters of 62: 214 bits.
const SECRET: usize = 36;
/// CRC-32 in base 62.
const CHECKSUM: usize = 6;

/// A key that was presented, taken apart.
pub(crate) struct Presented<'a> {
    /// The key's id.
    pub(crate) id: Uuid,
    /// Its secret.
    pub(crate) secret: &'a str,
}

/// Takes a key apart; `None` if its form or checksum is wrong.
pub(crate) fn parse(key: &str) -> Option<Presented<'_>> {
    let rest = key.strip_prefix(PREFIX)?.strip_prefix('_')?;
    let (id, tail) = rest.split_once('_')?;
    let well_formed = tail.len() == SECRET + CHECKSUM && tail.bytes().all(|b| BASE62.contains(&b));
    if id.len() != 32 || !well_formed {
        return None;
    }
    let (body, sum) = key.split_at(key.len() - CHECKSUM);
    if checksum(body) != sum {
        return None;
    }
    Some(Presented {
        id: Uuid::try_parse(id).ok()?,
        secret: &tail[..SECRET],
    })
}

/// Writes a key.
pub(crate) fn write(id: Uuid, secret: &str) -> String {
    let body = format!("{PREFIX}_{}_{secret}", id.simple());
    let sum = checksum(&body);
    body + &sum
}

/// A new secret.
pub(crate) fn new_secret() -> Result<String> {
    random(SECRET)
}

/// Random letters and digits, each equally likely.
pub(crate) fn random(length: usize) -> Result<String> {
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
        let key = write(id, &secret);
        let read = parse(&key).unwrap();
        assert_eq!((read.id, read.secret), (id, secret.as_str()));
    }

    #[test]
    fn one_changed_character_breaks_the_checksum() {
        let key = write(Uuid::from_u128(7), &new_secret().unwrap());
        for at in 0..key.len() {
            let other = if &key[at..=at] == "x" { "y" } else { "x" };
            let changed = format!("{}{other}{}", &key[..at], &key[at + 1..]);
            assert!(parse(&changed).is_none(), "{at}");
        }
        assert!(
            parse("").is_none()
                && parse("muster__").is_none()
                && parse("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}").is_none()
        );
    }

    #[test]
    fn secrets_differ_and_are_letters_and_digits() {
        let (one, two) = (new_secret().unwrap(), new_secret().unwrap());
        assert!(
            one != two && one.len() == SECRET && one.bytes().all(|b| b.is_ascii_alphanumeric())
        );
    }
}
