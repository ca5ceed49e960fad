//! The one place that signs tokens: private keys never leave this module. What
//! the keys do is told by [`signing_keys`]; here they are read, made in time,
//! and forgotten.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::error::Constraint;
use chassis::revocation::{Revocable, Revocations};
use chassis::store::{Record, Store};
use chassis::token::{AUDIENCE, Claims};
use chassis::{Clock, Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::Header;
use proto::keys::Jwk;
use sea_orm::sea_query::Expr;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde::Serialize;

use crate::Settings;
use crate::entity::signing_key::{ActiveModel, Column, Entity, Model};
use crate::master_key::MasterKey;
use crate::signing_keys::{self, Algorithm, Pair};

/// How often the keys are read again: another process may have made one.
const LOOK: Duration = Duration::from_secs(5);
/// How long whoever asks for the public keys waits for the database.
const PATIENCE: Duration = Duration::from_secs(1);
/// How old the keys may be that are published, whoever asks for them however
/// often: a key that signs at once must be found by who sees it first.
const FRESH: Duration = Duration::from_millis(100);

/// Signs tokens with the key whose time it is. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Signer(Arc<Inner>);

struct Inner {
    store: Store,
    master: Arc<MasterKey>,
    clock: Clock,
    issuer: String,
    algorithm: Algorithm,
    life: TimeDelta,
    revocations: Revocations,
    /// Read when they are first needed: the service starts before its database does.
    known: RwLock<Option<Arc<Known>>>,
    /// Private halves that were needed, by `kid`.
    pairs: RwLock<HashMap<String, Arc<Pair>>>,
    reading: tokio::sync::Mutex<()>,
}

/// The keys as they were read.
struct Known {
    keys: Vec<Model>,
    read: Instant,
}

impl Signer {
    pub(crate) fn new(
        store: Store,
        master: Arc<MasterKey>,
        clock: Clock,
        settings: &Settings,
        revocations: Revocations,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            master,
            clock,
            issuer: settings.issuer.clone(),
            algorithm: settings.algorithm,
            life: TimeDelta::from_std(settings.signing_key_life).unwrap_or(TimeDelta::zero()),
            revocations,
            known: RwLock::default(),
            pairs: RwLock::default(),
            reading: tokio::sync::Mutex::default(),
        }))
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
        let (key, pair) = self.signing().await?;
        let mut header = Header::new(key.algorithm.parse().map_err(Error::internal)?);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some(key.kid);
        // As jsonwebtoken's `encode`, but with a key that is not read anew each time.
        let message = format!("{}.{}", part(&header)?, part(&claims)?);
        let signature = pair.sign(message.as_bytes())?;
        Ok(format!(
            "{message}.{}",
            BASE64_URL_SAFE_NO_PAD.encode(signature)
        ))
    }

    /// The public keys of all tokens that may be alive, and of the next ones.
    pub(crate) async fn public(&self) -> Result<Vec<Jwk>> {
        let read = tokio::time::timeout(PATIENCE, self.read(FRESH)).await;
        let known = match (read, self.known()) {
            (Ok(Ok(known)), _) => known,
            // Keys are public for much longer than a database is away.
            (_, Some(known)) => known,
            (Ok(Err(error)), None) => return Err(error),
            (Err(_), None) => {
                return Err(Error::Unavailable {
                    what: "the database".into(),
                });
            }
        };
        let published = signing_keys::published(&known.keys, self.0.clock.now());
        Ok(published.map(signing_keys::jwk).collect())
    }

    /// Keeps the keys fresh, makes new ones in time, and forgets the private
    /// halves of old ones, for as long as it is polled.
    pub(crate) async fn keep(self) {
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "can't look after the signing keys");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn look(&self) -> Result<()> {
        let known = self.read(Duration::ZERO).await?;
        for key in signing_keys::spent(&known.keys, self.0.clock.now()) {
            let forget = Entity::update_many()
                .col_expr(Column::Wrapped, Expr::value(Vec::<u8>::new()))
                .filter(Column::Number.eq(key.number));
            let record = Record::of_installation("key-management", ("signingKeys", &key.kid));
            self.0
                .store
                .change_global("forget a spent signing key", record, async |tx| {
                    tx.update_many(forget).await
                })
                .await?;
        }
        Ok(())
    }

    /// The key that signs, and its private half.
    async fn signing(&self) -> Result<(Model, Arc<Pair>)> {
        let known = match self.known() {
            Some(known) => known,
            None => self.read(LOOK).await?,
        };
        match self.signing_of(&known)? {
            Some(found) => Ok(found),
            // It was revoked just now, and another one is there.
            None => {
                let known = self.read(Duration::ZERO).await?;
                let found = self.signing_of(&known)?;
                found.ok_or_else(|| Error::internal("there is no signing key"))
            }
        }
    }

    /// The first key that can be opened: one that was wrapped by a master key
    /// which this process has not been given yet must not stop it.
    fn signing_of(&self, known: &Known) -> Result<Option<(Model, Arc<Pair>)>> {
        let mut failed = None;
        for key in signing_keys::signers(&known.keys, self.0.clock.now()) {
            let itself = [Revocable::SigningKey(key.kid.clone())];
            let revocations = &self.0.revocations;
            if revocations.revoked_since(&itself, DateTime::<Utc>::MIN_UTC) {
                return Ok(None);
            }
            match self.pair(key) {
                Ok(pair) => return Ok(Some((key.clone(), pair))),
                Err(error) => {
                    tracing::error!(kid = key.kid, %error, "can't open a signing key");
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// The private half of a key; opened once.
    fn pair(&self, key: &Model) -> Result<Arc<Pair>> {
        let pairs = &self.0.pairs;
        let opened = pairs.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = opened.get(&key.kid) {
            return Ok(pair.clone());
        }
        drop(opened);
        let private = self.0.master.unwrap(&key.kid, &key.wrapped)?;
        let algorithm = key.algorithm.parse().map_err(Error::internal)?;
        let pair = Arc::new(Pair::read(algorithm, &private)?);
        let mut opened = pairs.write().unwrap_or_else(PoisonError::into_inner);
        opened.insert(key.kid.clone(), pair.clone());
        Ok(pair)
    }

    fn known(&self) -> Option<Arc<Known>> {
        let known = self.0.known.read();
        known.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys, read again if what is known is older than that. Makes the
    /// first one, and the next one when its time has come.
    async fn read(&self, age: Duration) -> Result<Arc<Known>> {
        let asked = Instant::now();
        let _one_at_a_time = self.0.reading.lock().await;
        if let Some(known) = self.known()
            && (known.read >= asked || known.read.elapsed() < age)
        {
            return Ok(known);
        }
        let Inner { store, clock, .. } = &*self.0;
        let mut read = Instant::now();
        let mut keys = all(store).await?;
        if let Some(activate) = signing_keys::due(&keys, clock.now(), self.0.life) {
            self.make(signing_keys::next_number(&keys), activate)
                .await?;
            read = Instant::now();
            keys = all(store).await?;
        }
        let is_there = |kid: &str| {
            keys.iter()
                .any(|key| key.kid == kid && !key.wrapped.is_empty())
        };
        let mut pairs = self.0.pairs.write().unwrap_or_else(PoisonError::into_inner);
        pairs.retain(|kid, _| is_there(kid));
        drop(pairs);
        let known = Arc::new(Known { keys, read });
        let mut place = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(known.clone());
        Ok(known)
    }

    /// Of replicas that make a key at once, only one does.
    async fn make(&self, number: i64, activate: DateTime<Utc>) -> Result<()> {
        let Inner {
            store,
            master,
            clock,
            algorithm,
            ..
        } = &*self.0;
        let row = generate(master, clock, *algorithm, number, activate)?;
        let kid = row.kid.as_ref().clone();
        let record = Record::of_installation("key-management", ("signingKeys", kid));
        let made = store
            .change_global("make a signing key", record, async |tx| {
                tx.insert(row).await.map(drop)
            })
            .await;
        match made {
            Err(Error::Constraint(Constraint::Unique(_))) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                tracing::info!(number, %algorithm, %activate, "made a signing key");
                Ok(())
            }
        }
    }
}

/// A part of a token, as it is signed.
fn part(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_vec(value).map_err(Error::internal)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(json))
}

async fn all(store: &Store) -> Result<Vec<Model>> {
    let tx = store.global("read the signing keys").await?;
    tx.all(Entity::find().order_by_asc(Column::Number)).await
}

/// A new key, with its private half wrapped.
pub(crate) fn generate(
    master: &MasterKey,
    clock: &Clock,
    algorithm: Algorithm,
    number: i64,
    activate: DateTime<Utc>,
) -> Result<ActiveModel> {
    let pair = Pair::generate(algorithm)?;
    let kid = clock.new_id().simple().to_string();
    Ok(ActiveModel {
        // Said, and not counted: of those who make it at once, one does.
        number: Set(number),
        wrapped: Set(master.wrap(&kid, &pair.private()?)?),
        kid: Set(kid),
        algorithm: Set(algorithm.to_string()),
        jwk: Set(Some(pair.public())),
        create_time: Set(clock.now()),
        activate_time: Set(Some(activate)),
        revoke_time: Set(None),
    })
}

#[cfg(test)]
#[path = "signer/tests.rs"]
mod tests;
