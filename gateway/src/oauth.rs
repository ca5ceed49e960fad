//! OAuth 2.0 as its standards write it: client credentials (RFC 6749),
//! introspection (RFC 7662), revocation (RFC 7009) and what a client must know
//! of the server (RFC 8414). It translates to TokenService, as dialects do.
//!
//! To the rest of the gateway its methods are public: whoever is refused is
//! told so as these standards want it.

mod authentication;
mod metadata;
mod shape;

use chassis::peer::Peers;
use chassis::permissions::Permissions;
use chassis::token::Verifier;
use chassis::{Error, open_public};
use http::header::CACHE_CONTROL;
use prost_types::Struct;
use proto::keys::{
    GetIssuerRequest, IntrospectTokenRequest, IssueTokenRequest, RevokeAccessTokenRequest,
};
use proto::oauth::o_auth_service_server::{OAuthService, OAuthServiceServer};
use proto::oauth::{
    GetMetadataRequest, IntrospectRequest, RevokeRequest, RevokeResponse, TokenRequest,
    TokenResponse,
};
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response, Status};

use self::authentication::{Wanted, Ways};
use crate::dialects::Dialect;
use crate::domain::Domain;
use crate::exchange::Exchange;
use crate::origin::BaseUrl;

/// As the gateway knows it.
pub(crate) const DIALECT: Dialect = Dialect {
    service: "muster.oauth.v1.OAuthService",
    prefixes: &["/oauth2/", "/.well-known/oauth", "/.well-known/openid"],
    error: shape::error,
    error_content: Some(shape::content),
};

/// The longest text that can be a token.
const LONGEST: usize = 8192;

/// Whether a method that anybody may call reads the credential itself.
pub(crate) fn reads_credentials(path: &str) -> bool {
    path.trim_start_matches('/')
        .strip_prefix(DIALECT.service)
        .is_some_and(|rest| rest.starts_with('/'))
}

pub(crate) fn service(
    peers: &Peers,
    exchange: &Exchange,
    verifier: &Verifier,
) -> OAuthServiceServer<OAuth> {
    OAuthServiceServer::new(OAuth {
        peers: peers.clone(),
        exchange: exchange.clone(),
        verifier: verifier.clone(),
    })
}

/// The endpoints.
pub(crate) struct OAuth {
    peers: Peers,
    exchange: Exchange,
    verifier: Verifier,
}

#[tonic::async_trait]
impl OAuthService for OAuth {
    async fn token(
        &self,
        request: Request<TokenRequest>,
    ) -> Result<Response<TokenResponse>, Status> {
        let wanted = Wanted::of(&request);
        let req = open_public(request)?;
        match req.grant_type.as_str() {
            "client_credentials" => {}
            "" => return Err(Error::invalid("grant_type", "is required").into()),
            _ => {
                let why = "the only grant type here is client_credentials";
                return Err(Error::precondition("UNSUPPORTED_GRANT_TYPE", why).into());
            }
        }
        let wanted = wanted.or_form(req.client_id, req.client_secret);
        let domain = self.authenticate(wanted, Ways::Client).await?;
        let mut permissions: Vec<_> = req.scope.split(' ').map(str::to_owned).collect();
        permissions.retain(|name| !name.is_empty());
        permissions.sort();
        permissions.dedup();
        let issue = IssueTokenRequest {
            permissions,
            ..IssueTokenRequest::default()
        };
        let issued = domain.tokens().issue_token(domain.request(issue)).await;
        let token = issued.map_err(invalid_scope)?.into_inner();
        let subject = self.verifier.verify(&token.access_token).await?;
        let lives = token.ttl.unwrap_or_default().seconds;
        Ok(not_stored(TokenResponse {
            access_token: token.access_token,
            token_type: "Bearer".to_owned(),
            expires_in: i32::try_from(lives).map_err(Error::internal)?,
            scope: subject.permissions().to_scope(),
        }))
    }

    async fn introspect(
        &self,
        request: Request<IntrospectRequest>,
    ) -> Result<Response<Struct>, Status> {
        let wanted = Wanted::of(&request);
        let req = open_public(request)?;
        let wanted = wanted.or_form(req.client_id, req.client_secret);
        let domain = self.authenticate(wanted, Ways::Any).await?;
        let token = required(req.token)?;
        if token.len() > LONGEST {
            return Ok(not_stored(metadata::inactive()));
        }
        let request = domain.request(IntrospectTokenRequest {
            access_token: token,
        });
        let known = domain.tokens().introspect_token(request).await?;
        let known = known.into_inner();
        Ok(not_stored(match known.active {
            true => metadata::active(known),
            false => metadata::inactive(),
        }))
    }

    async fn revoke(
        &self,
        request: Request<RevokeRequest>,
    ) -> Result<Response<RevokeResponse>, Status> {
        let wanted = Wanted::of(&request);
        let req = open_public(request)?;
        let wanted = wanted.or_form(req.client_id, req.client_secret);
        let domain = self.authenticate(wanted, Ways::Any).await?;
        let token = required(req.token)?;
        if token.len() <= LONGEST {
            let request = domain.request(RevokeAccessTokenRequest {
                access_token: token,
            });
            domain.tokens().revoke_access_token(request).await?;
        }
        Ok(not_stored(RevokeResponse {}))
    }

    async fn get_metadata(
        &self,
        request: Request<GetMetadataRequest>,
    ) -> Result<Response<Struct>, Status> {
        let base = request.extensions().get::<BaseUrl>().cloned();
        let domain = Domain::of(&self.peers, &request);
        open_public(request)?;
        let ask = Request::new(GetIssuerRequest {});
        let known = domain.tokens().get_issuer(ask).await?.into_inner();
        let base = base.map(|base| base.0).unwrap_or_default();
        let mut response = Response::new(metadata::server(&known, &base));
        let cache = MetadataValue::from_static("public, max-age=300");
        response
            .metadata_mut()
            .insert(CACHE_CONTROL.as_str(), cache);
        Ok(response)
    }
}

fn required(token: String) -> Result<String, Error> {
    match token.is_empty() {
        true => Err(Error::invalid("token", "is required")),
        false => Ok(token),
    }
}

/// What TokenService finds wrong with permissions is wrong with the scope.
fn invalid_scope(status: Status) -> Status {
    match status.code() {
        Code::InvalidArgument => {
            let all = Permissions::all().to_scope();
            let why = format!("the scope is not of the client's permissions, which are of: {all}");
            Error::precondition("INVALID_SCOPE", why).into()
        }
        _ => status,
    }
}

/// Answers that hold tokens, or tell of them, are not to be kept (RFC 6749,
/// section 5.1).
fn not_stored<T>(message: T) -> Response<T> {
    let mut response = Response::new(message);
    let metadata = response.metadata_mut();
    metadata.insert(
        CACHE_CONTROL.as_str(),
        MetadataValue::from_static("no-store"),
    );
    metadata.insert("pragma", MetadataValue::from_static("no-cache"));
    response
}
