//! `muster device export`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use prost::Message;
use proto::registry::{Device, ExportDevicesRequest};
use transcoder::{CsvHeader, MessageCodec};

use super::format::{Devices, Format};
use super::{client, pause};
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out;

/// All that there is to tell of a device, but its etag: a file that is
/// imported again may be older than the last change.
const COLUMNS: [&str; 18] = [
    "id",
    "number",
    "displayName",
    "serialNumber",
    "externalId",
    "code",
    "description",
    "tagIds",
    "labels",
    "attributes",
    "siteId",
    "location.latitude",
    "location.longitude",
    "location.altitude",
    "location.description",
    "state",
    "lastSeenTime",
    "createTime",
];

const EXAMPLES: &str = "Examples:
  muster device export --file fleet.csv
  muster device export --filter 'labels.region = \"eu\"' --columns serialNumber,labels.region --file eu.csv";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Export {
    /// Only devices for which this is true, such as 'labels.region = "eu"'
    #[arg(long, default_value_t, hide_default_value = true)]
    filter: String,
    /// Deleted devices, too
    #[arg(long)]
    show_deleted: bool,
    /// How to write them [default: by the file's name, or lines of JSON]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The columns of a CSV, such as serialNumber,labels.region [default: all]
    #[arg(long, value_delimiter = ',', value_name = "FIELDS")]
    columns: Vec<String>,
    /// Write to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Where devices go.
struct Sheet<'c> {
    file: BufWriter<Box<dyn Write>>,
    codec: MessageCodec<'c>,
    /// The columns of a CSV.
    header: Option<CsvHeader<'c>>,
    format: Format,
    count: u64,
}

impl Export {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let by_name = self.file.as_deref().and_then(|file| Format::of(None, file));
        let format = self.format.or(by_name).unwrap_or(Format::Ndjson);
        let devices = Devices::new()?;
        let codec = devices.codec()?;
        let header = match (format, self.columns.is_empty()) {
            (Format::Csv, true) => Some(codec.csv(COLUMNS.into_iter())),
            (Format::Csv, false) => Some(codec.csv(self.columns.iter().map(String::as_str))),
            _ => None,
        };
        let header = header.transpose();
        let header = header.map_err(|e| Failure::caused("there is no such column", &e))?;
        let file: Box<dyn Write> = match &self.file {
            Some(path) => Box::new(
                File::create(path)
                    .map_err(|e| Failure::caused(format!("can't create {}", path.display()), &e))?,
            ),
            None => Box::new(io::stdout()),
        };
        let sheet = Sheet {
            file: BufWriter::new(file),
            codec,
            header,
            format,
            count: 0,
        };
        let bar = match self.file {
            Some(_) => ProgressBar::new_spinner(),
            // Both would be on one terminal.
            None => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{spinner} {pos} devices, {per_sec}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.enable_steady_tick(Duration::from_millis(200));
        let count = self.write(options, sheet, &bar).await;
        bar.finish_and_clear();
        if self.file.is_some() {
            out::note(&format!("{} devices.", count?));
            return Ok(());
        }
        count.map(drop)
    }

    /// Writes all devices; goes on behind the last one when a stream breaks off.
    async fn write(
        &self,
        options: &Options,
        mut sheet: Sheet<'_>,
        bar: &ProgressBar,
    ) -> Result<u64, Failure> {
        sheet.begin()?;
        let mut request = ExportDevicesRequest {
            filter: self.filter.clone(),
            show_deleted: self.show_deleted,
            ..Default::default()
        };
        let mut attempt = 0;
        loop {
            let before = request.after_number;
            let Err(failure) = stream(options, &mut request, &mut sheet, bar).await else {
                sheet.end()?;
                return Ok(sheet.count);
            };
            attempt = match request.after_number > before {
                true => 0,
                false => attempt + 1,
            };
            pause(attempt, failure).await?;
        }
    }
}

async fn stream(
    options: &Options,
    request: &mut ExportDevicesRequest,
    sheet: &mut Sheet<'_>,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut client = client(options.connect().await?);
    let mut devices = client.export_devices(request.clone()).await?.into_inner();
    while let Some(answer) = devices.message().await? {
        sheet.add(&answer.device.unwrap_or_default())?;
        request.after_number = answer.number;
        bar.inc(1);
    }
    Ok(())
}

impl Sheet<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        match &self.header {
            Some(header) => header.write_names(&mut bytes),
            None if self.format == Format::Json => bytes.push(b'['),
            None => {}
        }
        self.put(&bytes)
    }

    fn add(&mut self, device: &Device) -> Result<(), Failure> {
        let wire = device.encode_to_vec();
        let mut bytes = Vec::new();
        let written = match &self.header {
            Some(header) => header.write_row(&wire, &mut bytes),
            None => {
                if self.format == Format::Json {
                    bytes.extend_from_slice(if self.count > 0 {
                        &b",\n"[..]
                    } else {
                        &b"\n"[..]
                    });
                }
                self.codec.write_json(&wire, &mut bytes)
            }
        };
        written.map_err(|e| Failure::caused("a device can't be written", &e))?;
        if self.format == Format::Ndjson {
            bytes.push(b'\n');
        }
        self.count += 1;
        self.put(&bytes)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.format == Format::Json {
            self.put(b"\n]\n")?;
        }
        self.file
            .flush()
            .map_err(|e| Failure::caused("can't write", &e))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = self.file.write_all(bytes);
        written.map_err(|e| Failure::caused("can't write", &e))
    }
}
