//! The devices of a file, one after the other.

use std::io::Read;

use prost::Message;
use proto::registry::Device;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use tokio::sync::mpsc::Sender;
use transcoder::{JsonError, MessageCodec};

use super::format::{Devices, Format};
use super::refused::ERROR;

/// A device as a file has it.
#[derive(Debug)]
pub(crate) struct Row {
    /// Where it is, such as `line 7`.
    pub(crate) place: String,
    pub(crate) source: Source,
    /// What it says, or why it is none.
    pub(crate) device: Result<Device, String>,
}

/// What stands in the file.
#[derive(Debug)]
pub(crate) enum Source {
    /// The cells of a line, without the one for errors.
    Cells(Vec<String>),
    /// A value.
    Json(Value),
}

/// What a file tells.
#[derive(Debug)]
pub(crate) enum Item {
    /// The names of columns, without the one for errors; first of all.
    Names(Vec<String>),
    Row(Box<Row>),
    /// The file can't be read any further.
    Broken(String),
}

/// Nobody listens any more.
struct Unheard;

/// Reads a file to its end; what reads it waits for whoever listens.
pub(crate) fn read(file: impl Read, format: Format, items: &Sender<Item>) {
    let read = match format {
        Format::Csv => csv(file, items),
        Format::Ndjson | Format::Json => json(file, items),
    };
    if let Err(broken) = read {
        // Whoever does not listen need not be told.
        let _ = items.blocking_send(Item::Broken(broken));
    }
}

fn csv(file: impl Read, items: &Sender<Item>) -> Result<(), String> {
    let told = |error: csv::Error| error.to_string();
    let devices = Devices::new().map_err(|failure| failure.to_string())?;
    let codec = devices.codec().map_err(|failure| failure.to_string())?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let names = reader.headers().map_err(told)?.clone();
    let error = names.iter().position(|name| name.trim() == ERROR);
    let without = |record: &csv::StringRecord| -> Vec<String> {
        let cells = record.iter().enumerate();
        let kept = cells.filter(|(at, _)| Some(*at) != error);
        kept.map(|(_, cell)| cell.to_owned()).collect()
    };
    let names = without(&names);
    let header = codec.csv(names.iter().map(String::as_str));
    let header = header.map_err(|e| format!("the first line names fields: {e}"))?;
    if items.blocking_send(Item::Names(names)).is_err() {
        return Ok(());
    }
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(told)? {
        let cells = without(&record);
        let texts: Vec<_> = cells.iter().map(String::as_str).collect();
        let mut wire = Vec::new();
        let device = header.read_row(&texts, &mut wire);
        let row = Row {
            place: format!("line {}", record.position().map_or(0, csv::Position::line)),
            device: device
                .map_err(|e| e.to_string())
                .and_then(|()| decoded(&wire)),
            source: Source::Cells(cells),
        };
        if items.blocking_send(Item::Row(Box::new(row))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Documents one after the other, or one array of them.
fn json(file: impl Read, items: &Sender<Item>) -> Result<(), String> {
    let devices = Devices::new().map_err(|failure| failure.to_string())?;
    let codec = devices.codec().map_err(|failure| failure.to_string())?;
    let mut file = std::io::BufReader::new(file);
    let array = begins_with_bracket(&mut file).map_err(|e| e.to_string())?;
    let mut rows = Rows {
        codec,
        items,
        count: 0,
    };
    let mut deserializer = serde_json::Deserializer::from_reader(file);
    if array {
        let read = deserializer.deserialize_seq(&mut rows);
        let read = read.and_then(|()| deserializer.end());
        return match items.is_closed() {
            true => Ok(()),
            false => read.map_err(|e| e.to_string()),
        };
    }
    for value in deserializer.into_iter::<Value>() {
        if rows.tell(value.map_err(|e| e.to_string())?).is_err() {
            break;
        }
    }
    Ok(())
}

fn begins_with_bracket(file: &mut impl std::io::BufRead) -> std::io::Result<bool> {
    loop {
        let bytes = file.fill_buf()?;
        let blank = bytes.iter().take_while(|b| b.is_ascii_whitespace()).count();
        match bytes.get(blank) {
            Some(first) => return Ok(*first == b'['),
            None if bytes.is_empty() => return Ok(false),
            None => file.consume(blank),
        }
    }
}

struct Rows<'a> {
    codec: MessageCodec<'a>,
    items: &'a Sender<Item>,
    count: usize,
}

impl Rows<'_> {
    fn tell(&mut self, mut value: Value) -> Result<(), Unheard> {
        self.count += 1;
        if let Value::Object(fields) = &mut value {
            fields.shift_remove(ERROR);
        }
        let row = Row {
            place: format!("device {}", self.count),
            device: self.device(&value),
            source: Source::Json(value),
        };
        let item = Item::Row(Box::new(row));
        self.items.blocking_send(item).map_err(|_| Unheard)
    }

    fn device(&self, value: &Value) -> Result<Device, String> {
        let mut wire = Vec::new();
        let json = value.to_string();
        let read = self.codec.read_json(json.as_bytes(), &mut wire);
        read.map_err(|e: JsonError| e.to_string())?;
        decoded(&wire)
    }
}

impl<'de> Visitor<'de> for &mut Rows<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of devices")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(value) = seq.next_element::<Value>()? {
            if self.tell(value).is_err() {
                return Err(serde::de::Error::custom("nobody listens"));
            }
        }
        Ok(())
    }
}

fn decoded(wire: &[u8]) -> Result<Device, String> {
    Device::decode(wire).map_err(|e| e.to_string())
}
