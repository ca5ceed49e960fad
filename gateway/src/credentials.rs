//! Which credential a request presents, found only where its dialect or the
//! native API documents one; and taken out of the request, so that nothing
//! behind sees or logs it.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::{Error, Result};
use http::header::COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use prost::Message;
use prost_reflect::DescriptorPool;
use proto::muster::dialect::v1::credential_source::Place;
use proto::muster::dialect::v1::{CredentialKind, CredentialSource, Dialect};

/// The cookie that holds the session token of the native API.
const SESSION_COOKIE: &str = "muster_session";

/// A credential that was presented.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Presented {
    /// A token that key management signed: passed through.
    Token(String),
    /// An API key.
    ApiKey(String),
    /// A name and a secret (RFC 7617).
    Basic(String, String),
    /// A session token.
    Session(String),
    /// Something that can be no credential.
    Malformed,
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Token(..)",
            Self::ApiKey(_) => "ApiKey(..)",
            Self::Basic(..) => "Basic(..)",
            Self::Session(_) => "Session(..)",
            Self::Malformed => "Malformed",
        })
    }
}

/// Where credentials may stand, for each service.
pub(crate) struct Sources {
    native: Vec<CredentialSource>,
    dialects: HashMap<String, Dialect>,
    /// Every header that may hold a credential of any API.
    headers: Vec<HeaderName>,
}

impl Sources {
    /// Reads the dialects' options from the descriptors.
    pub(crate) fn read(
        descriptor_set: &[u8],
    ) -> std::result::Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        let pool = DescriptorPool::decode(descriptor_set)?;
        let option = pool
            .get_extension_by_name("muster.dialect.v1.dialect")
            .ok_or("no dialect option")?;
        let mut dialects = HashMap::new();
        for service in pool.services() {
            let options = service.options();
            if !options.has_extension(&option) {
                continue;
            }
            let value = options.get_extension(&option);
            let bytes = value
                .as_message()
                .ok_or("the dialect option is no message")?
                .encode_to_vec();
            dialects.insert(
                service.full_name().to_owned(),
                Dialect::decode(bytes.as_slice())?,
            );
        }
        let native = native();
        let headers = dialects
            .values()
            .flat_map(|dialect| &dialect.credentials)
            .chain(&native)
            .filter_map(header)
            .chain([COOKIE])
            .collect();
        Ok(Self {
            native,
            dialects,
            headers,
        })
    }

    /// The places of the native API.
    pub(crate) fn native(&self) -> &[CredentialSource] {
        &self.native
    }

    /// Takes every place where a credential may stand out of a request; of the
    /// query, only what this API documents: anything else is refused by name.
    pub(crate) fn strip(
        &self,
        sources: &[CredentialSource],
        headers: &mut HeaderMap,
        uri: &mut Uri,
    ) {
        for name in &self.headers {
            headers.remove(name);
        }
        let keys: Vec<&str> = sources
            .iter()
            .filter_map(|source| match source.place.as_ref() {
                Some(Place::Query(key)) => Some(key.as_str()),
                _ => None,
            })
            .collect();
        if !keys.is_empty() && uri.query().is_some() {
            *uri = without(uri, &keys);
        }
    }

    /// The places of a service.
    pub(crate) fn of(&self, service: &str) -> &[CredentialSource] {
        match self.dialects.get(service) {
            Some(dialect) => &dialect.credentials,
            None => &self.native,
        }
    }

    /// What the dialects say of themselves, by service.
    pub(crate) fn dialects(&self) -> &HashMap<String, Dialect> {
        &self.dialects
    }
}

