//! `muster device`: devices of the tenant.

mod authorities;
mod credentials;
mod show;

pub(super) use show::struct_json;

use clap::{Args, Subcommand};
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::{
    BatchDeleteDevicesRequest, CreateDeviceRequest, DeleteDeviceRequest, Device,
    GetDeviceQuotaRequest, GetDeviceRequest, ListDevicesRequest, UndeleteDeviceRequest,
};
use serde_json::json;
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::{out, parse, transfer};
use show::{Column, USUAL};

/// A page of devices with long descriptions is larger than gRPC's usual limit.
const MAX_ANSWER: usize = 64 << 20;

const EXAMPLES: &str = "Examples:
  muster device create --name 'Pump 7' --serial-number SN-1007 --label site=plant-2
  muster device list --tag 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --limit 20
  muster device list --filter 'labels.region = \"eu\" AND NOT tags:\"retired\"' --order-by 'last_seen_time desc'
  muster device list --filter 'serial_number = \"SN-*\"' --columns name,serial,seen
  muster device list --output json | jq -r '.[].serialNumber'
  muster device get 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05
  muster device delete 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 && muster device undelete 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05
  muster device import fleet.csv --match-by serial-number --dry-run
  muster device credential create 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05 --name 'soldered in'
  muster device authority create --name 'Factory 2' --certificate ca.pem";

/// Devices of the tenant.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Devices {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Action {
    /// Create a device
    Create(Create),
    /// List devices, oldest first
    List(List),
    /// Show one device
    Get {
        /// The device
        id: Uuid,
    },
    /// Create and change many devices, from a file
    Import(Box<transfer::Import>),
    /// Write many devices to a file
    Export(Box<transfer::Export>),
    /// Delete devices: all that are named, or none
    Delete {
        /// The devices; they can be brought back for a while
        #[arg(required = true, num_args = 1..=1000)]
        ids: Vec<Uuid>,
        /// Gone for good at once, with their secrets
        #[arg(long)]
        purge: bool,
    },
    /// Bring a deleted device back
    Undelete {
        /// The device
        id: Uuid,
    },
    /// Show how many devices there are, and may be
    Quota,
    /// What devices prove themselves by: secrets and certificates
    Credential(Box<credentials::Credentials>),
    /// Authorities (CA) whose certificates devices prove themselves by
    Authority(Box<authorities::Authorities>),
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    /// How the device is shown to people
    #[arg(long)]
    name: String,
    /// What its maker calls it; unique in the tenant
    #[arg(long, default_value_t, hide_default_value = true)]
    serial_number: String,
    /// What another system calls it; unique in the tenant
    #[arg(long, default_value_t, hide_default_value = true)]
    external_id: String,
    /// A short name for programs; unique in the tenant
    #[arg(long, default_value_t, hide_default_value = true)]
    code: String,
    /// Put this tag on it. May be repeated
    #[arg(long = "tag", value_name = "ID")]
    tags: Vec<Uuid>,
    /// A short text to find and group devices by. May be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse::label)]
    labels: Vec<(String, String)>,
    /// Its id, a UUID [default: generated]
    #[arg(long)]
    id: Option<Uuid>,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
struct List {
    /// Only devices with this name
    #[arg(long, default_value_t, hide_default_value = true)]
    name: String,
    /// Only the one with this serial number
    #[arg(long, default_value_t, hide_default_value = true)]
    serial_number: String,
    /// Only the one with this external id
    #[arg(long, default_value_t, hide_default_value = true)]
    external_id: String,
    /// Only devices with this tag. May be repeated: all are needed
    #[arg(long = "tag", value_name = "ID")]
    tags: Vec<Uuid>,
    /// Only devices for which this is true, such as `labels.region = "eu" AND update_time > "2026-01-01T00:00:00Z"`
    #[arg(long, default_value_t, hide_default_value = true)]
    filter: String,
    /// number, create_time, update_time, last_seen_time, display_name, serial_number, external_id or state; `desc` after it turns it round
    #[arg(long, value_name = "FIELD", default_value_t, hide_default_value = true)]
    order_by: String,
    /// Deleted devices, too
    #[arg(long)]
    show_deleted: bool,
    /// What to show of each, for people
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    columns: Vec<Column>,
    /// At most so many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<std::num::NonZeroUsize>,
}

