//! What the columns of a CSV are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

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
    choices: Choices,
}

/// The columns that are members of oneofs, of which a row may have one each.
#[derive(Clone, Debug, Default)]
struct Choices {
    members: Vec<Member>,
    /// How many oneofs there are.
    oneofs: usize,
}

/// A column that is a member of a oneof, or lies within one.
#[derive(Clone, Copy, Debug)]
struct Member {
    column: usize,
    oneof: usize,
    /// The field's place in its message.
    index: usize,
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

impl Choices {
    /// Groups columns by their oneofs in one pass, for a header may have more
    /// columns than could be compared with each other.
    fn of(plans: &Plans, columns: &[Column]) -> Self {
        let (mut places, mut oneofs) = (HashMap::new(), HashMap::new());
        let mut members = Vec::new();
        for (column, Column { path, .. }) in columns.iter().enumerate() {
            // The message that the way has led to, by the number of its place.
            let mut place = 0_usize;
            for (id, index) in path {
                let index = *index;
                if let Some(oneof) = plans.message(*id).fields[index].oneof {
                    let next = oneofs.len();
                    members.push(Member {
                        column,
                        oneof: *oneofs.entry((place, oneof)).or_insert(next),
                        index,
                    });
                }
                let next = places.len() + 1;
                place = *places.entry((place, index)).or_insert(next);
            }
        }
        let oneofs = oneofs.len();
        Self { members, oneofs }
    }

    /// The first column that is given beside another member of its oneof.
    fn rival(&self, cells: &[&str]) -> Option<usize> {
        let mut chosen = vec![None; self.oneofs];
        let given = |member: &&Member| !cells[member.column].is_empty();
        let mut given = self.members.iter().filter(given);
        let rival = given.find(|member| {
            let first: &mut Option<usize> = &mut chosen[member.oneof];
            *first.get_or_insert(member.index) != member.index
        });
        rival.map(|member| member.column)
    }
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
        let choices = Choices::of(decoder.plans, &columns);
        Ok(Self { columns, choices })
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
        if let Some(rival) = self.choices.rival(cells) {
            let message = "another member of the same oneof is given too";
            let field = &self.columns[rival].field(decoder.plans).name;
            return Err(Fault::new(Reason::DuplicateField, message).in_field(field));
        }
        let given = self.columns.iter().zip(cells);
        let mut given = given.filter(|(_, cell)| !cell.is_empty());
        given.try_for_each(|(column, cell)| column.put(decoder, cell, out))
    }
}
