//! What is told of a token to whoever may know it (RFC 7662).

use chassis::caller::Principal;
use chassis::hash::sha256;
use chassis::revocation::Revocable;
use chassis::time::timestamp;
use chassis::token::Claims;
use chrono::DateTime;
use jsonwebtoken::decode_header;
use proto::keys::IntrospectTokenResponse;

/// The answer for a token that would be taken now. Only a client has a
/// client key.
pub(crate) fn active(claims: Claims, client_key: String, token: &str) -> IntrospectTokenResponse {
    let kid = decode_header(token).ok().and_then(|header| header.kid);
    let ended_by = revocables(&claims, kid);
    let hash = |what: &Revocable| sha256(what.to_string().as_bytes()).to_vec();
    IntrospectTokenResponse {
        active: true,
        client_id: client_key,
        tenant_id: claims.tid.map(|id| id.to_string()).unwrap_or_default(),
        lookup_time: DateTime::from_timestamp_micros(claims.iat_us).map(timestamp),
        revocable_sha256: ended_by.iter().map(hash).collect(),
        scope: claims.scope,
        sub: claims.sub,
        jti: claims.jti,
        iss: claims.iss,
        aud: claims.aud,
        exp: claims.exp,
        iat: claims.iat,
    }
}

/// All whose revocation ends a token, as `Revocations::refuse` has it.
fn revocables(claims: &Claims, kid: Option<String>) -> Vec<Revocable> {
    let principal = Principal::parse(&claims.sub);
    let user = match principal {
        Some(Principal::User(user)) => Some(user),
        _ => claims.own,
    };
    let owner = claims.own.map(Principal::User);
    let mut all = vec![Revocable::Token(claims.jti.clone())];
    all.extend(principal.into_iter().chain(owner).map(Revocable::Principal));
    all.extend(kid.map(Revocable::SigningKey));
    all.extend(claims.r#gen.map(Revocable::Secret));
    all.extend(claims.sid.map(Revocable::Session));
    all.extend(claims.tid.map(Revocable::Tenant));
    let member = claims.tid.zip(user);
    all.extend(member.map(|(tenant, user)| Revocable::Member { tenant, user }));
    all
}
