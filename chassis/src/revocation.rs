//! What must no longer be accepted, though its token has not expired.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::{RevokeRequest, WatchRevocationsRequest};
use uuid::Uuid;

use crate::caller::Principal;
use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::peer::{Peers, ServiceName};
use crate::service_identity::ServiceIdentity;
use crate::time::date_time;
use crate::token::Claims;

/// No token lives longer, so a revocation may be forgotten after it.
pub const MAX_TOKEN_LIFE: chrono::TimeDelta = chrono::TimeDelta::minutes(61);

/// How long the stream of revocations may be silent before tokens are
/// refused: the bound within which a revocation is known everywhere.
pub const SILENCE: Duration = Duration::from_secs(10);

/// How long to wait before asking again for a stream that has ended.
const RETRY: Duration = Duration::from_millis(200);

/// How long to wait before asking again for a revocation.
const AGAIN: Duration = Duration::from_secs(1);

/// Subjects whose tokens are refused. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Revocations(Arc<RwLock<State>>);

#[derive(Default)]
struct State {
    entries: HashMap<String, Entry>,
    heard: Option<Instant>,
}

struct Entry {
    revoked: DateTime<Utc>,
    forget: DateTime<Utc>,
}

impl Revocations {
    /// Takes one revocation in.
    pub fn add(&self, subject: &str, revoked: DateTime<Utc>, forget: DateTime<Utc>) {
        let mut state = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = state
            .entries
            .entry(subject.to_owned())
            .or_insert(Entry { revoked, forget });
        entry.revoked = entry.revoked.max(revoked);
        entry.forget = entry.forget.max(forget);
    }

    /// Notes that the stream is alive and complete, and forgets what no
    /// living token can need.
    pub fn heard(&self, now: DateTime<Utc>) {
        let mut state = self
            .0
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.heard = Some(Instant::now());
        state.entries.retain(|_, entry| entry.forget > now);
    }

    /// Whether the stream was heard within its bound.
    pub fn is_live(&self) -> bool {
        let state = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.heard.is_some_and(|at| at.elapsed() < SILENCE)
    }

    /// Whether a token is revoked: itself, the credential or session that it
    /// came from, its principal, its tenant or its membership.
    pub fn refuse(&self, claims: &Claims, principal: &Principal) -> bool {
        let state = self
            .0
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.entries.is_empty() {
            return false;
        }
        let revoked = |subject: Revocable| {
            let entry = state.entries.get(&subject.to_string());
            entry.is_some_and(|entry| claims.iat_us <= entry.revoked.timestamp_micros())
        };
        let member = |tenant| match principal {
            Principal::User(user) => revoked(Revocable::Member {
                tenant,
                user: *user,
            }),
            _ => false,
        };
        revoked(Revocable::Token(claims.jti.clone()))
            || revoked(Revocable::Principal(principal.clone()))
            || claims
                .sid
                .is_some_and(|session| revoked(Revocable::Session(session)))
            || claims
                .tid
                .is_some_and(|tenant| revoked(Revocable::Tenant(tenant)) || member(tenant))
    }
}

/// What can be revoked. Each kind has names of its own: ids may be chosen by
/// callers, and must not revoke what is of another kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocable {
    /// A user, API key or API client.
    Principal(Principal),
    /// A session.
    Session(Uuid),
    /// A token, by its `jti`.
    Token(String),
    /// A tenant.
    Tenant(Uuid),
    /// What a user may do in a tenant.
    Member {
        /// The tenant.
        tenant: Uuid,
        /// The user.
        user: Uuid,
    },
}

impl Revocable {
    /// Tokens that were traded for a user's password.
    pub fn password(user: Uuid) -> Self {
        Self::Token(password_jti(user))
    }
}

/// As in the subject of `RevokeRequest`.
impl fmt::Display for Revocable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(principal) => principal.fmt(f),
            Self::Session(id) => write!(f, "session:{id}"),
            Self::Token(jti) => write!(f, "token:{jti}"),
            Self::Tenant(id) => write!(f, "tenant:{id}"),
            Self::Member { tenant, user } => write!(f, "member:{tenant}/{user}"),
        }
    }
}

/// `jti` of all tokens that are traded for a user's password: they end
/// together, when the password changes.
pub fn password_jti(user: Uuid) -> String {
    format!("password/{user}")
}

/// Has key management revoke a subject, after the commit of what ends it. If
/// it is away, goes on asking: the change is made, and can't be made again.
pub async fn revoke(peers: &Peers, identity: &ServiceIdentity, subject: &Revocable) {
    let (peers, identity, subject) = (peers.clone(), identity.clone(), subject.to_string());
    let once = async move || {
        let request = RevokeRequest {
            subject: subject.clone(),
        };
        let mut keys = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
        let done = keys.revoke(identity.request(request)?).await;
        done.map(drop).map_err(Error::from)
    };
    let Err(error) = once().await else { return };
    tracing::warn!(%error, "key management can't revoke yet; asking again");
    tokio::spawn(async move {
        while once().await.is_err() {
            tokio::time::sleep(AGAIN).await;
        }
        tracing::info!("what was to be revoked is revoked");
    });
}

/// Follows key management's stream of revocations for as long as it is
/// polled; asks again whenever the stream ends. No process is ready without
/// it, so all of its calls prove from now on that they come from `identity`.
pub async fn follow(
    peers: Peers,
    identity: ServiceIdentity,
    revocations: Revocations,
    clock: Clock,
) {
    loop {
        if let Err(error) = follow_once(&peers, &identity, &revocations, &clock).await {
            tracing::warn!(%error, "the stream of revocations has ended; asking again");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(
    peers: &Peers,
    identity: &ServiceIdentity,
    revocations: &Revocations,
    clock: &Clock,
) -> Result<()> {
    let mut client = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
    let request = identity.request(WatchRevocationsRequest {})?;
    let mut stream = client.watch_revocations(request).await?.into_inner();
    // A stream that hangs is as bad as one that ends: SILENCE bounds both.
    while let Ok(next) = tokio::time::timeout(SILENCE, stream.message()).await {
        let Some(answer) = next? else { break };
        for revocation in &answer.revocations {
            let (revoked, forget) = (&revocation.revoke_time, &revocation.forget_time);
            let time = |t: &Option<Timestamp>| t.as_ref().and_then(date_time);
            if let (Some(revoked), Some(forget)) = (time(revoked), time(forget)) {
                revocations.add(&revocation.subject, revoked, forget);
            }
        }
        if answer.synchronised {
            revocations.heard(clock.now());
        }
    }
    Ok(())
}
