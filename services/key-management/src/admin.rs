//! What an operator does on the database itself, whether servers run or not:
//! they notice it within seconds.

use chassis::revocation::{MAX_TOKEN_LIFE, Revocable};
use chassis::store::{GlobalTx, Record, Store};
use chassis::{Clock, Error, Result};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait, UpdateMany,
};

use crate::data_keys;
use crate::entity::{api_key, data_key, generation, pepper, revocation, signing_key};
use crate::master_key::MasterKey;
use crate::signer::generate;
use crate::signing_keys::{self, Algorithm, State};
use crate::vault;

/// How long before it signs a key is there that begins at once: the servers
/// publish it meanwhile, and who sees it first finds it.
const NOTICE: TimeDelta = TimeDelta::seconds(2);

/// Whoever may use the database, and for most of it the master key.
pub struct Operator {
    store: Store,
    clock: Clock,
}

/// A signing key, without its secrets.
pub struct SigningKey {
    /// Names it in every token that it signs.
    pub kid: String,
    /// How it signs.
    pub algorithm: String,
    /// What it does now.
    pub state: State,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// From when on it signs.
    pub activate_time: DateTime<Utc>,
    /// Until when it is published, if that is known.
    pub publish_end: Option<DateTime<Utc>>,
}

/// A pepper, without its secret.
pub struct Pepper {
    /// Hashes name it by this.
    pub number: i64,
    /// When it was made.
    pub create_time: DateTime<Utc>,
    /// How many hashes need it, of secrets that work.
    pub hashes: u64,
}

/// What was wrapped anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrapped {
    /// How many peppers.
    pub peppers: usize,
    /// How many signing keys.
    pub signing_keys: usize,
    /// How many data keys of services.
    pub data_keys: usize,
}

impl Operator {
    /// On the database of key management.
    pub fn new(store: Store, clock: Clock) -> Self {
        Self { store, clock }
    }

    /// Whether a master key opens what the database holds: all peppers and data
    /// keys, and the signing keys that are left.
    pub async fn check(&self, master: &MasterKey) -> Result<()> {
        let tx = self
            .store
            .global("check the master key against what it protects")
            .await?;
        opens(master, &peppers(&tx).await?, &signing_keys(&tx).await?)?;
        // Here only: a signing key that was stolen can be revoked without them.
        for key in tx.all(data_key::Entity::find()).await? {
            master.unwrap(&data_keys::name(&key.service), &key.wrapped)?;
        }
        Ok(())
    }

