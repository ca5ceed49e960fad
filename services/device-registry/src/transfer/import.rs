//! An import from its first device to its summary.

use std::pin::pin;
use std::time::Duration;

use chassis::store::{Resource, Store, WriteTx};
use chassis::{Caller, Clock, Error, Result};
use prost::Message;
use proto::registry::import_devices_response::Event;
use proto::registry::{ImportBegun, ImportDevicesRequest, ImportDevicesResponse, ImportSummary};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, Select};
use tokio::time::Instant;
use tokio_stream::{Stream, StreamExt};
use uuid::Uuid;

use super::chunk::Plan;
use super::options::Options;
use super::outcome::{Outcome, count};
use super::row::{Row, Seen};
use super::{Answers, Transfer};
use crate::devices::taken;
use crate::entity::import;

/// Devices that are written in one transaction, and their size.
const CHUNK: usize = 500;
const CHUNK_BYTES: usize = 4 << 20;
/// How long a device waits for others.
const PAUSE: Duration = Duration::from_millis(200);
/// Devices of an import of all or none, and their size.
const ATOMIC: usize = 10_000;
const ATOMIC_BYTES: usize = 64 << 20;

/// An import as far as it has come.
pub(crate) struct Import {
    store: Store,
    clock: Clock,
    caller: Caller,
    device_limit: Option<i64>,
    options: Options,
    seen: Seen,
    /// How far it is noted that the import has come.
    marked: i64,
    summary: ImportSummary,
}

/// What was understood of a message, or not.
struct Read {
    index: i64,
    row: Result<Row>,
}

impl Import {
    /// Begins, or goes on where the import was left.
    pub(crate) async fn begin(
        transfer: &Transfer,
        caller: Caller,
        options: Options,
    ) -> Result<Self> {
        let mut summary = ImportSummary {
            next_index: options.first_index,
            ..ImportSummary::default()
        };
        if let Some(id) = options.import_id {
            let tx = transfer.store.read(&caller).await?;
            let done = tx.one(by_id(id)).await?.map_or(0, |row| row.next_index);
            if options.first_index > done {
                let text = format!("is too far: the import goes on at {done}");
                return Err(Error::invalid("first_index", text));
            }
            summary.import_id = id.to_string();
            summary.next_index = done;
        }
        Ok(Self {
            store: transfer.store.clone(),
            clock: transfer.clock.clone(),
            device_limit: transfer.device_limit,
            caller,
            options,
            seen: Seen::default(),
            marked: summary.next_index,
            summary,
        })
    }

    /// Takes the devices as they come, and answers for each.
    pub(crate) async fn run(
        mut self,
        messages: impl Stream<Item = Result<ImportDevicesRequest>> + Send,
        answers: Answers<ImportDevicesResponse>,
    ) -> Result<()> {
        let begun = ImportBegun {
            import_id: self.summary.import_id.clone(),
            next_index: self.summary.next_index,
        };
        if !told(&answers, Event::Begun(begun)).await {
            return Ok(());
        }
        let mut messages = pin!(messages);
        let mut next = self.options.first_index;
        loop {
            let (chunk, end) = self.chunk(&mut messages, &mut next).await?;
            if !chunk.is_empty() && !self.take(chunk, &answers).await? {
                return Ok(());
            }
            if let Some(ended) = end {
                // What came before it broke off is written.
                ended?;
                break;
            }
        }
        self.summary.next_index = self.summary.next_index.max(next);
        let refused = self.options.atomic && self.summary.refused_count > 0;
        self.summary.kept = !self.options.validate_only && !refused;
        told(&answers, Event::Summary(self.summary)).await;
        Ok(())
    }

