//! What a key may be: as the tenant's policy has it, and all that is wrong
//! told at once.

use std::net::IpAddr;

use chassis::permissions::Permissions;
use chassis::time::date_time;
use chassis::{Caller, Error, Result};
use chrono::TimeDelta;
use ipnet::{IpNet, Ipv4Net};
use proto::Violation;
use proto::keys::ApiKey;
use sea_orm::prelude::DateTimeUtc;

use crate::entity::key_policy;
use crate::grants;

/// Of an IPv6 address that stands for an IPv4 address, these bits say so.
const MAPPED: u8 = 96;

/// What a key allows, and until when.
pub(super) struct Terms {
    pub(super) permissions: Permissions,
    /// As they are stored.
    pub(super) networks: String,
    pub(super) expire_time: Option<DateTimeUtc>,
}

/// What is asked when a key's terms are read.
pub(super) struct Rules<'a> {
    pub(super) policy: Option<&'a key_policy::Model>,
    /// When the key was created.
    pub(super) created: DateTimeUtc,
    pub(super) now: DateTimeUtc,
}

impl Rules<'_> {
    /// The terms of a new key.
    pub(super) fn of_new(&self, caller: &Caller, key: &ApiKey) -> Result<Terms> {
        let mut wrong = grants::unknown(&key.permissions, "api_key.permissions");
        wrong.extend(self.not_allowed(&key.permissions));
        let networks = networks(&key.allowed_networks, &mut wrong);
        let expire_time = self.expiry(key, &mut wrong);
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        let permissions = Permissions::from_scope(&key.permissions.join(" "));
        caller.may_grant(permissions)?;
        Ok(Terms {
            permissions,
            networks,
            expire_time,
        })
    }

    /// The terms of a key that is changed. What stays as it is may break a
    /// policy that is younger than the key.
    pub(super) fn of_changed(&self, caller: &Caller, old: &ApiKey, new: &ApiKey) -> Result<Terms> {
        let mut wrong = grants::unknown(&new.permissions, "api_key.permissions");
        wrong.extend(widened(&old.permissions, &new.permissions));
        let networks = networks(&new.allowed_networks, &mut wrong);
        let expire_time = match new.expire_time == old.expire_time {
            true => old.expire_time.as_ref().and_then(date_time),
            false => self.expiry(new, &mut wrong),
        };
        if !wrong.is_empty() {
            return Err(Error::Invalid(wrong));
        }
        let permissions = Permissions::from_scope(&new.permissions.join(" "));
        // Who lets a key do again, or longer, or from elsewhere, what it could
        // not, grants it.
        if is_freer(old, new) {
            caller.may_grant(permissions)?;
        }
        Ok(Terms {
            permissions,
            networks,
            expire_time,
        })
    }

    fn not_allowed(&self, names: &[String]) -> Vec<Violation> {
        let policy = self.policy.filter(|p| !p.allowed_permissions.is_empty());
        let Some(policy) = policy else {
            return Vec::new();
        };
        let allowed: Vec<_> = policy.allowed_permissions.split(' ').collect();
        let beyond = names.iter().enumerate().filter(|(_, name)| {
            // What is no permission at all is told as that.
            Permissions::from_names([name.as_str()]).is_ok() && !allowed.contains(&name.as_str())
        });
        let advice = format!(
            "is not allowed by the tenant's policy for keys, which allows {}",
            allowed.join(", ")
        );
        beyond
            .map(|(i, _)| violation(format!("api_key.permissions[{i}]"), "policy", &advice))
            .collect()
    }

    fn expiry(&self, key: &ApiKey, wrong: &mut Vec<Violation>) -> Option<DateTimeUtc> {
        let field = || "api_key.expire_time".to_owned();
        let longest = self.policy.and_then(|policy| policy.max_life);
        let Some(wanted) = &key.expire_time else {
            let required = self.policy.is_some_and(|policy| policy.expiry_required);
            if required || longest.is_some() {
                let advice = "must be set: the tenant's policy wants every key to expire";
                wrong.push(violation(field(), "policy", advice));
            }
            return None;
        };
        let Some(end) = date_time(wanted).filter(|end| *end > self.now) else {
            wrong.push(violation(field(), "value", "must be in the future"));
            return None;
        };
        if let Some(longest) = longest
            && end > self.created + TimeDelta::seconds(longest)
        {
            let advice = format!(
                "is later than the tenant's policy allows: at most {longest} seconds after the key was created"
            );
            wrong.push(violation(field(), "policy", &advice));
        }
        Some(end)
    }
}

