//! Values as people type them.

use std::net::IpAddr;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use clap::builder::PossibleValuesParser;
use ipnet::IpNet;
use proto::access::{ALL_PERMISSIONS, scope};

/// The longest span that is understood; nothing here is meant to last longer.
const MAX_SECONDS: i64 = 100 * 366 * 24 * 3600;

/// When something ends, or began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// So long from now.
    Span(TimeDelta),
    /// At this time.
    At(DateTime<Utc>),
}

/// How long something may last; without a span, as long as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Option<TimeDelta>);

/// When something ends; without a time, never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End(pub(crate) Option<When>);

impl When {
    /// The time in whole seconds; a span lies ahead.
    pub(crate) fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Span(span) => (now + span).trunc_subsecs(0),
            Self::At(time) => time,
        }
    }

    /// The time; a span lies behind.
    pub(crate) fn before(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::Span(span) => now - span,
            Self::At(time) => time,
        }
    }
}

/// Reads a span such as `90d`, or a time such as `2027-01-01T00:00:00Z`.
pub(crate) fn when(text: &str) -> Result<When, String> {
    if let Ok(span) = span(text) {
        return Ok(When::Span(span));
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| When::At(time.to_utc()))
        .map_err(|_| "write a span such as 90d, or a time such as 2027-01-01T00:00:00Z".to_owned())
}

/// Reads a span such as `10m`: seconds, minutes, hours, days or weeks.
pub(crate) fn span(text: &str) -> Result<TimeDelta, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 24 * 3600,
        Some('w') => 7 * 24 * 3600,
        _ => 0,
    };
    text.get(..text.len().saturating_sub(1))
        .filter(|digits| unit > 0 && digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse::<i64>().ok())
        .and_then(|count| count.checked_mul(unit))
        .filter(|seconds| (1..=MAX_SECONDS).contains(seconds))
        .map(TimeDelta::seconds)
        .ok_or_else(|| "write a number and s, m, h, d or w, such as 10m".to_owned())
}

/// Reads a bound: a span such as `90d`, or `none`.
pub(crate) fn bound(text: &str) -> Result<Bound, String> {
    match text {
        "none" => Ok(Bound(None)),
        text => span(text).map(|span| Bound(Some(span))),
    }
}

/// Reads an end such as in [`when`], or `never`.
pub(crate) fn end(text: &str) -> Result<End, String> {
    match text {
        "never" => Ok(End(None)),
        text => when(text).map(|end| End(Some(end))),
    }
}

/// Reads a span, or `0` for none at all.
pub(crate) fn span_or_zero(text: &str) -> Result<TimeDelta, String> {
    match text {
        "0" | "0s" => Ok(TimeDelta::zero()),
        text => span(text),
    }
}

/// A span as the contract has it.
pub(crate) fn duration(span: TimeDelta) -> prost_types::Duration {
    prost_types::Duration {
        seconds: span.num_seconds(),
        nanos: 0,
    }
}

/// Reads a network such as `192.0.2.0/24`, or one address.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse()
        .or_else(|_| address())
        .map_err(|_| "write a network such as 192.0.2.0/24, or an address".to_owned())
}

/// Networks as the contract has them.
pub(crate) fn written(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(IpNet::to_string).collect()
}

/// Reads a label, `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write key=value".to_owned()),
    }
}

/// Reads a permission's name, and lists them all in the help.
pub(crate) fn permission() -> PossibleValuesParser {
    PossibleValuesParser::new(ALL_PERMISSIONS.iter().map(|p| scope(*p)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read() {
        for (text, seconds) in [("45s", 45), ("10m", 600), ("2h", 7200), ("90d", 7_776_000)] {
            assert_eq!(span(text), Ok(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "m",
            "10",
            "-1d",
            "+1d",
            "0s",
            "1.5h",
            "9999999999999999d",
            "200000w",
            "5µ",
        ] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_told_by_a_span_or_by_itself() {
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        let ends = |text| when(text).map(|end| end.after(now).to_rfc3339());
        let began = when("1h").map(|start| start.before(now).to_rfc3339());
        assert_eq!(began.unwrap(), "2027-01-15T07:00:00+00:00");
        assert_eq!(ends("1h").unwrap(), "2027-01-15T09:00:00+00:00");
        assert_eq!(
            ends("2027-01-01T00:00:00+01:00").unwrap(),
            "2026-12-31T23:00:00+00:00"
        );
        assert!(when("tomorrow").is_err());
    }

    #[test]
    fn what_lasts_for_ever_or_not_at_all_has_a_word() {
        assert_eq!(bound("none"), Ok(Bound(None)));
        assert_eq!(bound("1h"), Ok(Bound(Some(TimeDelta::hours(1)))));
        assert_eq!(end("never"), Ok(End(None)));
        assert_eq!(end("1h"), Ok(End(Some(When::Span(TimeDelta::hours(1))))));
        assert_eq!(span_or_zero("0"), Ok(TimeDelta::zero()));
        assert!(bound("never").is_err() && end("none").is_err() && span_or_zero("-1s").is_err());
    }

    #[test]
    fn one_address_is_a_network_too() {
        let written = |text| network(text).map(|network| network.to_string());
        assert_eq!(written("192.0.2.0/24").unwrap(), "192.0.2.0/24");
        assert_eq!(written("::1").unwrap(), "::1/128");
        assert!(network("here").is_err());
    }

    #[test]
    fn a_label_may_hold_equals_signs_and_nothing() {
        assert_eq!(label("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(label("a="), Ok(("a".to_owned(), String::new())));
        assert!(label("=b").is_err());
        assert!(label("a").is_err());
    }
}
