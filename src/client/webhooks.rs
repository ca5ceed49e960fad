//! `muster webhook`: URLs that are told what changes.

use clap::{Args, Subcommand};
use proto::registry::webhook_service_client::WebhookServiceClient;
use proto::registry::{DeleteWebhookRequest, GetWebhookRequest, ListWebhooksRequest};
use serde_json::json;
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::out;

mod deliveries;
mod show;
mod terms;

const EXAMPLES: &str = "Examples:
  muster webhook create --url https://example.com/hooks/muster --event 'device.*,key.revoked'
  muster webhook test 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --wait
  muster webhook deliveries 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --state failed
  muster webhook replay 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --since 2h --state failed
  muster webhook rotate 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --overlap 1d
  muster webhook enable 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// Webhooks: URLs that are told what changes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Webhooks {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a webhook and show the secret that signs what it is told, this once
    Create(Box<terms::Create>),
    /// List the webhooks, oldest first
    List,
    /// Show one webhook, but not its secret
    Get(Id),
    /// Change a webhook
    Update(Box<terms::Update>),
    /// Tell a webhook nothing; what happens meanwhile is not told later
    Disable(Id),
    /// Go on with a webhook, also with one that was disabled because it failed; what waits is delivered
    Enable(Id),
    /// Make a new secret and show it, this once; for a while, the old one signs as well
    Rotate(terms::Rotate),
    /// Send an event of the type webhook.test
    Test(deliveries::Test),
    /// List what was or is to be delivered in the last 30 days, newest first
    Deliveries(deliveries::List),
    /// Deliver once more, at once: one event, or all since a time
    Replay(deliveries::Replay),
    /// Delete a webhook, and all of its deliveries
    Delete(Id),
}

#[derive(Args)]
struct Id {
    /// The webhook
    id: Uuid,
}

type Client = WebhookServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    Ok(WebhookServiceClient::new(options.connect().await?))
}

impl Webhooks {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.action {
            Action::Create(new) => terms::create(options, *new).await,
            Action::List => list(options).await,
            Action::Get(Id { id }) => get(options, id).await,
            Action::Update(changed) => changed.run(options).await,
            Action::Disable(Id { id }) => terms::set_disabled(options, id, true).await,
            Action::Enable(Id { id }) => terms::set_disabled(options, id, false).await,
            Action::Rotate(rotate) => rotate.run(options).await,
            Action::Test(test) => test.run(options).await,
            Action::Deliveries(wanted) => deliveries::list(options, wanted).await,
            Action::Replay(replay) => replay.run(options).await,
            Action::Delete(Id { id }) => delete(options, id).await,
        }
    }
}

async fn list(options: &Options) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let webhooks = out::pages(None, async |page_size, page_token| {
        let request = ListWebhooksRequest {
            page_size,
            page_token,
        };
        let page = client.list_webhooks(request).await?.into_inner();
        Ok((page.webhooks, page.next_page_token))
    });
    options.server.output.list(&webhooks.await?)
}

async fn get(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = GetWebhookRequest { id: id.to_string() };
    let webhook = client(options).await?.get_webhook(request).await?;
    options.server.output.one(&webhook.into_inner())
}

async fn delete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = DeleteWebhookRequest { id: id.to_string() };
    client(options).await?.delete_webhook(request).await?;
    let sentence = format!("Deleted webhook {id}.");
    options.server.output.said(&sentence, &json!({}))
}
