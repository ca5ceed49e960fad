//! `muster device authority create` and `update`: whose certificates are
//! good, and which device each is of.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use prost_types::FieldMask;
use proto::registry::device_authority as authority;
use proto::registry::{
    CreateDeviceAuthorityRequest, DeviceAuthority, UpdateDeviceAuthorityRequest,
};
use uuid::Uuid;

use super::client;
use crate::client::failure::Failure;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::secret::read_file;

#[derive(Clone, Copy, ValueEnum)]
enum NamedBy {
    /// The common name of its subject
    CommonName,
    /// Its first DNS name (subjectAltName)
    DnsName,
    /// Its first URI (subjectAltName)
    Uri,
}

impl From<NamedBy> for authority::NamedBy {
    fn from(named_by: NamedBy) -> Self {
        match named_by {
            NamedBy::CommonName => Self::CommonName,
            NamedBy::DnsName => Self::DnsName,
            NamedBy::Uri => Self::Uri,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Names {
    SerialNumber,
    ExternalId,
    Id,
    Code,
}

impl From<Names> for authority::Names {
    fn from(names: Names) -> Self {
        match names {
            Names::SerialNumber => Self::SerialNumber,
            Names::ExternalId => Self::ExternalId,
            Names::Id => Self::Id,
            Names::Code => Self::Code,
        }
    }
}

/// Which device a certificate is of.
#[derive(Args, Default)]
struct Naming {
    /// Where a certificate names its device; at first, by its common name
    #[arg(long, value_enum, value_name = "WHERE")]
    named_by: Option<NamedBy>,
    /// What of the device stands there; at first, its serial number
    #[arg(long, value_enum, value_name = "WHAT")]
    names: Option<Names>,
}

impl Naming {
    fn into_authority(self) -> DeviceAuthority {
        let named_by = self.named_by.map(authority::NamedBy::from);
        let names = self.names.map(authority::Names::from);
        DeviceAuthority {
            named_by: named_by.unwrap_or_default().into(),
            names: names.unwrap_or_default().into(),
            ..Default::default()
        }
    }
}

const CREATE_EXAMPLES: &str = "Examples:
  muster device authority create --name 'Factory 2' --certificate ca.pem
  muster device authority create --name 'Factory 3' --certificate ca.pem --named-by dns-name --names code --any-device";

/// A new authority.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    /// How the authority is shown to people
    #[arg(long)]
    name: String,
    /// Its own certificate (X.509, PEM) in this file, or on standard input if it is `-`
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    #[command(flatten)]
    naming: Naming,
    /// Let every device in that a certificate names, not only those with a credential of this authority
    #[arg(long)]
    any_device: bool,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let request = CreateDeviceAuthorityRequest {
        authority: Some(DeviceAuthority {
            display_name: new.name,
            certificate: read_file(&new.certificate, "certificate")?,
            any_device: new.any_device,
            ..new.naming.into_authority()
        }),
        authority_id: new.id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let mut client = client(options).await?;
    let created = client.create_device_authority(request).await?;
    options.server.output.one(&created.into_inner())
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster device authority update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --any-device false
  muster device authority update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --named-by uri --names external-id";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    /// The authority
    id: Uuid,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args, Default)]
#[group(required = true, multiple = true, args = ["name", "any_device", "named_by", "names"])]
struct Changes {
    /// How the authority is shown to people
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    naming: Naming,
    /// Whether every device is let in that a certificate names
    #[arg(long)]
    any_device: Option<bool>,
    #[arg(skip)]
    disabled: Option<bool>,
}

impl Changes {
    fn mask(&self) -> FieldMask {
        mask([
            ("display_name", self.name.is_some()),
            ("named_by", self.naming.named_by.is_some()),
            ("names", self.naming.names.is_some()),
            ("any_device", self.any_device.is_some()),
            ("disabled", self.disabled.is_some()),
        ])
    }

    fn into_authority(self, id: Uuid) -> DeviceAuthority {
        DeviceAuthority {
            id: id.to_string(),
            display_name: self.name.unwrap_or_default(),
            any_device: self.any_device.unwrap_or_default(),
            disabled: self.disabled.unwrap_or_default(),
            ..self.naming.into_authority()
        }
    }
}

impl Update {
    pub(super) async fn run(self, options: &Options) -> Result<(), Failure> {
        let request = UpdateDeviceAuthorityRequest {
            update_mask: Some(self.changes.mask()),
            authority: Some(self.changes.into_authority(self.id)),
        };
        let mut client = client(options).await?;
        let authority = client.update_device_authority(request).await?;
        options.server.output.one(&authority.into_inner())
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
