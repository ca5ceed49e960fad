//! What a presented credential is: the one place where secrets are compared.
//!
//! What was good is remembered by its hash, together with the moment at which
//! it was looked up: a revocation of that moment or later makes it worthless,
//! whenever it is put in, so that a lookup which a revocation overtakes can't
//! bring anything back. What was wrong is not remembered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chassis::caller::Principal;
use chassis::hash::sha256;
use chassis::peer::Peers;
use chassis::permissions::Permissions;
use chassis::revocation::{Revocable, Revocations};
use chassis::service_identity::ServiceIdentity;
use chassis::store::Store;
use chassis::{Clock, Result};
use ipnet::IpNet;
use sea_orm::prelude::{DateTimeUtc, Uuid};

use crate::entity::generation::{self, Scheme};
use crate::foreign;
use crate::usage::Usage;
use crate::vault::{Peppers, Vault};

mod find;
mod refusal;

use find::{Found, Holder, allows};
pub(crate) use refusal::{Refusal, Refused};

/// How many credentials are remembered.
const REMEMBERED: u64 = 100_000;
/// How long: nothing needs it to be short, but what nobody uses need not stay.
const LIFE: Duration = Duration::from_secs(300);

/// Looks presented credentials up. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Lookup(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    vault: Vault,
    revocations: Revocations,
    peers: Peers,
    identity: ServiceIdentity,
    usage: Usage,
    known: moka::sync::Cache<[u8; 32], Arc<Known>>,
}

/// A credential whose secret was right.
pub(crate) struct Known {
    /// When it was looked up, by the clock of the database.
    pub(crate) looked_up: DateTimeUtc,
    pub(crate) principal: Principal,
    pub(crate) tenant: Uuid,
    pub(crate) tenant_number: i64,
    pub(crate) owner: Option<Uuid>,
    /// What it allows; of a user's, no more than the user may do.
    pub(crate) permissions: Permissions,
    pub(crate) networks: Vec<IpNet>,
    /// When it stops working, with its holder or before it.
    pub(crate) end_time: Option<DateTimeUtc>,
    /// Whether there is a newer secret.
    pub(crate) superseded: bool,
    /// By which its uses are counted.
    pub(crate) generation: i64,
    pub(crate) requests_per_minute: i32,
    pub(crate) display_name: String,
    pub(crate) environment: String,
    pub(crate) metadata: serde_json::Value,
    /// Whose revocation ends it.
    pub(crate) revocables: Vec<Revocable>,
}

/// A key whose secret was presented.
pub(crate) struct Identified {
    pub(crate) tenant: Uuid,
    pub(crate) key: Uuid,
    /// Whether that secret was rotated away.
    pub(crate) ended: bool,
}

