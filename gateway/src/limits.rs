//! How many requests may come from whom: GCRA, in this process's memory alone.
//!
//! A bucket that was not used until it was full again says nothing, and is
//! forgotten; of more sources than are remembered, the latest count.

use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chassis::caller::{Principal, Subject, TenantId};
use governor::clock::{Clock, MonotonicClock};
use governor::middleware::{StateInformationMiddleware, StateSnapshot};
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use moka::policy::EvictionPolicy;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorInfo, RetryInfo, StatusExt};

use crate::visit;

mod rate;

pub use rate::{Rate, replicas};

/// How many principals, tenants or sources are remembered.
const REMEMBERED: u64 = 100_000;
/// What an API key's own number of requests refers to.
const MINUTE: Duration = Duration::from_secs(60);

/// What the operator limits; without a rate, not.
#[derive(Clone, Debug)]
pub struct Limits {
    /// For each user, API key and API client that has no number of its own.
    pub principal: Option<Rate>,
    /// For each tenant.
    pub tenant: Option<Rate>,
    /// For each address.
    pub source: Option<Rate>,
    /// For each address, of credentials that are wrong.
    pub failures: Option<Rate>,
    /// How many gateways share the requests.
    pub replicas: NonZeroU32,
}

/// Nothing is limited.
impl Default for Limits {
    fn default() -> Self {
        Self {
            principal: None,
            tenant: None,
            source: None,
            failures: None,
            replicas: NonZeroU32::MIN,
        }
    }
}

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    Principal,
    Tenant,
    Source,
    Failures,
}

impl Limit {
    fn reason(self) -> &'static str {
        match self {
            Self::Failures => "TOO_MANY_FAILURES",
            _ => "RATE_LIMITED",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::Principal => "this principal makes too many requests",
            Self::Tenant => "this tenant makes too many requests",
            Self::Source => "too many requests come from this address",
            Self::Failures => "too many wrong credentials came from this address",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Principal => "principal",
            Self::Tenant => "tenant",
            Self::Source => "source",
            Self::Failures => "failures",
        })
    }
}

/// How much is left of a limit.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    limit: Limit,
    quota: Quota,
    left: u32,
}

impl Level {
    /// Whether its limit will be reached before another one, as it looks.
    pub(crate) fn is_nearer(&self, other: &Self) -> bool {
        let part = |level: &Self, of: &Self| {
            u64::from(level.left) * u64::from(of.quota.burst_size().get())
        };
        part(self, other) < part(other, self)
    }

