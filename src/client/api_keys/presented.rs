//! Commands that read a key itself.

use std::net::IpAddr;

use clap::Args;
use key_management::key_format::{self, NoKey};
use proto::keys::key_verification_service_client::KeyVerificationServiceClient;
use proto::keys::leak_service_client::LeakServiceClient;
use proto::keys::verify_api_key_response::Code;
use proto::keys::{SurrenderApiKeyRequest, VerifyApiKeyRequest, VerifyApiKeyResponse};
use serde_json::{Value, json};

use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out::{self, Output};
use crate::client::parse;
use crate::client::secret::Source;

/// What the key is called when it is asked for.
const KEY: &str = "key";

const VERIFY_EXAMPLES: &str = "Examples:
  muster key verify < key.txt
  muster key verify --file key.txt --permission devices.read --source 192.0.2.7";

/// What is asked of a key.
#[derive(Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub(super) struct Verify {
    #[command(flatten)]
    key: Source,
    /// A permission that the key must have
    #[arg(long, value_parser = parse::permission())]
    permission: Option<String>,
    /// The address that presents it, for keys with networks
    #[arg(long, value_name = "ADDRESS")]
    source: Option<IpAddr>,
}

impl Verify {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = VerifyApiKeyRequest {
            api_key: self.key.read(KEY)?,
            permission: self.permission.unwrap_or_default(),
            source: self
                .source
                .map(|source| source.to_string())
                .unwrap_or_default(),
            user_agent: concat!("muster/", env!("CARGO_PKG_VERSION"), " key verify").to_owned(),
        };
        let mut client = KeyVerificationServiceClient::new(options.connect().await?);
        let verified = client.verify_api_key(request).await?.into_inner();
        let output = options.server.output;
        if !verified.valid && output == Output::Table {
            return Err(refused(&verified));
        }
        output.object(&details(&verified), &verified_json(&verified))?;
        match verified.valid {
            true => Ok(()),
            false => Err(refused(&verified)),
        }
    }
}

fn refused(verified: &VerifyApiKeyResponse) -> Failure {
    let message = out::plain(&verified.message);
    let code = verified.code().as_str_name();
    let failure = Failure::new(format!("the key is not good: {message} ({code})"));
    match verified.code() {
        Code::NetworkNotAllowed => failure.hint("say which address presents it with --source"),
        _ => failure,
    }
}

fn details(verified: &VerifyApiKeyResponse) -> Vec<(&'static str, String)> {
    vec![
        ("KEY", verified.principal.clone()),
        ("NAME", verified.display_name.clone()),
        ("TENANT", verified.tenant_id.clone()),
        ("OWNER", verified.owner.clone()),
        ("ENVIRONMENT", verified.environment.clone()),
        (
            "EXPIRES",
            out::time_or(verified.expire_time.as_ref(), "never"),
        ),
        (
            "SUPERSEDED",
            if verified.superseded { "yes" } else { "no" }.to_owned(),
        ),
        ("PERMISSIONS", verified.permissions.join(" ")),
    ]
}

fn verified_json(verified: &VerifyApiKeyResponse) -> Value {
    json!({
        "valid": verified.valid,
        "code": verified.code().as_str_name(),
        "message": verified.message,
        "principal": verified.principal,
        "owner": verified.owner,
        "tenantId": verified.tenant_id,
        "tenantNumber": verified.tenant_number.to_string(),
        "permissions": verified.permissions,
        "displayName": verified.display_name,
        "metadata": verified.metadata.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "environment": verified.environment,
        "expireTime": out::json_time(verified.expire_time.as_ref()),
        "superseded": verified.superseded,
    })
}

/// Which key is given up.
#[derive(Args)]
pub(super) struct Surrender {
    #[command(flatten)]
    key: Source,
}

impl Surrender {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let api_key = self.key.read(KEY)?;
        let mut client = LeakServiceClient::new(options.connect_as_nobody().await?);
        let request = SurrenderApiKeyRequest { api_key };
        client.surrender_api_key(request).await?;
        let sentence = "If this was a key, it is revoked now: no answer says whether it was one.";
        options.server.output.said(sentence, &json!({}))
    }
}

/// Which key is looked at.
#[derive(Args)]
pub(super) struct Check {
    #[command(flatten)]
    key: Source,
}

impl Check {
    pub(super) fn run(self, output: Output) -> Result<(), Failure> {
        let key = self.key.read(KEY)?;
        let parts = key_format::parse(&key).map_err(|why| match why {
            NoKey::Form => Failure::new("this is not written like a key")
                .hint("a key is PREFIX_ID_SECRET or PREFIX_ENVIRONMENT_ID_SECRET"),
            NoKey::Checksum => Failure::new("the checksum is wrong")
                .hint("a character was changed or lost: copy the key again"),
        })?;
        let details = [
            ("ID", parts.id.to_string()),
            ("PREFIX", parts.prefix.to_owned()),
            ("ENVIRONMENT", parts.environment.to_owned()),
        ];
        let json = json!({
            "id": parts.id,
            "prefix": parts.prefix,
            "environment": parts.environment,
        });
        output.object(&details, &json)
    }
}
