//! What the device registry is told, in whichever process it runs.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use device_registry::{Reach, Settings};
use ipnet::IpNet;

use super::Problems;

/// What is for the device registry only.
#[derive(Args)]
pub(crate) struct DeviceRegistry {
    /// How many devices a tenant may have, unless `muster admin device-limit` says otherwise;
    /// 0: any number
    #[arg(
        long,
        value_name = "NUMBER",
        env = "MUSTER_DEVICE_LIMIT",
        default_value_t = 0
    )]
    device_limit: u32,
    /// How long a deleted device can be brought back
    #[arg(long, value_name = "DURATION", env = "MUSTER_KEEP_DELETED_DEVICES", default_value = "30days", value_parser = humantime::parse_duration)]
    keep_deleted_devices: Duration,
    /// How long a command is kept after its end
    #[arg(long, value_name = "DURATION", env = "MUSTER_KEEP_COMMANDS", default_value = "30days", value_parser = humantime::parse_duration)]
    keep_commands: Duration,
    /// Networks that webhooks may call though they are private, such as 10.1.0.0/16; otherwise
    /// only the public internet
    #[arg(
        long,
        value_name = "CIDR",
        env = "MUSTER_WEBHOOK_ALLOW_NETWORKS",
        value_delimiter = ','
    )]
    webhook_allow_networks: Vec<String>,
    /// Let webhooks call http too
    #[arg(long, env = "MUSTER_WEBHOOK_ALLOW_HTTP")]
    webhook_allow_http: bool,
}

impl DeviceRegistry {
    pub(crate) fn check(&self, problems: &mut Problems) -> Settings {
        let keep = TimeDelta::from_std(self.keep_deleted_devices);
        let keep = problems.take("--keep-deleted-devices", keep);
        let commands = TimeDelta::from_std(self.keep_commands);
        let commands = problems.take("--keep-commands", commands);
        let mut networks = Vec::new();
        let told = self.webhook_allow_networks.iter();
        for text in told.filter(|text| !text.is_empty()) {
            match text.parse::<IpNet>() {
                Ok(network) => networks.push(network),
                Err(_) => problems.add(format!(
                    "--webhook-allow-networks: `{text}` is no network such as 10.1.0.0/16"
                )),
            }
        }
        Settings {
            webhooks: Reach {
                networks,
                http: self.webhook_allow_http,
            },
            device_limit: (self.device_limit > 0).then(|| self.device_limit.into()),
            keep_deleted: keep.unwrap_or_default(),
            keep_commands: commands.unwrap_or_default(),
        }
    }
}
