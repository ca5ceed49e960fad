//! What was traded for a credential.

use std::net::IpAddr;
use std::time::Duration;

use chassis::time::date_time;
use chassis::{Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use ipnet::IpNet;
use proto::keys::ExchangeResponse;

/// A token is not used in its last seconds: it has still to pass the services.
const MARGIN: TimeDelta = TimeDelta::seconds(10);
/// How long before its end a credential's user is told of it.
const SOON: TimeDelta = TimeDelta::days(14);

/// What was traded for a credential.
#[derive(Default)]
pub(super) struct Traded {
    pub(super) token: String,
    pub(super) life: Duration,
    /// By which uses of the credential are counted; 0: they are not.
    pub(super) generation: i64,
    /// From where it may be used; none: from everywhere.
    networks: Vec<IpNet>,
    /// How many requests a minute it may make; 0: as many as others.
    pub(super) requests_per_minute: u32,
    end_time: Option<DateTime<Utc>>,
    superseded: bool,
}

impl Traded {
    /// What key management answered.
    pub(super) fn of(answer: ExchangeResponse, now: DateTime<Utc>) -> Result<Self> {
        let end = answer.expire_time.as_ref().and_then(date_time);
        let networks = answer.allowed_networks.iter().map(|text| text.parse());
        Ok(Self {
            token: answer.access_token,
            life: (end.unwrap_or_default() - now - MARGIN)
                .to_std()
                .unwrap_or_default(),
            generation: answer.generation,
            // One that can't be read would else allow everything.
            networks: networks
                .collect::<Result<_, _>>()
                .map_err(Error::internal)?,
            requests_per_minute: u32::try_from(answer.requests_per_minute).unwrap_or_default(),
            end_time: answer.credential_end_time.as_ref().and_then(date_time),
            superseded: answer.superseded,
        })
    }

    /// The same as key management does when it looks a credential up.
    pub(super) fn allows(&self, source: Option<IpAddr>) -> bool {
        let allows = |source| self.networks.iter().any(|n| n.contains(&source));
        self.networks.is_empty() || source.is_some_and(allows)
    }

    /// What the user of the credential should know of it, as a structured
    /// field (RFC 9651).
    pub(super) fn notice(&self, now: DateTime<Utc>) -> Option<String> {
        let ends = self.end_time;
        let state = match ends {
            _ if self.superseded => "superseded",
            Some(end) if end - now <= SOON => "expiring",
            _ => return None,
        };
        let end = ends.map(|end| format!(";ends=@{}", end.timestamp()));
        Some(format!("{state}{}", end.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_secret_is_old_or_ends_soon_is_told() {
        let now = DateTime::from_timestamp(1_798_000_000, 0).unwrap();
        let notice = |days: Option<i64>, superseded| {
            let traded = Traded {
                end_time: days.map(|days| now + TimeDelta::days(days)),
                superseded,
                ..Traded::default()
            };
            traded.notice(now)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(notice(None, false), None);
        assert_eq!(notice(Some(15), false), None);
        assert_eq!(notice(Some(1), false), text("expiring;ends=@1798086400"));
        assert_eq!(notice(Some(15), true), text("superseded;ends=@1799296000"));
        assert_eq!(notice(None, true), text("superseded"));
    }
}