impl Devices {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        match self.action {
            Action::Create(device) => create(options, device).await,
            Action::List(list) => list_matching(options, list).await,
            Action::Get { id } => get(options, id).await,
            Action::Delete { ids, purge } => delete(options, &ids, purge).await,
            Action::Undelete { id } => undelete(options, id).await,
            Action::Quota => quota(options).await,
            Action::Import(import) => import.run(options).await,
            Action::Export(export) => export.run(options).await,
            Action::Credential(credentials) => credentials.run(options).await,
            Action::Authority(authorities) => authorities.run(options).await,
        }
    }
}

type Client = DeviceServiceClient<Authorized>;

async fn client(options: &Options) -> Result<Client, Failure> {
    let client = DeviceServiceClient::new(options.connect().await?);
    Ok(client.max_decoding_message_size(MAX_ANSWER))
}

async fn create(options: &Options, device: Create) -> Result<(), Failure> {
    let request = CreateDeviceRequest {
        device_id: device.id.map(|id| id.to_string()).unwrap_or_default(),
        device: Some(Device {
            display_name: device.name,
            serial_number: device.serial_number,
            external_id: device.external_id,
            code: device.code,
            tag_ids: device.tags.iter().map(Uuid::to_string).collect(),
            labels: device.labels.into_iter().collect(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let device = client(options).await?.create_device(request).await?;
    options.server.output.one(&device.into_inner())
}

async fn list_matching(options: &Options, list: List) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let filter = ListDevicesRequest {
        display_name: list.name,
        serial_number: list.serial_number,
        external_id: list.external_id,
        filter: list.filter,
        order_by: list.order_by,
        show_deleted: list.show_deleted,
        tag_ids: list.tags.iter().map(Uuid::to_string).collect(),
        ..Default::default()
    };
    let limit = list.limit.map(std::num::NonZeroUsize::get);
    let devices = out::pages(limit, async |page_size, page_token| {
        let request = ListDevicesRequest {
            page_size,
            page_token,
            ..filter.clone()
        };
        let page = client.list_devices(request).await?.into_inner();
        Ok((page.devices, page.next_page_token))
    });
    let devices = devices.await?;
    let columns = match (list.columns.is_empty(), list.show_deleted) {
        (false, _) => list.columns,
        (true, false) => return options.server.output.list(&devices),
        // Which are the deleted ones is what it is about.
        (true, true) => [&USUAL[..], &[Column::Deleted]].concat(),
    };
    let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
    let cells = |device: &Device| columns.iter().map(|column| column.of(device)).collect();
    options.server.output.columns(&devices, &names, cells)
}

async fn get(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = GetDeviceRequest {
        id: id.to_string(),
        ..Default::default()
    };
    let device = client(options).await?.get_device(request).await?;
    options.server.output.one(&device.into_inner())
}

async fn delete(options: &Options, ids: &[Uuid], purge: bool) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let sentence = match ids {
        [id] => {
            let request = DeleteDeviceRequest {
                id: id.to_string(),
                purge,
                ..Default::default()
            };
            client.delete_device(request).await?;
            format!("Deleted device {id}.")
        }
        ids => {
            let request = BatchDeleteDevicesRequest {
                ids: ids.iter().map(Uuid::to_string).collect(),
                purge,
            };
            client.batch_delete_devices(request).await?;
            format!("Deleted {} devices.", ids.len())
        }
    };
    options.server.output.said(&sentence, &json!({}))
}

async fn undelete(options: &Options, id: Uuid) -> Result<(), Failure> {
    let request = UndeleteDeviceRequest {
        id: id.to_string(),
        ..Default::default()
    };
    let device = client(options).await?.undelete_device(request).await?;
    options.server.output.one(&device.into_inner())
}

async fn quota(options: &Options) -> Result<(), Failure> {
    let mut client = client(options).await?;
    let quota = client.get_device_quota(GetDeviceQuotaRequest {}).await?;
    let quota = quota.into_inner();
    let limit = quota.device_limit.map(|limit| limit.to_string());
    let details = [
        ("DEVICES", quota.device_count.to_string()),
        ("LIMIT", limit.clone().unwrap_or_else(|| "none".to_owned())),
    ];
    let json = json!({ "deviceCount": quota.device_count.to_string(), "deviceLimit": limit });
    options.server.output.object(&details, &json)
}
