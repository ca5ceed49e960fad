//! Signing and verifying tokens by algorithm, on one core: signed with a key
//! that is held ready, as key management does, and verified by jsonwebtoken, as
//! every service does.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode};
use serde::{Deserialize, Serialize};

use crate::{Failure, say};

/// How long each is done.
const LONG: Duration = Duration::from_secs(2);

/// About as much as a token of Muster says.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    exp: i64,
    scope: String,
    tid: String,
}

pub(crate) fn run() -> Result<(), Failure> {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let public = DecodingKey::from_ec_der(pair.public_key().as_ref());
    measure(Algorithm::ES256, &public, |message| {
        Ok(pair.sign(&random, message)?.as_ref().to_vec())
    })?;
    let pair = Ed25519KeyPair::generate()?;
    let public = DecodingKey::from_ed_der(pair.public_key().as_ref());
    measure(Algorithm::EdDSA, &public, |message| {
        Ok(pair.sign(message).as_ref().to_vec())
    })?;
    let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
    let public = DecodingKey::from_rsa_der(pair.public_key().as_ref());
    measure(Algorithm::RS256, &public, |message| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)?;
        Ok(signature)
    })
}

fn measure(
    algorithm: Algorithm,
    public: &DecodingKey,
    sign: impl Fn(&[u8]) -> Result<Vec<u8>, Failure>,
) -> Result<(), Failure> {
    let id = "0198c5a2-7d1e-7bd0-9a3c-000000000001";
    let claims = Claims {
        iss: "https://muster.example.com".to_owned(),
        aud: "muster".to_owned(),
        sub: format!("key:{id}"),
        exp: i64::MAX / 2,
        scope: "devices.read devices.write tags.read sites.read".to_owned(),
        tid: id.to_owned(),
    };
    let header = Header::new(algorithm);
    let token = || {
        let part = |json: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(json);
        let (header, claims) = (serde_json::to_vec(&header)?, serde_json::to_vec(&claims)?);
        let message = format!("{}.{}", part(header), part(claims));
        let signature = part(sign(message.as_bytes())?);
        Ok::<_, Failure>(format!("{message}.{signature}"))
    };
    let signed = token()?;
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&["muster"]);
    let signs = times(|| token().map(drop))?;
    let verifies = times(|| Ok(decode::<Claims>(&signed, public, &validation).map(drop)?))?;
    say(&format!(
        "{algorithm:?}: sign {signs:>7.0}/s   verify {verifies:>7.0}/s   token {} bytes",
        signed.len()
    ));
    Ok(())
}

/// How often something is done in a second.
fn times(mut what: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let (begun, mut times) = (Instant::now(), 0u32);
    while begun.elapsed() < LONG {
        what()?;
        times += 1;
    }
    Ok(f64::from(times) / begun.elapsed().as_secs_f64())
}
