//! What keeps a user logged in: `mss_<id>_<secret>`. The prefix lets secret
//! scanners find it; the id finds the row without searching for a secret.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::hash::sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

const PREFIX: &str = "mss_";

/// A session's id and secret. Has no `Debug`, so that it reaches no log.
pub(crate) struct SessionToken {
    pub(crate) id: Uuid,
    secret: [u8; 32],
}

impl SessionToken {
    /// The token of a session with a random secret.
    pub(crate) fn new(id: Uuid, secret: [u8; 32]) -> Self {
        Self { id, secret }
    }

    /// Reads what a client presents.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let (id, secret) = token.strip_prefix(PREFIX)?.split_once('_')?;
        let id = Uuid::try_parse(id).ok()?;
        let secret = BASE64_URL_SAFE_NO_PAD.decode(secret).ok()?;
        let secret = secret.try_into().ok()?;
        Some(Self { id, secret })
    }

    /// The token as the client gets it, once.
    pub(crate) fn reveal(&self) -> String {
        let secret = BASE64_URL_SAFE_NO_PAD.encode(self.secret);
        format!("{PREFIX}{}_{secret}", self.id.simple())
    }

    /// What is stored.
    pub(crate) fn hash(&self) -> [u8; 32] {
        sha256(&self.secret)
    }

    /// Whether the secret is the one whose hash was stored.
    pub(crate) fn proves(&self, stored: &[u8]) -> bool {
        self.hash().ct_eq(stored).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str =
        "mss_0199d1f0000070008000000000000001_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

    fn token() -> SessionToken {
        let id = Uuid::from_u128(0x0199_d1f0_0000_7000_8000_0000_0000_0001);
        SessionToken::new(id, [7; 32])
    }

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        assert_eq!(token().reveal(), TOKEN);
        let read = SessionToken::parse(TOKEN).unwrap();
        assert_eq!(read.id, token().id);
        assert!(read.proves(&token().hash()));
    }

    #[test]
    fn another_secret_proves_nothing() {
        let other = SessionToken::new(token().id, [8; 32]);
        assert!(!other.proves(&token().hash()));
        assert!(!token().proves(&[]));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let short = &TOKEN[..TOKEN.len() - 1];
        let long = format!("{TOKEN}A");
        let other = TOKEN.replace("mss_", "msk_");
        for text in ["", "mss_", "mss__", short, &long, &other] {
            assert!(SessionToken::parse(text).is_none(), "{text}");
        }
    }
}
