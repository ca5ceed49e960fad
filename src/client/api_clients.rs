//! `muster client`: API clients of the tenant.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use clap::{Args, Subcommand};
use proto::keys::api_client_service_client::ApiClientServiceClient;
use proto::keys::{
    ApiClient, CreateApiClientRequest, DeleteApiClientRequest, ListApiClientsRequest,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::parse;

const EXAMPLES: &str = "Examples:
  muster client create --name ingest --permission devices.read --token-ttl 10m
  muster client list
  muster client delete 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// API clients: programs that trade a secret for short-lived tokens.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Clients {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a client and show its secret, this once
    Create(Create),
    /// List the clients, oldest first
    List,
    /// Delete a client; its tokens are refused within a second
    Delete {
        /// The client
        id: Uuid,
    },
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    /// How the client is shown to people
    #[arg(long)]
    name: String,
    /// What the client allows; never more than you may do. May be repeated
    #[arg(long = "permission", required = true, value_delimiter = ',', value_parser = parse::permission())]
    permissions: Vec<String>,
    /// How long its tokens live, from 1m to 60m [default: 10m]
    #[arg(long, value_name = "SPAN", value_parser = parse::span)]
    token_ttl: Option<TimeDelta>,
}

impl Clients {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.action {
            Action::Create(client) => create(&self.options, client).await,
            Action::List => list(&self.options).await,
            Action::Delete { id } => delete(&self.options, id).await,
        }
    }
}

async fn create(options: &Options, client: Create) -> Result<(), Failure> {
    let mut service = ApiClientServiceClient::new(options.connect().await?);
    let client = ApiClient {
        display_name: client.name,
        permissions: client.permissions,
        token_ttl: client.token_ttl.map(|ttl| prost_types::Duration {
            seconds: ttl.num_seconds(),
            nanos: 0,
        }),
        ..Default::default()
    };
    let request = CreateApiClientRequest {
        api_client: Some(client),
        ..Default::default()
    };
    let created = service.create_api_client(request).await?.into_inner();
    let client = created.api_client.unwrap_or_default();
    let json = json!({"apiClient": client.json(), "clientSecret": created.client_secret});
    options
        .server
        .output
        .with_secret(&client, &created.client_secret, &json)
}

async fn list(options: &Options) -> Result<(), Failure> {
    let mut service = ApiClientServiceClient::new(options.connect().await?);
    let clients = out::pages(None, async |page_size, page_token| {
        let request = ListApiClientsRequest {
            page_size,
            page_token,
            skip: 0,
        };
        let page = service.list_api_clients(request).await?.into_inner();
        Ok((page.api_clients, page.next_page_token))
    });
    options.server.output.list(&clients.await?)
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let mut service = ApiClientServiceClient::new(options.connect().await?);
    let request = DeleteApiClientRequest { id: id.to_string() };
    service.delete_api_client(request).await?;
    let sentence = format!("Deleted client {id}.");
    options.server.output.said(&sentence, &json!({}))
}

impl Show for ApiClient {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "CLIENT KEY",
        "TOKEN TTL",
        "STATE",
        "CREATED",
        "PERMISSIONS",
    ];

    fn cells(&self) -> Vec<String> {
        let ttl = self.token_ttl.unwrap_or_default().seconds;
        let state = if self.disabled { "disabled" } else { "active" };
        vec![
            self.id.clone(),
            self.display_name.clone(),
            self.client_key.clone(),
            format!("{ttl}s"),
            state.to_owned(),
            out::time(self.create_time.as_ref()),
            self.permissions.join(" "),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "clientKey": self.client_key,
            "displayName": self.display_name,
            "permissions": self.permissions,
            "tokenTtl": self.token_ttl.map(|ttl| format!("{}s", ttl.seconds)),
            "disabled": self.disabled,
            "metadata": self.metadata.iter().collect::<BTreeMap<_, _>>(),
            "creator": self.creator,
            "createTime": out::json_time(self.create_time.as_ref()),
        })
    }
}