    /// The signing keys, newest last.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let tx = self.store.global("list the signing keys").await?;
        let keys = signing_keys(&tx).await?;
        let now = self.clock.now();
        Ok(keys.iter().map(|key| shown(&keys, key, now)).collect())
    }

    /// Makes a signing key that will sign, or does at once: then a pending one
    /// is taken. Without an algorithm, it signs as the one that signs now.
    pub async fn rotate_signing_key(
        &self,
        master: &MasterKey,
        algorithm: Option<Algorithm>,
        at_once: bool,
    ) -> Result<SigningKey> {
        let record = record(("signingKeys", "new"));
        let now = self.clock.now();
        let rotate = async |tx: &GlobalTx| {
            let keys = signing_keys(tx).await?;
            opens(master, &peppers(tx).await?, &keys)?;
            match signing_keys::pending(&keys, now) {
                Some(pending) if at_once && is_as_wanted(pending, algorithm) => {
                    activate(tx, pending, now + NOTICE).await?;
                    Ok(pending.kid.clone())
                }
                Some(pending) if !at_once => Err(already(pending)),
                other => {
                    // Else it would take over from the wanted one soon.
                    if let Some(pending) = other {
                        tx.update_many(withdrawn(pending, now)).await?;
                    }
                    let wait = if at_once { NOTICE } else { signing_keys::LEAD };
                    let algorithm = wanted(&keys, algorithm, now)?;
                    self.add(tx, master, &keys, algorithm, now + wait).await
                }
            }
        };
        let kid = self
            .store
            .change_global("rotate the signing key", record, rotate)
            .await?;
        self.signing_key(&kid).await
    }

    /// Revokes a signing key: what it signed is refused everywhere. If it is
    /// the one that signs, another one does at once. Harmless if it was
    /// revoked before.
    pub async fn revoke_signing_key(&self, master: &MasterKey, kid: &str) -> Result<SigningKey> {
        let record = record(("signingKeys", kid));
        let now = self.clock.now();
        let revoke = async |tx: &GlobalTx| {
            let keys = signing_keys(tx).await?;
            opens(master, &peppers(tx).await?, &keys)?;
            let key = keys.iter().find(|key| key.kid == kid);
            let key = key.ok_or_else(|| Error::not_found("signing key", kid))?;
            if key.revoke_time.is_some() {
                return Ok(());
            }
            let signs = signing_keys::signing(&keys, now).is_some_and(|signing| signing == key);
            tx.update_many(withdrawn(key, now)).await?;
            tx.insert(revocation::ActiveModel {
                subject: Set(Revocable::SigningKey(kid.to_owned()).to_string()),
                revoke_time: Set(now),
                forget_time: Set(now + MAX_TOKEN_LIFE),
                ..Default::default()
            })
            .await?;
            match signing_keys::pending(&keys, now) {
                _ if !signs => Ok(()),
                Some(pending) if pending != key => activate(tx, pending, now).await,
                _ => {
                    let algorithm = key.algorithm.parse().map_err(Error::internal)?;
                    let added = self.add(tx, master, &keys, algorithm, now);
                    added.await.map(drop)
                }
            }
        };
        self.store
            .change_global("revoke a signing key", record, revoke)
            .await?;
        self.signing_key(kid).await
    }

    /// The peppers, newest last.
    pub async fn peppers(&self) -> Result<Vec<Pepper>> {
        let tx = self.store.global("list the peppers").await?;
        let mut all = Vec::new();
        for row in peppers(&tx).await? {
            all.push(Pepper {
                number: row.number,
                create_time: row.create_time,
                hashes: tx.count(hashes_with(row.number, self.clock.now())).await?,
            });
        }
        Ok(all)
    }

    /// Makes a pepper, with which hashes are made from now on. Answers its number.
    pub async fn rotate_pepper(&self, master: &MasterKey) -> Result<i64> {
        let record = record(("peppers", "new"));
        let rotate = async |tx: &GlobalTx| {
            let rows = peppers(tx).await?;
            opens(master, &rows, &signing_keys(tx).await?)?;
            let mut newest = rows.last().map_or(0, |row| row.number);
            if newest == 0 {
                newest = 1;
                tx.insert(vault::first_pepper(master, &self.clock)?).await?;
            }
            tx.insert(vault::new_pepper(master, newest + 1, &self.clock)?)
                .await?;
            Ok(newest + 1)
        };
        self.store
            .change_global("rotate the pepper", record, rotate)
            .await
    }

    /// Wraps by a master key what the one before it wrapped, all or nothing.
    /// Harmless if it was done before.
    pub async fn rewrap(&self, master: &MasterKey) -> Result<Rewrapped> {
        let record = record(("masterKeys", "new"));
        let rewrap = async |tx: &GlobalTx| {
            let mut rows = peppers(tx).await?;
            if rows.is_empty() {
                // Hashes may have been made with it before it was ever stored.
                let first = vault::first_pepper(master, &self.clock)?;
                rows.push(tx.insert(first).await?);
            }
            let mut done = Rewrapped {
                peppers: 0,
                signing_keys: 0,
                data_keys: 0,
            };
            for row in rows {
                if let Some(anew) = master.rewrap(&vault::name(row.number), &row.wrapped)? {
                    let query = pepper::Entity::update_many()
                        .col_expr(pepper::Column::Wrapped, Expr::value(anew))
                        .filter(pepper::Column::Number.eq(row.number));
                    tx.update_many(query).await?;
                    done.peppers += 1;
                }
            }
            let keys = signing_keys(tx).await?;
            for key in keys.iter().filter(|key| !key.wrapped.is_empty()) {
                if let Some(anew) = master.rewrap(&key.kid, &key.wrapped)? {
                    // Not if a server has forgotten it meanwhile.
                    let query = signing_key::Entity::update_many()
                        .col_expr(signing_key::Column::Wrapped, Expr::value(anew))
                        .filter(signing_key::Column::Number.eq(key.number))
                        .filter(signing_key::Column::Wrapped.eq(key.wrapped.clone()));
                    tx.update_many(query).await?;
                    done.signing_keys += 1;
                }
            }
            for key in tx.all(data_key::Entity::find()).await? {
                let name = data_keys::name(&key.service);
                if let Some(anew) = master.rewrap(&name, &key.wrapped)? {
                    let query = data_key::Entity::update_many()
                        .col_expr(data_key::Column::Wrapped, Expr::value(anew))
                        .filter(data_key::Column::Number.eq(key.number));
                    tx.update_many(query).await?;
                    done.data_keys += 1;
                }
            }
            Ok(done)
        };
        self.store
            .change_global("wrap the secrets by another master key", record, rewrap)
            .await
    }

    async fn signing_key(&self, kid: &str) -> Result<SigningKey> {
        let mut all = self.signing_keys().await?.into_iter();
        let found = all.find(|key| key.kid == kid);
        found.ok_or_else(|| Error::not_found("signing key", kid))
    }

    async fn add(
        &self,
        tx: &GlobalTx,
        master: &MasterKey,
        keys: &[signing_key::Model],
        algorithm: Algorithm,
        activate: DateTime<Utc>,
    ) -> Result<String> {
        let number = signing_keys::next_number(keys);
        let row = generate(master, &self.clock, algorithm, number, activate)?;
        Ok(tx.insert(row).await?.kid)
    }
}