    /// The next devices, as many as are written together; and how the stream
    /// ended, if it did.
    async fn chunk<S>(
        &mut self,
        messages: &mut S,
        next: &mut i64,
    ) -> Result<(Vec<Read>, Option<Result<()>>)>
    where
        S: Stream<Item = Result<ImportDevicesRequest>> + Unpin,
    {
        let atomic = self.options.atomic;
        let (most, most_bytes) = match atomic {
            true => (ATOMIC + 1, ATOMIC_BYTES),
            false => (CHUNK, CHUNK_BYTES),
        };
        let (mut chunk, mut bytes, mut deadline) = (Vec::new(), 0, None);
        while chunk.len() < most && bytes < most_bytes {
            let message = match deadline {
                Some(at) => match tokio::time::timeout_at(at, messages.next()).await {
                    Ok(message) => message,
                    Err(_) => return Ok((chunk, None)),
                },
                None => messages.next().await,
            };
            let message = match message {
                Some(Ok(message)) => message,
                Some(Err(error)) if atomic => return Err(error),
                Some(Err(error)) => return Ok((chunk, Some(Err(error)))),
                None => return Ok((chunk, Some(Ok(())))),
            };
            bytes += message.encoded_len();
            chunk.push(self.read(*next, message));
            *next += 1;
            if !atomic && deadline.is_none() {
                deadline = Some(Instant::now() + PAUSE);
            }
        }
        match atomic {
            true => {
                let text = format!("is for {ATOMIC} devices of {ATOMIC_BYTES} bytes at most");
                Err(Error::invalid("atomic", text))
            }
            false => Ok((chunk, None)),
        }
    }

    fn read(&mut self, index: i64, message: ImportDevicesRequest) -> Read {
        let row = Row::read(index, message.device, &self.options);
        let row = row.and_then(|row| {
            self.seen.once(&row, &self.options)?;
            Ok(row)
        });
        Read { index, row }
    }

    /// Writes a chunk and answers for it; whether anybody still listens.
    async fn take(
        &mut self,
        chunk: Vec<Read>,
        answers: &Answers<ImportDevicesResponse>,
    ) -> Result<bool> {
        let rows = chunk.iter().filter_map(|read| read.row.as_ref().ok());
        let rows: Vec<_> = rows.collect();
        let complete = rows.len() == chunk.len();
        let written = match self.options.atomic {
            true => self.all_or_none(&rows, complete).await?,
            false => self.as_many_as_go(&rows).await?,
        };
        let end = chunk.last().map_or(0, |read| read.index + 1);
        self.advance(end).await?;
        let mut written = written.into_iter();
        for Read { index, row } in chunk {
            let outcome = match row {
                Ok(_) => written.next().unwrap_or(Outcome::NotDone),
                Err(error) => Outcome::Refused(error),
            };
            count(&mut self.summary, &outcome);
            let silent = self.options.refused_only && !outcome.is_refused();
            if !silent && !told(answers, Event::Row(outcome.told(index))).await {
                return Ok(false);
            }
        }
        Ok(!answers.is_closed())
    }

    async fn all_or_none(&self, rows: &[&Row], complete: bool) -> Result<Vec<Outcome>> {
        match self.part(rows, complete).await {
            // Somebody else was faster: now it is seen, and told of the device.
            Err(Error::Constraint(_)) => self.part(rows, complete).await.map_err(taken),
            done => done,
        }
    }

    /// Writes devices, all but those that the database refuses. It refuses a
    /// transaction and not a row, so the devices are halved until it is one.
    async fn as_many_as_go(&mut self, rows: &[&Row]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(rows.len());
        let mut parts = vec![(rows, true)];
        while let Some((part, first)) = parts.pop() {
            let error = match self.part(part, true).await {
                Ok(done) => {
                    outcomes.extend(done);
                    let end = part.last().map_or(0, |row| row.index + 1);
                    self.marked = self.marked.max(end);
                    continue;
                }
                Err(error @ (Error::Constraint(_) | Error::Exhausted { .. })) => error,
                Err(error) => return Err(error),
            };
            match part.len() {
                // Somebody else was faster: mostly it is seen now.
                _ if first => parts.push((part, false)),
                1 => outcomes.push(Outcome::Refused(taken(error))),
                _ => {
                    let (former, latter) = part.split_at(part.len() / 2);
                    parts.extend([(latter, false), (former, false)]);
                }
            }
        }
        Ok(outcomes)
    }

