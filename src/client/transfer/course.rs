//! An import from its first device to its summary, over as many connections
//! as it takes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream::{self, Stream};
use indicatif::ProgressBar;
use proto::registry::import_devices_response::Event;
use proto::registry::imported_device::Outcome;
use proto::registry::{Device, ImportDevicesRequest, ImportSummary, ImportedDevice};
use tokio::sync::mpsc::Receiver;

use super::read::{Item, Row};
use super::refused::Refused;
use super::{client, pause};
use crate::client::failure::Failure;
use crate::client::options::Options;
use crate::client::out;

/// Refused devices that are told of on the terminal.
const TOLD: usize = 10;

/// An import as far as it has come.
pub(super) struct Course {
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

impl Course {
    pub(super) fn new(
        first: ImportDevicesRequest,
        items: Receiver<Item>,
        refused: Option<Refused>,
        bar: ProgressBar,
    ) -> Self {
        Self {
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
        }
    }

    /// What became of it, as far as it came.
    pub(super) fn end(self) -> Result<ImportSummary, Failure> {
        self.bar.finish_and_clear();
        if let Some(refused) = self.refused {
            refused.end()?;
        }
        Ok(self.counts)
    }

    /// Sends and hears until all is done; a stream that breaks off is taken up
    /// again where it was, if the import has an id.
    pub(super) async fn carry_out(&mut self, options: &Options) -> Result<(), Failure> {
        self.names().await?;
        self.readable()?;
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
        self.readable()
    }

    fn readable(&self) -> Result<(), Failure> {
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
