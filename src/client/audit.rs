//! `muster audit`: who did what.

use chassis::peer::ServiceName;
use chassis::{Clock, time::date_time, time::timestamp};
use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use proto::audit::audit_service_client::AuditServiceClient;
use proto::audit::{AuditEvent, ListAuditEventsRequest};
use serde_json::{Value, json};

use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::parse;

const EXAMPLES: &str = "Examples:
  muster audit list --since 2h
  muster audit list --resource devices/0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05
  muster audit list --resource apiKeys --since 2027-01-01T00:00:00Z --limit 1000
  muster audit list --actor user:0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --output json";

/// The record of changes.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Audit {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// List changes, newest first
    List(List),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only what this one did: user:ID, key:ID, client:ID or service:NAME
    #[arg(long, default_value_t, hide_default_value = true)]
    actor: String,
    /// Only changes of this thing, such as devices/ID, or of all things in a
    /// collection, such as devices
    #[arg(long, default_value_t, hide_default_value = true)]
    resource: String,
    /// Only what this service changed
    #[arg(long, value_parser = services())]
    service: Option<String>,
    /// Only what was changed since: a span such as 2h, or a time such as 2027-01-01T00:00:00Z
    #[arg(long, value_name = "START", value_parser = parse::when)]
    since: Option<parse::When>,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    limit: std::num::NonZeroUsize,
}

fn services() -> PossibleValuesParser {
    PossibleValuesParser::new(ServiceName::ALL.map(ServiceName::as_str))
}

impl Audit {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let Action::List(list) = self.action;
        let mut client = AuditServiceClient::new(self.options.connect().await?);
        let now = Clock::system().now();
        let filter = ListAuditEventsRequest {
            actor: list.actor,
            resource: list.resource,
            service: list.service.unwrap_or_default(),
            start_time: list.since.map(|start| timestamp(start.before(now))),
            ..Default::default()
        };
        let events = out::pages(Some(list.limit.get()), async |page_size, page_token| {
            let request = ListAuditEventsRequest {
                page_size,
                page_token,
                ..filter.clone()
            };
            let page = client.list_audit_events(request).await?.into_inner();
            Ok((page.audit_events, page.next_page_token))
        });
        self.options.server.output.list(&events.await?)
    }
}

impl Show for AuditEvent {
    const COLUMNS: &'static [&'static str] =
        &["TIME", "ACTOR", "METHOD", "RESOURCE", "SOURCE", "REQUEST"];

    fn cells(&self) -> Vec<String> {
        // The package says no more than the service's name.
        let method = self.method.rsplit_once('.');
        let time = self.time.as_ref().and_then(date_time);
        let time = time.map(|time| time.format("%Y-%m-%d %H:%M:%SZ").to_string());
        vec![
            time.unwrap_or_default(),
            self.actor.clone(),
            method
                .map_or(&*self.method, |(_, method)| method)
                .to_owned(),
            self.resource.clone(),
            self.source.clone(),
            self.request_id.clone(),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "time": out::json_time(self.time.as_ref()),
            "actor": self.actor,
            "method": self.method,
            "resource": self.resource,
            "requestId": self.request_id,
            "source": self.source,
            "service": self.service,
        })
    }
}
