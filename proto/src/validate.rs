//! What the contract's `buf.validate` annotations come to at run time.
//!
//! `build/validate.rs` turns each annotation into a call of [`check`]. This module has what those
//! calls need: where a value is ([`Path`]), what is wrong with it ([`Violation`]) and the formats
//! that take more than a comparison.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use regex::Regex;

/// How many violations of one request are kept; a small one could otherwise take gigabytes.
pub const MAX_VIOLATIONS: usize = 100;

/// How much of a map's key a path shows: what breaks a rule may be a key of any length.
const MAX_KEY_CHARS: usize = 64;

/// One field that breaks a rule of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Where it is, written as in `google.rpc.BadRequest`: `device.tags[2].color`, `labels["k"]`.
    pub field: String,
    /// The rule by protovalidate's name for it, such as `string.max_len`.
    pub rule: &'static str,
    /// For a person: "must have at most 64 characters". Never quotes the value, which may be secret.
    pub description: String,
}

/// A message that can say which of its fields break the contract's rules.
pub trait Validate {
    /// Appends every violation in this message, found at `at`, until there are [`MAX_VIOLATIONS`].
    fn validate(&self, at: &Path<'_>, out: &mut Vec<Violation>);

    /// The violations in this message, seen as the whole request; none if it keeps to the contract.
    fn violations(&self) -> Vec<Violation> {
        let mut out = Vec::new();
        self.validate(&Path::Root, &mut out);
        out
    }
}

/// `google.protobuf.Empty`, as prost has it.
impl Validate for () {
    fn validate(&self, _at: &Path<'_>, _out: &mut Vec<Violation>) {}
}

/// Where a value is in a request. Each step is on the stack; text is made only for a violation.
#[derive(Clone, Copy, Debug)]
pub enum Path<'a> {
    /// The request itself.
    Root,
    /// A field of the message before.
    Field(&'a Path<'a>, &'static str),
    /// An item of the list before.
    Index(&'a Path<'a>, usize),
    /// An entry of the map before; a key's debug form is the one that paths use.
    Key(&'a Path<'a>, &'a dyn fmt::Debug),
}

impl<'a> Path<'a> {
    /// The path of a field of the message here.
    pub fn field(&'a self, name: &'static str) -> Self {
        Path::Field(self, name)
    }

    /// The path of an item of the list here.
    pub fn index(&'a self, index: usize) -> Self {
        Path::Index(self, index)
    }

    /// The path of an entry of the map here.
    pub fn key(&'a self, key: &'a dyn fmt::Debug) -> Self {
        Path::Key(self, key)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Field(Path::Root, name) => f.write_str(name),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => write!(f, "{parent}[{}]", shortened(&format!("{key:?}"))),
        }
    }
}

/// A map's key as a path shows it.
fn shortened(key: &str) -> String {
    match key.char_indices().nth(MAX_KEY_CHARS) {
        Some((end, _)) => format!("{}…\"", &key[..end]),
        None => key.to_owned(),
    }
}

/// Appends a violation of `rule` unless it holds.
pub fn check(
    holds: bool,
    at: &Path<'_>,
    rule: &'static str,
    description: &str,
    out: &mut Vec<Violation>,
) {
    if !holds && out.len() < MAX_VIOLATIONS {
        out.push(Violation {
            field: at.to_string(),
            rule,
            description: description.to_owned(),
        });
    }
}

/// A pattern of the contract; the build has compiled the same text, so it is known to be one.
pub fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern that the build has compiled")
}

/// How many characters a text has, which is what the contract counts in.
pub fn chars(value: &str) -> usize {
    value.chars().count()
}

/// A duration as one number; seconds and nanoseconds may come in any mix.
pub fn nanos(value: &prost_types::Duration) -> i128 {
    i128::from(value.seconds) * 1_000_000_000 + i128::from(value.nanos)
}

/// Whether no item occurs twice.
pub fn all_unique<T: Eq + Hash>(items: &[T]) -> bool {
    let mut seen = HashSet::new();
    items.iter().all(|item| seen.insert(item))
}

/// An e-mail address as HTML has it, which leaves out what RFC 5322 allows and nobody means.
pub fn is_email(value: &str) -> bool {
    static EMAIL: LazyLock<Regex> = LazyLock::new(|| {
        let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
        compiled(&format!(
            r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{{|}}~-]+@{label}(?:\.{label})*$"
        ))
    });
    EMAIL.is_match(value)
}

