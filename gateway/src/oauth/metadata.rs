//! What is told of a token, and of the server, in the words of the standards.

use chassis::permissions::Permissions;
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::keys::{GetIssuerResponse, IntrospectTokenResponse};

/// How clients may show who they are.
const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

/// A token that would not be taken now, or is not for the caller to know.
pub(super) fn inactive() -> Struct {
    object([("active", value(Kind::BoolValue(false)))])
}

/// A token that would be taken now (RFC 7662, section 2.2).
pub(super) fn active(known: IntrospectTokenResponse) -> Struct {
    let mut told = object([
        ("active", value(Kind::BoolValue(true))),
        ("scope", text(known.scope)),
        ("token_type", text("Bearer")),
        ("exp", seconds(known.exp)),
        ("iat", seconds(known.iat)),
        ("sub", text(known.sub)),
        ("aud", text(known.aud)),
        ("iss", text(known.iss)),
        ("jti", text(known.jti)),
        ("tenant_id", text(known.tenant_id)),
    ]);
    if !known.client_id.is_empty() {
        let client = text(known.client_id);
        told.fields.insert("client_id".to_owned(), client);
    }
    told
}

/// The server. Its endpoints are below its issuer, if that is a URL, else
/// where the client reached it.
pub(super) fn server(known: &GetIssuerResponse, reached: &str) -> Struct {
    let issuer = known.issuer.as_str();
    let base = match issuer.starts_with("https://") || issuer.starts_with("http://") {
        true => issuer,
        false => reached,
    };
    let at = |path: &str| text(format!("{}{path}", base.trim_end_matches('/')));
    object([
        ("issuer", text(issuer)),
        ("jwks_uri", at("/.well-known/jwks.json")),
        ("token_endpoint", at("/oauth2/token")),
        ("introspection_endpoint", at("/oauth2/introspect")),
        ("revocation_endpoint", at("/oauth2/revoke")),
        ("grant_types_supported", list(["client_credentials"])),
        ("token_endpoint_auth_methods_supported", list(METHODS)),
        (
            "introspection_endpoint_auth_methods_supported",
            list(METHODS),
        ),
        ("revocation_endpoint_auth_methods_supported", list(METHODS)),
        ("response_types_supported", list([])),
        ("subject_types_supported", list(["public"])),
        (
            "id_token_signing_alg_values_supported",
            list(known.algorithms.iter().map(String::as_str)),
        ),
        ("scopes_supported", list(Permissions::all().names())),
    ])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Struct {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Struct {
        fields: fields.into_iter().collect(),
    }
}

fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    value(Kind::ListValue(ListValue {
        values: texts.into_iter().map(text).collect(),
    }))
}

fn text(text: impl Into<String>) -> Value {
    value(Kind::StringValue(text.into()))
}

/// Times are far below where a double loses seconds.
fn seconds(time: i64) -> Value {
    value(Kind::NumberValue(time as f64))
}

fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_where_the_issuer_is_or_where_the_client_reached_us() {
        let endpoint = |issuer: &str| {
            let known = GetIssuerResponse {
                issuer: issuer.to_owned(),
                ..Default::default()
            };
            server(&known, "http://reached").fields["token_endpoint"].clone()
        };
        let https = text("https://muster.example.com/oauth2/token");
        assert_eq!(endpoint("https://muster.example.com/"), https);
        assert_eq!(endpoint("muster"), text("http://reached/oauth2/token"));
    }
}
