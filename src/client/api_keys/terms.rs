//! `muster key create`, `update` and `import`: what a key is and allows.

use chassis::{Clock, time::timestamp};
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use prost_types::FieldMask;
use proto::keys::{
    ApiKey, CreateApiKeyRequest, ForeignFormat, ImportApiKeyRequest, UpdateApiKeyRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::{client, show};
use crate::client::failure::Failure;
use crate::client::foreign::Foreign;
use crate::client::mask::mask;
use crate::client::options::Options;
use crate::client::parse;

const CREATE_EXAMPLES: &str = "Examples:
  muster key create --name ci --permission devices.read --permission tags.read
  muster key create --name import --permission devices.write --expires 2027-01-01T00:00:00Z
  muster key create --name probe --permission devices.read --network 192.0.2.0/24 --environment test
  muster key create --name mine --permission devices.read --mine
  muster key create --name ci --permission devices.read --output json | jq -r .secret";

/// What a new key is, taken over or not.
#[derive(Args)]
struct Terms {
    /// How the key is shown to people
    #[arg(long)]
    name: String,
    /// What the key is for
    #[arg(long, default_value_t, hide_default_value = true)]
    description: String,
    /// What the key allows; never more than you may do. May be repeated
    #[arg(long = "permission", required = true, value_delimiter = ',', value_parser = parse::permission())]
    permissions: Vec<String>,
    /// When the key stops working: a span such as 90d, or a time [default: never]
    #[arg(long, value_name = "END", value_parser = parse::when)]
    expires: Option<parse::When>,
    /// A network from which it may be used, such as 192.0.2.0/24. May be repeated [default: all]
    #[arg(long = "network", value_name = "CIDR", value_delimiter = ',', value_parser = parse::network)]
    networks: Vec<IpNet>,
    /// A text that you want to find again. May be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = parse::label)]
    metadata: Vec<(String, String)>,
    /// How many requests a minute it may make [default: what the installation allows each key]
    #[arg(long, value_name = "N", default_value_t, hide_default_value = true)]
    requests_per_minute: u32,
}

impl Terms {
    fn into_key(self) -> ApiKey {
        let now = Clock::system().now();
        ApiKey {
            display_name: self.name,
            description: self.description,
            permissions: self.permissions,
            expire_time: self.expires.map(|end| timestamp(end.after(now))),
            allowed_networks: parse::written(&self.networks),
            metadata: self.metadata.into_iter().collect(),
            requests_per_minute: requests(self.requests_per_minute),
            ..Default::default()
        }
    }
}

/// What is too much is told by the server, with its bound.
fn requests(per_minute: u32) -> i32 {
    i32::try_from(per_minute).unwrap_or(i32::MAX)
}

/// A new key.
#[derive(Args)]
#[command(after_help = CREATE_EXAMPLES)]
pub(super) struct Create {
    #[command(flatten)]
    terms: Terms,
    /// A word that is written into the key, such as test or live
    #[arg(long, value_name = "WORD", default_value_t, hide_default_value = true)]
    environment: String,
    /// Own it yourself: it never allows more than you may do, and ends with your membership
    #[arg(long)]
    mine: bool,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

pub(super) async fn create(options: &Options, new: Create) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let owner = match new.mine {
        true => options.caller().await?,
        false => String::new(),
    };
    let request = CreateApiKeyRequest {
        api_key: Some(ApiKey {
            environment: new.environment,
            owner,
            ..new.terms.into_key()
        }),
        api_key_id: new.id.map(|id| id.to_string()).unwrap_or_default(),
    };
    let created = client.create_api_key(request).await?.into_inner();
    let key = created.api_key.unwrap_or_default();
    let json = json!({"apiKey": show::json(&key), "secret": created.secret});
    options
        .server
        .output
        .with_secret(&key, &created.secret, &json)
}

const UPDATE_EXAMPLES: &str = "Examples:
  muster key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --name 'ci, main branch'
  muster key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --permission devices.read
  muster key update 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --expires never --any-network";

/// What changes; the rest stays.
#[derive(Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub(super) struct Update {
    /// The key
    id: Uuid,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// How the key is shown to people
    #[arg(long)]
    name: Option<String>,
    /// What the key is for
    #[arg(long)]
    description: Option<String>,
    /// What the key still allows: permissions can only be taken away. May be repeated
    #[arg(long = "permission", value_delimiter = ',', value_parser = parse::permission())]
    permissions: Option<Vec<String>>,
    /// When the key stops working: a span such as 90d from now, a time, or never
    #[arg(long, value_name = "END", value_parser = parse::end)]
    expires: Option<parse::End>,
    /// The networks from which it may be used, such as 192.0.2.0/24. May be repeated
    #[arg(long = "network", value_name = "CIDR", value_delimiter = ',', value_parser = parse::network)]
    networks: Option<Vec<IpNet>>,
    /// Let it be used from everywhere
    #[arg(long, conflicts_with = "networks")]
    any_network: bool,
    /// All texts that you want to find again. May be repeated
    #[arg(long = "metadata", value_name = "KEY=VALUE", value_parser = parse::label)]
    metadata: Option<Vec<(String, String)>>,
    /// Remove the texts
    #[arg(long, conflicts_with = "metadata")]
    no_metadata: bool,
    /// How many requests a minute it may make; 0: what the installation allows each key
    #[arg(long, value_name = "N")]
    requests_per_minute: Option<u32>,
}

