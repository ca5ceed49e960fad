//! `muster token`: what API clients get, and what of it lives.

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use proto::keys::token_service_client::TokenServiceClient;
use proto::keys::{
    IntrospectTokenRequest, IntrospectTokenResponse, IssueTokenRequest, IssuedToken,
    ListTokensRequest, RevokeAccessTokenRequest, RevokeTokensRequest,
};
use serde_json::{Value, json};

use super::connect;
use super::failure::Failure;
use super::options::Options;
use super::out::{self, Output, Show};
use super::parse;
use super::secret::Source;

/// What a token is called when it is asked for.
const TOKEN: &str = "token";

const EXAMPLES: &str = "Examples:
  TOKEN=$(muster token get --client-key f1o2o3b4a5r6b7a8 < secret.txt)
  echo \"$TOKEN\" | muster token introspect
  echo \"$TOKEN\" | muster token revoke
  muster token list --principal client:0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11
  muster token revoke-all client:0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Tokens: short-lived, and checked without asking anybody.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Get a token with the key and secret of an API client, and print it
    Get(Get),
    /// Show what is known of a token (RFC 7662)
    Introspect(Source),
    /// List the live tokens of API clients, newest first
    List(List),
    /// Revoke a token; it is refused within a second
    Revoke(Source),
    /// Revoke every token of a client, key or user that was issued until now
    RevokeAll {
        /// Whose: client:ID, key:ID or user:ID
        principal: String,
    },
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Get {
    /// The client key: the public half
    #[arg(long, env = "MUSTER_CLIENT_KEY", value_name = "KEY")]
    client_key: String,
    #[command(flatten)]
    secret: Source,
    /// How long it shall live, from 1m to 60m [default: what the client allows]
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    ttl: Option<TimeDelta>,
    /// What it shall allow, of what the client does. May be repeated [default: all]
    #[arg(long = "permission", value_delimiter = ',', value_parser = parse::permission())]
    permissions: Vec<String>,
}

#[derive(Args)]
struct List {
    /// Only tokens of this one, such as client:ID
    #[arg(long, default_value_t, hide_default_value = true)]
    principal: String,
}

impl Tokens {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Get(wanted) => get(&self.options, wanted).await,
            Action::Introspect(token) => introspect(&self.options, &token).await,
            Action::List(filter) => list(&self.options, filter).await,
            Action::Revoke(token) => revoke(&self.options, &token).await,
            Action::RevokeAll { principal } => revoke_all(&self.options, principal).await,
        }
    }
}

async fn get(options: &Options, wanted: Get) -> Result<(), Failure> {
    let secret = wanted.secret.read("client secret")?;
    let channel = options.connect_as_nobody().await?;
    let client = connect::basic(channel, &wanted.client_key, &secret)?;
    let request = IssueTokenRequest {
        ttl: wanted.ttl.map(parse::duration),
        permissions: wanted.permissions,
    };
    let issued = TokenServiceClient::new(client).issue_token(request).await;
    let token = issued
        .map_err(|status| match status.code() {
            tonic::Code::Unauthenticated => {
                Failure::from(status).hint("check --client-key and the secret")
            }
            _ => status.into(),
        })?
        .into_inner();
    let json = json!({
        "number": token.number.to_string(),
        "accessToken": token.access_token,
        "ttl": out::json_span(token.ttl.as_ref()),
        "expireTime": out::json_time(token.expire_time.as_ref()),
    });
    options.server.output.said(&token.access_token, &json)
}

async fn introspect(options: &Options, token: &Source) -> Result<(), Failure> {
    let access_token = token.read(TOKEN)?;
    let mut service = TokenServiceClient::new(options.connect().await?);
    let request = IntrospectTokenRequest { access_token };
    let known = service.introspect_token(request).await?.into_inner();
    let output = options.server.output;
    match (known.active, output) {
        (false, Output::Table) => Err(Failure::new("the token is not active")
            .hint("it may have expired or been revoked, or be one that you may not ask about")),
        _ => output.one(&known),
    }
}

async fn list(options: &Options, List { principal }: List) -> Result<(), Failure> {
    let mut service = TokenServiceClient::new(options.connect().await?);
    let tokens = out::pages(None, async |page_size, page_token| {
        let request = ListTokensRequest {
            page_size,
            page_token,
            principal: principal.clone(),
        };
        let page = service.list_tokens(request).await?.into_inner();
        Ok((page.tokens, page.next_page_token))
    });
    options.server.output.list(&tokens.await?)
}

async fn revoke(options: &Options, token: &Source) -> Result<(), Failure> {
    let access_token = token.read(TOKEN)?;
    let mut service = TokenServiceClient::new(options.connect().await?);
    let request = RevokeAccessTokenRequest { access_token };
    service.revoke_access_token(request).await?;
    let sentence = "The token is revoked, if it was a live one that you may revoke.";
    options.server.output.said(sentence, &json!({}))
}

async fn revoke_all(options: &Options, principal: String) -> Result<(), Failure> {
    let mut service = TokenServiceClient::new(options.connect().await?);
    let request = RevokeTokensRequest {
        principal: principal.clone(),
    };
    service.revoke_tokens(request).await?;
    let sentence = format!("Revoked every token of {principal} that was issued until now.");
    options.server.output.said(&sentence, &json!({}))
}

impl Show for IssuedToken {
    const COLUMNS: &'static [&'static str] = &["ID", "NUMBER", "PRINCIPAL", "ISSUED", "EXPIRES"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.number.to_string(),
            self.principal.clone(),
            out::time(self.create_time.as_ref()),
            out::time(self.expire_time.as_ref()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "principal": self.principal,
            "createTime": out::json_time(self.create_time.as_ref()),
            "expireTime": out::json_time(self.expire_time.as_ref()),
        })
    }
}

/// As RFC 7662 names what is known.
impl Show for IntrospectTokenResponse {
    const COLUMNS: &'static [&'static str] = &[
        "PRINCIPAL",
        "CLIENT KEY",
        "TENANT",
        "ISSUER",
        "AUDIENCE",
        "ISSUED",
        "EXPIRES",
        "PERMISSIONS",
    ];

    fn cells(&self) -> Vec<String> {
        let time = |seconds| prost_types::Timestamp { seconds, nanos: 0 };
        vec![
            self.sub.clone(),
            self.client_id.clone(),
            self.tenant_id.clone(),
            self.iss.clone(),
            self.aud.clone(),
            out::time(Some(&time(self.iat))),
            out::time(Some(&time(self.exp))),
            self.scope.clone(),
        ]
    }

    fn json(&self) -> Value {
        match self.active {
            false => json!({"active": false}),
            true => json!({
                "active": true,
                "scope": self.scope,
                "client_id": self.client_id,
                "sub": self.sub,
                "tenant_id": self.tenant_id,
                "jti": self.jti,
                "iss": self.iss,
                "aud": self.aud,
                "exp": self.exp,
                "iat": self.iat,
            }),
        }
    }
}