/// A host name of letters, digits and hyphens, whose last label is no number as an IP address's is.
pub fn is_hostname(value: &str) -> bool {
    let name = value.strip_suffix('.').unwrap_or(value);
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// One label of a host name.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// An IP address of either version.
pub fn is_ip(value: &str) -> bool {
    is_ipv4(value) || is_ipv6(value)
}

/// An IPv4 address in dotted decimals.
pub fn is_ipv4(value: &str) -> bool {
    value.parse::<Ipv4Addr>().is_ok()
}

/// An IPv6 address, with a zone (`fe80::a%en1`) or without.
pub fn is_ipv6(value: &str) -> bool {
    let (address, zone) = value.split_once('%').unwrap_or((value, "none"));
    !zone.is_empty() && !zone.contains('\0') && address.parse::<Ipv6Addr>().is_ok()
}

/// A host name or an IP address.
pub fn is_address(value: &str) -> bool {
    is_hostname(value) || is_ip(value)
}

/// `host:port`, where an IPv6 host is in brackets.
pub fn is_host_and_port(value: &str) -> bool {
    let Some((host, port)) = value.rsplit_once(':') else {
        return false;
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    is_port(port) && bracketed.map_or_else(|| is_hostname(host) || is_ipv4(host), is_ipv6)
}

/// A port in decimals, without the sign or the leading zeros that `parse` lets through.
fn is_port(value: &str) -> bool {
    value
        .parse::<u16>()
        .is_ok_and(|port| port.to_string() == value)
}

/// A UUID as 8-4-4-4-12 hexadecimal digits.
pub fn is_uuid(value: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    value.split('-').all(is_hex) && value.split('-').map(str::len).eq([8, 4, 4, 4, 12])
}

/// A URI (RFC 3986): a scheme and what follows it, not a relative reference.
pub fn is_uri(value: &str) -> bool {
    static URI: LazyLock<Regex> = LazyLock::new(|| compiled(&uri_pattern()));
    let Some(parts) = URI.captures(value) else {
        return false;
    };
    parts.name("ipv6").is_none_or(|ip| is_ipv6(ip.as_str()))
}

/// RFC 3986's grammar of a URI; the group `ipv6` still has to be parsed.
fn uri_pattern() -> String {
    let name = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})";
    let user = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:]|%[0-9A-Fa-f]{2})";
    let pchar = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})";
    let zone = r"(?:%25(?:[A-Za-z0-9\-._~]|%[0-9A-Fa-f]{2})+)?";
    let future = r"[vV][0-9A-Fa-f]+\.[A-Za-z0-9\-._~!$&'()*+,;=:]+";
    let host = format!(r"(?:\[(?:(?P<ipv6>[0-9A-Fa-f:.]+){zone}|{future})\]|{name}*)");
    let authority = format!("(?:{user}*@)?{host}(?::[0-9]*)?");
    let rooted = format!("(?:{pchar}+(?:/{pchar}*)*)?");
    let path = format!("(?://{authority}(?:/{pchar}*)*|/?{rooted})");
    format!(r"^[A-Za-z][A-Za-z0-9+.\-]*:{path}(?:\?(?:{pchar}|[/?])*)?(?:#(?:{pchar}|[/?])*)?$")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts what a format takes and what it refuses.
    fn format(is: fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for value in good {
            assert!(is(value), "refused {value:?}");
        }
        for value in bad {
            assert!(!is(value), "took {value:?}");
        }
    }

    #[test]
    fn a_path_is_written_as_in_bad_request() {
        let (device, tags) = (Path::Root.field("device"), "ta\"g");
        assert_eq!(Path::Root.to_string(), "");
        assert_eq!(device.to_string(), "device");
        assert_eq!(
            device.field("tags").index(2).field("color").to_string(),
            "device.tags[2].color"
        );
        assert_eq!(
            device.field("labels").key(&tags).to_string(),
            r#"device.labels["ta\"g"]"#
        );
        assert_eq!(Path::Root.field("ports").key(&-8).to_string(), "ports[-8]");
        assert_eq!(
            Path::Root.field("flags").key(&true).to_string(),
            "flags[true]"
        );
    }

    #[test]
    fn a_long_key_is_cut() {
        let key = "é".repeat(500);
        let written = Path::Root.field("labels").key(&key).to_string();
        assert_eq!(
            written,
            format!("labels[\"{}…\"]", "é".repeat(MAX_KEY_CHARS - 1))
        );
    }

    #[test]
    fn only_what_does_not_hold_is_a_violation() {
        let mut out = Vec::new();
        check(true, &Path::Root, "required", "must be set", &mut out);
        assert_eq!(out, []);
        check(
            false,
            &Path::Root.field("name"),
            "required",
            "must be set",
            &mut out,
        );
        let expected = Violation {
            field: "name".into(),
            rule: "required",
            description: "must be set".into(),
        };
        assert_eq!(out, [expected]);
    }

    #[test]
    fn violations_are_kept_up_to_a_limit() {
        let mut out = Vec::new();
        for _ in 0..2 * MAX_VIOLATIONS {
            check(false, &Path::Root, "required", "must be set", &mut out);
        }
        assert_eq!(out.len(), MAX_VIOLATIONS);
    }

    #[test]
    fn empty_has_nothing_to_violate() {
        assert_eq!(().violations(), []);
    }

    #[test]
    fn characters_are_not_bytes() {
        assert_eq!(chars("añb"), 3);
    }

    #[test]
    fn a_duration_is_one_number() {
        let duration = |seconds, nanos| prost_types::Duration { seconds, nanos };
        assert_eq!(
            nanos(&duration(1, 500_000_000)),
            nanos(&duration(2, -500_000_000))
        );
        assert_eq!(nanos(&duration(-1, 0)), -1_000_000_000);
        assert!(nanos(&duration(i64::MAX, i32::MAX)) > i128::from(i64::MAX));
    }

    #[test]
    fn uniqueness() {
        assert!(all_unique::<String>(&[]));
        assert!(all_unique(&["a", "b"]));
        assert!(!all_unique(&["a", "b", "a"]));
    }

    #[test]
    fn emails() {
        let long = format!("a@{}.example", "b".repeat(64));
        format(
            is_email,
            &[
                "a@b",
                "first.last+tag@example.com",
                "o'neil@x-y.example",
                "a@1.2.3.4",
            ],
            &[
                "", "a", "@b", "a@", "a@b.", "a b@c", "a@b_c", "a@-b", "a@b-", "ä@b", "a@b\n",
                "A <a@b>", &long,
            ],
        );
    }

    #[test]
    fn hostnames() {
        let long = ["a".repeat(63).as_str(); 4].join(".");
        format(
            is_hostname,
            &[
                "a",
                "foo.example.com",
                "foo.example.com.",
                "1.a",
                "x-1",
                &"a".repeat(63),
                &long[..253],
            ],
            &[
                "",
                ".",
                "a..b",
                ".a",
                "-a",
                "a-",
                "a_b",
                "1.2.3.4",
                "a.1",
                "ä",
                " a",
                "a..",
                &"a".repeat(64),
                &long,
            ],
        );
    }

    #[test]
    fn ips() {
        format(
            is_ip,
            &[
                "192.168.5.21",
                "::1",
                "2001:0DB8:ABCD:0012::0",
                "fe80::a%en1",
                "::ffff:1.2.3.4",
            ],
            &[
                "",
                "1.2.3",
                "1.2.3.256",
                "01.2.3.4",
                " 1.2.3.4",
                "::1%",
                "1.2.3.4%en1",
                "[::1]",
                ":::",
                "a",
            ],
        );
        format(is_ipv4, &["0.0.0.0"], &["::1"]);
        format(is_ipv6, &["::"], &["0.0.0.0"]);
        format(
            is_address,
            &["example.com", "::1", "1.2.3.4"],
            &["", "a b", "1.2.3.400"],
        );
    }

    #[test]
    fn hosts_with_ports() {
        format(
            is_host_and_port,
            &["example.com:8080", "1.2.3.4:0", "[::1]:65535"],
            &[
                "", "a", "a:", ":1", "a:65536", "a:080", "a:+1", "a:-1", "::1:80", "[::1]80",
                "[::1]", "[a]:1", "[::1:1",
            ],
        );
    }

    #[test]
    fn uuids() {
        format(
            is_uuid,
            &[
                "550e8400-e29b-41d4-a716-446655440000",
                "550E8400-E29B-41D4-A716-446655440000",
            ],
            &[
                "",
                "550e8400e29b41d4a716446655440000",
                "550e8400-e29b-41d4-a716-44665544000",
                "550e8400-e29b-41d4-a716-44665544000g",
                "550e8400-e29b-41d4-a716-446655440000-",
                "{550e8400-e29b-41d4-a716-446655440000}",
            ],
        );
    }

    #[test]
    fn uris() {
        format(
            is_uri,
            &[
                "https://example.com/foo/bar?baz=quux#frag",
                "http://user:pass@[::1]:80/",
                "http://[fe80::a%25en1]/",
                "http://[v1.x]/",
                "coap://10.0.0.1",
                "mqtts://broker:8883",
                "urn:isbn:1",
                "mailto:a@b",
                "file:///etc/hosts",
                "a:",
                "a:/",
                "a:?q",
                "http://a/%20b//c",
            ],
            &[
                "",
                "example.com",
                "./foo",
                "//example.com",
                "1a://b",
                "http://a b",
                "http://a/%2",
                "http://a/%zz",
                "http://[::1",
                "http://[::zz]/",
                "http://[1::2::3]/",
                "http://a:b/",
                "http://ä/",
                "http://a/^",
                "http://a/#b#c",
                "http://a\n",
            ],
        );
    }
}
