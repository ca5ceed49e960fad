//! `muster webhook test`, `deliveries` and `replay`: what a webhook is told,
//! and what became of it.

use std::time::Duration;

use chassis::{Clock, time::timestamp};
use clap::{Args, ValueEnum};
use proto::registry::webhook_delivery::State;
use proto::registry::{
    ListWebhookDeliveriesRequest, ReplayWebhookDeliveriesRequest, ReplayWebhookDeliveryRequest,
    SendTestEventRequest, WebhookDelivery,
};
use serde_json::json;
use tonic::Code;
use uuid::Uuid;

use super::{Client, client};
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::{out, parse};

/// How often a test is looked at, and how many times: for longer than a webhook may take to answer.
const EVERY: Duration = Duration::from_millis(500);
const LOOKS: u32 = 60;
/// Among how many deliveries a test is looked for.
const NEWEST: i32 = 100;

#[derive(Clone, Copy, ValueEnum)]
enum DeliveryState {
    /// Still to be delivered
    Pending,
    /// Answered with success
    Delivered,
    /// Failed for as long as it was tried: a dead letter
    Failed,
}

impl From<DeliveryState> for State {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Pending,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Failed => Self::Failed,
        }
    }
}

/// As the contract has it; not told means all.
fn number(state: Option<DeliveryState>) -> i32 {
    state.map_or(State::Unspecified, State::from).into()
}

/// Which webhook is sent a test.
#[derive(Args)]
pub(super) struct Test {
    /// The webhook
    id: Uuid,
    /// Wait until the event was tried, and fail unless the webhook took it
    #[arg(long)]
    wait: bool,
}

impl Test {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let id = self.id;
        let mut client = client(options).await?;
        let request = SendTestEventRequest { id: id.to_string() };
        let sent = client.send_test_event(request).await;
        let sent = sent.map_err(|status| match status.code() {
            Code::FailedPrecondition => {
                Failure::from(status).hint(format!("run: muster webhook enable {id}"))
            }
            _ => status.into(),
        })?;
        let mut delivery = sent.into_inner();
        if self.wait {
            delivery = tried(&mut client, delivery).await?;
        }
        options.server.output.one(&delivery)?;
        match delivery.state() {
            State::Delivered => Ok(()),
            _ if !self.wait => Ok(()),
            _ => Err(
                Failure::new("the webhook did not take the event").hint(format!(
                    "what fails is tried again; to look at it, run: muster webhook deliveries {id}"
                )),
            ),
        }
    }
}

/// Waits for what comes of the first attempt.
async fn tried(client: &mut Client, sent: WebhookDelivery) -> Result<WebhookDelivery, Failure> {
    let request = ListWebhookDeliveriesRequest {
        webhook_id: sent.webhook_id.clone(),
        page_size: NEWEST,
        ..Default::default()
    };
    for _ in 0..LOOKS {
        let page = client.list_webhook_deliveries(request.clone()).await?;
        let mut newest = page.into_inner().deliveries.into_iter();
        // An attempt is counted when it begins.
        let ended = |one: &WebhookDelivery| one.state() != State::Pending || !one.error.is_empty();
        if let Some(tried) = newest.find(|one| one.id == sent.id && ended(one)) {
            return Ok(tried);
        }
        tokio::time::sleep(EVERY).await;
    }
    let hint = format!("run: muster webhook deliveries {}", sent.webhook_id);
    Err(Failure::new("the event still waits to be delivered").hint(hint))
}

const LIST_EXAMPLES: &str = "Examples:
  muster webhook deliveries 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --limit 20
  muster webhook deliveries 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --state failed --output json | jq -r '.[].error'";

/// Which deliveries.
#[derive(Args)]
#[command(after_help = LIST_EXAMPLES)]
pub(super) struct List {
    /// The webhook
    id: Uuid,
    /// Only deliveries in this state
    #[arg(long, value_enum)]
    state: Option<DeliveryState>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    limit: std::num::NonZeroUsize,
}

pub(super) async fn list(options: &Options, wanted: List) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let deliveries = out::pages(Some(wanted.limit.get()), async |page_size, page_token| {
        let request = ListWebhookDeliveriesRequest {
            webhook_id: wanted.id.to_string(),
            state: number(wanted.state),
            page_size,
            page_token,
        };
        let page = client.list_webhook_deliveries(request).await?.into_inner();
        Ok((page.deliveries, page.next_page_token))
    });
    options.server.output.list(&deliveries.await?)
}

const REPLAY_EXAMPLES: &str = "Examples:
  muster webhook replay 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d
  muster webhook replay 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --since 2h --state failed
  muster webhook replay 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --since 2027-01-01T00:00:00Z";

/// What is delivered once more.
#[derive(Args)]
#[command(after_help = REPLAY_EXAMPLES)]
pub(super) struct Replay {
    /// The webhook
    webhook: Uuid,
    #[command(flatten)]
    which: Which,
    /// Of all since a time, only deliveries in this state
    #[arg(long, value_enum, conflicts_with = "delivery")]
    state: Option<DeliveryState>,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// One delivery, whatever became of it
    delivery: Option<Uuid>,
    /// All that happened since, also what was delivered: a span such as 2h, or a time
    #[arg(long, value_name = "START", value_parser = parse::when)]
    since: Option<parse::When>,
}

impl Replay {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        match (self.which.delivery, self.which.since) {
            (Some(delivery), _) => replay_one(options, self.webhook, delivery).await,
            (None, since) => replay_since(options, self.webhook, since, self.state).await,
        }
    }
}

async fn replay_one(options: &Options, webhook: Uuid, delivery: Uuid) -> Result<(), Failure> {
    let request = ReplayWebhookDeliveryRequest {
        webhook_id: webhook.to_string(),
        id: delivery.to_string(),
    };
    let mut client = client(options).await?;
    let delivery = client.replay_webhook_delivery(request).await?;
    options.server.output.one(&delivery.into_inner())
}

async fn replay_since(
    options: &Options,
    webhook: Uuid,
    since: Option<parse::When>,
    state: Option<DeliveryState>,
) -> Result<(), Failure> {
    let now = Clock::system().now();
    let request = ReplayWebhookDeliveriesRequest {
        webhook_id: webhook.to_string(),
        start_time: since.map(|start| timestamp(start.before(now))),
        state: number(state),
    };
    let mut client = client(options).await?;
    let replayed = client.replay_webhook_deliveries(request).await?;
    let count = replayed.into_inner().count;
    let sentence = match count {
        1 => "One event is delivered once more.".to_owned(),
        count => format!("{count} events are delivered once more."),
    };
    let json = json!({"count": count.to_string()});
    options.server.output.said(&sentence, &json)
}
