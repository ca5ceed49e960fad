//! Hashes of secrets. They are keyed with a pepper, which is not in the
//! database but wrapped by the master key; there may be several, of which the
//! newest makes the new hashes.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use chassis::error::Constraint;
use chassis::store::{Record, Store};
use chassis::{Clock, Error, Result};
use sea_orm::{ActiveValue::Set, EntityTrait, QueryOrder};

use crate::entity::pepper::{ActiveModel, Column, Entity, Model};
use crate::master_key::MasterKey;

/// How often it is looked for new peppers.
const LOOK: Duration = Duration::from_secs(5);
/// What a lookup is told from a hash by: both are keyed with the same pepper.
const LOOKUP: &[u8] = b"lookup:";

/// Makes and checks hashes. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Vault(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    master: Arc<MasterKey>,
    peppers: RwLock<Arc<[Pepper]>>,
}

struct Pepper {
    number: i32,
    key: hmac::Key,
}

/// A hash, and the pepper that it was made with.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Hash {
    pub(crate) pepper: i32,
    pub(crate) bytes: Vec<u8>,
}

/// The peppers at one time, newest last.
#[derive(Clone)]
pub(crate) struct Peppers(Arc<[Pepper]>);

impl Vault {
    pub(crate) fn new(store: Store, master: Arc<MasterKey>, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            master,
            peppers: RwLock::new(Arc::new([])),
        }))
    }

    /// The peppers; reads them, and makes the first one, when they are first needed.
    pub(crate) async fn peppers(&self) -> Result<Peppers> {
        let known = self.known();
        match known.0.is_empty() {
            true => self.reload().await,
            false => Ok(known),
        }
    }

    /// The peppers, among them the one that a hash names: another process may
    /// have made it just now.
    pub(crate) async fn peppers_with(&self, number: i32) -> Result<Peppers> {
        let known = self.peppers().await?;
        match number != 0 && !known.has(number) {
            true => self.reload().await,
            false => Ok(known),
        }
    }

    /// Notices new peppers for as long as it is polled: another process may
    /// make one.
    pub(crate) async fn keep(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "can't read the peppers again");
            }
        }
    }

    async fn look(&self) -> Result<()> {
        let known = self.known();
        let newest = all(&self.0.store).await?.last().map(|row| row.number);
        match newest.is_none_or(|newest| known.0.is_empty() || known.has_number(newest)) {
            true => Ok(()),
            false => self.reload().await.map(drop),
        }
    }

    fn known(&self) -> Peppers {
        Peppers(
            self.0
                .peppers
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    /// Reads the peppers again.
    pub(crate) async fn reload(&self) -> Result<Peppers> {
        let Inner {
            store,
            clock,
            master,
            peppers,
        } = &*self.0;
        let mut rows = all(store).await?;
        if rows.is_empty() {
            let first = first_pepper(master, clock)?;
            let record = Record::of_installation("key-management", ("peppers", 1));
            store
                .change_global("make a pepper", record, async |tx| {
                    tx.insert(first).await.map(drop)
                })
                .await
                .or_else(existing)?;
            rows = all(store).await?;
        }
        let opened: Vec<Pepper> = rows
            .iter()
            .map(|row| {
                let number = i32::try_from(row.number).map_err(Error::internal)?;
                let secret = master.unwrap(&name(row.number), &row.wrapped)?;
                let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
                Ok(Pepper { number, key })
            })
            .collect::<Result<_>>()?;
        let opened: Arc<[Pepper]> = opened.into();
        *peppers.write().unwrap_or_else(PoisonError::into_inner) = opened.clone();
        Ok(Peppers(opened))
    }
}

impl Peppers {
    /// What is kept of a secret that has enough random bits of its own.
    pub(crate) fn hash(&self, secret: &str) -> Result<Hash> {
        let newest = self.0.last();
        let newest = newest.ok_or_else(|| Error::internal("there is no pepper"))?;
        Ok(newest.hash(&[], secret))
    }

    /// By what a foreign secret is found whose SHA-256 is known, in
    /// hexadecimal digits: one with each pepper.
    pub(crate) fn lookups(&self, sha256: &str) -> Vec<Vec<u8>> {
        let all = self.0.iter();
        all.map(|pepper| pepper.hash(LOOKUP, sha256).bytes)
            .collect()
    }

    /// The one of these with the newest pepper.
    pub(crate) fn lookup(&self, sha256: &str) -> Result<Hash> {
        let newest = self.0.last();
        let newest = newest.ok_or_else(|| Error::internal("there is no pepper"))?;
        Ok(newest.hash(LOOKUP, sha256))
    }

    /// Whether a secret is the one that was hashed; in constant time.
    pub(crate) fn verify(&self, secret: &str, pepper: i32, hash: &[u8]) -> bool {
        let pepper = self.0.iter().find(|known| known.number == pepper);
        pepper.is_some_and(|pepper| hmac::verify(&pepper.key, secret.as_bytes(), hash).is_ok())
    }

    /// Takes as long as [`Peppers::verify`], for a secret of nothing that is known.
    pub(crate) fn verify_nothing(&self, secret: &str) {
        if let Some(newest) = self.0.last() {
            let _ = hmac::verify(&newest.key, secret.as_bytes(), &[0; 32]);
        }
    }

    /// Whether hashes with this pepper should be made anew.
    pub(crate) fn is_old(&self, pepper: i32) -> bool {
        self.0.last().is_some_and(|newest| newest.number != pepper)
    }

    fn has_number(&self, number: i64) -> bool {
        i32::try_from(number).is_ok_and(|number| self.has(number))
    }

    fn has(&self, number: i32) -> bool {
        self.0.iter().any(|known| known.number == number)
    }
}

impl Pepper {
    fn hash(&self, before: &[u8], secret: &str) -> Hash {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(before);
        context.update(secret.as_bytes());
        Hash {
            pepper: self.number,
            bytes: context.sign().as_ref().to_vec(),
        }
    }
}

/// The first pepper, wrapped.
pub(crate) fn first_pepper(master: &MasterKey, clock: &Clock) -> Result<ActiveModel> {
    wrapped(master, 1, master.first_pepper(), clock)
}

/// A new random pepper, wrapped.
pub(crate) fn new_pepper(master: &MasterKey, number: i64, clock: &Clock) -> Result<ActiveModel> {
    let mut secret = [0; 32];
    rand::fill(&mut secret).map_err(Error::internal)?;
    wrapped(master, number, &secret, clock)
}

fn wrapped(master: &MasterKey, number: i64, secret: &[u8], clock: &Clock) -> Result<ActiveModel> {
    Ok(ActiveModel {
        // Said, and not counted: of processes that make it at once, one does.
        number: Set(number),
        wrapped: Set(master.wrap(&name(number), secret)?),
        create_time: Set(clock.now()),
    })
}

/// What is bound to a wrapped pepper.
pub(crate) fn name(number: i64) -> String {
    format!("pepper-{number}")
}

async fn all(store: &Store) -> Result<Vec<Model>> {
    let tx = store.global("read the peppers").await?;
    tx.all(Entity::find().order_by_asc(Column::Number)).await
}

/// Of processes that make the same row at once, only one does.
pub(crate) fn existing(error: Error) -> Result<()> {
    match error {
        Error::Constraint(Constraint::Unique(_)) => Ok(()),
        error => Err(error),
    }
}
