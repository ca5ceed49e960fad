//! What the database knows of a presented credential: as much is read for what
//! is not there as for what is.

use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::Result;
use chassis::caller::Principal;
use chassis::peer::ServiceName;
use chassis::permissions::Permissions;
use chassis::service_identity::OnBehalfOf;
use chassis::store::GlobalTx;
use ipnet::IpNet;
use proto::identity::CheckUserRequest;
use proto::identity::auth_service_client::AuthServiceClient;
use proto::tenancy::ResolveMemberRequest;
use proto::tenancy::member_service_client::MemberServiceClient;
use sea_orm::prelude::{DateTimeUtc, Uuid};
use sea_orm::sea_query::IntoCondition;
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, ExprTrait, QueryFilter, QueryOrder, QuerySelect,
};
use tonic::Code as Status;

use super::{Lookup, Refusal, is_secret};
use crate::entity::generation::Scheme;
use crate::entity::{api_client, api_key, generation, tenant_state};
use crate::foreign;
use crate::key_format::{self, NoKey};

/// How many secrets of one holder are looked at: two work, and the last few
/// are known to have been replaced.
const GENERATIONS: u64 = 4;
/// How many tenants' foreign keys with the same id are told apart.
const NAMESAKES: u64 = 1000;
/// How many of those whose hash is slow to compare (bcrypt): each is hashed in
/// our way when it is used first, and is none of these from then on.
const SLOW_NAMESAKES: u64 = 8;

/// The holder of a secret, as its row says.
pub(super) struct Holder {
    pub(super) principal: Principal,
    pub(super) tenant: Uuid,
    pub(super) tenant_number: i64,
    pub(super) owner: Option<Uuid>,
    pub(super) permissions: Permissions,
    pub(super) networks: Vec<IpNet>,
    pub(super) refusal: Option<Refusal>,
    pub(super) end_time: Option<DateTimeUtc>,
    pub(super) requests_per_minute: i32,
    pub(super) display_name: String,
    pub(super) environment: String,
    pub(super) metadata: serde_json::Value,
}

/// What was found in the database at one moment.
pub(super) struct Found {
    pub(super) looked_up: DateTimeUtc,
    pub(super) holder: Option<Holder>,
    pub(super) generations: Vec<generation::Model>,
    pub(super) suspended: bool,
    /// By what a foreign secret is found, before it is keyed.
    pub(super) digest: Option<String>,
}

impl Lookup {
    /// What an API key is, ours or a foreign one, and its secret.
    pub(super) async fn find_key(
        &self,
        presented: &str,
    ) -> Result<Result<(Found, String), Refusal>> {
        let parts = match key_format::parse(presented) {
            Ok(parts) => parts,
            Err(NoKey::Checksum) => return Ok(Err(Refusal::Malformed)),
            Err(NoKey::Form) => return Ok(Ok(self.find_foreign(presented).await?)),
        };
        let tx = self.0.store.global("a key that was just presented").await?;
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(parts.id));
        let row = tx.one(query).await?;
        // What it begins with is not in its hash.
        let row =
            row.filter(|row| row.prefix == parts.prefix && row.environment == parts.environment);
        let id = row.as_ref().map_or(Uuid::nil(), |row| row.id);
        let generations = generation::Column::KeyId.eq(id);
        let holder = row.map(|row| self.holder_of_key(row));
        let found = self.found(tx, holder, generations).await?;
        Ok(Ok((found, parts.secret.to_owned())))
    }

    /// What the key of an API client is.
    pub(super) async fn find_client(&self, name: &str) -> Result<Found> {
        let tx = self
            .0
            .store
            .global("a client key that was just presented")
            .await?;
        let query = api_client::Entity::find().filter(api_client::Column::ClientKey.eq(name));
        let row = tx.one(query).await?;
        let id = row.as_ref().map_or(Uuid::nil(), |row| row.id);
        let generations = generation::Column::ClientId.eq(id);
        self.found(tx, row.map(holder_of_client), generations).await
    }

    /// A key of another system: `<number>:<secret>` in base64, or any text.
    async fn find_foreign(&self, presented: &str) -> Result<(Found, String)> {
        let peppers = self.0.vault.peppers().await?;
        let pair = BASE64_STANDARD.decode(presented).ok();
        let pair = pair.and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = pair.as_deref().and_then(foreign::pair);
        let by_id = |id: &str| peppers.lookups(&foreign::digest_of_id(id));
        let mut lookups = peppers.lookups(&foreign::digest_of_text(presented));
        lookups.extend(pair.iter().flat_map(|(id, _)| by_id(id)));
        let tx = self
            .0
            .store
            .global("a foreign key that was just presented")
            .await?;
        let named = generation::Entity::find()
            .filter(generation::Column::Lookup.is_in(lookups))
            .order_by_asc(generation::Column::Number);
        let is_slow = generation::Column::Scheme.eq(Scheme::Bcrypt);
        let quick = named.clone().filter(is_slow.clone().not());
        let quick = tx.all(quick.limit(NAMESAKES)).await?;
        let secret_of = |row: &generation::Model| match pair {
            Some((id, secret)) if row.lookup.as_ref().is_some_and(|l| by_id(id).contains(l)) => {
                secret
            }
            _ => presented,
        };
        // Of several, it is the one whose secret it is.
        let mut found = None;
        for row in &quick {
            let peppers = self.0.vault.peppers_with(row.pepper).await?;
            if is_secret(&peppers, row, secret_of(row)).await? {
                found = Some(row);
                break;
            }
        }
        let slow = match found {
            Some(_) => Vec::new(),
            None => tx.all(named.filter(is_slow).limit(SLOW_NAMESAKES)).await?,
        };
        // The only one is compared by whoever asks.
        for row in slow.iter().filter(|_| quick.len() + slow.len() > 1) {
            let peppers = self.0.vault.peppers_with(row.pepper).await?;
            if is_secret(&peppers, row, secret_of(row)).await? {
                found = Some(row);
                break;
            }
        }
        let found = found.or(quick.first()).or(slow.first());
        let id = found.and_then(|row| row.key_id).unwrap_or_default();
        let secret = found.map_or(presented, secret_of).to_owned();
        let query = api_key::Entity::find().filter(api_key::Column::Id.eq(id));
        // A tenant may have chosen the id that nobody has.
        let row = tx.one(query).await?.filter(|_| found.is_some());
        let holder = row.map(|row| self.holder_of_key(row));
        // Only foreign secrets: ours are found by their id alone.
        let generations = Condition::all()
            .add(generation::Column::KeyId.eq(id))
            .add(generation::Column::Lookup.is_not_null());
        let digest = match pair {
            Some((id, _)) if secret != presented => foreign::digest_of_id(id),
            _ => foreign::digest_of_text(presented),
        };
        let found = self.found(tx, holder, generations).await?;
        let digest = Some(digest);
        Ok((Found { digest, ..found }, secret))
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
            digest: None,
        })
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
    pub(super) async fn held_by(&self, user: Uuid, tenant: Uuid) -> Result<Option<Permissions>> {
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

/// Networks as they are stored; what can't be read allows nobody.
fn networks(text: &str) -> Vec<IpNet> {
    let nobody = || IpNet::new_assert(IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED), 128);
    text.split_whitespace()
        .map(|network| network.parse().unwrap_or_else(|_| nobody()))
        .collect()
}

pub(super) fn allows(networks: &[IpNet], source: Option<IpAddr>) -> bool {
    networks.is_empty()
        || source.is_some_and(|source| {
            let source = source.to_canonical();
            networks.iter().any(|network| network.contains(&source))
        })
}
