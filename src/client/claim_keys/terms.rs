//! `muster claim-key create` and `update`: what a claim key may do, and what
//! becomes of the devices that it registers.

use chassis::{Clock, time::timestamp};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use prost_types::FieldMask;
use proto::registry::device::State;
use proto::registry::{ClaimKey, CreateClaimKeyRequest, DeviceTemplate, UpdateClaimKeyRequest};
use serde_json::json;
use uuid::Uuid;

use super::{client, found};
use crate::client::failure::Failure;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::out::Show;
use crate::client::parse;

/// What becomes of devices; what is not said stays as it was.
#[derive(Args, Default)]
struct Template {
    /// The name of its devices, in which {serial_number} stands for that; without one, that alone
    #[arg(long, value_name = "TEXT")]
    device_name: Option<String>,
    /// Put this tag on its devices. May be repeated
    #[arg(long = "tag", value_name = "ID")]
    tags: Option<Vec<Uuid>>,
    /// The site where its devices are
    #[arg(long, value_name = "ID")]
    site: Option<Uuid>,
    /// A short text to find and group its devices by. May be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Option<Vec<(String, String)>>,
    /// What state its devices are in
    #[arg(long, value_enum)]
    device_state: Option<FirstState>,
}

#[derive(Clone, Copy, ValueEnum)]
enum FirstState {
    /// In use at once
    Active,
    /// Waits for somebody to make it active
    Provisioned,
}

impl From<FirstState> for State {
    fn from(state: FirstState) -> Self {
        match state {
            FirstState::Active => Self::Active,
            FirstState::Provisioned => Self::Provisioned,
        }
    }
}

impl Template {
    fn is_said(&self) -> bool {
        self.device_name.is_some()
            || self.tags.is_some()
            || self.site.is_some()
            || self.labels.is_some()
            || self.device_state.is_some()
    }

    /// A template in which what is said has changed.
    fn over(self, old: DeviceTemplate) -> DeviceTemplate {
        let tags = self
            .tags
            .map(|tags| tags.iter().map(Uuid::to_string).collect());
        let labels = self.labels.map(|labels| labels.into_iter().collect());
        let state = self.device_state.map(|state| State::from(state).into());
        DeviceTemplate {
            display_name: self.device_name.unwrap_or(old.display_name),
            tag_ids: tags.unwrap_or(old.tag_ids),
            site_id: self.site.map_or(old.site_id, |site| site.to_string()),
            labels: labels.unwrap_or(old.labels),
            state: state.unwrap_or(old.state),
        }
    }
}

const CREATE_EXAMPLES: &str = "Examples:
  muster claim-key create --name 'Batch 2026-11' --max-uses 500 --expires 2027-01-01T00:00:00Z
  muster claim-key create --name plant-2 --network 192.0.2.0/24 --device-name 'Pump {serial_number}' --label batch=7
  muster claim-key create --name lab --device-state provisioned --output json | jq -r .secret";

/// A new claim key.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// How the claim key is shown to people
    #[arg(long)]
    name: String,
    /// What the claim key is for
    #[arg(long, default_value_t, hide_default_value = true)]
    description: String,
    /// How many devices it may register; 0: any number
    #[arg(long, value_name = "N", default_value = "0", value_parser = uses())]
    max_uses: i64,
    /// When the claim key stops working: a span such as 90d, or a time [default: never]
    #[arg(long, value_name = "END", value_parser = parse::when)]
    expires: Option<parse::When>,
    /// A network from which it may be used, such as 192.0.2.0/24. May be repeated [default: all]
    #[arg(long = "network", value_name = "CIDR", value_delimiter = ',', value_parser = parse::network)]
    networks: Vec<IpNet>,
    #[command(flatten)]
    template: Template,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

