//! Where webhooks may point: a tenant names the URL, and this process calls
//! it, from inside of a network that the tenant does not see.
//!
//! A name is resolved by this guard, for each call anew, and the connection
//! goes to an address that was checked: a name that means something else a
//! moment later gains nothing. Redirects are not followed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use chassis::{Error, Result};
use ipnet::IpNet;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What may be called.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Networks that may be called though they are not public.
    pub networks: Vec<IpNet>,
    /// Whether `http` may be called.
    pub http: bool,
}

/// IPv4 addresses that are not of the public internet: the special-purpose
/// registry of IANA (RFC 6890), and multicast.
const CLOSED_V4: [([u8; 4], u8); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, where clouds tell machines their secrets.
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Of IPv6, only 2000::/3 is given out to the internet; of that, these are not.
const CLOSED_V6: [(u128, u8); 4] = [
    // Protocol assignments, with Teredo.
    (0x2001_0000 << 96, 23),
    // Documentation.
    (0x2001_0db8 << 96, 32),
    // 6to4, which embeds IPv4 addresses.
    (0x2002_0000 << 96, 16),
    // Documentation (RFC 9637).
    (0x3fff_0000 << 96, 20),
];

impl Reach {
    /// Whether an address may be called.
    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address)) || is_public(address)
    }

    /// The URL, if it is one that may be called, as far as it says by itself.
    pub(crate) fn check(&self, url: &str) -> Result<Url> {
        let wrong = |text: &str| Error::invalid("webhook.url", text);
        let url = Url::parse(url).map_err(|_| wrong("must be a URL"))?;
        match url.scheme() {
            "https" => {}
            "http" if self.http => {}
            _ => return Err(wrong("must begin with https://")),
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(wrong("must have neither credentials nor a fragment"));
        }
        let host = url.host_str().unwrap_or_default();
        if host.is_empty() {
            return Err(wrong("must have a host"));
        }
        // The parser has read numbers of any notation as addresses.
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        match literal.parse::<IpAddr>() {
            Ok(address) if !self.allows(address) => {
                Err(wrong("must not be an address of a private network"))
            }
            _ => Ok(url),
        }
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !CLOSED_V4.iter().any(|(net, length)| {
            let mask = u32::MAX << (32 - u32::from(*length));
            u32::from(address) & mask == u32::from(Ipv4Addr::from(*net))
        }),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    if bits >> 125 != 1 {
        return false;
    }
    !CLOSED_V6.iter().any(|(net, length)| {
        let mask = u128::MAX << (128 - u32::from(*length));
        bits & mask == *net
    })
}

/// Resolves names to addresses that may be called.
pub(crate) struct Guard(pub(crate) Arc<Reach>);

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| reach.allows(at.ip())).collect();
            match allowed.is_empty() {
                true => Err("the name means no address that may be called".into()),
                false => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_public_internet_may_be_called() {
        let reach = Reach::default();
        for open in ["1.1.1.1", "8.8.8.8", "172.32.0.1", "100.128.0.1"] {
            assert!(reach.allows(open.parse().unwrap()), "{open}");
        }
        for open in ["2606:4700:4700::1111", "2a00:1450:4001::1"] {
            assert!(reach.allows(open.parse().unwrap()), "{open}");
        }
        for closed in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.255",
            "169.254.169.254",
            "172.31.255.255",
            "192.168.0.1",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "fec0::1",
        ] {
            assert!(!reach.allows(closed.parse().unwrap()), "{closed}");
        }
    }

    #[test]
    fn a_private_address_is_refused_however_it_is_written() {
        let reach = Reach::default();
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://127.1/",
            "https://[::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://１２７.０.０.１/",
            "https://169.254.169.254/latest/meta-data",
            "http://example.com/",
            "ftp://example.com/",
            "https://user:pass@example.com/",
            "https://example.com/#x",
            "example.com",
            "",
        ] {
            assert!(reach.check(url).is_err(), "{url}");
        }
        assert!(reach.check("https://example.com:8443/hook?a=b").is_ok());
    }

    #[test]
    fn an_operator_can_open_networks() {
        let reach = Reach {
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            http: true,
        };
        assert!(reach.check("http://127.0.0.1:8080/").is_ok());
        assert!(reach.check("http://[::ffff:127.0.0.1]/").is_ok());
        assert!(reach.check("http://10.0.0.1/").is_err());
    }

    #[tokio::test]
    async fn a_name_that_means_a_private_address_is_refused() {
        let guard = Guard(Arc::new(Reach::default()));
        assert!(guard.resolve("localhost".parse().unwrap()).await.is_err());
        let open = Guard(Arc::new(Reach {
            networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            http: false,
        }));
        assert!(open.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
