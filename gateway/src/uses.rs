//! How often credentials are used, and from where: counted in memory, and
//! reported to key management now and then, never in a request's path.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::time::timestamp;
use chassis::{Clock, Result, context};
use chrono::{DateTime, Utc};
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::keys::{CredentialUse, ReportUsesRequest};

/// How often what was counted is reported.
const REPORT: Duration = Duration::from_secs(2);
/// How long key management may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many origins are reported at once.
const AT_ONCE: usize = 1000;
/// How many origins are held; uses beyond are counted without theirs.
const HELD: usize = 10_000;
/// The longest user agent that is kept, in characters.
const AGENT: usize = 200;

/// Counts uses. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Uses {
    clock: Clock,
    pending: Arc<Mutex<HashMap<Origin, Counted>>>,
}

/// One secret, used from one network by one kind of client.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Origin {
    generation: i64,
    network: String,
    user_agent: String,
}

/// How often, and when.
#[derive(Clone, Copy)]
struct Counted {
    count: i64,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

impl Uses {
    /// Reports what is counted from now on.
    pub(crate) fn new(peers: Peers, identity: ServiceIdentity, clock: Clock) -> Self {
        let uses = Self {
            clock,
            pending: Arc::default(),
        };
        tokio::spawn(uses.clone().report(peers, identity));
        uses
    }

    /// Counts one use.
    pub(crate) fn note(&self, generation: i64, source: Option<IpAddr>, user_agent: &str) {
        let now = self.clock.now();
        let origin = Origin {
            generation,
            network: source.map(context::network).unwrap_or_default(),
            user_agent: user_agent.chars().take(AGENT).collect(),
        };
        let once = Counted {
            count: 1,
            first: now,
            last: now,
        };
        add(&mut self.pending(), origin, once);
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<Origin, Counted>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn report(self, peers: Peers, identity: ServiceIdentity) {
        loop {
            tokio::time::sleep(REPORT).await;
            let uses: Vec<_> = self.pending().drain().collect();
            for uses in uses.chunks(AT_ONCE) {
                if let Err(error) = tell(&peers, &identity, uses).await {
                    tracing::warn!(%error, "can't report how credentials are used; trying again");
                    let mut pending = self.pending();
                    for (origin, counted) in uses {
                        add(&mut pending, origin.clone(), *counted);
                    }
                }
            }
        }
    }
}

fn add(pending: &mut HashMap<Origin, Counted>, mut origin: Origin, more: Counted) {
    if pending.len() >= HELD && !pending.contains_key(&origin) {
        origin.network.clear();
        origin.user_agent.clear();
        if pending.len() >= 2 * HELD && !pending.contains_key(&origin) {
            return;
        }
    }
    let counted = pending
        .entry(origin)
        .or_insert(Counted { count: 0, ..more });
    counted.count += more.count;
    counted.first = counted.first.min(more.first);
    counted.last = counted.last.max(more.last);
}

async fn tell(peers: &Peers, identity: &ServiceIdentity, uses: &[(Origin, Counted)]) -> Result<()> {
    let uses = uses.iter().map(|(origin, counted)| CredentialUse {
        generation: origin.generation,
        network: origin.network.clone(),
        user_agent: origin.user_agent.clone(),
        count: counted.count,
        first_time: Some(timestamp(counted.first)),
        last_time: Some(timestamp(counted.last)),
    });
    let request = identity.request(ReportUsesRequest {
        uses: uses.collect(),
    })?;
    let mut client = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
    let told = tokio::time::timeout(PATIENCE, client.report_uses(request)).await;
    told.map_err(|_| context::late())??;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_bounded_and_no_use_of_a_known_secret_is_lost() {
        let now = Clock::system().now();
        let once = Counted {
            count: 1,
            first: now,
            last: now,
        };
        let mut pending = HashMap::new();
        for number in 0..3 * HELD {
            let origin = Origin {
                generation: 1,
                network: String::new(),
                user_agent: format!("agent {number}"),
            };
            add(&mut pending, origin, once);
        }
        assert_eq!(pending.len(), HELD + 1);
        let all: i64 = pending.values().map(|counted| counted.count).sum();
        assert_eq!(all, i64::try_from(3 * HELD).unwrap());
        for generation in 0..i64::try_from(3 * HELD).unwrap() {
            let origin = Origin {
                generation,
                network: String::new(),
                user_agent: String::new(),
            };
            add(&mut pending, origin, once);
        }
        assert!(pending.len() <= 2 * HELD);
    }
}
