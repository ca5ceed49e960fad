//! What the device registry is told, in whichever process it runs.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use device_registry::Settings;

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
}

impl DeviceRegistry {
    pub(crate) fn check(&self, problems: &mut Problems) -> Settings {
        let keep = TimeDelta::from_std(self.keep_deleted_devices);
        let keep = problems.take("--keep-deleted-devices", keep);
        let commands = TimeDelta::from_std(self.keep_commands);
        let commands = problems.take("--keep-commands", commands);
        Settings {
            device_limit: (self.device_limit > 0).then(|| self.device_limit.into()),
            keep_deleted: keep.unwrap_or_default(),
            keep_commands: commands.unwrap_or_default(),
        }
    }
}
