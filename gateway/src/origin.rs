//! Where a request came from, and how its client reached us: what proxies in
//! front of us say of it counts if the operator named them.

use std::net::IpAddr;

use chassis::listen::RemoteAddress;
use http::header::HOST;
use http::{HeaderMap, Request};
use ipnet::IpNet;
use tonic::body::Body;

/// Where the client reached us, such as `https://muster.example.com`: for
/// dialects whose answers hold links.
#[derive(Clone, Debug)]
pub(crate) struct BaseUrl(pub(crate) String);

/// What is known of the way to us.
pub(crate) struct Proxies {
    /// Networks of the proxies in front.
    pub(crate) trusted: Vec<IpNet>,
    /// Whether the port speaks TLS.
    pub(crate) tls: bool,
}

impl Proxies {
    /// The address of the client: of the connection, or what the proxies that
    /// it came through say, as far as they are trusted.
    pub(crate) fn source(&self, request: &Request<Body>) -> Option<IpAddr> {
        let mut source = peer(request)?;
        let said = request.headers().get_all("x-forwarded-for").iter().rev();
        let said = said.flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
        for said in said {
            if !self.trusts(source) {
                break;
            }
            // What can't be read came from beyond the last proxy that wrote it.
            let Some(address) = address(said.trim()) else {
                break;
            };
            source = address;
        }
        Some(source)
    }

    /// The URL that the client used. While no proxy is named, anybody's
    /// `X-Forwarded-Proto` is believed: it only makes links for himself.
    pub(crate) fn base_url(&self, request: &Request<Body>) -> BaseUrl {
        let believed = self.trusted.is_empty() || peer(request).is_some_and(|p| self.trusts(p));
        let headers = request.headers();
        let host = text(headers, HOST.as_str())
            .or(request.uri().authority().map(http::uri::Authority::as_str))
            .unwrap_or_default();
        let scheme = text(headers, "x-forwarded-proto")
            .filter(|scheme| believed && matches!(*scheme, "http" | "https"));
        let scheme = scheme.unwrap_or(if self.tls { "https" } else { "http" });
        BaseUrl(format!("{scheme}://{host}"))
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }
}

fn peer(request: &Request<Body>) -> Option<IpAddr> {
    let remote = request.extensions().get::<RemoteAddress>()?;
    Some(remote.0.ip().to_canonical())
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// An address, with a port or without.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').split(']').next()?;
    let with_port = text.parse::<std::net::SocketAddr>().map(|a| a.ip());
    let address = with_port.or_else(|_| bare.parse::<IpAddr>()).ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, trusted: &[&str], forwarded: &[&str]) -> String {
        let proxies = Proxies {
            trusted: trusted.iter().map(|t| t.parse().unwrap()).collect(),
            tls: false,
        };
        proxies
            .source(&request(peer, forwarded))
            .unwrap()
            .to_string()
    }

    fn request(peer: &str, forwarded: &[&str]) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        let remote = RemoteAddress(peer.parse().unwrap());
        request.extensions_mut().insert(remote);
        for value in forwarded {
            let headers = request.headers_mut();
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        request
    }

    #[test]
    fn nobody_but_a_trusted_proxy_says_where_a_request_came_from() {
        assert_eq!(source("192.0.2.1:5", &[], &["10.9.9.9"]), "192.0.2.1");
        let trusted = ["10.0.0.0/8"];
        assert_eq!(source("192.0.2.1:5", &trusted, &["10.9.9.9"]), "192.0.2.1");
        assert_eq!(source("10.0.0.1:5", &trusted, &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(source("10.0.0.1:5", &trusted, &[]), "10.0.0.1");
        assert_eq!(
            source("[::ffff:10.0.0.1]:5", &trusted, &["192.0.2.7"]),
            "192.0.2.7"
        );
    }

    #[test]
    fn what_a_client_claims_before_the_last_untrusted_address_is_not_believed() {
        let trusted = ["10.0.0.0/8"];
        let forwarded = ["6.6.6.6, 192.0.2.7, 10.0.0.2"];
        assert_eq!(source("10.0.0.1:5", &trusted, &forwarded), "192.0.2.7");
        let forwarded = ["6.6.6.6", "192.0.2.7:4711", "10.0.0.2"];
        assert_eq!(source("10.0.0.1:5", &trusted, &forwarded), "192.0.2.7");
        let forwarded = ["[2001:db8::1]:80"];
        assert_eq!(source("10.0.0.1:5", &trusted, &forwarded), "2001:db8::1");
        assert_eq!(
            source("10.0.0.1:5", &trusted, &["6.6.6.6, nobody"]),
            "10.0.0.1"
        );
        assert_eq!(source("10.0.0.1:5", &trusted, &["10.0.0.9"]), "10.0.0.9");
    }

    #[test]
    fn once_proxies_are_named_only_they_tell_the_scheme() {
        let url = |trusted: &[&str]| {
            let mut request = request("192.0.2.1:5", &[]);
            let headers = request.headers_mut();
            headers.insert("host", "muster.example".parse().unwrap());
            headers.insert("x-forwarded-proto", "https".parse().unwrap());
            let proxies = Proxies {
                trusted: trusted.iter().map(|t| t.parse().unwrap()).collect(),
                tls: false,
            };
            proxies.base_url(&request).0
        };
        assert_eq!(url(&[]), "https://muster.example");
        assert_eq!(url(&["10.0.0.0/8"]), "http://muster.example");
        assert_eq!(url(&["192.0.2.0/24"]), "https://muster.example");
    }
}