impl Changes {
    fn mask(&self) -> FieldMask {
        mask([
            ("display_name", self.name.is_some()),
            ("description", self.description.is_some()),
            ("permissions", self.permissions.is_some()),
            ("expire_time", self.expires.is_some()),
            (
                "allowed_networks",
                self.networks.is_some() || self.any_network,
            ),
            ("metadata", self.metadata.is_some() || self.no_metadata),
            ("requests_per_minute", self.requests_per_minute.is_some()),
        ])
    }

    fn into_key(self, id: Uuid) -> ApiKey {
        let now = Clock::system().now();
        let expires = self.expires.and_then(|parse::End(end)| end);
        ApiKey {
            id: id.to_string(),
            display_name: self.name.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            permissions: self.permissions.unwrap_or_default(),
            expire_time: expires.map(|end| timestamp(end.after(now))),
            allowed_networks: parse::written(&self.networks.unwrap_or_default()),
            metadata: self.metadata.unwrap_or_default().into_iter().collect(),
            requests_per_minute: requests(self.requests_per_minute.unwrap_or_default()),
            ..Default::default()
        }
    }
}

pub(super) async fn update(options: &Options, key: Update) -> Result<(), Failure> {
    let request = UpdateApiKeyRequest {
        update_mask: Some(key.changes.mask()),
        api_key: Some(key.changes.into_key(key.id)),
    };
    let key = client(options).await?.update_api_key(request).await?;
    options.server.output.one(&key.into_inner())
}

const IMPORT_EXAMPLES: &str = "Examples:
  muster key import --name fleet-17 --permission devices.read --format base64-id-secret < key.txt
  muster key import --name fleet-18 --permission devices.read --format base64-id-secret \\
      --foreign-id 18 --known-as bcrypt < hash.txt
  muster key import --name script --permission devices.write --format opaque --known-as sha256 < hash.txt";

/// A key of another system.
#[derive(Args)]
#[command(after_help = IMPORT_EXAMPLES)]
pub(super) struct Import {
    #[command(flatten)]
    terms: Terms,
    /// How the key is written where it is used
    #[arg(long, value_enum)]
    format: Format,
    /// The number within a key of base64-id-secret [default: read from the key]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    foreign_id: Option<u64>,
    #[command(flatten)]
    secret: Foreign,
    /// Its id here, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Base64 of a number, a colon and a secret
    Base64IdSecret,
    /// Any text
    Opaque,
}

impl From<Format> for ForeignFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Base64IdSecret => Self::Base64IdSecret,
            Format::Opaque => Self::Opaque,
        }
    }
}

pub(super) async fn import(options: &Options, key: Import) -> Result<(), Failure> {
    let (foreign_id, secret) = match (key.format, key.foreign_id) {
        (Format::Base64IdSecret, None) => key.secret.read_pair()?,
        (_, Some(id)) => (id.to_string(), key.secret.read()?),
        (Format::Opaque, None) => (String::new(), key.secret.read()?),
    };
    let request = ImportApiKeyRequest {
        api_key: Some(key.terms.into_key()),
        api_key_id: key.id.map(|id| id.to_string()).unwrap_or_default(),
        format: ForeignFormat::from(key.format).into(),
        foreign_id,
        secret: Some(secret),
    };
    let key = client(options).await?.import_api_key(request).await?;
    options.server.output.one(&key.into_inner())
}