fn violation(field: String, rule: &'static str, description: &str) -> Violation {
    Violation {
        field,
        rule,
        description: description.to_owned(),
    }
}

/// Permissions that a key does not have can't be given to it: whoever has its
/// secret was not to have them.
fn widened(old: &[String], new: &[String]) -> Vec<Violation> {
    let more = new.iter().enumerate().filter(|(_, name)| {
        Permissions::from_names([name.as_str()]).is_ok() && !old.contains(name)
    });
    let advice = "the key does not have it, and can't get it; create a new key";
    more.map(|(i, _)| violation(format!("api_key.permissions[{i}]"), "narrow", advice))
        .collect()
}

/// Networks as they are stored: each once, without the bits of a host.
fn networks(texts: &[String], wrong: &mut Vec<Violation>) -> String {
    let mut networks = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        match network(text) {
            Some(network) if networks.contains(&network) => {}
            Some(network) => networks.push(network),
            None => wrong.push(violation(
                format!("api_key.allowed_networks[{i}]"),
                "network",
                "is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address",
            )),
        }
    }
    let texts: Vec<_> = networks.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// IPv4 in the form of IPv6 is IPv4, as addresses of callers are.
fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpNet>() {
        Ok(network) => network,
        Err(_) => IpNet::from(text.parse::<IpAddr>().ok()?),
    };
    let mapped = match network {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED => v6.addr().to_ipv4_mapped(),
        _ => None,
    };
    let network = match mapped {
        Some(address) => IpNet::V4(Ipv4Net::new(address, network.prefix_len() - MAPPED).ok()?),
        None => network,
    };
    Some(network.trunc())
}

/// Whether a key may be used when or where it may not be used now.
fn is_freer(old: &ApiKey, new: &ApiKey) -> bool {
    let end = |key: &ApiKey| key.expire_time.as_ref().and_then(date_time);
    let later = match (end(old), end(new)) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(old), Some(new)) => new > old,
    };
    let read = |key: &ApiKey| -> Vec<IpNet> {
        let texts = key.allowed_networks.iter();
        texts.filter_map(|text| network(text)).collect()
    };
    let (before, after) = (read(old), read(new));
    let within = |net: &IpNet| before.iter().any(|old| old.contains(net));
    let elsewhere = !before.is_empty() && (after.is_empty() || !after.iter().all(within));
    later || elsewhere || (old.disabled && !new.disabled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(networks: &[&str], disabled: bool, end: Option<i64>) -> ApiKey {
        ApiKey {
            allowed_networks: networks.iter().map(|&n| n.to_owned()).collect(),
            disabled,
            expire_time: end.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 }),
            ..ApiKey::default()
        }
    }

    #[test]
    fn a_network_is_kept_in_one_form() {
        let kept = |text: &str| network(text).map(|n| n.to_string());
        for (text, form) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.77", "192.0.2.77/32"),
            ("2001:db8::1", "2001:db8::1/128"),
            ("::ffff:192.0.2.77/120", "192.0.2.0/24"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(kept(text).as_deref(), Some(form));
        }
        for text in [
            "",
            "192.0.2.0/33",
            "example.com",
            "192.0.2",
            "192.0.2.0/ 24",
        ] {
            assert_eq!(kept(text), None, "{text}");
        }
    }

    #[test]
    fn a_key_is_freer_if_it_works_where_or_when_it_did_not() {
        let old = key(&["10.0.0.0/8"], true, Some(100));
        let freer = |new: ApiKey| is_freer(&old, &new);
        assert!(!freer(old.clone()));
        assert!(!freer(key(&["10.1.0.0/16", "10.2.0.0/16"], true, Some(50))));
        assert!(freer(key(&["10.0.0.0/8", "192.0.2.1"], true, Some(100))));
        assert!(freer(key(&[], true, Some(100))));
        assert!(freer(key(&["10.0.0.0/8"], false, Some(100))));
        assert!(freer(key(&["10.0.0.0/8"], true, Some(101))));
        assert!(freer(key(&["10.0.0.0/8"], true, None)));
    }
}
