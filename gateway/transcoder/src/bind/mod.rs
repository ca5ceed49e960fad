//! Values from paths, queries and forms, written as fields of a message.
//!
//! What is bound is appended to what the body wrote. The rules of the wire
//! format do the rest: of a singular field the last value wins, messages
//! merge, lists grow. So that a zero can win too, zeros are written.

pub(crate) mod path;
pub(crate) mod query;

use std::borrow::Cow;

use crate::fault::{Fault, Outcome};
use crate::json::decode::Decoder;
use crate::json::decode_known::known_text;
use crate::json::decode_value::Scalar;
use crate::plan::{Field, Kind, Known, Message, MessageId, Plans, Shape};
use crate::wire;

/// The way to a field: a message and an index of its fields for each step.
pub(crate) type FieldPath = Vec<(MessageId, usize)>;

/// Why a path does not lead to a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// This message has no field of the name at this place.
    Unknown(MessageId, usize),
    /// The way leads through something that has no fields.
    NoMessage,
    /// The way is longer than anyone reads messages.
    TooDeep,
}

/// Steps of a path; a message that holds itself has paths without end.
const STEPS: usize = 64;

/// Finds the field a dotted path names.
pub(crate) fn resolve<'n>(
    plans: &Plans,
    root: MessageId,
    names: impl Iterator<Item = &'n str>,
) -> Result<FieldPath, Lost> {
    let mut path = FieldPath::with_capacity(1);
    for name in names {
        if path.len() == STEPS {
            return Err(Lost::TooDeep);
        }
        let message = match path.last() {
            None => root,
            Some((id, index)) => {
                let field = &plans.message(*id).fields[*index];
                field.below().ok_or(Lost::NoMessage)?
            }
        };
        let plan = plans.message(message);
        if !path.is_empty() && !matches!(plan.known, None | Some(Known::HttpBody)) {
            return Err(Lost::NoMessage);
        }
        path.push((
            message,
            plan.by_name(name)
                .ok_or(Lost::Unknown(message, path.len()))?,
        ));
    }
    Ok(path)
}

/// Whether a field can be given as text.
pub(crate) fn has_text(plans: &Plans, field: &Field) -> bool {
    match (field.shape, field.kind) {
        (Shape::Map, _) | (_, Kind::Group(..)) => false,
        (_, Kind::Message(id)) => matches!(
            plans.message(id).known,
            Some(Known::Timestamp | Known::Duration | Known::FieldMask | Known::Wrapper)
        ),
        _ => true,
    }
}

/// Whether a field can be given as JSON in a text.
pub(crate) fn has_json(plans: &Plans, field: &Field) -> bool {
    let Kind::Message(id) = field.kind else {
        return false;
    };
    let known = plans.message(id).known;
    let dynamic = matches!(known, Some(Known::Struct | Known::Value | Known::ListValue));
    dynamic || known == Some(Known::Empty)
}

/// How deep JSON in a text may be: with three messages for an object, and all
/// [`STEPS`] in front, it stays within what servers read.
const TEXT_DEPTH: usize = 10;

/// Appends the value of the field at the end of a path.
pub(crate) fn put(
    decoder: &Decoder<'_>,
    path: &[(MessageId, usize)],
    text: Cow<'_, str>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let Some(((id, index), rest)) = path.split_first() else {
        return Ok(());
    };
    let field = &decoder.plans.message(*id).fields[*index];
    let written = if rest.is_empty() {
        put_value(decoder, field, text, out)
    } else {
        put_below(field, out, |out| put(decoder, rest, text, out))
    };
    written.map_err(|fault| fault.in_field(&field.name))
}

/// Writes a field that holds a message, as a group where it is one.
pub(crate) fn put_below(
    field: &Field,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>) -> Outcome<()>,
) -> Outcome<()> {
    match field.kind {
        Kind::Group(..) => wire::put_group(out, field.number, fill),
        _ => wire::put_nested(out, field.number, fill),
    }
}

fn put_value(
    decoder: &Decoder<'_>,
    field: &Field,
    text: Cow<'_, str>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let Kind::Message(id) = field.kind else {
        let scalar = decoder.text(text, field.kind)?;
        put_scalar(&scalar, field, out);
        return Ok(());
    };
    let plan = decoder.plans.message(id);
    if has_json(decoder.plans, field) {
        let json = text.as_bytes();
        return wire::put_nested(out, field.number, |out| {
            decoder.document(json, TEXT_DEPTH, id, out)
        });
    }
    if !has_text(decoder.plans, field) {
        let message = "there is no text for an object; name one of its fields";
        return Err(Fault::invalid(message));
    }
    wire::put_nested(out, field.number, |out| match plan.known {
        Some(Known::Wrapper) => put_wrapped(decoder, plan, text, out),
        Some(known) => known_text(known, &text, true, true, out),
        None => Ok(()),
    })
}

fn put_wrapped(
    decoder: &Decoder<'_>,
    plan: &Message,
    text: Cow<'_, str>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    for field in &plan.fields {
        let scalar = decoder.text(text.clone(), field.kind)?;
        put_scalar(&scalar, field, out);
    }
    Ok(())
}

fn put_scalar(scalar: &Scalar<'_>, field: &Field, out: &mut Vec<u8>) {
    wire::put_tag(out, field.number, field.kind.wire_type());
    scalar.put(out);
}

/// Appends an entry of the map at the end of a path.
pub(crate) fn put_entry(
    decoder: &Decoder<'_>,
    path: &[(MessageId, usize)],
    key: &str,
    text: Cow<'_, str>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let Some(((id, index), rest)) = path.split_first() else {
        return Ok(());
    };
    let field = &decoder.plans.message(*id).fields[*index];
    let written = put_below(field, out, |out| match (rest, field.kind) {
        ([_, ..], _) => put_entry(decoder, rest, key, text, out),
        ([], Kind::Message(entry)) if field.shape == Shape::Map => {
            put_pair(decoder, decoder.plans.message(entry), key, text, out)
                .map_err(|fault| fault.in_key(key))
        }
        _ => Err(Fault::invalid("the field is not a map")),
    });
    written.map_err(|fault| fault.in_field(&field.name))
}

fn put_pair(
    decoder: &Decoder<'_>,
    entry: &Message,
    key: &str,
    text: Cow<'_, str>,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let [key_field, value_field] = &*entry.fields else {
        return Err(Fault::invalid("the map's descriptor is broken"));
    };
    put_value(decoder, key_field, Cow::Borrowed(key), out)?;
    put_value(decoder, value_field, text, out)
}
