//! `muster device credential create`, `update` and `rotate`: what a credential
//! is, and when it is good.

use chassis::{Clock, time::timestamp};
use chrono::TimeDelta;
use clap::Args;
use prost_types::FieldMask;
use proto::registry::{
    CreateDeviceCredentialRequest, DeviceCredential, RotateDeviceCredentialRequest,
    UpdateDeviceCredentialRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::proof::{Brought, Proof};
use super::{One, client};
use crate::client::failure::Failure;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::out::{self, Output, Show};
use crate::client::parse;

const CREATE_EXAMPLES: &str = "Examples:
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --output json | jq -r .secret
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --secret-file secret.txt --expires 90d
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --certificate device.pem
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --authority 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11";

/// A new credential.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// The device
    device: Uuid,
    #[command(flatten)]
    proof: Proof,
    /// How the credential is shown to people
    #[arg(long, default_value_t, hide_default_value = true)]
    name: String,
    /// What the credential is for
    #[arg(long, default_value_t, hide_default_value = true)]
    description: String,
    /// A short text for programs. May be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
    /// When it begins to be good: a span such as 2d, or a time [default: at once]
    #[arg(long, value_name = "START", value_parser = parse::when)]
    not_before: Option<parse::When>,
    /// When it stops being good: a span such as 90d, or a time [default: never]
    #[arg(long, value_name = "END", value_parser = parse::when)]
    expires: Option<parse::When>,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let now = Clock::system().now();
    let Proof {
        brought,
        fingerprint,
        authority,
    } = new.proof;
    let (secret, certificate) = brought.read()?;
    let request = CreateDeviceCredentialRequest {
        device_id: new.device.to_string(),
        credential: Some(DeviceCredential {
            display_name: new.name,
            description: new.description,
            labels: new.labels.into_iter().collect(),
            certificate_sha256: fingerprint.unwrap_or_default(),
            authority_id: authority.map(|id| id.to_string()).unwrap_or_default(),
            not_before: new.not_before.map(|start| timestamp(start.after(now))),
            not_after: new.expires.map(|end| timestamp(end.after(now))),
            ..Default::default()
        }),
        secret,
        certificate,
        credential_id: new.id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let mut client = client(options).await?;
    let created = client.create_device_credential(request).await?.into_inner();
    let credential = created.credential.unwrap_or_default();
    let json = json!({"credential": credential.json(), "secret": created.secret});
    options
        .server
        .output
        .with_secret(&credential, &created.secret, &json)
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster device credential update 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d --expires 30d
  muster device credential update 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d --name spare --no-labels";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args, Default)]
#[group(required = true, multiple = true)]
struct Changes {
    /// How the credential is shown to people
    #[arg(long)]
    name: Option<String>,
    /// What the credential is for
    #[arg(long)]
    description: Option<String>,
    /// All short texts for programs. May be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Option<Vec<(String, String)>>,
    /// Remove the short texts
    #[arg(long, conflicts_with = "labels")]
    no_labels: bool,
    /// When it begins to be good: a span such as 2d from now, or a time
    #[arg(long, value_name = "START", value_parser = parse::when)]
    not_before: Option<parse::When>,
    /// When it stops being good: a span such as 90d from now, a time, or never
    #[arg(long, value_name = "END", value_parser = parse::end)]
    expires: Option<parse::End>,
    #[arg(skip)]
    disabled: Option<bool>,
}

impl Changes {
    fn mask(&self) -> FieldMask {
        mask([
            ("display_name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("labels", self.labels.is_some() || self.no_labels),
            ("not_before", self.not_before.is_some()),
            ("not_after", self.expires.is_some()),
            ("disabled", self.disabled.is_some()),
        ])
    }

    fn into_credential(self, One { device, id }: One) -> DeviceCredential {
        let now = Clock::system().now();
        let expires = self.expires.and_then(|parse::End(end)| end);
        DeviceCredential {
            id: id.to_string(),
            device_id: device.to_string(),
            display_name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            labels: self.labels.unwrap_or_default().into_iter().collect(),
            not_before: self.not_before.map(|start| timestamp(start.after(now))),
            not_after: expires.map(|end| timestamp(end.after(now))),
            disabled: self.disabled.unwrap_or_default(),
            ..Default::default()
        }
    }
}

impl Update {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = UpdateDeviceCredentialRequest {
            update_mask: Some(self.changes.mask()),
            credential: Some(self.changes.into_credential(self.one)),
        };
        let mut client = client(options).await?;
        let credential = client.update_device_credential(request).await?;
        options.server.output.one(&credential.into_inner())
    }
}

pub(super) async fn set_disabled(
    options: &Options,
    one: One,
    disabled: bool,
) -> Result<(), Failure> {
    let changes = Changes {
        disabled: Some(disabled),
        ..Default::default()
    };
    Update { one, changes }.run(options).await
}

const ROTATE_EXAMPLES: &str = "Examples:
  muster device credential rotate 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d --overlap 7d
  muster device credential rotate 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 0198c5a2-9a10-7f3e-8c55-3d2b1a0f9e8d --certificate new.pem";

/// Which credential, and what follows it: a secret follows a secret, a certificate a certificate.
#[derive(Args)]
#[command(after_help = ROTATE_EXAMPLES)]
pub(super) struct Rotate {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    brought: Brought,
    /// How long the old one stays good, 0 for not at all, 90d at most [default: 1d]
    #[arg(long, value_name = "SPAN", value_parser = parse::span_or_zero)]
    overlap: Option<TimeDelta>,
}

impl Rotate {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let (secret, certificate) = self.brought.read()?;
        let request = RotateDeviceCredentialRequest {
            device_id: self.one.device.to_string(),
            id: self.one.id.to_string(),
            overlap: self.overlap.map(parse::duration),
            secret,
            certificate,
            ..Default::default()
        };
        let mut client = client(options).await?;
        let rotated = client.rotate_device_credential(request).await?.into_inner();
        let credential = rotated.credential.unwrap_or_default();
        let replaced = rotated.replaced.unwrap_or_default();
        let json = json!({
            "credential": credential.json(),
            "secret": rotated.secret,
            "replaced": replaced.json(),
        });
        let output = options.server.output;
        if output == Output::Table {
            let end = out::time(replaced.not_after.as_ref());
            out::note(&format!("The old credential is good until {end}."));
        }
        output.with_secret(&credential, &rotated.secret, &json)
    }
}