/// A token as services take it, which no log shows.
pub(crate) fn authorization(token: &str) -> Result<HeaderValue> {
    let value = HeaderValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_| Error::unauthenticated("the credential is malformed"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Tells where a credential is looked for.
pub(crate) fn wanted(sources: &[CredentialSource]) -> String {
    let places = sources.iter().filter_map(|source| {
        let scheme = match source.scheme.as_str() {
            "" => String::new(),
            scheme => format!("{scheme} "),
        };
        Some(match source.place.as_ref()? {
            Place::Header(name) => format!("header `{name}: {scheme}<credential>`"),
            Place::Query(key) => format!("query `{key}=<credential>`"),
            Place::Cookie(name) => format!("cookie `{name}`"),
        })
    });
    let places = places.collect::<Vec<_>>().join(", ");
    format!("a credential is required, in one of: {places}")
}

fn header(source: &CredentialSource) -> Option<HeaderName> {
    match source.place.as_ref()? {
        Place::Header(name) => HeaderName::try_from(name.as_str()).ok(),
        _ => None,
    }
}

/// The native API's places.
fn native() -> Vec<CredentialSource> {
    let source = |place, scheme: &str, kind: CredentialKind| CredentialSource {
        place: Some(place),
        scheme: scheme.to_owned(),
        kind: kind.into(),
    };
    let authorization = || Place::Header("authorization".to_owned());
    vec![
        source(authorization(), "Bearer", CredentialKind::Unspecified),
        source(authorization(), "ApiKey", CredentialKind::Unspecified),
        source(authorization(), "Basic", CredentialKind::Basic),
        source(
            Place::Header("x-api-key".to_owned()),
            "",
            CredentialKind::Unspecified,
        ),
        source(
            Place::Cookie(SESSION_COOKIE.to_owned()),
            "",
            CredentialKind::Session,
        ),
    ]
}

/// The first credential that a request presents in one of the places.
pub(crate) fn find(
    sources: &[CredentialSource],
    headers: &HeaderMap,
    uri: &Uri,
) -> Option<Presented> {
    sources.iter().find_map(|source| {
        let value = match source.place.as_ref()? {
            Place::Header(name) => headers.get(name.as_str())?.to_str().ok()?.to_owned(),
            Place::Query(key) => query(uri).find(|(k, _)| k == key)?.1,
            Place::Cookie(name) => cookie(headers, name)?,
        };
        read(source, value.trim())
    })
}

fn read(source: &CredentialSource, value: &str) -> Option<Presented> {
    let value = match source.scheme.as_str() {
        "" => value,
        scheme => {
            let (given, rest) = value.split_once(' ')?;
            given.eq_ignore_ascii_case(scheme).then(|| rest.trim())?
        }
    };
    if value.is_empty() {
        return None;
    }
    Some(match source.kind() {
        CredentialKind::Basic => basic(value).unwrap_or(Presented::Malformed),
        CredentialKind::Session => Presented::Session(value.to_owned()),
        CredentialKind::Unspecified if is_token(value) => Presented::Token(value.to_owned()),
        CredentialKind::Unspecified => Presented::ApiKey(value.to_owned()),
    })
}

/// A JWT is three parts, the first of which begins with `{"` in base64url.
fn is_token(value: &str) -> bool {
    value.starts_with("eyJ") && value.bytes().filter(|b| *b == b'.').count() == 2
}

fn basic(value: &str) -> Option<Presented> {
    let text = String::from_utf8(BASE64_STANDARD.decode(value).ok()?).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some(Presented::Basic(name.to_owned(), secret.to_owned()))
}

fn query(uri: &Uri) -> impl Iterator<Item = (String, String)> + '_ {
    form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned()
}

/// One cookie (RFC 6265); what is no cookie is passed over.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok());
    let mut pairs = values
        .flat_map(|v| v.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(k, _)| *k == name).map(|(_, v)| v.to_owned())
}

fn without(uri: &Uri, keys: &[&str]) -> Uri {
    let rest = uri.query().unwrap_or_default().split('&').filter(|pair| {
        let key = form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(k, _)| k.into_owned());
        !key.is_some_and(|k| keys.contains(&k.as_str()))
    });
    let rest = rest.collect::<Vec<_>>().join("&");
    let path = if rest.is_empty() {
        uri.path().to_owned()
    } else {
        format!("{}?{rest}", uri.path())
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = path.try_into().ok();
    Uri::from_parts(parts).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;

    fn found(name: &str, value: &str) -> Option<Presented> {
        let headers =
            HeaderMap::from_iter([(HeaderName::try_from(name).unwrap(), value.parse().unwrap())]);
        find(&native(), &headers, &Uri::from_static("/"))
    }

    #[test]
    fn each_documented_form_of_the_native_api_is_understood() {
        let key = || Some(Presented::ApiKey("k".into()));
        assert_eq!(found("authorization", "Bearer k"), key());
        assert_eq!(found("authorization", "apikey k"), key());
        assert_eq!(found("x-api-key", "k"), key());
        assert_eq!(
            found("authorization", "bearer eyJ.a.b"),
            Some(Presented::Token("eyJ.a.b".into()))
        );
        assert_eq!(
            found("authorization", "Basic YTpi"),
            Some(Presented::Basic("a".into(), "b".into()))
        );
        assert_eq!(
            found("cookie", "x=1; muster_session=s"),
            Some(Presented::Session("s".into()))
        );
    }

    #[test]
    fn other_places_and_broken_forms_are_no_credential() {
        assert_eq!(found("x-auth-key", "k"), None);
        assert_eq!(found("authorization", "Digest k"), None);
        assert_eq!(found("cookie", "no cookie at all"), None);
        assert_eq!(
            found("authorization", "Basic b'dTpw'"),
            Some(Presented::Malformed)
        );
    }

    #[test]
    fn keys_in_the_query_are_taken_out_and_the_rest_stays() {
        let sources = [CredentialSource {
            place: Some(Place::Query("_auth_key".into())),
            ..Default::default()
        }];
        let mut uri = Uri::from_static("/a?x=1&_auth_key=k&%5Fauth_key=k&y=%26");
        assert_eq!(
            find(&sources, &HeaderMap::new(), &uri),
            Some(Presented::ApiKey("k".into()))
        );
        let known = Sources {
            native: vec![],
            dialects: HashMap::new(),
            headers: vec![AUTHORIZATION],
        };
        let mut headers = HeaderMap::from_iter([(AUTHORIZATION, "Bearer k".parse().unwrap())]);
        known.strip(&sources, &mut headers, &mut uri);
        assert!(headers.is_empty());
        assert_eq!(uri, "/a?x=1&y=%26");
    }
}