    /// Notes how far the import has come, where the last devices of a chunk
    /// are refused and no transaction has noted it.
    async fn advance(&mut self, end: i64) -> Result<()> {
        let Some(id) = self.options.import_id.filter(|_| self.marked < end) else {
            return Ok(());
        };
        let advance = async |tx: &WriteTx| {
            let mark = Mark::of(tx, id).await?;
            if mark.0.next_index < end {
                mark.advance(tx, end).await?;
            }
            Ok(())
        };
        let what = ("imports", id);
        self.store.change(&self.caller, what, advance).await?;
        self.marked = end;
        Ok(())
    }

    /// Writes devices in one transaction, and how far the import has come.
    async fn part(&self, rows: &[&Row], complete: bool) -> Result<Vec<Outcome>> {
        let plan = Plan {
            options: &self.options,
            clock: &self.clock,
            device_limit: self.device_limit,
            tried: match self.options.validate_only {
                true => self.summary.created_count,
                false => 0,
            },
        };
        let (plan, options) = (&plan, &self.options);
        let change = async |tx: &WriteTx| {
            let mark = match options.import_id {
                Some(id) => Some(Mark::of(tx, id).await?),
                None => None,
            };
            let done = mark.as_ref().map_or(0, |mark| mark.0.next_index);
            let (before, rest) = rows.split_at(rows.partition_point(|row| row.index < done));
            let mut outcomes: Vec<_> = before.iter().map(|_| Outcome::DoneBefore).collect();
            for some in rest.chunks(CHUNK) {
                outcomes.extend(plan.carry_out(tx, some).await?);
            }
            if options.atomic && (!complete || outcomes.iter().any(Outcome::is_refused)) {
                let others = outcomes.iter_mut().filter(|outcome| !outcome.is_refused());
                others.for_each(|outcome| *outcome = Outcome::NotDone);
            }
            let mut changed: Vec<_> = outcomes.iter().filter_map(changed).collect();
            if options.validate_only {
                changed.clear();
            }
            if let (Some(mark), Some(last)) = (mark, rest.last()) {
                mark.advance(tx, last.index + 1).await?;
                if changed.is_empty() {
                    changed.extend(options.import_id.map(|id| ("imports", id).into()));
                }
            }
            Ok((outcomes, changed))
        };
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        self.store.change_found(&self.caller, change).await
    }
}

/// How far an import has come.
struct Mark(import::Model);

impl Mark {
    /// Where an import is: nobody else moves it until this is committed.
    async fn of(tx: &WriteTx, id: Uuid) -> Result<Self> {
        if let Some(row) = tx.one(by_id(id)).await? {
            return Ok(Self(row));
        }
        let row = import::ActiveModel {
            import_id: Set(id),
            next_index: Set(0),
            update_time: Set(tx.begin_time()),
            ..Default::default()
        };
        match tx.insert(row).await {
            // Another connection began it at the same time.
            Err(Error::Constraint(_)) => Err(Error::Contention),
            row => row.map(Self),
        }
    }

    async fn advance(self, tx: &WriteTx, next_index: i64) -> Result<()> {
        let row = import::ActiveModel {
            number: Unchanged(self.0.number),
            next_index: Set(next_index),
            update_time: Set(tx.begin_time()),
            ..Default::default()
        };
        tx.update(row).await.map(drop)
    }
}

fn by_id(id: Uuid) -> Select<import::Entity> {
    import::Entity::find().filter(import::Column::ImportId.eq(id))
}

fn changed(outcome: &Outcome) -> Option<Resource> {
    match outcome {
        Outcome::Created(id) | Outcome::Updated(id) => Some(("devices", *id).into()),
        _ => None,
    }
}

/// Tells the client; whether he still listens.
async fn told(answers: &Answers<ImportDevicesResponse>, event: Event) -> bool {
    let answer = ImportDevicesResponse { event: Some(event) };
    answers.send(Ok(answer)).await.is_ok()
}
