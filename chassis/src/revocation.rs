//! What must no longer be accepted, though its token has not expired.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::caller::Principal;
use crate::token::Claims;

/// How long the stream of revocations may be silent before tokens are
/// refused: the bound within which a revocation is known everywhere.
pub const SILENCE: Duration = Duration::from_secs(10);

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
        let revoked = |subject: &str| {
            let entry = state.entries.get(subject);
            entry.is_some_and(|entry| claims.iat <= entry.revoked.timestamp())
        };
        let ids = [claims.sid, claims.tid].into_iter().flatten();
        revoked(&claims.jti)
            || revoked(&principal.id())
            || ids.map(|id| id.to_string()).any(|id| revoked(&id))
            || membership(claims.tid, principal).is_some_and(|subject| revoked(&subject))
    }
}

/// How a membership is named as the subject of a revocation.
pub fn member(tenant: Uuid, user: Uuid) -> String {
    format!("member/{tenant}/{user}")
}

fn membership(tenant: Option<Uuid>, principal: &Principal) -> Option<String> {
    match (tenant, principal) {
        (Some(tenant), Principal::User(user)) => Some(member(tenant, *user)),
        _ => None,
    }
}
