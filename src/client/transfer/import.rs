//! `muster device import`.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{Args, ValueEnum};
use futures::stream::{self, Stream};
use indicatif::{ProgressBar, ProgressStyle};
use prost_types::FieldMask;
use proto::registry::import_devices_request::MatchBy;
use proto::registry::import_devices_response::Event;
use proto::registry::imported_device::Outcome;
use proto::registry::{Device, ImportDevicesRequest, ImportSummary, ImportedDevice};
use serde_json::json;
use tokio::sync::mpsc::{self, Receiver};
use uuid::Uuid;

use super::format::Format;
use super::read::{self, Item, Row};
use super::refused::Refused;
use super::{client, pause};
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out::{self, Output};

/// Devices that are read before the server takes them.
const AHEAD: usize = 256;
/// Refused devices that are told of on the terminal.
const TOLD: usize = 10;

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

/// An import as far as it has come.
struct Course {
    /// The options, for the first message of each stream.
    first: ImportDevicesRequest,
    sent: Arc<Sent>,
    /// The index of the first device that is not answered for.
    answered: i64,
    counts: ImportSummary,
    told: usize,
    refused: Option<Refused>,
    bar: ProgressBar,
    begun: bool,
}

/// What was read of the file: shared by what sends and what hears.
struct Sent {
    items: tokio::sync::Mutex<Receiver<Item>>,
    /// On the way, and not answered for.
    waiting: Mutex<VecDeque<Row>>,
    /// What is no device at all, and need not be sent.
    wrong: Mutex<Vec<Row>>,
    /// Why the file can't be read any further.
    broken: Mutex<Option<String>>,
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
        let mut course = Course {
            sent: Arc::new(Sent::new(items)),
            answered: 0,
            counts: ImportSummary {
                import_id: first.import_id.clone(),
                ..ImportSummary::default()
            },
            first,
            told: 0,
            refused,
            bar,
            begun: false,
        };
        let done = course.carry_out(options).await;
        course.bar.finish_and_clear();
        let counts = course.counts.clone();
        if let Some(refused) = course.refused.take() {
            refused.end()?;
        }
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
        let import_id = goes_on.then(|| self.resume.unwrap_or_else(Uuid::new_v4));
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

impl Course {
    /// Sends and hears until all is done; a stream that breaks off is taken up
    /// again where it was, if the import has an id.
    async fn carry_out(&mut self, options: &Options) -> Result<(), Failure> {
        self.names().await?;
        let mut attempt = 0;
        loop {
            let before = self.answered;
            let Err(failure) = self.stream(options).await else {
                break;
            };
            if self.first.import_id.is_empty() || !self.begun {
                return Err(failure);
            }
            attempt = match self.answered > before {
                true => 0,
                false => attempt + 1,
            };
            self.bar.set_message("the connection broke off, going on");
            pause(attempt, failure).await?;
        }
        self.wrong()?;
        match lock(&self.sent.broken).take() {
            Some(why) => Err(Failure::new(format!("the file can't be read: {why}"))),
            None => Ok(()),
        }
    }

