//! The rows of a CSV that comes in pieces, as messages.

use std::str;

use bytes::{Buf as _, Bytes, BytesMut};
use csv_core::ReadRecordResult;

use super::column::Header;
use crate::fault::{Fault, Outcome, Reason};
use crate::json::decode::Decoder;
use crate::plan::MessageId;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Rows that are read as they come: no more than one is kept.
pub(crate) struct Rows {
    reader: csv_core::Reader,
    buffer: BytesMut,
    record: Vec<u8>,
    ends: Vec<usize>,
    /// How much of the record and of its ends is there.
    filled: (usize, usize),
    header: Option<Header>,
    root: MessageId,
    /// The line at which the present record begins.
    line: u64,
    begun: bool,
    /// Whether the record is a whole one, which the next replaces.
    whole: bool,
    /// Bytes that a row may have, the separators of its cells among them.
    limit: usize,
}

impl Rows {
    pub(crate) fn new(root: MessageId, limit: usize) -> Self {
        Self {
            reader: csv_core::Reader::new(),
            buffer: BytesMut::new(),
            record: vec![0; 1024],
            ends: vec![0; 32],
            filled: (0, 0),
            header: None,
            root,
            line: 1,
            begun: false,
            whole: false,
            limit,
        }
    }

    /// Takes the next piece in.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The message of the next row that is there as a whole; `index` counts
    /// them, for faults. Where the input has `ended`, the rest is one.
    pub(crate) fn next(
        &mut self,
        decoder: &Decoder<'_>,
        index: usize,
        ended: bool,
    ) -> Outcome<Option<Bytes>> {
        loop {
            if !self.record(ended)? {
                return Ok(None);
            }
            let line = self.line;
            let at_line = |mut fault: Box<Fault>| {
                fault.message = format!("line {line}: {}", fault.message);
                fault
            };
            let cells = self.cells().map_err(at_line)?;
            match &self.header {
                None => {
                    let names = cells.iter().copied();
                    let header = Header::read(decoder, self.root, names).map_err(at_line)?;
                    self.header = Some(header);
                }
                Some(header) => {
                    let mut out = Vec::with_capacity(self.filled.0 + 4 * header.len());
                    let put = header.put(decoder, &cells, &mut out);
                    put.map_err(|fault| at_line(fault).in_index(index))?;
                    return Ok(Some(out.into()));
                }
            }
        }
    }

    /// Reads the next record, if a whole one is there.
    fn record(&mut self, ended: bool) -> Outcome<bool> {
        if !self.begun {
            if self.buffer.len() < BOM.len() && !ended {
                return Ok(false);
            }
            if self.buffer.starts_with(BOM) {
                self.buffer.advance(BOM.len());
            }
            self.begun = true;
        }
        if std::mem::take(&mut self.whole) {
            self.filled = (0, 0);
        }
        loop {
            // Nothing would mean that this was all.
            if self.buffer.is_empty() && !ended {
                return Ok(false);
            }
            let (record, ends) = self.filled;
            let (result, read, wrote, ended_cells) = self.reader.read_record(
                &self.buffer,
                &mut self.record[record..],
                &mut self.ends[ends..],
            );
            let last = self.buffer[..read].last().copied();
            self.buffer.advance(read);
            self.filled = (record + wrote, ends + ended_cells);
            self.check_size()?;
            match result {
                ReadRecordResult::InputEmpty if ended && self.buffer.is_empty() => {}
                ReadRecordResult::InputEmpty => return Ok(false),
                ReadRecordResult::OutputFull => self.record.resize(self.record.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
                ReadRecordResult::Record => {
                    self.whole = true;
                    let within = self.record[..self.filled.0].iter();
                    let within = within.filter(|byte| **byte == b'\n').count() as u64;
                    let ended = u64::from(last == Some(b'\n'));
                    self.line = self.reader.line() - within - ended;
                    return Ok(true);
                }
                ReadRecordResult::End => return Ok(false),
            }
        }
    }

    /// Refuses a row that is too long; cells count as their separators do, since
    /// empty ones hold memory too.
    fn check_size(&self) -> Outcome<()> {
        let (record, ends) = self.filled;
        if record + ends.saturating_sub(1) <= self.limit {
            return Ok(());
        }
        let message = format!("the row is larger than {} bytes", self.limit);
        Err(Fault::new(Reason::BodyTooLarge, message))
    }

    /// The cells of the record.
    fn cells(&self) -> Outcome<Vec<&str>> {
        let (_, ends) = self.filled;
        let starts = [0].into_iter().chain(self.ends[..ends].iter().copied());
        let spans = starts.zip(&self.ends[..ends]);
        let cells = spans.map(|(start, end)| str::from_utf8(&self.record[start..*end]));
        let cells: Result<_, _> = cells.collect();
        cells.map_err(|_| Fault::new(Reason::MalformedCsv, "the text is not UTF-8"))
    }
}
