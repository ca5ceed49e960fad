//! What a presented credential is: the one place where secrets are compared.
//!
//! What was good is remembered by its hash, together with the moment at which
//! it was looked up: a revocation of that moment or later makes it worthless,
//! whenever it is put in, so that a lookup which a revocation overtakes can't
//! bring anything back. What was wrong is not remembered.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::caller::Principal;
use chassis::hash::sha256;
use chassis::peer::{Peers, ServiceName};
use chassis::permissions::Permissions;
use chassis::revocation::{Revocable, Revocations};
use chassis::service_identity::{OnBehalfOf, ServiceIdentity};
use chassis::store::{GlobalTx, Store};
use chassis::{Clock, Error, Result};
use ipnet::IpNet;
use proto::identity::CheckUserRequest;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::keys::verify_api_key_response::Code;
use proto::tenancy::ResolveMemberRequest;
use proto::tenancy::member_service_client::MemberServiceClient;
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::sea_query::IntoCondition;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use tonic::Code as Status;

use crate::entity::generation::{self, Scheme};
use crate::entity::{api_client, api_key, tenant_state};
use crate::foreign;
use crate::key_format::{self, NoKey};
use crate::usage::Usage;
use crate::vault::{Peppers, Vault};

/// How many credentials are remembered.
const REMEMBERED: u64 = 100_000;
/// How long: nothing needs it to be short, but what nobody uses need not stay.
const LIFE: Duration = Duration::from_secs(300);
/// How many secrets of one holder are looked at: two work, and the last few
/// are known to have been replaced.
const GENERATIONS: u64 = 4;

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
    revocables: Vec<Revocable>,
}

/// Why a credential is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    Unknown,
    NetworkNotAllowed,
    Revoked,
    Expired,
    Disabled,
    Superseded,
    OwnerGone,
    TenantSuspended,
}

/// The holder of a secret, as its row says.
struct Holder {
    principal: Principal,
    tenant: Uuid,
    tenant_number: i64,
    owner: Option<Uuid>,
    permissions: Permissions,
    networks: Vec<IpNet>,
    refusal: Option<Refusal>,
    end_time: Option<DateTimeUtc>,
    requests_per_minute: i32,
    display_name: String,
    environment: String,
    metadata: serde_json::Value,
}