fn record(what: (&'static str, &str)) -> Record {
    Record::of_installation("operator", what)
}

/// What a key would add that the servers could not open must not be added.
fn opens(master: &MasterKey, peppers: &[pepper::Model], keys: &[signing_key::Model]) -> Result<()> {
    for row in peppers {
        master.unwrap(&vault::name(row.number), &row.wrapped)?;
    }
    for key in keys.iter().filter(|key| !key.wrapped.is_empty()) {
        master.unwrap(&key.kid, &key.wrapped)?;
    }
    Ok(())
}

async fn peppers(tx: &GlobalTx) -> Result<Vec<pepper::Model>> {
    tx.all(pepper::Entity::find().order_by_asc(pepper::Column::Number))
        .await
}

async fn signing_keys(tx: &GlobalTx) -> Result<Vec<signing_key::Model>> {
    tx.all(signing_key::Entity::find().order_by_asc(signing_key::Column::Number))
        .await
}

async fn activate(tx: &GlobalTx, key: &signing_key::Model, time: DateTime<Utc>) -> Result<()> {
    let query = signing_key::Entity::update_many()
        .col_expr(signing_key::Column::ActivateTime, Expr::value(time))
        .filter(signing_key::Column::Number.eq(key.number));
    tx.update_many(query).await.map(drop)
}

/// Ends a key for good, with its private half.
fn withdrawn(key: &signing_key::Model, now: DateTime<Utc>) -> UpdateMany<signing_key::Entity> {
    signing_key::Entity::update_many()
        .col_expr(signing_key::Column::RevokeTime, Expr::value(now))
        .col_expr(signing_key::Column::Wrapped, Expr::value(Vec::<u8>::new()))
        .filter(signing_key::Column::Number.eq(key.number))
}

fn is_as_wanted(key: &signing_key::Model, algorithm: Option<Algorithm>) -> bool {
    algorithm.is_none_or(|algorithm| key.algorithm == algorithm.as_str())
}

fn wanted(
    keys: &[signing_key::Model],
    algorithm: Option<Algorithm>,
    now: DateTime<Utc>,
) -> Result<Algorithm> {
    match (algorithm, signing_keys::signing(keys, now)) {
        (Some(algorithm), _) => Ok(algorithm),
        (None, Some(key)) => key.algorithm.parse().map_err(Error::internal),
        (None, None) => Ok(Algorithm::default()),
    }
}

fn already(pending: &signing_key::Model) -> Error {
    let kid = &pending.kid;
    let time = signing_keys::activate_time(pending).to_rfc3339_opts(SecondsFormat::Secs, true);
    Error::precondition(
        "ROTATION_RUNNING",
        format!("the key {kid} is published already, and signs from {time} on"),
    )
}

fn shown(keys: &[signing_key::Model], key: &signing_key::Model, now: DateTime<Utc>) -> SigningKey {
    let state = signing_keys::state(keys, key, now);
    SigningKey {
        kid: key.kid.clone(),
        algorithm: key.algorithm.clone(),
        state,
        create_time: key.create_time,
        activate_time: signing_keys::activate_time(key),
        publish_end: match state {
            State::Revoked => key.revoke_time,
            _ => signing_keys::publish_end(keys, key),
        },
    }
}

/// The hashes with a pepper, of secrets that work.
fn hashes_with(number: i64, now: DateTime<Utc>) -> sea_orm::Select<generation::Entity> {
    use generation::Column as G;
    let living = api_key::Entity::find()
        .select_only()
        .column(api_key::Column::Id)
        .filter(api_key::Column::RevokeTime.is_null())
        .filter(is_after(api_key::Column::ExpireTime, now))
        .into_query();
    let works = Condition::any()
        .add(G::ClientId.is_not_null())
        .add(G::KeyId.in_subquery(living));
    generation::Entity::find()
        .filter(G::Pepper.eq(number))
        .filter(is_after(G::EndTime, now))
        .filter(works)
}

fn is_after<C: ColumnTrait>(end: C, now: DateTime<Utc>) -> Condition {
    Condition::any().add(end.is_null()).add(end.gt(now))
}
