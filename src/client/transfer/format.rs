//! How devices are written in files.

use std::path::Path;

use clap::ValueEnum;
use transcoder::{Codec, MessageCodec};

use crate::client::failure::Failure;

/// The type of what files hold.
const DEVICE: &str = "muster.registry.v1.Device";

/// How devices are written in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line of field names, and a line for each device.
    Csv,
    /// A line of JSON for each device.
    Ndjson,
    /// One JSON array.
    Json,
}

impl Format {
    /// What is asked for, or else what the name of the file says.
    pub(crate) fn of(asked: Option<Self>, file: &Path) -> Option<Self> {
        let extension = file
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        asked.or(match extension.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "json" => Some(Self::Json),
            _ => None,
        })
    }
}

/// What reads and writes devices.
pub(crate) struct Devices(Codec);

impl Devices {
    pub(crate) fn new() -> Result<Self, Failure> {
        let codec = Codec::new(proto::DESCRIPTOR_SET);
        let codec = codec.map_err(|e| Failure::caused("the contract can't be read", &e))?;
        Ok(Self(codec))
    }

    pub(crate) fn codec(&self) -> Result<MessageCodec<'_>, Failure> {
        let codec = self.0.message(DEVICE);
        codec.ok_or_else(|| Failure::new("the contract has no devices"))
    }
}
