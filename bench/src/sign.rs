//! Signing and verifying tokens by algorithm, on one core.

use std::time::{Duration, Instant};

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use aws_lc_rs::{encoding::AsDer, rsa};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
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
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let private = pair.to_pkcs8v1()?;
    let keys = (
        EncodingKey::from_ec_der(private.as_ref()),
        DecodingKey::from_ec_der(pair.public_key().as_ref()),
    );
    measure(Algorithm::ES256, &keys)?;
    let pair = Ed25519KeyPair::generate()?;
    let private = pair.to_pkcs8v1()?;
    let keys = (
        EncodingKey::from_ed_der(private.as_ref()),
        DecodingKey::from_ed_der(pair.public_key().as_ref()),
    );
    measure(Algorithm::EdDSA, &keys)?;
    let pair = rsa::KeyPair::generate(KeySize::Rsa2048)?;
    let private: aws_lc_rs::encoding::Pkcs8V1Der<'_> = pair.as_der()?;
    let keys = (
        EncodingKey::from_rsa_der(private.as_ref()),
        DecodingKey::from_rsa_der(pair.public_key().as_ref()),
    );
    measure(Algorithm::RS256, &keys)
}

fn measure(algorithm: Algorithm, keys: &(EncodingKey, DecodingKey)) -> Result<(), Failure> {
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
    let token = encode(&header, &claims, &keys.0)?;
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&["muster"]);
    let signed = times(|| encode(&header, &claims, &keys.0).map(drop))?;
    let verified = times(|| decode::<Claims>(&token, &keys.1, &validation).map(drop))?;
    say(&format!(
        "{algorithm:?}: sign {signed:>7.0}/s   verify {verified:>7.0}/s   token {} bytes",
        token.len()
    ));
    Ok(())
}

/// How often something is done in a second.
fn times<E: Into<Failure>>(mut what: impl FnMut() -> Result<(), E>) -> Result<f64, Failure> {
    let (begun, mut times) = (Instant::now(), 0u32);
    while begun.elapsed() < LONG {
        what().map_err(Into::into)?;
        times += 1;
    }
    Ok(f64::from(times) / begun.elapsed().as_secs_f64())
}
