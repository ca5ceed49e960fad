//! The credential that a request presents.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::digest::{Context, SHA256};
use axum::extract::ConnectInfo;
use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap};
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

/// The header that holds nothing but a key.
const X_API_KEY: &str = "x-api-key";

/// A credential that was presented.
#[derive(Clone)]
pub(crate) enum Presented {
    /// A token that Muster signed.
    Token(String),
    /// An API key.
    ApiKey(String),
}

/// Without the credential.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::ApiKey(_) => "ApiKey(..)",
        })
    }
}

impl Presented {
    /// What a request presents, if it does.
    pub(crate) fn find(headers: &HeaderMap) -> Option<Self> {
        let text = |name| Some(headers.get(name)?.to_str().ok()?.trim());
        let authorization = text(AUTHORIZATION.as_str()).and_then(|value| {
            let (scheme, rest) = value.split_once(' ')?;
            let known = ["bearer", "apikey"];
            let known = known.iter().any(|known| scheme.eq_ignore_ascii_case(known));
            known.then(|| rest.trim())
        });
        let value = authorization.or_else(|| text(X_API_KEY))?;
        match value {
            "" => None,
            value if is_token(value) => Some(Self::Token(value.to_owned())),
            value => Some(Self::ApiKey(value.to_owned())),
        }
    }

    /// Under what the answer is remembered: it may depend on the source.
    pub(crate) fn digest(&self, source: Option<IpAddr>) -> [u8; 32] {
        let (kind, text): (&[u8], _) = match self {
            Self::Token(text) => (b"token", text),
            Self::ApiKey(text) => (b"key", text),
        };
        let source = source.map(|source| source.to_string()).unwrap_or_default();
        let mut context = Context::new(&SHA256);
        // No part holds a line break, so that two triples can't run together alike.
        for part in [kind, source.as_bytes(), text.as_bytes()] {
            context.update(part);
            context.update(b"\n");
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        out
    }
}

/// A JWT is three parts, the first of which begins with `{"` in base64url.
fn is_token(value: &str) -> bool {
    value.starts_with("eyJ") && value.bytes().filter(|b| *b == b'.').count() == 2
}

/// Keeps what prints headers from printing credentials.
pub(crate) fn hide(headers: &mut HeaderMap) {
    for name in [AUTHORIZATION.as_str(), X_API_KEY] {
        if let Some(value) = headers.get_mut(name) {
            value.set_sensitive(true);
        }
    }
}

/// The peer, as axum or tonic notes it.
pub(crate) fn peer(_: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    let axum = || Some(extensions.get::<ConnectInfo<SocketAddr>>()?.0);
    let tcp = || extensions.get::<TcpConnectInfo>()?.remote_addr();
    let tls = || {
        let info = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
        info.get_ref().remote_addr()
    };
    Some(axum().or_else(tcp).or_else(tls)?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &'static str, value: &str) -> Option<String> {
        let headers =
            HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]);
        Some(match Presented::find(&headers)? {
            Presented::Token(text) => format!("token {text}"),
            Presented::ApiKey(text) => format!("key {text}"),
        })
    }

    #[test]
    fn each_documented_form_is_understood_and_nothing_else() {
        let key = || Some("key k".to_owned());
        assert_eq!(found("authorization", "Bearer k"), key());
        assert_eq!(found("authorization", "apikey  k"), key());
        assert_eq!(found("x-api-key", " k "), key());
        let token = Some("token eyJ.a.b".to_owned());
        assert_eq!(found("authorization", "bearer eyJ.a.b"), token);
        assert_eq!(found("authorization", "Basic k"), None);
        assert_eq!(found("authorization", "Bearer "), None);
        assert_eq!(found("x-api-key", ""), None);
        assert_eq!(found("x-auth-key", "k"), None);
    }

    #[test]
    fn the_source_and_the_kind_are_part_of_what_is_remembered() {
        let key = Presented::ApiKey("k".into());
        let sources = [None, Some([10, 0, 0, 1].into()), Some([10, 0, 0, 2].into())];
        let mut digests = sources.map(|source| key.digest(source)).to_vec();
        digests.push(Presented::Token("k".into()).digest(None));
        digests.sort_unstable();
        digests.dedup();
        assert_eq!(digests.len(), 4);
    }

    #[test]
    fn a_credential_is_not_printed() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, "Bearer hidden".parse().unwrap());
        headers.insert(X_API_KEY, "hidden".parse().unwrap());
        let presented = Presented::find(&headers);
        hide(&mut headers);
        assert!(!format!("{headers:?} {presented:?}").contains("hidden"));
    }
}
