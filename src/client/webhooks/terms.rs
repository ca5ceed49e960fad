//! `muster webhook create`, `update` and `rotate`: where a webhook is, and
//! what it is told.

use chrono::TimeDelta;
use clap::Args;
use prost_types::FieldMask;
use proto::registry::{
    CreateWebhookRequest, RotateWebhookSecretRequest, UpdateWebhookRequest, Webhook,
};
use serde_json::json;
use uuid::Uuid;

use super::client;
use crate::client::failure::Failure;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::out::Show;
use crate::client::parse;

const CREATE_EXAMPLES: &str = "Examples:
  muster webhook create --url https://example.com/hooks/muster --event 'device.*,key.revoked'
  muster webhook create --url https://example.com/all --event '*' --output json | jq -r .secret";

/// A new webhook.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// Where to POST: https, without credentials in it
    #[arg(long)]
    url: String,
    /// What it is told of, such as device.created, `device.*` or `*` for everything. May be repeated
    #[arg(
        long = "event",
        value_name = "TYPE",
        required = true,
        value_delimiter = ','
    )]
    events: Vec<String>,
    /// What the webhook is for
    #[arg(long, default_value_t, hide_default_value = true)]
    description: String,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let request = CreateWebhookRequest {
        webhook: Some(Webhook {
            url: new.url,
            description: new.description,
            event_types: new.events,
            ..Default::default()
        }),
        webhook_id: new.id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let mut client = client(options).await?;
    let created = client.create_webhook(request).await?.into_inner();
    let webhook = created.webhook.unwrap_or_default();
    show_secret(options, &webhook, &created.secret)
}

/// Shows a webhook whose secret is new.
fn show_secret(options: &Options, webhook: &Webhook, secret: &str) -> Result<(), Failure> {
    let json = json!({"webhook": webhook.json(), "secret": secret});
    options.server.output.with_secret(webhook, secret, &json)
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster webhook update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --url https://example.com/hooks/v2
  muster webhook update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --event 'device.*' --event tag.created";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    /// The webhook
    id: Uuid,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args, Default)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Where to POST: https, without credentials in it
    #[arg(long)]
    url: Option<String>,
    /// All that it is told of, such as device.created, `device.*` or `*` for everything. May be repeated
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    events: Option<Vec<String>>,
    /// What the webhook is for
    #[arg(long)]
    description: Option<String>,
    #[arg(skip)]
    disabled: Option<bool>,
}

impl Changes {
    fn mask(&self) -> FieldMask {
        mask([
            ("url", self.url.is_some()),
            ("event_types", self.events.is_some()),
            ("description", self.description.is_some()),
            ("disabled", self.disabled.is_some()),
        ])
    }

    fn into_webhook(self, id: Uuid) -> Webhook {
        Webhook {
            id: id.to_string(),
            url: self.url.unwrap_or_default(),
            event_types: self.events.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            disabled: self.disabled.unwrap_or_default(),
            ..Default::default()
        }
    }
}

impl Update {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = UpdateWebhookRequest {
            update_mask: Some(self.changes.mask()),
            webhook: Some(self.changes.into_webhook(self.id)),
        };
        let webhook = client(options).await?.update_webhook(request).await?;
        options.server.output.one(&webhook.into_inner())
    }
}

pub(super) async fn set_disabled(
    options: &Options,
    id: Uuid,
    disabled: bool,
) -> Result<(), Failure> {
    let changes = Changes {
        disabled: Some(disabled),
        ..Default::default()
    };
    Update { id, changes }.run(options).await
}

/// Which webhook, and how long its old secret counts.
#[derive(Args)]
pub(super) struct Rotate {
    /// The webhook
    id: Uuid,
    /// For how long the old secret signs as well, 0 for not at all, 7d at most [default: 1d]
    #[arg(long, value_name = "SPAN", value_parser = parse::span_or_zero)]
    overlap: Option<TimeDelta>,
}

impl Rotate {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = RotateWebhookSecretRequest {
            id: self.id.to_string(),
            overlap: self.overlap.map(parse::duration),
        };
        let mut client = client(options).await?;
        let rotated = client.rotate_webhook_secret(request).await?.into_inner();
        let webhook = rotated.webhook.unwrap_or_default();
        show_secret(options, &webhook, &rotated.secret)
    }
}
