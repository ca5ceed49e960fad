//! `muster client`: API clients of the tenant.

use clap::{Args, Subcommand};
use proto::keys::api_client_service_client::ApiClientServiceClient;
use proto::keys::{
    DeleteApiClientRequest, GetApiClientRequest, ListApiClientsRequest, get_api_client_request,
};
use serde_json::json;
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::out;
use super::rotation::Look;

mod rotate;
mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster client create --name ingest --permission devices.read --token-ttl 10m
  muster client list
  muster client rotate 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --overlap 7d
  muster client rotation 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --watch
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
    Create(Box<terms::Create>),
    /// List the clients, oldest first
    List,
    /// Show all that is known of a client, but not its secret
    Show(Id),
    /// Change a client; what it no longer allows is refused within a second
    Update(Box<terms::Update>),
    /// Make a new secret and show it, this once; the old one works on for a while
    Rotate(rotate::Rotate),
    /// Show when, from where and by what each secret is used
    Rotation(Watched),
    /// End a rotation now: the old secret is refused within a second
    Finish(Id),
    /// Take over a client of another system, so that its secret works here unchanged
    Import(Box<terms::Import>),
    /// Delete a client; its tokens are refused within a second
    Delete(Id),
}

#[derive(Args)]
struct Id {
    /// The client
    id: Uuid,
}

#[derive(Args)]
struct Watched {
    /// The client
    id: Uuid,
    #[command(flatten)]
    look: Look,
}

type Client = ApiClientServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(ApiClientServiceClient::new(options.connect().await?))
}

impl Clients {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.action {
            Action::Create(new) => terms::create(options, *new).await,
            Action::List => list(options).await,
            Action::Show(Id { id }) => show(options, id).await,
            Action::Update(changed) => terms::update(options, *changed).await,
            Action::Rotate(rotate) => rotate.run(options).await,
            Action::Rotation(Watched { id, look }) => rotate::watch(options, id, &look).await,
            Action::Finish(Id { id }) => rotate::finish(options, id).await,
            Action::Import(taken) => terms::import(options, *taken).await,
            Action::Delete(Id { id }) => delete(options, id).await,
        }
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let mut service = client(options).await?;
    let clients = out::pages(None, async |page_size, page_token| {
        let request = ListApiClientsRequest {
            page_size,
            page_token,
            ..Default::default()
        };
        let page = service.list_api_clients(request).await?.into_inner();
        Ok((page.api_clients, page.next_page_token))
    });
    options.server.output.list(&clients.await?)
}

async fn show(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = GetApiClientRequest {
        client: Some(get_api_client_request::Client::Id(id.to_string())),
    };
    let found = client(options).await?.get_api_client(request).await?;
    options.server.output.one(&found.into_inner())
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = DeleteApiClientRequest { id: id.to_string() };
    client(options).await?.delete_api_client(request).await?;
    let sentence = format!("Deleted client {id}.");
    options.server.output.said(&sentence, &json!({}))
}