fn uses() -> clap::builder::RangedI64ValueParser {
    clap::value_parser!(i64).range(0..)
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let now = Clock::system().now();
    let request = CreateClaimKeyRequest {
        claim_key: Some(ClaimKey {
            display_name: new.name,
            description: new.description,
            max_uses: new.max_uses,
            expire_time: new.expires.map(|end| timestamp(end.after(now))),
            networks: parse::written(&new.networks),
            template: Some(new.template.over(DeviceTemplate::default())),
            ..Default::default()
        }),
        claim_key_id: new.id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let mut client = client(options).await?;
    let created = client.create_claim_key(request).await?.into_inner();
    let key = created.claim_key.unwrap_or_default();
    let json = json!({"claimKey": key.json(), "secret": created.secret});
    options
        .server
        .output
        .with_secret(&key, &created.secret, &json)
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster claim-key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --max-uses 600 --expires 30d
  muster claim-key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --label batch=8
  muster claim-key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --new-template --device-name 'Valve {serial_number}'";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    /// The claim key
    id: Uuid,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args, Default)]
#[group(required = true, multiple = true, args = [
    "name", "description", "max_uses", "expires", "networks", "any_network", "new_template",
    "device_name", "tags", "site", "labels", "device_state",
])]
struct Changes {
    /// How the claim key is shown to people
    #[arg(long)]
    name: Option<String>,
    /// What the claim key is for
    #[arg(long)]
    description: Option<String>,
    /// How many devices it may register in all; 0: any number
    #[arg(long, value_name = "N", value_parser = uses())]
    max_uses: Option<i64>,
    /// When the claim key stops working: a span such as 90d from now, a time, or never
    #[arg(long, value_name = "END", value_parser = parse::end)]
    expires: Option<parse::End>,
    /// The networks from which it may be used, such as 192.0.2.0/24. May be repeated
    #[arg(long = "network", value_name = "CIDR", value_delimiter = ',', value_parser = parse::network)]
    networks: Option<Vec<IpNet>>,
    /// Let it be used from everywhere
    #[arg(long, conflicts_with = "networks")]
    any_network: bool,
    /// Forget what became of devices until now: only what is said beside this
    #[arg(long)]
    new_template: bool,
    #[command(flatten)]
    template: Template,
    #[arg(skip)]
    disabled: Option<bool>,
}

impl Changes {
    fn changes_template(&self) -> bool {
        self.new_template || self.template.is_said()
    }

    fn mask(&self) -> FieldMask {
        mask([
            ("display_name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("max_uses", self.max_uses.is_some()),
            ("expire_time", self.expires.is_some()),
            ("networks", self.networks.is_some() || self.any_network),
            ("template", self.changes_template()),
            ("disabled", self.disabled.is_some()),
        ])
    }

    /// The changed key; its old template is what was not said to change.
    fn into_key(self, id: Uuid, old: ClaimKey) -> ClaimKey {
        let now = Clock::system().now();
        let expires = self.expires.and_then(|parse::End(end)| end);
        let template = match self.new_template {
            true => DeviceTemplate::default(),
            false => old.template.unwrap_or_default(),
        };
        ClaimKey {
            id: id.to_string(),
            display_name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            max_uses: self.max_uses.unwrap_or_default(),
            expire_time: expires.map(|end| timestamp(end.after(now))),
            networks: parse::written(&self.networks.unwrap_or_default()),
            template: Some(self.template.over(template)),
            disabled: self.disabled.unwrap_or_default(),
            etag: old.etag,
            ..Default::default()
        }
    }
}

impl Update {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let mut client = client(options).await?;
        // A template is replaced as a whole; the etag refuses to undo somebody else's change.
        let old = match self.changes.changes_template() {
            true => found(&mut client, self.id).await?,
            false => ClaimKey::default(),
        };
        let request = UpdateClaimKeyRequest {
            update_mask: Some(self.changes.mask()),
            claim_key: Some(self.changes.into_key(self.id, old)),
        };
        let key = client.update_claim_key(request).await?.into_inner();
        options.server.output.one(&key)
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
