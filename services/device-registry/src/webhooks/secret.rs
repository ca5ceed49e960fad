//! What deliveries are signed with, as the Standard Webhooks specification
//! (version 1) says: HMAC-SHA-256 of id, time and body.

use aws_lc_rs::{hmac, rand};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::{Error, Result};
use chrono::{DateTime, Utc};

/// What a secret begins with.
pub(super) const PREFIX: &str = "whsec_";

/// A new secret: 32 random bytes.
pub(super) fn generate() -> Result<String> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| Error::internal("no random numbers"))?;
    Ok(format!("{PREFIX}{}", BASE64_STANDARD.encode(bytes)))
}

/// The value of `webhook-signature`: one by each secret that counts.
pub(super) fn signatures(secrets: &[String], id: &str, now: DateTime<Utc>, body: &str) -> String {
    let secrets = secrets.iter();
    let signed = secrets.map(|secret| signature(secret, id, now.timestamp(), body));
    signed.collect::<Vec<_>>().join(" ")
}

fn signature(secret: &str, id: &str, seconds: i64, body: &str) -> String {
    let encoded = secret.strip_prefix(PREFIX).unwrap_or(secret);
    let key = BASE64_STANDARD.decode(encoded).unwrap_or_default();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let tag = hmac::sign(&key, format!("{id}.{seconds}.{body}").as_bytes());
    format!("v1,{}", BASE64_STANDARD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_the_specification() {
        // The example of the specification's reference implementations.
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(
            signature(secret, id, 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_secret_is_long_enough_and_new() {
        let (a, b) = (generate().unwrap(), generate().unwrap());
        assert_ne!(a, b);
        let bytes = BASE64_STANDARD.decode(a.strip_prefix(PREFIX).unwrap());
        assert_eq!(bytes.unwrap().len(), 32);
    }
}
