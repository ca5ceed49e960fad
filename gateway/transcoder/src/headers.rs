//! Headers to metadata and back.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::fault::{Fault, Outcome};

/// How long the caller waits (gRPC over HTTP/2).
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// RFC 7240.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// RFC 7240.
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Chooses the request headers that become metadata.
pub(crate) type Forward = Box<dyn Fn(&HeaderName) -> bool + Send + Sync>;

/// The metadata that chooses the HTTP status of one answer.
pub(crate) const HTTP_STATUS: HeaderName = HeaderName::from_static("x-http-status");
/// draft-ietf-httpapi-idempotency-key-header.
pub(crate) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The request headers that become metadata if nothing else is chosen:
/// credentials, tracing, conditions, the client's name and language, and
/// everything that starts with `x-`. Not cookies.
pub fn forwarded(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "accept-language",
        "authorization",
        "grpc-timeout",
        "idempotency-key",
        "if-match",
        "if-none-match",
        "last-event-id",
        "traceparent",
        "tracestate",
        "user-agent",
    ];
    name.as_str().starts_with("x-") || NAMES.contains(&name.as_str())
}

/// Headers that are about one connection or one body, never about the call.
fn is_framing(name: &HeaderName) -> bool {
    const NAMES: &[&str] = &[
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "date",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name.as_str())
}

/// The headers of a gRPC request for an HTTP request. A `grpc-timeout` must be
/// one; where there is none, what `prefer` says becomes one.
pub(crate) fn request(http: &HeaderMap, forward: &Forward) -> Outcome<HeaderMap> {
    let mut grpc = HeaderMap::with_capacity(8);
    for (name, value) in http {
        let allowed = !is_framing(name) && (!is_grpc(name) || name == GRPC_TIMEOUT);
        if allowed && forward(name) {
            grpc.append(name.clone(), value.clone());
        }
    }
    grpc.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    grpc.insert(header::TE, HeaderValue::from_static("trailers"));
    match http.get(GRPC_TIMEOUT) {
        Some(value) if !is_timeout(value.as_bytes()) => {
            let message = "1 to 8 digits and one of H, M, S, m, u and n were expected";
            return Err(Fault::invalid(message).in_field(GRPC_TIMEOUT.as_str()));
        }
        Some(_) => {}
        None => {
            if let Some(seconds) = preferred_wait(http)
                && let Ok(value) = HeaderValue::try_from(format!("{seconds}S"))
            {
                grpc.insert(GRPC_TIMEOUT, value);
            }
        }
    }
    Ok(grpc)
}

/// Whether a value is a timeout of gRPC over HTTP/2.
fn is_timeout(value: &[u8]) -> bool {
    let Some((unit, digits)) = value.split_last() else {
        return false;
    };
    b"HMSmun".contains(unit)
        && (1..=8).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
}

/// How many seconds the client says that it waits: `Prefer: wait=10` of RFC
/// 7240. A preference that is malformed, or longer than the eight digits of a
/// `grpc-timeout`, is passed over, as that specification wants it.
pub fn preferred_wait(headers: &HeaderMap) -> Option<u32> {
    let values = headers.get_all(PREFER).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    let preferences = texts.flat_map(|text| text.split(','));
    // Of a preference that is there twice the first one counts.
    let wait = preferences
        .map(|preference| preference.split(';').next().unwrap_or_default())
        .map(|preference| preference.split_once('=').unwrap_or((preference, "")))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let (_, seconds) = wait?;
    let seconds = seconds.trim().trim_matches('"');
    let digits = (1..=8).contains(&seconds.len()) && seconds.bytes().all(|b| b.is_ascii_digit());
    let seconds = digits.then(|| seconds.parse().ok()).flatten();
    seconds.filter(|seconds| *seconds > 0)
}

/// The preference that [`request`] makes a deadline, as an answer tells it.
pub(crate) fn applied_wait(headers: &HeaderMap) -> Option<HeaderValue> {
    if headers.contains_key(GRPC_TIMEOUT) {
        return None;
    }
    HeaderValue::try_from(format!("wait={}", preferred_wait(headers)?)).ok()
}

fn is_grpc(name: &HeaderName) -> bool {
    name.as_str().starts_with("grpc-")
}

