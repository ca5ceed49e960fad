//! What must no longer be accepted, though its token has not expired.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::keys::WatchRevocationsRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use uuid::Uuid;

use crate::caller::Principal;
use crate::clock::Clock;
use crate::error::Result;
use crate::metrics;
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

/// How often it is noted how long the stream has been silent.
const MEASURE: Duration = Duration::from_secs(1);

/// What a verifier does with tokens while the stream of revocations is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silence {
    /// How long it may be silent before it counts.
    pub bound: Duration,
    /// Whether tokens are then accepted until they expire, instead of refused.
    pub accept: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self {
            bound: SILENCE,
            accept: false,
        }
    }
}

/// Subjects whose tokens are refused. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Revocations {
    state: Arc<RwLock<State>>,
    silence: Silence,
}

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
    /// None yet, and what to do while nothing is heard.
    pub fn new(silence: Silence) -> Self {
        Self {
            state: Arc::default(),
            silence,
        }
    }

    /// Takes one revocation in.
    pub fn add(&self, subject: &str, revoked: DateTime<Utc>, forget: DateTime<Utc>) {
        let mut state = self
            .state
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
            .state
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.heard = Some(Instant::now());
        state.entries.retain(|_, entry| entry.forget > now);
    }

    /// Whether tokens may be taken: the stream was heard within its bound, or
    /// once at least, if its silence does not count.
    pub fn is_live(&self) -> bool {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state
            .heard
            .is_some_and(|at| self.silence.accept || at.elapsed() < self.silence.bound)
    }

    /// How long ago the stream was heard, if it ever was.
    pub fn silent_for(&self) -> Option<Duration> {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.heard.map(|at| at.elapsed())
    }

    /// How many are known.
    pub fn known(&self) -> usize {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state.entries.len()
    }

    /// Whether any of these was revoked after a moment, or then: what was made
    /// of it at that moment is no longer good.
    pub fn revoked_since(&self, subjects: &[Revocable], moment: DateTime<Utc>) -> bool {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        !state.entries.is_empty()
            && subjects.iter().any(|subject| {
                let entry = state.entries.get(&subject.to_string());
                entry.is_some_and(|entry| moment <= entry.revoked)
            })
    }

    /// Whether the secret that a token was traded for is no longer what it was.
    pub fn refuse_secret(&self, claims: &Claims) -> bool {
        let moment = DateTime::from_timestamp_micros(claims.iat_us).unwrap_or_default();
        claims
            .r#gen
            .is_some_and(|secret| self.revoked_since(&[Revocable::Secret(secret)], moment))
    }

    /// Whether a token is revoked: itself, the credential or session that it
    /// came from, its principal and who owns that, its tenant or its
    /// membership, or the key that signed it.
    pub fn refuse(&self, claims: &Claims, principal: &Principal, kid: &str) -> bool {
        let state = self
            .state
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if state.entries.is_empty() {
            return false;
        }
        let revoked = |subject: Revocable| {
            let entry = state.entries.get(&subject.to_string());
            entry.is_some_and(|entry| claims.iat_us <= entry.revoked.timestamp_micros())
        };
        let user = match principal {
            Principal::User(user) => Some(*user),
            _ => claims.own,
        };
        let member = |tenant| user.is_some_and(|user| revoked(Revocable::Member { tenant, user }));
        revoked(Revocable::Token(claims.jti.clone()))
            || revoked(Revocable::Principal(principal.clone()))
            || state
                .entries
                .contains_key(&Revocable::SigningKey(kid.to_owned()).to_string())
            || claims
                .own
                .is_some_and(|owner| revoked(Revocable::Principal(Principal::User(owner))))
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
    /// One secret of a key or client, by the number that it is counted by: with
    /// it end the tokens that were traded for it, not those issued by name.
    Secret(i64),
    /// A key that tokens are signed with, by its `kid`: whenever they were
    /// issued, for what a stolen key signs bears any date.
    SigningKey(String),
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
            Self::Secret(number) => write!(f, "secret:{number}"),
            Self::SigningKey(kid) => write!(f, "signing-key:{kid}"),
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

/// Follows key management's stream of revocations for as long as it is
/// polled; asks again whenever the stream ends. No process is ready without
/// it, so all of its calls prove from now on that they come from `identity`.
pub async fn follow(
    peers: Peers,
    identity: ServiceIdentity,
    revocations: Revocations,
    clock: Clock,
) {
    let follow = async {
        loop {
            if let Err(error) = follow_once(&peers, &identity, &revocations, &clock).await {
                tracing::warn!(%error, "the stream of revocations has ended; asking again");
            }
            tokio::time::sleep(RETRY).await;
        }
    };
    // Silence grows while nothing happens.
    let measure = async {
        loop {
            metrics::revocations(revocations.known(), revocations.silent_for());
            tokio::time::sleep(MEASURE).await;
        }
    };
    tokio::join!(follow, measure);
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
    // A stream that hangs is as bad as one that ends: the bound is that of both.
    let bound = revocations.silence.bound;
    // What comes first was told to others long ago.
    let mut is_news = false;
    while let Ok(next) = tokio::time::timeout(bound, stream.message()).await {
        let Some(answer) = next? else { break };
        for revocation in &answer.revocations {
            let (revoked, forget) = (&revocation.revoke_time, &revocation.forget_time);
            let time = |t: &Option<Timestamp>| t.as_ref().and_then(date_time);
            if let (Some(revoked), Some(forget)) = (time(revoked), time(forget)) {
                revocations.add(&revocation.subject, revoked, forget);
                if is_news {
                    metrics::revocation_known_after(clock.now() - revoked);
                }
            }
        }
        is_news = true;
        if answer.synchronised {
            revocations.heard(clock.now());
        }
    }
    Ok(())
}
