//! What the columns of a CSV are.

use std::borrow::Cow;
use std::collections::HashSet;

use super::BETWEEN;
use crate::bind::query::split_entry;
use crate::bind::{self, FieldPath, Lost, has_json, has_text, resolve};
use crate::fault::{Fault, Outcome, Reason};
use crate::json::decode::Decoder;
use crate::nearby;
use crate::plan::{Field, Kind, MessageId, Plans, Shape};

/// How deep JSON in a cell may be.
const DEPTH: usize = 32;

/// A field of a message, or an entry of a map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Column {
    pub(crate) path: FieldPath,
    pub(crate) entry: Option<String>,
}

/// The columns of rows that are read.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    columns: Vec<Column>,
    /// Columns of which a row may have one only: members of one oneof.
    rivals: Vec<(usize, usize)>,
}

impl Column {
    /// The column of a name.
    pub(crate) fn named(decoder: &Decoder<'_>, root: MessageId, name: &str) -> Outcome<Self> {
        let name = name.trim();
        let plans = decoder.plans;
        let (base, entry) = split_entry(name);
        let lost = match resolve(plans, root, base.split('.')) {
            Ok(path) => {
                let column = Self {
                    path,
                    entry: entry.map(str::to_owned),
                };
                return match entry.is_none() || column.field(plans).shape == Shape::Map {
                    true => Ok(column),
                    false => Err(Fault::new(Reason::UnknownField, "is not a map").in_field(name)),
                };
            }
            Err(lost) => lost,
        };
        // Whatever follows the name of a map is a key of it.
        for (at, _) in name.match_indices('.') {
            let Ok(path) = resolve(plans, root, name[..at].split('.')) else {
                break;
            };
            let column = Self {
                path,
                entry: Some(name[at + 1..].to_owned()),
            };
            if column.field(plans).shape == Shape::Map {
                return Ok(column);
            }
        }
        let message = match lost {
            Lost::Unknown(id, place) => {
                let part = name.split('.').nth(place).unwrap_or(name);
                let proto = decoder.style.proto_field_names;
                format!("unknown{}", nearby::fields(plans.message(id), part, proto))
            }
            Lost::NoMessage | Lost::TooDeep => "there are no fields below this one".to_owned(),
        };
        Err(Fault::new(Reason::UnknownField, message).in_field(name))
    }

    /// The field, or the map of the entry.
    pub(crate) fn field<'p>(&self, plans: &'p Plans) -> &'p Field {
        let (id, index) = self.path[self.path.len() - 1];
        &plans.message(id).fields[index]
    }

    /// Appends what a cell says to a message.
    fn put(&self, decoder: &Decoder<'_>, text: &str, out: &mut Vec<u8>) -> Outcome<()> {
        let text_of = |text| Cow::Borrowed(text);
        if let Some(key) = &self.entry {
            return bind::put_entry(decoder, &self.path, key, text_of(text), out);
        }
        let field = self.field(decoder.plans);
        let is_message = matches!(field.kind, Kind::Message(_) | Kind::Group(..));
        let plain = has_text(decoder.plans, field) || has_json(decoder.plans, field);
        match field.shape {
            Shape::List { .. } if !text.starts_with('[') => {
                let values = text.split(BETWEEN).map(str::trim);
                let mut values = values.filter(|value| !value.is_empty());
                values.try_for_each(|v| bind::put(decoder, &self.path, text_of(v), out))
            }
            Shape::List { .. } | Shape::Map => json(decoder, &self.path, text, out),
            Shape::Singular if is_message && !plain => json(decoder, &self.path, text, out),
            Shape::Singular => bind::put(decoder, &self.path, text_of(text), out),
        }
    }

    /// The oneofs on the way, and which members of them.
    fn members(&self, plans: &Plans) -> Vec<(FieldPath, u16, usize)> {
        let steps = self.path.iter().enumerate();
        let member = |(depth, (id, index)): (usize, &(MessageId, usize))| {
            let oneof = plans.message(*id).fields[*index].oneof?;
            Some((self.path[..depth].to_vec(), oneof, *index))
        };
        steps.filter_map(member).collect()
    }
}

/// Appends JSON as the value of the field at the end of a path.
fn json(
    decoder: &Decoder<'_>,
    path: &[(MessageId, usize)],
    text: &str,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let Some(((id, index), rest)) = path.split_first() else {
        return Ok(());
    };
    let field = &decoder.plans.message(*id).fields[*index];
    if rest.is_empty() {
        return decoder.field_document(text.as_bytes(), DEPTH, field, out);
    }
    bind::put_below(field, out, |out| json(decoder, rest, text, out))
        .map_err(|fault| fault.in_field(&field.name))
}

impl Header {
    /// The columns of these names; each is there once.
    pub(crate) fn read<'n>(
        decoder: &Decoder<'_>,
        root: MessageId,
        names: impl Iterator<Item = &'n str>,
    ) -> Outcome<Self> {
        let (mut columns, mut seen) = (Vec::new(), HashSet::new());
        for name in names {
            let column = Column::named(decoder, root, name)?;
            if !seen.insert(column.clone()) {
                let fault = Fault::new(Reason::DuplicateField, "a column is there twice");
                return Err(fault.in_field(name));
            }
            columns.push(column);
        }
        let members: Vec<_> = columns.iter().map(|c| c.members(decoder.plans)).collect();
        let rival = |one: &[(FieldPath, u16, usize)], other: &[(FieldPath, u16, usize)]| {
            one.iter().any(|(path, oneof, index)| {
                other
                    .iter()
                    .any(|(at, o, i)| (at, o) == (path, oneof) && i != index)
            })
        };
        let mut rivals = Vec::new();
        for later in 0..members.len() {
            let earlier = (0..later).filter(|at| rival(&members[*at], &members[later]));
            rivals.extend(earlier.map(|at| (at, later)));
        }
        Ok(Self { columns, rivals })
    }

    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Appends the message of a row; empty cells say nothing.
    pub(crate) fn put(
        &self,
        decoder: &Decoder<'_>,
        cells: &[&str],
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        if cells.len() != self.columns.len() {
            let (cells, columns) = (cells.len(), self.columns.len());
            let message = format!("the row has {cells} cells, and the first line {columns}");
            return Err(Fault::new(Reason::MalformedCsv, message));
        }
        for (one, other) in &self.rivals {
            if !cells[*one].is_empty() && !cells[*other].is_empty() {
                let message = "another member of the same oneof is given too";
                let field = &self.columns[*other].field(decoder.plans).name;
                return Err(Fault::new(Reason::DuplicateField, message).in_field(field));
            }
        }
        let given = self.columns.iter().zip(cells);
        let mut given = given.filter(|(_, cell)| !cell.is_empty());
        given.try_for_each(|(column, cell)| column.put(decoder, cell, out))
    }
}
