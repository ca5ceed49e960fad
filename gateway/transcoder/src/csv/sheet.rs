//! Messages as the rows of a CSV.

use csv_core::{Terminator, WriterBuilder};
use serde_json::Value;

use super::BETWEEN;
use super::column::Column;
use crate::bind::FieldPath;
use crate::fault::Outcome;
use crate::json::decode::Decoder;
use crate::plan::{Kind, MessageId, Plans, Shape};
use crate::style::Style;
use crate::wire::{self, Malformed, Wire};

/// How deep messages become columns of their own.
const DEPTH: usize = 4;

/// The columns of rows that are written.
#[derive(Clone, Debug)]
pub(crate) struct Sheet(Vec<Printed>);

/// A column that is written.
#[derive(Clone, Debug)]
struct Printed {
    name: String,
    /// The keys in the JSON of a message that lead to it.
    keys: Vec<String>,
}

impl Sheet {
    /// A column for every field.
    pub(crate) fn whole(plans: &Plans, style: &Style, root: MessageId) -> Self {
        let mut paths = Vec::new();
        leaves(plans, root, &mut Vec::new(), &mut paths);
        let column = |path| Printed::new(plans, style, &Column { path, entry: None });
        Self(paths.into_iter().map(column).collect())
    }

    /// The columns of these names, named as they are here.
    pub(crate) fn named<'n>(
        decoder: &Decoder<'_>,
        root: MessageId,
        names: impl Iterator<Item = &'n str>,
    ) -> Outcome<Self> {
        let column = |name: &str| {
            let column = Column::named(decoder, root, name)?;
            let name = name.trim().to_owned();
            let printed = Printed::new(decoder.plans, decoder.style, &column);
            Ok(Printed { name, ..printed })
        };
        names.map(column).collect::<Outcome<_>>().map(Self)
    }

    /// Appends the first line.
    pub(crate) fn header(&self, out: &mut Vec<u8>) {
        line(self.0.iter().map(|column| column.name.clone()), out);
    }

    /// Appends the line of a message, by its JSON.
    pub(crate) fn row(&self, json: &[u8], out: &mut Vec<u8>) {
        let message: Value = serde_json::from_slice(json).unwrap_or_default();
        let cell = |column: &Printed| {
            let mut keys = column.keys.iter();
            keys.try_fold(&message, |value, key| value.get(key))
                .map(text)
        };
        line(self.0.iter().map(|c| cell(c).unwrap_or_default()), out);
    }
}

impl Printed {
    fn new(plans: &Plans, style: &Style, column: &Column) -> Self {
        let key = |(id, index): &(MessageId, usize)| {
            let field = &plans.message(*id).fields[*index];
            match style.proto_field_names {
                true => field.name.to_string(),
                false => field.json_name.to_string(),
            }
        };
        let keys = column.path.iter().map(key);
        let keys: Vec<_> = keys.chain(column.entry.clone()).collect();
        Self {
            name: keys.join("."),
            keys,
        }
    }
}

/// The fields that hold no others, or whose fields are no columns.
fn leaves(plans: &Plans, id: MessageId, path: &mut FieldPath, out: &mut Vec<FieldPath>) {
    for (index, field) in plans.message(id).fields.iter().enumerate() {
        path.push((id, index));
        let below = match (field.shape, field.kind) {
            (Shape::Singular, Kind::Message(below)) => Some(below),
            _ => None,
        };
        let open = below.filter(|below| {
            let plan = plans.message(*below);
            let again = path.iter().any(|(above, _)| above == below);
            plan.known.is_none() && !plan.fields.is_empty() && !again && path.len() < DEPTH
        });
        match open {
            Some(below) => leaves(plans, below, path, out),
            None => out.push(path.clone()),
        }
        path.pop();
    }
}

/// The text of a cell, from which the same value is read.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let plain = |item: &Value| match item {
                Value::String(text) => {
                    !text.is_empty()
                        && !text.contains(BETWEEN)
                        && !text.starts_with('[')
                        && text.trim() == text
                }
                Value::Number(_) | Value::Bool(_) => true,
                _ => false,
            };
            match items.iter().all(plain) {
                true => {
                    let texts: Vec<_> = items.iter().map(text).collect();
                    texts.join(&BETWEEN.to_string())
                }
                false => value.to_string(),
            }
        }
        other => other.to_string(),
    }
}

/// Appends a line, quoted where it must be.
fn line(cells: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).build();
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            with_room(out, 2, |room| writer.delimiter(room).1);
        }
        // At most every byte is a quote, which is doubled, between two more.
        with_room(out, cell.len() * 2 + 2, |room| {
            writer.field(cell.as_bytes(), room).2
        });
    }
    with_room(out, 8, |room| writer.terminator(room).1);
}

/// Appends what is written into some room.
fn with_room(out: &mut Vec<u8>, room: usize, write: impl FnOnce(&mut [u8]) -> usize) {
    let start = out.len();
    out.resize(start + room, 0);
    let wrote = write(&mut out[start..]);
    out.truncate(start + wrote);
}

/// The names in a repeated text of a request, which may be parted by commas.
pub(crate) fn names(message: &[u8], field: u32) -> Result<Vec<&str>, Malformed> {
    let mut names = Vec::new();
    let mut reader = Wire::new(message);
    while let Some((number, wire_type)) = reader.tag()? {
        if (number, wire_type) == (field, wire::LEN) {
            let text = std::str::from_utf8(reader.bytes()?).unwrap_or_default();
            names.extend(text.split(',').map(str::trim).filter(|n| !n.is_empty()));
        } else {
            reader.skip(number, wire_type)?;
        }
    }
    Ok(names)
}