/// What was found in the database at one moment.
struct Found {
    looked_up: DateTimeUtc,
    holder: Option<Holder>,
    generations: Vec<generation::Model>,
    suspended: bool,
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
    ) -> Result<Result<Arc<Known>, Refusal>> {
        let digest = sha256(presented.as_bytes());
        if let Some(known) = self.remembered(&digest) {
            return Ok(self.still(known, source));
        }
        let (found, secret) = match key_format::parse(presented) {
            Ok(parts) => {
                let tx = self.0.store.global("a key that was just presented").await?;
                let query = api_key::Entity::find().filter(api_key::Column::Id.eq(parts.id));
                let row = tx.one(query).await?;
                // What it begins with is not in its hash.
                let row = row.filter(|row| {
                    row.prefix == parts.prefix && row.environment == parts.environment
                });
                let id = row.as_ref().map_or(Uuid::nil(), |row| row.id);
                let generations = generation::Column::KeyId.eq(id);
                let holder = row.map(|row| self.holder_of_key(row));
                (
                    self.found(tx, holder, generations).await?,
                    parts.secret.to_owned(),
                )
            }
            Err(NoKey::Checksum) => return Ok(Err(Refusal::Malformed)),
            Err(NoKey::Form) => match self.foreign(presented).await? {
                Some(found) => found,
                None => return Ok(Err(Refusal::Unknown)),
            },
        };
        self.judge(digest, found, &secret, source).await
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
        if let Some(known) = self.remembered(&digest) {
            return Ok(self.still(known, source));
        }
        let tx = self
            .0
            .store
            .global("a client key that was just presented")
            .await?;
        let query = api_client::Entity::find().filter(api_client::Column::ClientKey.eq(name));
        let row = tx.one(query).await?;
        let id = row.as_ref().map_or(Uuid::nil(), |row| row.id);
        let generations = generation::Column::ClientId.eq(id);
        let found = self
            .found(tx, row.map(holder_of_client), generations)
            .await?;
        self.judge(digest, found, secret, source).await
    }

    /// A key of another system: `<number>:<secret>` in base64, or any text.
    async fn foreign(&self, presented: &str) -> Result<Option<(Found, String)>> {
        let peppers = self.0.vault.peppers().await?;
        let pair = BASE64_STANDARD.decode(presented).ok();
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(foreign::pair);
        let mut lookups = peppers.lookups(&foreign::digest_of_text(presented));
        if let Some((id, _)) = pair {
            lookups.extend(peppers.lookups(&foreign::digest_of_id(id)));
        }
        let tx = self.0.store.global("a key that was just presented").await?;
        let query = generation::Entity::find().filter(generation::Column::Lookup.is_in(lookups));
        let generation = tx.one(query).await?;
        let id = generation.and_then(|row| row.key_id).unwrap_or_default();
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(id));
        let row = tx.one(query).await?;
        let secret = match (&row, pair) {
            (Some(row), Some((_, secret))) if foreign::has_id(row.foreign_format) => secret,
            _ => presented,
        };
        let secret = secret.to_owned();
        let holder = row.map(|row| self.holder_of_key(row));
        // Only foreign secrets: ours are found by their id alone.
        let generations = Condition::all()
            .add(generation::Column::KeyId.eq(id))
            .add(generation::Column::Lookup.is_not_null());
        let found = self.found(tx, holder, generations).await?;
        Ok(Some((found, secret)))
    }

    /// The rest of what is known of a holder. What is not there costs as much.
    async fn found(
        &self,
        tx: GlobalTx,
        holder: Option<Holder>,
        generations: impl IntoCondition,
    ) -> Result<Found> {
        let query = generation::Entity::find()
            .filter(generations.into_condition())
            .order_by_desc(generation::Column::Generation)
            .limit(GENERATIONS);
        let generations = tx.all(query).await?;
        let tenant = holder.as_ref().map_or(Uuid::nil(), |holder| holder.tenant);
        let query = tenant_state::Entity::find()
            .filter(tenant_state::Column::TenantId.eq(tenant))
            .filter(tenant_state::Column::Suspended.eq(true));
        let suspended = tx.one(query).await?.is_some();
        Ok(Found {
            looked_up: tx.begin_time(),
            holder,
            generations,
            suspended,
        })
    }

    /// Compares the secret, and remembers what is good.
    async fn judge(
        &self,
        digest: [u8; 32],
        found: Found,
        secret: &str,
        source: Option<IpAddr>,
    ) -> Result<Result<Arc<Known>, Refusal>> {
        let Some(holder) = found.holder else {
            self.0.vault.peppers().await?.verify_nothing(secret);
            return Ok(Err(Refusal::Unknown));
        };
        if !allows(&holder.networks, source) {
            return Ok(Err(Refusal::NetworkNotAllowed));
        }
        let Some(row) = self.matching(&found.generations, secret).await? else {
            return Ok(Err(Refusal::Unknown));
        };
        let newest = found.generations.iter().map(|row| row.generation).max();
        let superseded = newest != Some(row.generation);
        let now = self.0.clock.now();
        let ended = row.end_time.is_some_and(|end| end <= now);
        let refusal = holder
            .refusal
            .or(ended.then_some(Refusal::Superseded))
            .or(found.suspended.then_some(Refusal::TenantSuspended));
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        let mut permissions = holder.permissions;
        if let Some(owner) = holder.owner {
            match self.held_by(owner, holder.tenant).await? {
                Some(held) => permissions = permissions.intersect(held),
                None => return Ok(Err(Refusal::OwnerGone)),
            }
        }
        let end_time = [holder.end_time, row.end_time].into_iter().flatten().min();
        let known = Arc::new(Known {
            looked_up: found.looked_up,
            revocables: revocables(&holder, row.number),
            principal: holder.principal,
            tenant: holder.tenant,
            tenant_number: holder.tenant_number,
            owner: holder.owner,
            permissions,
            networks: holder.networks,
            end_time,
            superseded,
            generation: row.number,
            requests_per_minute: holder.requests_per_minute,
            display_name: holder.display_name,
            environment: holder.environment,
            metadata: holder.metadata,
        });
        self.0.known.insert(digest, known.clone());
        Ok(self.still(known, source))
    }

    /// The generation whose secret this is. One that was hashed in another way
    /// than ours is hashed anew, later.
    async fn matching<'a>(
        &self,
        generations: &'a [generation::Model],
        secret: &str,
    ) -> Result<Option<&'a generation::Model>> {
        let mut found = None;
        for row in generations {
            let peppers = self.0.vault.peppers_with(row.pepper).await?;
            if is_secret(&peppers, row, secret).await? {
                found = Some(row);
                if row.scheme != Scheme::Hmac || peppers.is_old(row.pepper) {
                    self.0.usage.rehash(row.number, peppers.hash(secret)?);
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
    fn still(&self, known: Arc<Known>, source: Option<IpAddr>) -> Result<Arc<Known>, Refusal> {
        if !allows(&known.networks, source) {
            return Err(Refusal::NetworkNotAllowed);
        }
        match known.end_time {
            Some(end) if end <= self.0.clock.now() => Err(match known.superseded {
                true => Refusal::Superseded,
                false => Refusal::Expired,
            }),
            _ => Ok(known),
        }
    }

    fn holder_of_key(&self, row: api_key::Model) -> Holder {
        let expired = row.expire_time.is_some_and(|end| end <= self.0.clock.now());
        let refusal = match row.revoke_time {
            Some(_) => Some(Refusal::Revoked),
            None if row.disabled => Some(Refusal::Disabled),
            None => expired.then_some(Refusal::Expired),
        };
        Holder {
            principal: Principal::Key(row.id),
            tenant: row.tenant_id,
            tenant_number: row.tenant_number,
            owner: row.owner,
            permissions: Permissions::from_scope(&row.permissions),
            networks: networks(&row.allowed_networks),
            refusal,
            end_time: row.expire_time,
            requests_per_minute: row.requests_per_minute,
            display_name: row.display_name,
            environment: row.environment,
            metadata: row.metadata,
        }
    }

    /// What a user may do in a tenant; nothing if he is no member, or disabled.
    async fn held_by(&self, user: Uuid, tenant: Uuid) -> Result<Option<Permissions>> {
        let user_id = user.to_string();
        let message = CheckUserRequest {
            user_id: user_id.clone(),
        };
        let request = self.0.identity.request(message)?;
        let mut client = AuthServiceClient::new(self.0.peers.get(ServiceName::Identity));
        if !client.check_user(request).await?.into_inner().active {
            return Ok(None);
        }
        let message = ResolveMemberRequest { user_id };
        let of = OnBehalfOf { tenant, number: 0 };
        let request = self.0.identity.request_for(of, &[], message)?;
        let mut client = MemberServiceClient::new(self.0.peers.get(ServiceName::Tenancy));
        match client.resolve_member(request).await {
            Ok(member) => {
                let names = member.into_inner().permissions;
                Ok(Some(Permissions::from_scope(&names.join(" "))))
            }
            Err(status)
                if matches!(status.code(), Status::NotFound | Status::FailedPrecondition) =>
            {
                Ok(None)
            }
            Err(status) => Err(status.into()),
        }
    }
}

fn holder_of_client(row: api_client::Model) -> Holder {
    Holder {
        principal: Principal::Client(row.id),
        tenant: row.tenant_id,
        tenant_number: row.tenant_number,
        owner: row.owner,
        permissions: Permissions::from_scope(&row.permissions),
        networks: Vec::new(),
        refusal: row.disabled.then_some(Refusal::Disabled),
        end_time: None,
        requests_per_minute: 0,
        display_name: row.display_name,
        environment: String::new(),
        metadata: row.metadata,
    }
}

async fn is_secret(peppers: &Peppers, row: &generation::Model, secret: &str) -> Result<bool> {
    Ok(match row.scheme {
        Scheme::Hmac => peppers.verify(secret, row.pepper, &row.hash),
        Scheme::HmacOfSha256 => peppers.verify(&foreign::sha256_hex(secret), row.pepper, &row.hash),
        Scheme::Bcrypt => foreign::is_bcrypt(secret, &row.hash).await?,
    })
}

/// Networks as they are stored; what can't be read allows nobody.
pub(crate) fn networks(text: &str) -> Vec<IpNet> {
    let nobody = || IpNet::new_assert(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 128);
    text.split_whitespace()
        .map(|network| network.parse().unwrap_or_else(|_| nobody()))
        .collect()
}

fn allows(networks: &[IpNet], source: Option<IpAddr>) -> bool {
    networks.is_empty()
        || source.is_some_and(|source| {
            let source = source.to_canonical();
            networks.iter().any(|network| network.contains(&source))
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

impl Refusal {
    /// What is told to whoever asks about a key of his own tenant.
    pub(crate) fn code(self) -> Code {
        match self {
            Self::Malformed => Code::Malformed,
            Self::Unknown => Code::Unknown,
            Self::NetworkNotAllowed => Code::NetworkNotAllowed,
            Self::Revoked => Code::Revoked,
            Self::Expired => Code::Expired,
            Self::Disabled => Code::Disabled,
            Self::Superseded => Code::Superseded,
            Self::OwnerGone => Code::OwnerGone,
            Self::TenantSuspended => Code::TenantSuspended,
        }
    }

    /// The same for a person.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Malformed => {
                "this looks like a key, but its checksum is wrong: was all of it copied?"
            }
            Self::Unknown | Self::NetworkNotAllowed => {
                "the credential is wrong, or may not be used from this address"
            }
            Self::Revoked => "the credential has been revoked",
            Self::Expired => "the credential has expired",
            Self::Disabled => "the credential is disabled",
            Self::Superseded => {
                "this secret was replaced by a newer one, and its overlap has ended"
            }
            Self::OwnerGone => "the user who owns the credential may not act here any more",
            Self::TenantSuspended => "the tenant is suspended",
        }
    }
}

/// What is told to whoever presents it. What reveals that there is such a
/// credential is only told if the secret was right.
impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let reason = match refusal {
            Refusal::Malformed => "KEY_MALFORMED",
            Refusal::Unknown | Refusal::NetworkNotAllowed => "BAD_CREDENTIALS",
            Refusal::Revoked => "KEY_REVOKED",
            Refusal::Expired => "KEY_EXPIRED",
            Refusal::Disabled => "KEY_DISABLED",
            Refusal::Superseded => "KEY_SUPERSEDED",
            Refusal::OwnerGone => "OWNER_GONE",
            Refusal::TenantSuspended => "TENANT_SUSPENDED",
        };
        Self::Unauthenticated {
            reason,
            message: refusal.message().into(),
        }
    }
}