/// Passes metadata on as HTTP headers; those that are there already stay.
pub(crate) fn response(metadata: &HeaderMap, http: &mut HeaderMap) {
    let own: Vec<HeaderName> = http.keys().cloned().collect();
    for (name, value) in metadata {
        if !is_framing(name) && !is_grpc(name) && name != HTTP_STATUS && !own.contains(name) {
            http.append(name.clone(), value.clone());
        }
    }
}

/// The HTTP status that the metadata chooses.
pub(crate) fn chosen_status(metadata: &HeaderMap) -> Option<StatusCode> {
    let value = metadata.get(HTTP_STATUS)?.to_str().ok()?;
    let code: u16 = value.parse().ok()?;
    if (200..600).contains(&code) {
        StatusCode::from_u16(code).ok()
    } else {
        None
    }
}

/// An `etag` field as a header: quoted, unless it is already.
pub(crate) fn etag(value: &str) -> Option<HeaderValue> {
    let quoted = value.starts_with('"') || value.starts_with("W/\"");
    let text = if quoted {
        value.to_owned()
    } else {
        format!("\"{value}\"")
    };
    HeaderValue::from_str(&text).ok()
}

/// The one entity tag of `if-match`, without its quotes. `*` is no condition
/// on what is there. Of several a field could hold but one, and a condition
/// that is passed over would be worse than none.
pub(crate) fn if_match(headers: &HeaderMap) -> Outcome<Option<&str>> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let tag = opaque(text);
    if values.next().is_some() || tag.is_empty() || tag.contains('"') {
        let fault = Fault::invalid("exactly one entity tag was expected");
        return Err(fault.in_field(header::IF_MATCH.as_str()));
    }
    Ok(Some(tag))
}

/// Whether a GET need not be answered, for the client has the answer.
pub(crate) fn is_unchanged(method: &Method, headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let Ok(etag) = etag.to_str() else {
        return false;
    };
    let reads = method == Method::GET || method == Method::HEAD;
    let matches = |value: &HeaderValue| {
        let same = |tag: &str| tag == "*" || opaque(tag) == opaque(etag);
        value.to_str().is_ok_and(|list| tags(list).any(same))
    };
    reads && headers.get_all(header::IF_NONE_MATCH).iter().any(matches)
}

/// The entity tags of a list; a comma within quotes is a part of one.
fn tags(list: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    let between = move |char: char| {
        quoted ^= char == '"';
        char == ',' && !quoted
    };
    list.split(between).map(str::trim)
}

/// An entity tag without `W/` and quotes (the weak comparison of RFC 9110).
fn opaque(tag: &str) -> &str {
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"')
        .and_then(|tag| tag.strip_suffix('"'))
        .unwrap_or(tag)
}

/// How a request's body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Untyped,
    Json,
    Form,
    /// Of client streams only.
    Csv,
    /// The wire bytes of the message that the body is; no header says so.
    Wire,
    /// Not read here; HttpBody takes anything.
    Other,
}