    /// Nothing is left.
    pub(crate) fn reached(limit: Limit, rate: Rate) -> Self {
        Self {
            limit,
            quota: rate.quota(),
            left: 0,
        }
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers. A bucket's window is
    /// the time in which it fills.
    pub(crate) fn headers(&self) -> [(&'static str, String); 2] {
        let Self { limit, left, .. } = self;
        let (interval, most) = (self.quota.replenish_interval(), self.quota.burst_size());
        let window = seconds(interval * most.get());
        let full = seconds(interval * most.get().saturating_sub(*left));
        [
            (
                "ratelimit-policy",
                format!("\"{limit}\";q={most};w={window}"),
            ),
            ("ratelimit", format!("\"{limit}\";r={left};t={full}")),
        ]
    }

    /// The refusal of what is beyond a limit.
    pub(crate) fn refusal(&self, wait: Duration) -> Status {
        metrics::counter!("muster_rate_limited_total", "limit" => self.limit.to_string())
            .increment(1);
        let wait = Duration::from_secs(seconds(wait).max(1));
        let metadata = [("limit".to_owned(), self.limit.to_string())];
        let domain = chassis::error::DOMAIN;
        // What is wrong comes first, as in every other refusal.
        let details = [
            ErrorInfo::new(self.limit.reason(), domain, metadata).into(),
            RetryInfo::new(Some(wait)).into(),
        ];
        let wait = wait.as_secs();
        let message = format!("{}; try again in {wait} s", self.limit.message());
        let mut status = Status::with_error_details_vec(Code::ResourceExhausted, message, details);
        let headers = self.headers().into_iter();
        for (name, value) in headers.chain([("retry-after", wait.to_string())]) {
            if let Ok(value) = MetadataValue::try_from(value) {
                status.metadata_mut().insert(name, value);
            }
        }
        status
    }
}

/// Whole seconds, rounded up.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

type Governor = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, StateInformationMiddleware>;

/// The requests of one principal, tenant or source.
pub(crate) struct Bucket {
    limit: Limit,
    quota: Quota,
    governor: Governor,
}

impl Bucket {
    pub(crate) fn new(limit: Limit, rate: Rate) -> Self {
        let governor = RateLimiter::direct_with_clock(rate.quota(), MonotonicClock);
        Self {
            limit,
            quota: rate.quota(),
            governor: governor.with_middleware(),
        }
    }

    /// Takes one; else tells how long to wait for it.
    pub(crate) fn take(&self) -> Result<Level, Duration> {
        let level = |state: StateSnapshot| self.level(state.remaining_burst_capacity());
        let now = || self.governor.clock().now();
        let taken = self.governor.check().map(level);
        taken.map_err(|until| until.wait_time_from(now()))
    }

    pub(crate) fn level(&self, left: u32) -> Level {
        Level {
            limit: self.limit,
            quota: self.quota,
            left,
        }
    }
}

/// What is remembered of each until it says nothing any more.
pub(crate) fn forgetful<K, V>(fill: Duration) -> moka::sync::Cache<K, Arc<V>>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Send + Sync + 'static,
{
    moka::sync::Cache::builder()
        .max_capacity(REMEMBERED)
        .eviction_policy(EvictionPolicy::lru())
        .time_to_idle(fill + Duration::from_secs(1))
        .build()
}

/// Whose requests count together: of IPv6, a household has 64 bits.
pub(crate) fn household(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(source) => {
            let bits = u128::from(source) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        source @ IpAddr::V4(_) => source,
    }
}

struct Buckets<K> {
    limit: Limit,
    buckets: moka::sync::Cache<K, Arc<Bucket>>,
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Buckets<K> {
    fn new(limit: Limit, slowest: Duration) -> Self {
        Self {
            limit,
            buckets: forgetful(slowest),
        }
    }

    fn take(&self, key: K, rate: Rate) -> Result<(), Status> {
        let new = || Arc::new(Bucket::new(self.limit, rate));
        let bucket = self.buckets.get_with(key, new);
        match bucket.take() {
            Ok(level) => {
                if let Some(visit) = visit::current() {
                    visit.at(level);
                }
                Ok(())
            }
            Err(wait) => Err(bucket.level(0).refusal(wait)),
        }
    }
}

/// Counts requests, and refuses what is beyond the limits.
pub(crate) struct Limiter {
    limits: Limits,
    /// With the number that an API key has of its own, or 0; devices, whose ids
    /// are their tenant's to choose, with that.
    principals: Buckets<(Principal, Option<TenantId>, u32)>,
    tenants: Buckets<TenantId>,
    sources: Buckets<IpAddr>,
}

impl Limiter {
    pub(crate) fn new(limits: &Limits) -> Self {
        let part = |rate: Option<Rate>| rate.map(|rate| rate.of_one_in(limits.replicas));
        let limits = Limits {
            principal: part(limits.principal),
            tenant: part(limits.tenant),
            source: part(limits.source),
            failures: part(limits.failures),
            replicas: limits.replicas,
        };
        let fill = |rate: Option<Rate>| rate.map_or(Duration::ZERO, Rate::refill);
        let own = MINUTE * limits.replicas.get();
        Self {
            principals: Buckets::new(Limit::Principal, fill(limits.principal).max(own)),
            tenants: Buckets::new(Limit::Tenant, fill(limits.tenant)),
            sources: Buckets::new(Limit::Source, fill(limits.source)),
            limits,
        }
    }

    /// Lets a request in by the address that it comes from.
    pub(crate) fn source(&self, source: Option<IpAddr>) -> Result<(), Status> {
        match (self.limits.source, source) {
            (Some(rate), Some(source)) => self.sources.take(household(source), rate),
            _ => Ok(()),
        }
    }

    /// Lets it in by who makes it. What is 0 of its own has the usual rate.
    pub(crate) fn subject(&self, subject: &Subject, per_minute: u32) -> Result<(), Status> {
        let own = NonZeroU32::new(per_minute)
            .and_then(|number| Rate::new(number, MINUTE, number))
            .map(|rate| rate.of_one_in(self.limits.replicas));
        if let Some(rate) = own.or(self.limits.principal) {
            let principal = subject.principal().clone();
            let is_device = matches!(principal, Principal::Device(_));
            let tenant = subject.tenant().filter(|_| is_device);
            let key = (principal, tenant, per_minute);
            self.principals.take(key, rate)?;
        }
        match (self.limits.tenant, subject.tenant()) {
            (Some(rate), Some(tenant)) => self.tenants.take(tenant, rate),
            _ => Ok(()),
        }
    }

    /// How many credentials of an address may be wrong.
    pub(crate) fn failures(&self) -> Option<Rate> {
        self.limits.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Rate {
        Rate::parse(text, NonZeroU32::MIN).unwrap().unwrap()
    }

    #[test]
    fn what_is_left_is_told_in_structured_fields() {
        let bucket = Bucket::new(Limit::Tenant, rate("60/min,120"));
        let [policy, left] = bucket.take().unwrap().headers();
        assert_eq!(policy.1, "\"tenant\";q=120;w=120");
        assert_eq!(left.1, "\"tenant\";r=119;t=1");
    }

    #[test]
    fn the_limit_that_is_told_is_the_nearest() {
        let level = |text, left| Bucket::new(Limit::Source, rate(text)).level(left);
        assert!(level("100/s", 1).is_nearer(&level("10/s", 1)));
        assert!(!level("10/s", 5).is_nearer(&level("100/s", 50)));
        assert!(level("10/s", 4).is_nearer(&level("100/s", 50)));
    }

    #[test]
    fn ipv6_addresses_of_one_household_count_together() {
        let of = |text: &str| household(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3::4"), "2001:db8:1:2::");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
    }
}
