//! `muster device`: devices of the tenant.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use prost_types::{Struct, value::Kind};
use proto::registry::device_service_client::DeviceServiceClient;
use proto::registry::{
    CreateDeviceRequest, DeleteDeviceRequest, Device, GetDeviceRequest, ListDevicesRequest,
    Location,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::connect::Authorized;
use super::failure::Failure;
use super::options::Options;
use super::out::{self, Show};
use super::{parse, transfer};

/// A page of devices with long descriptions is larger than gRPC's usual limit.
const MAX_ANSWER: usize = 64 << 20;

const EXAMPLES: &str = "Examples:
  muster device create --name 'Pump 7' --serial-number SN-1007 --label site=plant-2
  muster device list --tag 0198c5a2-7d1e-7bd0-9a3c-5f1f0d6f2a11 --limit 20
  muster device list --output json | jq -r '.[].serialNumber'
  muster device import fleet.csv --match-by serial-number --dry-run
  muster device get 0198c5a2-8f40-7c11-b0de-2c9a4e7d1b05";

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
    /// Delete a device and its secrets
    Delete {
        /// The device
        id: Uuid,
    },
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
    /// At most so many [default: all]
    #[arg(long, value_name = "N")]
    limit: Option<std::num::NonZeroUsize>,
}

impl Devices {
    /// Carries the action out.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let options = &self.options;
        let client = DeviceServiceClient::new(options.connect().await?)
            .max_decoding_message_size(MAX_ANSWER);
        match self.action {
            Action::Create(device) => create(options, client, device).await,
            Action::List(list) => list_matching(options, client, list).await,
            Action::Get { id } => get(options, client, id).await,
            Action::Import(import) => import.run(options).await,
            Action::Export(export) => export.run(options).await,
            Action::Delete { id } => delete(options, client, id).await,
        }
    }
}

type Client = DeviceServiceClient<Authorized>;

async fn create(options: &Options, mut client: Client, device: Create) -> Result<(), Failure> {
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
    let device = client.create_device(request).await?.into_inner();
    options.server.output.one(&device)
}

async fn list_matching(options: &Options, mut client: Client, list: List) -> Result<(), Failure> {
    let filter = ListDevicesRequest {
        display_name: list.name,
        serial_number: list.serial_number,
        external_id: list.external_id,
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
    options.server.output.list(&devices.await?)
}

async fn get(options: &Options, mut client: Client, id: Uuid) -> Result<(), Failure> {
    let request = GetDeviceRequest {
        id: id.to_string(),
        ..Default::default()
    };
    let device = client.get_device(request).await?.into_inner();
    options.server.output.one(&device)
}

async fn delete(options: &Options, mut client: Client, id: Uuid) -> Result<(), Failure> {
    let request = DeleteDeviceRequest {
        id: id.to_string(),
        ..Default::default()
    };
    client.delete_device(request).await?;
    let sentence = format!("Deleted device {id}.");
    options.server.output.said(&sentence, &json!({}))
}

impl Show for Device {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "NAME",
        "SERIAL NUMBER",
        "EXTERNAL ID",
        "CODE",
        "STATE",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.display_name.clone(),
            self.serial_number.clone(),
            self.external_id.clone(),
            self.code.clone(),
            out::state(self.state().as_str_name()),
        ]
    }

    fn details(&self) -> Vec<(&'static str, String)> {
        let mut details: Vec<_> = Self::COLUMNS.iter().copied().zip(self.cells()).collect();
        details.extend([
            ("NUMBER", self.number.to_string()),
            ("DESCRIPTION", self.description.clone()),
            ("TAGS", self.tag_ids.join(" ")),
            ("LABELS", out::labels(&self.labels)),
            ("SITE", self.site_id.clone()),
            ("LAST SEEN", out::time(self.last_seen_time.as_ref())),
            ("CREATED", out::time(self.create_time.as_ref())),
            ("UPDATED", out::time(self.update_time.as_ref())),
        ]);
        details.retain(|(_, value)| !value.is_empty());
        details
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id,
            "number": self.number.to_string(),
            "displayName": self.display_name,
            "serialNumber": self.serial_number,
            "externalId": self.external_id,
            "code": self.code,
            "description": self.description,
            "tagIds": self.tag_ids,
            "labels": self.labels.iter().collect::<BTreeMap<_, _>>(),
            "attributes": self.attributes.as_ref().map(struct_json),
            "siteId": self.site_id,
            "location": self.location.as_ref().map(location_json),
            "state": self.state().as_str_name(),
            "lastSeenTime": out::json_time(self.last_seen_time.as_ref()),
            "createTime": out::json_time(self.create_time.as_ref()),
            "updateTime": out::json_time(self.update_time.as_ref()),
            "etag": self.etag,
        })
    }
}

fn location_json(location: &Location) -> Value {
    json!({
        "latitude": location.latitude,
        "longitude": location.longitude,
        "altitude": location.altitude,
        "description": location.description,
    })
}

fn struct_json(object: &Struct) -> Value {
    object
        .fields
        .iter()
        .map(|(name, value)| (name.clone(), value_json(value)))
        .collect()
}

fn value_json(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => json!(value),
        Some(Kind::NumberValue(value)) => number_json(*value),
        Some(Kind::StringValue(value)) => json!(value),
        Some(Kind::StructValue(value)) => struct_json(value),
        Some(Kind::ListValue(list)) => list.values.iter().map(value_json).collect(),
    }
}

/// Whole numbers are printed without a fraction, as they were most likely written.
fn number_json(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        json!(number as i64)
    } else {
        json!(number)
    }
}
