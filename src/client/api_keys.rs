//! `muster key`: API keys of the tenant.

use std::collections::BTreeMap;

use chassis::{Clock, time::timestamp};
use clap::{Args, Subcommand};
use proto::keys::api_key_service_client::ApiKeyServiceClient;
use proto::keys::{ApiKey, CreateApiKeyRequest, ListApiKeysRequest, RevokeApiKeyRequest};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::parse;

const EXAMPLES: &str = "Examples:
  muster key create --name ci --permission devices.read --expires 90d
  muster key list --all
  muster key revoke 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

const CREATE_EXAMPLES: &str = "Examples:
  muster key create --name ci --permission devices.read --permission tags.read
  muster key create --name import --permission devices.write --expires 2027-01-01T00:00:00Z
  muster key create --name me --permission devices.read --output json | jq -r .secret";

/// API keys: long-lived secrets for programs.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Keys {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a key and show its secret, this once
    Create(Create),
    /// List the keys, newest first
    List {
        /// Show revoked keys as well
        #[arg(long)]
        all: bool,
    },
    /// Revoke a key for good; it is refused within a second
    Revoke {
        /// The key
        id: Uuid,
    },
}

#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
struct Create {
    /// How the key is shown to people
    #[arg(long)]
    name: String,
    /// What the key is for
    #[arg(long, default_value_t, hide_default_value = true)]
    description: String,
    /// What the key allows; never more than you may do. May be repeated
    #[arg(long = "permission", required = true, value_delimiter = ',', value_parser = parse::permission())]
    permissions: Vec<String>,
    /// When the key stops working: a span such as 90d, or a time [default: never]
    #[arg(long, value_name = "END", value_parser = parse::when)]
    expires: Option<parse::When>,
}

impl Keys {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create(key) => create(&self.options, key).await,
            Action::List { all } => list(&self.options, all).await,
            Action::Revoke { id } => revoke(&self.options, id).await,
        }
    }
}

async fn create(options: &Options, key: Create) -> Result<(), Failure> {
    let mut client = ApiKeyServiceClient::new(options.connect().await?);
    let now = Clock::system().now();
    let key = ApiKey {
        display_name: key.name,
        description: key.description,
        permissions: key.permissions,
        expire_time: key.expires.map(|end| timestamp(end.after(now))),
        ..Default::default()
    };
    let request = CreateApiKeyRequest {
        api_key: Some(key),
        api_key_id: String::new(),
    };
    let created = client.create_api_key(request).await?.into_inner();
    let key = created.api_key.unwrap_or_default();
    let json = json!({"apiKey": key.json(), "secret": created.secret});
    options
        .server
        .output
        .with_secret(&key, &created.secret, &json)
}

async fn list(options: &Options, show_revoked: bool) -> Result<(), Failure> {
    let mut client = ApiKeyServiceClient::new(options.connect().await?);
    let keys = out::pages(None, async |page_size, page_token| {
        let request = ListApiKeysRequest {
            page_size,
            page_token,
            show_revoked,
            ..Default::default()
        };
        let page = client.list_api_keys(request).await?.into_inner();
        Ok((page.api_keys, page.next_page_token))
    });
    options.server.output.list(&keys.await?)
}

async fn revoke(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut client = ApiKeyServiceClient::new(options.connect().await?);
    let request = RevokeApiKeyRequest {
        id: id.to_string(),
        ..Default::default()
    };
    let key = client.revoke_api_key(request).await?.into_inner();
    let sentence = format!("Revoked key {} ({id}).", out::plain(&key.display_name));
    options.server.output.said(&sentence, &key.json())
}

impl Show for ApiKey {
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "STATE", "EXPIRES", "CREATED", "PERMISSIONS"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.display_name.clone(),
            out::state(self.state().as_str_name()),
            match &self.expire_time {
                Some(time) => out::time(Some(time)),
                None => "never".to_owned(),
            },
            out::time(self.create_time.as_ref()),
            self.permissions.join(" "),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "displayName": self.display_name,
            "description": self.description,
            "permissions": self.permissions,
            "expireTime": out::json_time(self.expire_time.as_ref()),
            "state": self.state().as_str_name(),
            "metadata": self.metadata.iter().collect::<BTreeMap<_, _>>(),
            "creator": self.creator,
            "createTime": out::json_time(self.create_time.as_ref()),
            "revokeTime": out::json_time(self.revoke_time.as_ref()),
        })
    }
}
