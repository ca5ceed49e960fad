//! Places of credentials as Security Scheme Objects.

use std::sync::LazyLock;

use proto::access::{Requirement, requirement};
use proto::muster::dialect::v1::credential_source::Place;
use proto::muster::dialect::v1::{CredentialKind, CredentialSource};
use serde_json::{Map, Value, json};
use transcoder::MethodInfo;

use crate::credentials::Sources;
use crate::oauth;

/// `None` if the contract's options cannot be read, with which no gateway starts.
static SOURCES: LazyLock<Option<Sources>> =
    LazyLock::new(|| Sources::read(proto::DESCRIPTOR_SET).ok());

/// The schemes of all services that `has` has, and perhaps the native ones.
pub(super) fn schemes(has: impl Fn(&str) -> bool, native: bool) -> Map<String, Value> {
    let mut schemes = Map::new();
    let Some(sources) = &*SOURCES else {
        return schemes;
    };
    let own = if native { sources.native() } else { &[] };
    let dialects = sources
        .dialects()
        .iter()
        .filter(|(service, _)| has(service));
    let all = own
        .iter()
        .chain(dialects.flat_map(|(_, dialect)| &dialect.credentials));
    for (name, scheme) in all.filter_map(scheme) {
        schemes.entry(name).or_insert(scheme);
    }
    schemes.sort_keys();
    schemes
}

/// What a method requires: any one of the places that its API documents.
pub(super) fn of(method: &MethodInfo) -> Vec<Value> {
    let Some(sources) = &*SOURCES else {
        return Vec::new();
    };
    let public = requirement(&method.path) == Some(Requirement::Public);
    let reads = oauth::reads_credentials(&method.path) && !method.name.starts_with("Get");
    if public && !reads {
        return Vec::new();
    }
    let places = sources.of(&method.service).iter().filter_map(scheme);
    let mut any: Vec<Value> = places.map(|(name, _)| json!({name: []})).collect();
    any.dedup();
    if public {
        // Clients may also name themselves in the form.
        any.push(json!({}));
    }
    any
}

/// The message that a service's errors are, if it says so.
pub(super) fn error(service: &str) -> Option<String> {
    let error = &SOURCES.as_ref()?.dialects().get(service)?.error;
    (!error.is_empty()).then(|| error.clone())
}

/// The scheme of a place, and a name for it.
fn scheme(source: &CredentialSource) -> Option<(String, Value)> {
    let what = match source.kind() {
        CredentialKind::Basic => {
            "An API client's key and secret, or a user's e-mail address and password."
        }
        CredentialKind::Session => "The session token of a login.",
        CredentialKind::Unspecified => "A token, or an API key.",
    };
    let scheme = source.scheme.to_lowercase();
    Some(match (source.place.as_ref()?, scheme.as_str()) {
        (Place::Header(header), "bearer" | "basic") if header == "authorization" => (
            scheme.clone(),
            json!({"type": "http", "scheme": scheme, "description": what}),
        ),
        (Place::Header(header), "") => (
            header.clone(),
            json!({"type": "apiKey", "in": "header", "name": header, "description": what}),
        ),
        (Place::Header(header), _) => (
            format!("{header}-{scheme}"),
            json!({
                "type": "apiKey",
                "in": "header",
                "name": header,
                "description": format!("{what} `{} ` comes before it.", source.scheme)
            }),
        ),
        (Place::Query(key), _) => (
            key.clone(),
            json!({"type": "apiKey", "in": "query", "name": key, "description": what}),
        ),
        (Place::Cookie(name), _) => (
            name.clone(),
            json!({"type": "apiKey", "in": "cookie", "name": name, "description": what}),
        ),
    })
}
