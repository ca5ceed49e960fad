//! How many requests may come from whom.

use std::num::NonZeroU32;

use clap::Args;
use gateway::{Limits, Rate};

use super::Problems;

/// Limits of the gateway's port: N/s, N/min or N/h, perhaps with the number
/// that may come at once (600/min,50); or off.
#[derive(Args)]
pub(crate) struct RateLimits {
    /// Requests of one user, API key or API client, such as 600/min, or 600/min,50 with at most
    /// 50 at once; an API key may have a number of its own
    #[arg(
        long,
        value_name = "RATE",
        env = "MUSTER_LIMIT_PRINCIPAL",
        default_value = "off"
    )]
    limit_principal: String,
    /// Requests of one tenant
    #[arg(
        long,
        value_name = "RATE",
        env = "MUSTER_LIMIT_TENANT",
        default_value = "off"
    )]
    limit_tenant: String,
    /// Requests from one address; of IPv6, from one /64
    #[arg(
        long,
        value_name = "RATE",
        env = "MUSTER_LIMIT_SOURCE",
        default_value = "off"
    )]
    limit_source: String,
    /// Wrong credentials from one address: beyond, only those are taken that were good before
    #[arg(
        long,
        value_name = "RATE",
        env = "MUSTER_LIMIT_FAILURES",
        default_value = "60/min,120"
    )]
    limit_failures: String,
    /// How many gateways share the limits: each counts by itself and allows its part
    #[arg(
        long,
        value_name = "N",
        env = "MUSTER_LIMIT_REPLICAS",
        default_value = "1"
    )]
    limit_replicas: NonZeroU32,
}

impl RateLimits {
    pub(super) fn check(&self, problems: &mut Problems) -> Limits {
        let replicas = gateway::replicas(self.limit_replicas);
        let replicas = problems.take("--limit-replicas", replicas);
        let replicas = replicas.unwrap_or(NonZeroU32::MIN);
        let mut rate = |flag, text: &str| {
            let rate = Rate::parse(text, replicas);
            problems.take(flag, rate).flatten()
        };
        Limits {
            principal: rate("--limit-principal", &self.limit_principal),
            tenant: rate("--limit-tenant", &self.limit_tenant),
            source: rate("--limit-source", &self.limit_source),
            failures: rate("--limit-failures", &self.limit_failures),
            replicas,
        }
    }
}