    /// The names of columns come first of all, if there are any.
    async fn names(&mut self) -> Result<(), Failure> {
        let first = self.sent.items.lock().await.recv().await;
        match first {
            Some(Item::Names(names)) => match &mut self.refused {
                Some(refused) => refused.names(&names),
                None => Ok(()),
            },
            Some(item) => {
                // A device is sent with the others.
                self.sent.take(item);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// One stream, from the first device that is not answered for.
    async fn stream(&mut self, options: &Options) -> Result<(), Failure> {
        let mut client = client(options.connect().await.map_err(Failure::passing)?);
        let requests = requests(self.sent.clone(), &self.first, self.answered);
        let mut answers = client.import_devices(requests).await?.into_inner();
        self.begun = true;
        loop {
            let Some(answer) = answers.message().await? else {
                return Err(Failure::new("the answers broke off").passing());
            };
            self.wrong()?;
            match answer.event {
                Some(Event::Row(row)) => self.answered_for(row)?,
                Some(Event::Summary(summary)) => {
                    self.counts.kept = summary.kept;
                    return Ok(());
                }
                Some(Event::Begun(_)) | None => {}
            }
        }
    }

    fn answered_for(&mut self, answer: ImportedDevice) -> Result<(), Failure> {
        let row = lock(&self.sent.waiting).pop_front();
        let Some(row) = row.filter(|_| answer.index == self.answered) else {
            return Err(Failure::new(
                "the server answered for a device that was not sent",
            ));
        };
        self.answered += 1;
        let counts = &mut self.counts;
        let count = match answer.outcome() {
            Outcome::Created => &mut counts.created_count,
            Outcome::Updated => &mut counts.updated_count,
            Outcome::Unchanged => &mut counts.unchanged_count,
            Outcome::DoneBefore => &mut counts.done_before_count,
            Outcome::NotDone => &mut counts.not_done_count,
            Outcome::Refused | Outcome::Unspecified => {
                let why = answer.error.unwrap_or_default().message;
                return self.refuse(&row, &why);
            }
        };
        *count += 1;
        self.progress();
        Ok(())
    }

    /// Tells of what is no device at all.
    fn wrong(&mut self) -> Result<(), Failure> {
        let wrong = std::mem::take(&mut *lock(&self.sent.wrong));
        wrong.iter().try_for_each(|row| {
            let why = row.device.as_ref().err().cloned();
            self.refuse(row, &why.unwrap_or_default())
        })
    }

    fn refuse(&mut self, row: &Row, why: &str) -> Result<(), Failure> {
        self.counts.refused_count += 1;
        self.progress();
        match &mut self.refused {
            Some(refused) => refused.add(&row.source, why),
            None => {
                self.told += 1;
                let line = match self.told {
                    ..=TOLD => format!("{}: {why}", row.place),
                    told if told == TOLD + 1 => "…".to_owned(),
                    _ => return Ok(()),
                };
                self.bar.suspend(|| out::note(&line));
                Ok(())
            }
        }
    }

    fn progress(&self) {
        let (answered, refused) = (self.answered, self.counts.refused_count);
        if answered % 100 == 0 {
            let message = format!("{answered} devices, {refused} refused");
            self.bar.set_message(message);
        }
    }
}

impl Sent {
    fn new(items: Receiver<Item>) -> Self {
        Self {
            items: tokio::sync::Mutex::new(items),
            waiting: Mutex::default(),
            wrong: Mutex::default(),
            broken: Mutex::default(),
        }
    }

    /// Notes what was read; the device, if it is one.
    fn take(&self, item: Item) -> Option<Device> {
        match item {
            Item::Names(_) => None,
            Item::Broken(why) => {
                *lock(&self.broken) = Some(why);
                None
            }
            Item::Row(row) => match row.device.clone() {
                Ok(device) => {
                    lock(&self.waiting).push_back(*row);
                    Some(device)
                }
                Err(_) => {
                    lock(&self.wrong).push(*row);
                    None
                }
            },
        }
    }

    /// The next device of the file. Nothing is lost if it is not waited for.
    async fn next(&self) -> Option<Device> {
        let mut items = self.items.lock().await;
        loop {
            let item = items.recv().await?;
            if let Some(device) = self.take(item) {
                return Some(device);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The messages of a stream: what is not answered for, and all that follows.
fn requests(
    sent: Arc<Sent>,
    first: &ImportDevicesRequest,
    index: i64,
) -> impl Stream<Item = ImportDevicesRequest> + Send + use<> {
    let waiting = lock(&sent.waiting);
    let again = waiting.iter().filter_map(|row| row.device.clone().ok());
    let again: VecDeque<_> = again.collect();
    drop(waiting);
    let first = ImportDevicesRequest {
        first_index: index,
        ..first.clone()
    };
    let begin = (sent, again, Some(first));
    stream::unfold(begin, async |(sent, mut again, mut first)| {
        let device = match again.pop_front() {
            Some(device) => device,
            None => sent.next().await?,
        };
        let request = ImportDevicesRequest {
            device: Some(device),
            ..first.take().unwrap_or_default()
        };
        Some((request, (sent, again, first)))
    })
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
