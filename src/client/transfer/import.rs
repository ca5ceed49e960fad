//! `muster device import`.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use chassis::Clock;
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use prost_types::FieldMask;
use proto::registry::import_devices_request::MatchBy;
use proto::registry::{ImportDevicesRequest, ImportSummary};
use serde_json::json;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::course::Course;
use super::format::Format;
use super::read;
use super::refused::Refused;
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out::Output;

/// Devices that are read before the server takes them.
const AHEAD: usize = 256;

const EXAMPLES: &str = "Examples:
  muster device import fleet.csv --dry-run
  muster device import fleet.csv --match-by serial-number --refused refused.csv
  muster device export --filter 'labels.region = \"eu\"' | muster device import - --format ndjson";

/// What tells whether there is such a device already.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Key {
    SerialNumber,
    ExternalId,
    Id,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// CSV, lines of JSON, or a JSON array; - reads standard input
    file: PathBuf,
    /// What the file holds [default: by its name]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Change the device that has the same, if there is one; otherwise all are new
    #[arg(long, value_enum, value_name = "KEY")]
    match_by: Option<Key>,
    /// What to change of devices that there are, such as display_name,labels [default: what is set]
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    update: Vec<String>,
    /// Only tell what would come of it
    #[arg(long)]
    dry_run: bool,
    /// All devices or, if one is refused, none; at most 10,000
    #[arg(long)]
    all_or_nothing: bool,
    /// Take tag_ids for the names of tags
    #[arg(long)]
    tags_by_name: bool,
    /// Write the devices that are refused, and why, to this file
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// Go on with the import of this id, with the same file
    #[arg(long, value_name = "ID", conflicts_with_all = ["dry_run", "all_or_nothing"])]
    resume: Option<Uuid>,
}

impl Import {
    pub(crate) async fn run(self, options: &Options) -> Result<(), Failure> {
        let standard = self.file.as_os_str() == "-";
        let format = Format::of(self.format, &self.file).ok_or_else(|| {
            Failure::new("what does the file hold?").hint("say --format csv, ndjson or json")
        })?;
        let refused = match &self.refused {
            Some(path) => Some(Refused::create(path, format)?),
            None => None,
        };
        let (file, bar) = self.open(standard)?;
        let (sender, items) = mpsc::channel(AHEAD);
        let counted = bar.wrap_read(file);
        std::thread::spawn(move || read::read(counted, format, &sender));
        let first = self.first_message();
        let mut course = Course::new(first, items, refused, bar);
        let done = course.carry_out(options).await;
        let counts = course.end()?;
        done.map_err(|failure| match counts.import_id.as_str() {
            "" => failure,
            id => failure.hint(format!("to go on, run the same again with: --resume {id}")),
        })?;
        summary(options.server.output, &counts)?;
        match counts.refused_count {
            0 => Ok(()),
            count => Err(self.some_refused(count)),
        }
    }

    fn open(&self, standard: bool) -> Result<(Box<dyn Read + Send>, ProgressBar), Failure> {
        if standard {
            let bar = ProgressBar::new_spinner().with_style(style("{spinner} {bytes}, {msg}"));
            bar.enable_steady_tick(Duration::from_millis(200));
            return Ok((Box::new(io::stdin()), bar));
        }
        let told = |e| Failure::caused(format!("can't read {}", self.file.display()), &e);
        let file = File::open(&self.file).map_err(told)?;
        let length = file.metadata().map_err(told)?.len();
        let bar = ProgressBar::new(length).with_style(style("{wide_bar} {percent}%, {msg}, {eta}"));
        Ok((Box::new(file), bar))
    }

    fn first_message(&self) -> ImportDevicesRequest {
        let match_by = match self.match_by {
            None => MatchBy::Unspecified,
            Some(Key::SerialNumber) => MatchBy::SerialNumber,
            Some(Key::ExternalId) => MatchBy::ExternalId,
            Some(Key::Id) => MatchBy::Id,
        };
        let goes_on = !self.dry_run && !self.all_or_nothing;
        let import_id = goes_on.then(|| self.resume.unwrap_or_else(|| Clock::system().new_id()));
        ImportDevicesRequest {
            match_by: match_by.into(),
            validate_only: self.dry_run,
            atomic: self.all_or_nothing,
            update_mask: (!self.update.is_empty()).then(|| FieldMask {
                paths: self.update.clone(),
            }),
            import_id: import_id.map(|id| id.to_string()).unwrap_or_default(),
            tags_by_name: self.tags_by_name,
            ..Default::default()
        }
    }

    fn some_refused(&self, count: i64) -> Failure {
        let failure = Failure::new(format!("{count} devices were refused"));
        match &self.refused {
            Some(path) => failure.hint(format!(
                "{} says why: put it right there, and import that file",
                path.display()
            )),
            None => failure.hint("to get them in a file of their own, say --refused FILE"),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn summary(output: Output, counts: &ImportSummary) -> Result<(), Failure> {
    let rows = [
        ("CREATED", "created", counts.created_count),
        ("UPDATED", "updated", counts.updated_count),
        ("UNCHANGED", "unchanged", counts.unchanged_count),
        ("DONE BEFORE", "doneBefore", counts.done_before_count),
        ("NOT DONE", "notDone", counts.not_done_count),
        ("REFUSED", "refused", counts.refused_count),
    ];
    let mut json = json!({"importId": counts.import_id, "kept": counts.kept});
    for (_, name, count) in rows {
        json[name] = count.into();
    }
    let shown = |(name, _, count): &(&'static str, _, i64)| {
        (*count > 0 || *name == "CREATED").then(|| (*name, count.to_string()))
    };
    let mut details: Vec<_> = rows.iter().filter_map(shown).collect();
    if !counts.kept {
        details.push(("KEPT", "nothing".to_owned()));
    }
    output.object(&details, &json)
}
