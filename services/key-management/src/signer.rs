//! The one place that signs tokens: private keys never leave this module.

use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::error::Constraint;
use chassis::store::{Record, Store};
use chassis::token::{AUDIENCE, Claims};
use chassis::{Clock, Error, Result};
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proto::keys::Jwk;
use sea_orm::{ActiveValue::Set, EntityTrait, QueryOrder};
use tokio::sync::OnceCell;

use crate::entity::signing_key::{ActiveModel, Column, Entity, Model};
use crate::master_key::MasterKey;

/// Algorithm of new keys (RFC 7518).
const ALGORITHM: &str = "ES256";

/// Signs tokens with the newest key. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Inner>);

struct Inner {
    store: Store,
    master: Arc<MasterKey>,
    clock: Clock,
    issuer: String,
    /// Loaded when they are first needed: the service starts before its database does.
    keys: OnceCell<Keys>,
}

struct Keys {
    kid: String,
    key: EncodingKey,
    public: Vec<Jwk>,
}

impl Signer {
    pub(crate) fn new(store: Store, master: Arc<MasterKey>, clock: Clock, issuer: String) -> Self {
        Self(Arc::new(Inner {
            issuer,
            store,
            master,
            clock,
            keys: OnceCell::new(),
        }))
    }

    /// The keys; makes the first one.
    async fn keys(&self) -> Result<&Keys> {
        self.0.keys.get_or_try_init(|| self.load()).await
    }

    async fn load(&self) -> Result<Keys> {
        let Inner {
            store,
            master,
            clock,
            ..
        } = &*self.0;
        let mut keys = all(store).await?;
        if keys.is_empty() {
            let first = generate(master, clock)?;
            let kid = first.kid.as_ref().clone();
            let record = Record::of_installation("key-management", ("signingKeys", kid));
            store
                .change_global("make the first signing key", record, async |tx| {
                    tx.insert(first).await.map(drop)
                })
                .await
                .or_else(existing)?;
            keys = all(store).await?;
        }
        let newest = keys
            .last()
            .ok_or_else(|| Error::internal("there is no signing key"))?;
        let private = master.unwrap(&newest.kid, &newest.wrapped)?;
        Ok(Keys {
            kid: newest.kid.clone(),
            key: EncodingKey::from_ec_der(&private),
            public: keys.iter().map(public).collect(),
        })
    }

    /// Signs a token that lives for `life` seconds from `begin` on. It counts
    /// as issued when its credential was `looked_up`, by the clock of the
    /// database: what is revoked later revokes it too.
    pub(crate) async fn sign(
        &self,
        claims: Claims,
        looked_up: DateTime<Utc>,
        begin: DateTime<Utc>,
        life: i64,
    ) -> Result<String> {
        let claims = Claims {
            iss: self.0.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            iat: looked_up.timestamp(),
            iat_us: looked_up.timestamp_micros(),
            exp: begin.timestamp() + life,
            ..claims
        };
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".to_owned());
        let keys = self.keys().await?;
        header.kid = Some(keys.kid.clone());
        encode(&header, &claims, &keys.key).map_err(Error::internal)
    }

    /// The public keys.
    pub(crate) async fn public(&self) -> Result<Vec<Jwk>> {
        Ok(self.keys().await?.public.clone())
    }
}

/// Of replicas that start at once, only one makes the first key.
fn existing(error: Error) -> Result<()> {
    match error {
        Error::Constraint(Constraint::Unique(_)) => Ok(()),
        error => Err(error),
    }
}

async fn all(store: &Store) -> Result<Vec<Model>> {
    let tx = store.global("read the signing keys").await?;
    tx.all(Entity::find().order_by_asc(Column::Number)).await
}

fn generate(master: &MasterKey, clock: &Clock) -> Result<ActiveModel> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(Error::internal)?;
    let private = pair.to_pkcs8v1().map_err(Error::internal)?;
    // An uncompressed point: 4, then 32 bytes of x and 32 bytes of y (SEC 1).
    let point = pair.public_key().as_ref();
    let (x, y) = point[1..].split_at(32);
    let kid = clock.new_id().simple().to_string();
    let jwk = serde_json::json!({
        "kty": "EC",
        "crv": "P-256",
        "x": BASE64_URL_SAFE_NO_PAD.encode(x),
        "y": BASE64_URL_SAFE_NO_PAD.encode(y),
    });
    Ok(ActiveModel {
        // Said, and not counted: there is one first key.
        number: Set(1),
        wrapped: Set(master.wrap(&kid, private.as_ref())?),
        kid: Set(kid),
        algorithm: Set(ALGORITHM.to_owned()),
        jwk: Set(Some(jwk)),
        create_time: Set(clock.now()),
        activate_time: Set(Some(clock.now())),
        revoke_time: Set(None),
    })
}

fn public(key: &Model) -> Jwk {
    let member = |name: &str| {
        let value = key.jwk.as_ref().and_then(|jwk| jwk.get(name));
        let value = value.and_then(serde_json::Value::as_str);
        value.unwrap_or_default().to_owned()
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