impl Lookup {
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        vault: Vault,
        revocations: Revocations,
        peers: Peers,
        identity: ServiceIdentity,
        usage: Usage,
    ) -> Self {
        let known = moka::sync::Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(LIFE)
            .build();
        Self(Arc::new(Inner {
            store,
            clock,
            vault,
            revocations,
            peers,
            identity,
            usage,
            known,
        }))
    }

    /// The time by the clock of the database.
    pub(crate) async fn now(&self) -> Result<DateTimeUtc> {
        let tx = self.0.store.global("tell the time of the database").await?;
        Ok(tx.begin_time())
    }

    /// What an API key is, ours or a foreign one, presented from an address.
    pub(crate) async fn key(
        &self,
        presented: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Arc<Known>, Refused>> {
        let digest = sha256(presented.as_bytes());
        // That it may be used from more networks by now may not be heard yet.
        let known = self.remembered(&digest);
        if let Some(known) = known.filter(|known| allows(&known.networks, source)) {
            return Ok(self.still(known, source));
        }
        // Boxed, for what is remembered must not pay for its size.
        Box::pin(self.learn_key(digest, presented, source)).await
    }

    async fn learn_key(
        &self,
        digest: [u8; 32],
        presented: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Arc<Known>, Refused>> {
        match self.find_key(presented).await? {
            Ok((found, secret)) => self.judge(digest, found, &secret, source).await,
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    /// Which key this is, if its secret is one of the key's, wherever it is
    /// presented and whether it still works or not.
    pub(crate) async fn identify(&self, presented: &str) -> Result<Option<Identified>> {
        let Ok((found, secret)) = self.find_key(presented).await? else {
            return Ok(None);
        };
        let Some(holder) = found.holder else {
            self.0.vault.peppers().await?.verify_nothing(&secret);
            return Ok(None);
        };
        let known = self
            .matching(&found.generations, &secret, found.digest.as_deref())
            .await?;
        Ok(match (known, holder.principal) {
            (Some(row), Principal::Key(key)) => Some(Identified {
                tenant: holder.tenant,
                key,
                ended: row.end_time.is_some_and(|end| end <= self.0.clock.now()),
            }),
            _ => None,
        })
    }

    /// What the key and secret of an API client are.
    pub(crate) async fn client(
        &self,
        name: &str,
        secret: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Arc<Known>, Refusal>> {
        // The length keeps two pairs apart whose parts run together alike.
        let digest = sha256(format!("{}:{name}{secret}", name.len()).as_bytes());
        let judged = match self.remembered(&digest) {
            Some(known) => self.still(known, source),
            None => {
                let learn = Box::pin(async {
                    let found = self.find_client(name).await?;
                    self.judge(digest, found, secret, source).await
                });
                learn.await?
            }
        };
        Ok(judged.map_err(|refused| refused.why))
    }

    /// Compares the secret, and remembers what is good.
    async fn judge(
        &self,
        digest: [u8; 32],
        found: Found,
        secret: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Arc<Known>, Refused>> {
        let Some(holder) = found.holder else {
            self.0.vault.peppers().await?.verify_nothing(secret);
            return Ok(Err(Refusal::Unknown.into()));
        };
        if !allows(&holder.networks, source) {
            return Ok(Err(Refusal::NetworkNotAllowed.of(holder.tenant)));
        }
        let Some(row) = self
            .matching(&found.generations, secret, found.digest.as_deref())
            .await?
        else {
            return Ok(Err(Refusal::Unknown.of(holder.tenant)));
        };
        let newest = found.generations.iter().map(|row| row.generation).max();
        let superseded = newest != Some(row.generation);
        let ended = row.end_time.is_some_and(|end| end <= self.0.clock.now());
        let mut refusal = holder
            .refusal
            .or(ended.then_some(Refusal::Superseded))
            .or(found.suspended.then_some(Refusal::TenantSuspended));
        let mut permissions = holder.permissions;
        if let Some(owner) = holder.owner.filter(|_| refusal.is_none()) {
            match self.held_by(owner, holder.tenant).await? {
                Some(held) => permissions = permissions.intersect(held),
                None => refusal = Some(Refusal::OwnerGone),
            }
        }
        let known = Arc::new(known(holder, row, permissions, superseded, found.looked_up));
        if let Some(why) = refusal {
            return Ok(Err(why.about(known)));
        }
        self.0.known.insert(digest, known.clone());
        Ok(self.still(known, source))
    }

    /// The generation whose secret this is. One that was hashed in another way
    /// than ours is hashed anew, later.
    async fn matching<'a>(
        &self,
        generations: &'a [generation::Model],
        secret: &str,
        digest: Option<&str>,
    ) -> Result<Option<&'a generation::Model>> {
        let mut found = None;
        for row in generations {
            let peppers = self.0.vault.peppers_with(row.pepper).await?;
            if is_secret(&peppers, row, secret).await? {
                // The newest, of two with the same secret.
                found = found.or(Some(row));
                if row.scheme != Scheme::Hmac || peppers.is_old(row.pepper) {
                    // What it is found by is keyed by the same pepper.
                    let found_by = digest.filter(|_| row.lookup.is_some());
                    let lookup = found_by.map(|digest| peppers.lookup(digest)).transpose()?;
                    let lookup = lookup.map(|lookup| lookup.bytes);
                    self.0
                        .usage
                        .rehash(row.number, peppers.hash(secret)?, lookup);
                }
            }
        }
        Ok(found)
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Arc<Known>> {
        // While nothing is heard of revocations, the database is asked.
        let known = self
            .0
            .known
            .get(digest)
            .filter(|_| self.0.revocations.is_live())?;
        let revocations = &self.0.revocations;
        let good = !revocations.revoked_since(&known.revocables, known.looked_up);
        if !good {
            self.0.known.invalidate(digest);
        }
        good.then_some(known)
    }

    /// What only time and place change.
    fn still(&self, known: Arc<Known>, source: Option<IpAddr>) -> Result<Arc<Known>, Refused> {
        if !allows(&known.networks, source) {
            return Err(Refusal::NetworkNotAllowed.of(known.tenant));
        }
        let ended = known.end_time.is_some_and(|end| end <= self.0.clock.now());
        match (ended, known.superseded) {
            (false, _) => Ok(known),
            (true, true) => Err(Refusal::Superseded.about(known)),
            (true, false) => Err(Refusal::Expired.about(known)),
        }
    }
}

fn known(
    holder: Holder,
    row: &generation::Model,
    permissions: Permissions,
    superseded: bool,
    looked_up: DateTimeUtc,
) -> Known {
    Known {
        looked_up,
        revocables: revocables(&holder, row.number),
        principal: holder.principal,
        tenant: holder.tenant,
        tenant_number: holder.tenant_number,
        owner: holder.owner,
        permissions,
        networks: holder.networks,
        end_time: [holder.end_time, row.end_time].into_iter().flatten().min(),
        superseded,
        generation: row.number,
        requests_per_minute: holder.requests_per_minute,
        display_name: holder.display_name,
        environment: holder.environment,
        metadata: holder.metadata,
    }
}

/// Whether a secret is the one of this row; in constant time where it counts.
pub(crate) async fn is_secret(
    peppers: &Peppers,
    row: &generation::Model,
    secret: &str,
) -> Result<bool> {
    Ok(match row.scheme {
        Scheme::Hmac => peppers.verify(secret, row.pepper, &row.hash),
        Scheme::HmacOfSha256 => peppers.verify(&foreign::sha256_hex(secret), row.pepper, &row.hash),
        Scheme::Bcrypt => foreign::is_bcrypt(secret, &row.hash).await?,
    })
}

fn revocables(holder: &Holder, generation: i64) -> Vec<Revocable> {
    let tenant = holder.tenant;
    let mut all = vec![
        Revocable::Principal(holder.principal.clone()),
        Revocable::Secret(generation),
        Revocable::Tenant(tenant),
    ];
    if let Some(user) = holder.owner {
        all.push(Revocable::Principal(Principal::User(user)));
        all.push(Revocable::Member { tenant, user });
    }
    all
}