/// What `content-type` says.
pub(crate) fn media(headers: &HeaderMap) -> Media {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Media::Untyped;
    };
    let Ok(value) = value.to_str() else {
        return Media::Other;
    };
    let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
    let kind = kind.trim().to_ascii_lowercase();
    let charset = parameters.to_ascii_lowercase();
    let foreign =
        charset.contains("charset=") && !charset.contains("utf-8") && !charset.contains("utf8");
    match kind.as_str() {
        "" => Media::Untyped,
        _ if foreign => Media::Other,
        "application/json" => Media::Json,
        "application/x-www-form-urlencoded" => Media::Form,
        kind if kind.starts_with("application/") && kind.ends_with("+json") => Media::Json,
        "text/csv" => Media::Csv,
        "application/x-ndjson" | "application/jsonl" => Media::Json,
        _ => Media::Other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_chosen_headers_become_metadata() {
        let http = headers(&[
            ("authorization", "Bearer x"),
            ("x-tenant", "a"),
            ("x-tenant", "b"),
            ("cookie", "c=1"),
            ("host", "h"),
            ("content-length", "3"),
            ("grpc-timeout", "1S"),
            ("grpc-encoding", "gzip"),
            ("accept", "*/*"),
        ]);
        let grpc = request(&http, &(Box::new(forwarded) as Forward)).unwrap();
        let names: Vec<&str> = grpc.keys().map(HeaderName::as_str).collect();
        assert_eq!(
            names,
            [
                "authorization",
                "x-tenant",
                "grpc-timeout",
                "content-type",
                "te"
            ]
        );
        assert_eq!(grpc.get_all("x-tenant").iter().count(), 2);
    }

    #[test]
    fn metadata_becomes_headers_but_not_that_of_grpc() {
        let metadata = headers(&[
            ("set-cookie", "a"),
            ("set-cookie", "b"),
            ("grpc-status", "0"),
            ("content-type", "application/grpc"),
            ("x-http-status", "201"),
            ("etag", "\"m\""),
        ]);
        let mut http = headers(&[("etag", "\"own\"")]);
        response(&metadata, &mut http);
        assert_eq!(http.get_all("set-cookie").iter().count(), 2);
        assert_eq!(http["etag"], "\"own\"");
        assert_eq!(http.len(), 3);
        assert_eq!(chosen_status(&metadata), Some(StatusCode::CREATED));
        assert_eq!(chosen_status(&headers(&[("x-http-status", "1000")])), None);
    }

    #[test]
    fn a_wait_is_read_from_among_other_preferences() {
        for (prefer, want) in [
            ("wait=10", Some(10)),
            ("Wait = \"10\"", Some(10)),
            ("respond-async, wait=100;x=y, return=minimal", Some(100)),
            ("wait=1, wait=2", Some(1)),
            ("wait=99999999", Some(99_999_999)),
            ("wait=100000000", None),
            ("wait", None),
            ("wait=", None),
            ("wait=0", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("waiting=1", None),
        ] {
            assert_eq!(preferred_wait(&headers(&[("prefer", prefer)])), want);
        }
        let both = headers(&[("prefer", "wait=10"), ("grpc-timeout", "5S")]);
        assert_eq!(applied_wait(&both), None);
    }

    #[test]
    fn entity_tags_lose_and_gain_their_quotes() {
        for (value, want) in [
            ("\"a\"", Some(Some("a"))),
            ("W/\"a\"", Some(Some("a"))),
            ("a", Some(Some("a"))),
            ("*", Some(None)),
            ("\"a\", \"b\"", None),
            ("\"\"", None),
        ] {
            let map: HeaderMap = [(header::IF_MATCH, HeaderValue::from_static(value))]
                .into_iter()
                .collect();
            assert_eq!(if_match(&map).ok(), want, "{value}");
        }
        assert_eq!(etag("a").unwrap(), "\"a\"");
        assert_eq!(etag("W/\"a\"").unwrap(), "W/\"a\"");
        assert_eq!(etag("a\n"), None);
    }

    #[test]
    fn a_read_is_unchanged_if_one_tag_is_the_same() {
        for (list, tag, want) in [
            ("\"a\"", "\"a\"", true),
            ("W/\"a\"", "\"a\"", true),
            ("\"b\", \"a\"", "\"a\"", true),
            ("\"b,c\",\"a,b\"", "W/\"a,b\"", true),
            ("\"b,a,c\"", "\"a\"", false),
            ("*", "\"a\"", true),
        ] {
            let tag = HeaderValue::from_static(tag);
            let map: HeaderMap = [(header::IF_NONE_MATCH, HeaderValue::from_static(list))]
                .into_iter()
                .collect();
            assert_eq!(is_unchanged(&Method::GET, &map, &tag), want, "{list}");
            assert!(!is_unchanged(&Method::POST, &map, &tag));
        }
    }

    #[test]
    fn media_types_are_told_apart() {
        for (value, want) in [
            ("application/json", Media::Json),
            ("Application/JSON; charset=UTF-8", Media::Json),
            ("application/merge-patch+json", Media::Json),
            ("application/json; charset=latin1", Media::Other),
            ("application/x-www-form-urlencoded", Media::Form),
            ("text/csv; header=present", Media::Csv),
            ("text/plain", Media::Other),
            ("", Media::Untyped),
        ] {
            let map: HeaderMap = [(header::CONTENT_TYPE, HeaderValue::from_static(value))]
                .into_iter()
                .collect();
            assert_eq!(media(&map), want, "{value}");
        }
        assert_eq!(media(&HeaderMap::new()), Media::Untyped);
    }
}
