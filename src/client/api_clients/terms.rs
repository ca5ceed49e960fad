//! `muster client create`, `update` and `import`: what a client is and allows.

use chrono::TimeDelta;
use clap::Args;
use prost_types::FieldMask;
use proto::keys::{
    ApiClient, CreateApiClientRequest, ImportApiClientRequest, UpdateApiClientRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::client;
use crate::client::failure::Failure;
use crate::client::foreign::Foreign;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::out::Show;
use crate::client::parse;

const CREATE_EXAMPLES: &str = "Examples:
  muster client create --name ingest --permission devices.read --token-ttl 10m
  muster client create --name ingest --permission devices.read,devices.write --metadata team=field";

/// What a new client is, taken over or not.
#[derive(Args)]
struct Terms {
    /// How the client is shown to people
    #[arg(long)]
    name: String,
    /// What the client allows; never more than you may do. May be repeated
    #[arg(long = "permission", required = true, value_delimiter = ',', value_parser = parse::permission())]
    permissions: Vec<String>,
    /// How long its tokens live, from 1m to 60m [default: 10m]
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    token_ttl: Option<TimeDelta>,
    /// A text that you want to find again. May be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = parse::label)]
    metadata: Vec<(String, String)>,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

impl Terms {
    fn into_parts(self) -> (ApiClient, String) {
        let client = ApiClient {
            display_name: self.name,
            permissions: self.permissions,
            token_ttl: self.token_ttl.map(parse::duration),
            metadata: self.metadata.into_iter().collect(),
            ..Default::default()
        };
        (client, self.id.map(|id| id.to_string()).unwrap_or_default())
    }
}

/// A new client.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    #[command(flatten)]
    terms: Terms,
    /// Own it yourself: it never allows more than you may do, and ends with your membership
    #[arg(long)]
    mine: bool,
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let mut service = client(options).await?;
    let owner = match new.mine {
        true => options.caller().await?,
        false => String::new(),
    };
    let (client, api_client_id) = new.terms.into_parts();
    let request = CreateApiClientRequest {
        api_client: Some(ApiClient { owner, ..client }),
        api_client_id,
        client_secret: String::new(),
    };
    let created = service.create_api_client(request).await?.into_inner();
    let client = created.api_client.unwrap_or_default();
    let json = json!({"apiClient": client.json(), "clientSecret": created.client_secret});
    options
        .server
        .output
        .with_secret(&client, &created.client_secret, &json)
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster client update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --token-ttl 5m
  muster client update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --disabled true";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    /// The client
    id: Uuid,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// How the client is shown to people
    #[arg(long)]
    name: Option<String>,
    /// What the client still allows: permissions can only be taken away. May be repeated
    #[arg(long = "permission", value_delimiter = ',', value_parser = parse::permission())]
    permissions: Option<Vec<String>>,
    /// How long its tokens live, from 1m to 60m
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    token_ttl: Option<TimeDelta>,
    /// Whether it gets no tokens
    #[arg(long)]
    disabled: Option<bool>,
    /// All texts that you want to find again. May be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = parse::label)]
    metadata: Option<Vec<(String, String)>>,
    /// Remove the texts
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
}

impl Changes {
    fn mask(&self) -> FieldMask {
        mask([
            ("display_name", self.name.is_some()),
            ("permissions", self.permissions.is_some()),
            ("token_ttl", self.token_ttl.is_some()),
            ("disabled", self.disabled.is_some()),
            ("metadata", self.metadata.is_some() || self.no_metadata),
        ])
    }

    fn into_client(self, id: Uuid) -> ApiClient {
        ApiClient {
            id: id.to_string(),
            display_name: self.name.unwrap_or_default(),
            permissions: self.permissions.unwrap_or_default(),
            token_ttl: self.token_ttl.map(parse::duration),
            disabled: self.disabled.unwrap_or_default(),
            metadata: self.metadata.unwrap_or_default().into_iter().collect(),
            ..Default::default()
        }
    }
}

pub(super) async fn update(options: &Options, changed: Update) -> Result<(), Failure> {
    let request = UpdateApiClientRequest {
        update_mask: Some(changed.changes.mask()),
        api_client: Some(changed.changes.into_client(changed.id)),
    };
    let client = client(options).await?.update_api_client(request).await?;
    options.server.output.one(&client.into_inner())
}

const IMPORT_EXAMPLES: &str = "Examples:
  muster client import --name erp --permission devices.read --client-key 2f0a41c0ffee42d1 < secret.txt
  muster client import --name erp --permission devices.read --client-key 2f0a41c0ffee42d1 \\
      --known-as bcrypt --file hash.txt";

/// A client of another system.
#[derive(Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct Import {
    #[command(flatten)]
    terms: Terms,
    /// Its client key, the public half
    #[arg(long, value_name = "KEY")]
    client_key: String,
    #[command(flatten)]
    secret: Foreign,
}

pub(super) async fn import(options: &Options, taken: Import) -> Result<(), Failure> {
    let secret = taken.secret.read()?;
    let (client, api_client_id) = taken.terms.into_parts();
    let request = ImportApiClientRequest {
        api_client: Some(ApiClient {
            client_key: taken.client_key,
            ..client
        }),
        api_client_id,
        secret: Some(secret),
    };
    let mut service = super::client(options).await?;
    let client = service.import_api_client(request).await?.into_inner();
    options.server.output.one(&client)
}
