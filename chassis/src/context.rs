//! The call that is being answered: which method, which request, from where
//! and until when. It is there for as long as the call runs, so that what is
//! recorded, and what is asked of others on the way, carries it.

use std::future::Future;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::Either;
use http::{HeaderMap, HeaderValue};
use tokio::task::futures::TaskLocalFuture;

use crate::error::{Error, Result};

pub use crate::trace::Trace;

/// Header that names the client's request in logs and records.
pub const REQUEST_ID: &str = "x-request-id";
/// Header by which the gateway tells the services where a request came from.
pub const SOURCE: &str = "x-muster-source";
/// Header by which a service proves that a call comes from it, if its
/// `authorization` is somebody else's. Only then is its word on the call's
/// request and source taken.
pub const SERVICE: &str = "x-muster-service";
/// Header that says how long the caller waits (gRPC over HTTP/2).
pub const TIMEOUT: &str = "grpc-timeout";

/// A call that is being answered.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The method, such as `muster.registry.v1.DeviceService/CreateDevice`.
    pub method: String,
    /// The id of the client's request, which all calls made for it share.
    pub request_id: String,
    /// The address that the client's request came from.
    pub source: Option<IpAddr>,
    /// When the client no longer waits for the answer.
    pub deadline: Option<Instant>,
    /// The trace that the client's request is part of.
    pub trace: Trace,
}

/// Who says what a call is part of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A service of this installation.
    Service,
    /// Whoever is at this address.
    Address(Option<IpAddr>),
}

/// The id of a request, if it is one that logs and records can bear.
pub fn request_id(headers: &HeaderMap) -> Option<&str> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let sane = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
    (id.len() <= 64 && id.bytes().all(sane)).then_some(id)
}

impl Call {
    /// What the headers of a request say of it; its source only if one of our
    /// services says so.
    pub(crate) fn of(path: &str, headers: &HeaderMap, from: Origin) -> Result<Self> {
        let said = || headers.get(SOURCE)?.to_str().ok()?.parse().ok();
        Ok(Self {
            method: path.trim_start_matches('/').to_owned(),
            request_id: request_id(headers).unwrap_or_default().to_owned(),
            source: match from {
                Origin::Service => said(),
                Origin::Address(address) => address,
            },
            deadline: timeout(headers)?.map(|left| Instant::now() + left),
            trace: Trace::of(headers),
        })
    }

    /// Writes the call into the headers of what is asked of others for it.
    pub fn write(&self, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: Option<String>| {
            headers.remove(name);
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        };
        let id = Some(self.request_id.clone()).filter(|id| !id.is_empty());
        set(REQUEST_ID, id);
        set(SOURCE, self.source.map(|source| source.to_string()));
        let now = Instant::now();
        let left = self.deadline.map(|at| at.saturating_duration_since(now));
        set(TIMEOUT, left.map(timeout_value));
        self.trace.write(headers);
    }
}

/// How long the caller waits, by `grpc-timeout`: at most eight digits and a unit.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let wrong = || Error::invalid(TIMEOUT, "must be 1 to 8 digits and one of H, M, S, m, u, n");
    let (unit, digits) = value.as_bytes().split_last().ok_or_else(wrong)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(wrong());
    }
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Ok(Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(wrong()),
    }))
}

/// The finest unit that eight digits are enough for.
fn timeout_value(left: Duration) -> String {
    const MOST: u128 = 99_999_999;
    match left {
        left if left.as_micros() <= MOST => format!("{}u", left.as_micros()),
        left if left.as_millis() <= MOST => format!("{}m", left.as_millis()),
        left => format!("{}S", u128::from(left.as_secs()).min(MOST)),
    }
}

/// The answer to a call that has taken longer than its caller waits.
pub fn late() -> tonic::Status {
    tonic::Status::deadline_exceeded("the caller's deadline has passed")
}

/// Waits for work until the caller no longer does.
// No `async fn`: that would hold what it is given twice, and be moved with both.
pub fn until<F: Future>(
    deadline: Option<Instant>,
    work: F,
) -> impl Future<Output = std::result::Result<F::Output, tonic::Status>> {
    match deadline {
        Some(at) => {
            let work = tokio::time::timeout_at(at.into(), work);
            Either::Left(work.map(|done| done.map_err(|_| late())))
        }
        None => Either::Right(work.map(Ok)),
    }
}

/// 24 bits of an IPv4 address, 48 of an IPv6 address: whose network it is, and
/// not who in it.
pub fn network(source: IpAddr) -> String {
    match source.to_canonical() {
        IpAddr::V4(source) => {
            let network = u32::from(source) >> 8 << 8;
            format!("{}/24", std::net::Ipv4Addr::from(network))
        }
        IpAddr::V6(source) => {
            let network = u128::from(source) >> 80 << 80;
            format!("{}/48", std::net::Ipv6Addr::from(network))
        }
    }
}

tokio::task_local! {
    static CURRENT: Call;
}

/// The call that the present task answers, if any.
pub fn current() -> Option<Call> {
    CURRENT.try_with(Call::clone).ok()
}

/// Runs what answers a call. Tasks that it starts are not part of it.
// No `async fn`, as above.
pub fn scope<F: Future>(call: Call, work: F) -> TaskLocalFuture<Call, F> {
    CURRENT.scope(call, work)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Duration> {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static(TIMEOUT),
            text.parse().unwrap(),
        )]);
        timeout(&headers).ok().flatten()
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(parsed("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parsed("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parsed("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parsed("99999999n"), Some(Duration::from_nanos(99_999_999)));
        for wrong in [
            "",
            "1",
            "S",
            "1s",
            "+1S",
            "-1S",
            "1.5S",
            "123456789S",
            "1 S",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_left_of_a_deadline_is_told_in_eight_digits() {
        for seconds in [0, 1, 99, 101, 99_999, 100_001, u64::MAX] {
            let left = Duration::from_secs(seconds);
            let told = parsed(&timeout_value(left)).unwrap();
            assert_eq!(told, left.min(Duration::from_secs(99_999_999)));
        }
    }

    #[test]
    fn a_call_goes_on_as_it_came() {
        let mut headers = HeaderMap::new();
        headers.insert(SOURCE, "6.6.6.6".parse().unwrap());
        headers.insert(TIMEOUT, "1S".parse().unwrap());
        let call = Call {
            request_id: "r-1".to_owned(),
            source: "2001:db8::1".parse().ok(),
            ..Call::default()
        };
        call.write(&mut headers);
        let read = Call::of("/a.B/C", &headers, Origin::Service).unwrap();
        assert_eq!(
            (read.method.as_str(), read.request_id.as_str()),
            ("a.B/C", "r-1")
        );
        assert_eq!((read.source, read.deadline), (call.source, None));
        let read = Call::of("/a.B/C", &headers, Origin::Address(None)).unwrap();
        assert_eq!(read.source, None);
    }

    #[test]
    fn an_address_is_told_by_its_network_only() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2::3"), "2001:db8:1::/48");
    }

    #[test]
    fn an_id_of_a_request_is_short_and_plain() {
        let read = |id: &str| {
            let id = HeaderValue::from_str(id).unwrap();
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(REQUEST_ID), id)]);
            request_id(&headers).map(str::to_owned)
        };
        let longest = "x".repeat(64);
        for sane in ["r-1", "A_b.c:9", longest.as_str()] {
            assert_eq!(read(sane).as_deref(), Some(sane));
        }
        for wrong in ["a b", "a\tb", "<b>", &"x".repeat(65), &"x".repeat(6000)] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
