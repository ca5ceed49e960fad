//! Where the gateway is.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

/// An http:// or https:// URL without a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServerUrl(String);

impl ServerUrl {
    /// As the client library wants it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether what is sent is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.0.starts_with("https://")
    }

    /// Whether it is on this machine.
    pub(crate) fn is_local(&self) -> bool {
        let uri = Uri::from_str(&self.0).unwrap_or_default();
        let host = uri.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || address.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    }
}

impl FromStr for ServerUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = Uri::from_str(text).map_err(|e| format!("not a URL: {e}"))?;
        let (Some(scheme @ ("http" | "https")), Some(authority)) =
            (uri.scheme_str(), uri.authority())
        else {
            return Err("it must begin with http:// or https://".to_owned());
        };
        if authority.as_str().contains('@') {
            return Err("a user's name does not belong here; use --email".to_owned());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err("it must not have a path: gRPC calls begin at the root".to_owned());
        }
        let authority = authority.as_str().to_ascii_lowercase();
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

impl TryFrom<String> for ServerUrl {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServerUrl> for String {
    fn from(url: ServerUrl) -> Self {
        url.0
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_is_written_in_one_way() {
        let url: ServerUrl = "https://Muster.Example:8443/".parse().unwrap();
        assert_eq!(url.as_str(), "https://muster.example:8443");
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "muster.example",
            "127.0.0.1:8080",
            "ftp://muster.example",
            "https://muster.example/v1",
            "https://ada@muster.example",
            "",
        ] {
            assert!(text.parse::<ServerUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (text, local) in [
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("http://localhost", true),
            ("http://10.0.0.1:8080", false),
            ("http://localhost.example", false),
        ] {
            assert_eq!(
                text.parse::<ServerUrl>().unwrap().is_local(),
                local,
                "{text}"
            );
        }
    }
}
