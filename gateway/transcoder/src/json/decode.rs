//! ProtoJSON to the wire format.

use std::borrow::Cow;

use super::bits::Bits;
use super::decode_value::Scalar;
use super::keys::Keys;
use super::reader::{Reader, Start};
use crate::fault::{Fault, Outcome, Reason};
use crate::nearby;
use crate::plan::{Field, Kind, Known, Message, MessageId, Plans, Shape};
use crate::style::Style;
use crate::wire;

/// Writes JSON as messages, by the tables and in the style of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'p> {
    pub(crate) plans: &'p Plans,
    pub(crate) style: &'p Style,
}

impl Decoder<'_> {
    /// Writes a document that is one message.
    pub(crate) fn document(
        &self,
        json: &[u8],
        depth: usize,
        id: MessageId,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let mut reader = Reader::new(json, depth)?;
        self.message(&mut reader, id, out)?;
        reader.end()
    }

    /// Writes a document that is the value of one field.
    pub(crate) fn field_document(
        &self,
        json: &[u8],
        depth: usize,
        field: &Field,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let mut reader = Reader::new(json, depth)?;
        self.member(&mut reader, field, out)?;
        reader.end()
    }

    /// Writes the value of one field.
    pub(crate) fn member(
        &self,
        reader: &mut Reader<'_>,
        field: &Field,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        self.field(reader, field, &mut Bits::default(), out)
            .map_err(|fault| fault.in_field(&field.name))
    }

    /// Writes the content of a message.
    pub(crate) fn message(
        &self,
        reader: &mut Reader<'_>,
        id: MessageId,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let plan = self.plans.message(id);
        match plan.known {
            None | Some(Known::Empty | Known::HttpBody) => {
                reader.nested(|reader| self.object(reader, plan, false, out))
            }
            Some(known) => reader.nested(|reader| self.known(reader, known, plan, out)),
        }
    }

    /// Writes an object's members; inside an `Any` they include `@type`.
    pub(super) fn object(
        &self,
        reader: &mut Reader<'_>,
        plan: &Message,
        in_any: bool,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        expect(reader, Start::Object)?;
        reader.enter()?;
        let (mut first, mut seen, mut oneofs) = (true, Bits::default(), Bits::default());
        let mut guess = 0;
        while reader.has_key(&mut first)? {
            let Some(index) = self.member_index(reader, plan, guess, in_any)? else {
                continue;
            };
            guess = index + 1;
            let field = &plan.fields[index];
            if !seen.insert(index) {
                return Err(duplicate("the field is given twice").in_field(&field.name));
            }
            self.field(reader, field, &mut oneofs, out)
                .map_err(|fault| fault.in_field(&field.name))?;
        }
        Ok(())
    }

    /// Reads a key. Programs write fields in their order, so the one after the
    /// last is looked at first. `None` if the member is to be ignored, and was.
    #[inline]
    fn member_index(
        &self,
        reader: &mut Reader<'_>,
        plan: &Message,
        guess: usize,
        in_any: bool,
    ) -> Outcome<Option<usize>> {
        if let Some(field) = plan.fields.get(guess)
            && reader.is_key(&field.key(self.style.proto_field_names)[1..])
        {
            return Ok(Some(guess));
        }
        let key = reader.this_key()?;
        let index = plan.by_key(&key, self.style.proto_field_names);
        if index.is_none() {
            let ignored = self.style.ignore_unknown || (in_any && key == "@type");
            if !ignored {
                let near = nearby::fields(plan, &key, self.style.proto_field_names);
                let message = format!("unknown field{near}");
                return Err(Fault::new(Reason::UnknownField, message).in_field(&key));
            }
            reader.skip()?;
        }
        Ok(index)
    }

    /// Writes one member of an object, which may be null.
    fn field(
        &self,
        reader: &mut Reader<'_>,
        field: &Field,
        oneofs: &mut Bits,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let start = reader.start()?;
        if start == Start::Null
            && !(field.shape == Shape::Singular && self.plans.takes_null(field.kind))
        {
            return reader.word("null");
        }
        if field.shape == Shape::Singular && self.passes_over(reader, start, field.kind)? {
            return Ok(());
        }
        if let Some(oneof) = field.oneof
            && !oneofs.insert(usize::from(oneof))
        {
            return Err(duplicate("another member of the same oneof is given too"));
        }
        match (field.shape, field.kind) {
            (Shape::List { packed: true }, kind) => {
                let (start, mut empty) = (out.len(), true);
                wire::put_nested(out, field.number, |out| {
                    self.elements(reader, |reader, start| {
                        if !self.passes_over(reader, start, kind)? {
                            self.scalar(reader, start, kind)?.put(out);
                            empty = false;
                        }
                        Ok(())
                    })
                })?;
                if empty {
                    out.truncate(start);
                }
                Ok(())
            }
            (Shape::List { packed: false }, kind) => self.elements(reader, |reader, start| {
                if self.passes_over(reader, start, kind)? {
                    return Ok(());
                }
                self.element(reader, start, kind, field.number, out)
            }),
            (Shape::Map, Kind::Message(entry)) => {
                self.map(reader, self.plans.message(entry), field.number, out)
            }
            (Shape::Singular, Kind::Message(id)) => {
                wire::put_nested(out, field.number, |out| self.message(reader, id, out))
            }
            (Shape::Singular, Kind::Group(id, number)) => {
                wire::put_group(out, number, |out| self.message(reader, id, out))
            }
            // Most values are strings: these go straight from text to wire.
            (Shape::Singular, Kind::String) if start == Start::String => {
                let text = reader.string()?;
                if field.presence || !text.is_empty() {
                    wire::put_varint(out, field.tag.into());
                    wire::put_varint(out, text.len() as u64);
                    out.extend_from_slice(text.as_bytes());
                }
                Ok(())
            }
            (_, kind) => {
                let scalar = self.scalar(reader, start, kind)?;
                if field.presence || !scalar.is_default() {
                    wire::put_varint(out, field.tag.into());
                    scalar.put(out);
                }
                Ok(())
            }
        }
    }

    fn elements<'a>(
        &self,
        reader: &mut Reader<'a>,
        mut each: impl FnMut(&mut Reader<'a>, Start) -> Outcome<()>,
    ) -> Outcome<()> {
        expect(reader, Start::Array)?;
        reader.enter()?;
        let (mut first, mut index) = (true, 0);
        while reader.element(&mut first)? {
            let start = reader.start()?;
            each(reader, start).map_err(|fault| fault.in_index(index))?;
            index += 1;
        }
        Ok(())
    }

    /// Writes a value that is there even if it is the default: an element of
    /// a list or the value of a map entry.
    fn element(
        &self,
        reader: &mut Reader<'_>,
        start: Start,
        kind: Kind,
        number: u32,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        if start == Start::Null && !self.plans.takes_null(kind) {
            return Err(Fault::invalid("null is not a value of a list or map"));
        }
        match kind {
            Kind::Message(id) => {
                return wire::put_nested(out, number, |out| self.message(reader, id, out));
            }
            Kind::Group(id, number) => {
                return wire::put_group(out, number, |out| self.message(reader, id, out));
            }
            _ => {}
        }
        let scalar = self.scalar(reader, start, kind)?;
        wire::put_tag(out, number, kind.wire_type());
        scalar.put(out);
        Ok(())
    }

    fn map(
        &self,
        reader: &mut Reader<'_>,
        entry: &Message,
        number: u32,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        let [key_field, value_field] = &*entry.fields else {
            return Err(Fault::invalid("the map's descriptor is broken"));
        };
        expect(reader, Start::Object)?;
        reader.enter()?;
        let (mut first, mut seen) = (true, Keys::default());
        while let Some(text) = reader.key(&mut first)? {
            let start = reader.start()?;
            if self.passes_over(reader, start, value_field.kind)? {
                continue;
            }
            wire::put_nested(out, number, |out| {
                let key = self.map_key(&text, key_field.kind)?;
                wire::put_tag(out, 1, key_field.kind.wire_type());
                key.put(out);
                if !seen.insert(key.identity(&text)) {
                    return Err(duplicate("the key is given twice"));
                }
                reader.nested(|reader| self.element(reader, start, value_field.kind, 2, out))
            })
            .map_err(|fault| fault.in_key(&text))?;
        }
        Ok(())
    }

    fn map_key<'a>(&self, text: &Cow<'a, str>, kind: Kind) -> Outcome<Scalar<'a>> {
        match kind {
            Kind::String => Ok(Scalar::Text(text.clone())),
            Kind::Bool => super::decode_value::boolean(text),
            kind => super::decode_value::number_text(text, kind),
        }
    }
}

pub(super) fn duplicate(message: &str) -> Box<Fault> {
    Fault::new(Reason::DuplicateField, message)
}

/// Makes sure that the next value is of a sort.
pub(super) fn expect(reader: &mut Reader<'_>, want: Start) -> Outcome<()> {
    let found = reader.start()?;
    if found == want {
        return Ok(());
    }
    Err(Fault::invalid(format!(
        "{} was expected, not {}",
        want.name(),
        found.name()
    )))
}
