//! The wire format to ProtoJSON, in one pass over the bytes.
//!
//! The pass relies on what every protobuf library writes: fields in the order
//! of their numbers, each singular field once. Bytes in another order are
//! legal, if rare; they are brought into order first ([`Stop::Disorder`]).

use prost::Message as _;
use prost_reflect::DynamicMessage;

use super::bits::Bits;
use crate::plan::{Field, Kind, Known, Message, MessageId, Plans, Shape};
use crate::style::Style;
use crate::wire::{self, Malformed, Wire};

/// How deep messages may be nested, as in prost.
const DEPTH: usize = 100;

/// Why bytes could not be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The fields are not in order.
    Disorder,
    /// The bytes are not the message they should be.
    Malformed,
    /// The message has no JSON.
    Unprintable(&'static str),
}

impl From<Malformed> for Stop {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

pub(crate) type Printed<T = ()> = Result<T, Stop>;

/// Prints messages as JSON, by the tables and in the style of a service.
#[derive(Debug)]
pub(crate) struct Encoder<'p> {
    pub(super) plans: &'p Plans,
    pub(super) style: &'p Style,
    pub(super) out: Vec<u8>,
}

impl<'p> Encoder<'p> {
    /// An encoder that appends to `out`.
    pub(crate) fn new(plans: &'p Plans, style: &'p Style, out: Vec<u8>) -> Self {
        Self { plans, style, out }
    }

    pub(crate) fn into_output(self) -> Vec<u8> {
        self.out
    }

    /// Prints a whole message, in whichever order its fields are.
    pub(crate) fn document(&mut self, id: MessageId, bytes: &[u8]) -> Printed {
        self.in_any_order(id, bytes, |encoder, bytes| encoder.message(id, bytes, 0))
    }

    /// Prints one field of a message as the whole document.
    pub(crate) fn field_document(&mut self, id: MessageId, field: &Field, bytes: &[u8]) -> Printed {
        self.in_any_order(id, bytes, |encoder, bytes| encoder.only(field, bytes))
    }

    /// Prints, and if the bytes are out of order, orders them and prints again.
    pub(super) fn in_any_order(
        &mut self,
        id: MessageId,
        bytes: &[u8],
        mut print: impl FnMut(&mut Self, &[u8]) -> Printed,
    ) -> Printed {
        let start = self.out.len();
        match print(self, bytes) {
            Err(Stop::Disorder) => {
                self.out.truncate(start);
                let ordered = self.ordered(id, bytes)?;
                match print(self, &ordered) {
                    Err(Stop::Disorder) => Err(Stop::Malformed),
                    printed => printed,
                }
            }
            printed => printed,
        }
    }

    #[cold]
    fn ordered(&self, id: MessageId, bytes: &[u8]) -> Printed<Vec<u8>> {
        let name = &self.plans.message(id).name;
        let descriptor = self
            .plans
            .pool()
            .get_message_by_name(name)
            .ok_or(Stop::Malformed)?;
        let message = DynamicMessage::decode(descriptor, bytes).map_err(|_| Stop::Malformed)?;
        Ok(message.encode_to_vec())
    }

    pub(super) fn message(&mut self, id: MessageId, bytes: &[u8], depth: usize) -> Printed {
        if depth > DEPTH {
            return Err(Stop::Malformed);
        }
        let plan = self.plans.message(id);
        match plan.known {
            None | Some(Known::Empty | Known::HttpBody) => {
                self.out.push(b'{');
                self.members(plan, bytes, true, depth)?;
                self.out.push(b'}');
                Ok(())
            }
            Some(known) => self.known(known, plan, bytes, depth),
        }
    }

    /// Prints the members of an object, the first of which may need a comma.
    pub(super) fn members(
        &mut self,
        plan: &Message,
        bytes: &[u8],
        mut first: bool,
        depth: usize,
    ) -> Printed {
        let mut wire = Wire::new(bytes);
        let mut next = 0;
        let mut oneofs = Bits::default();
        let fill = self.style.print_defaults || self.style.print_nulls;
        while let Some(tag) = wire.raw_tag()? {
            let (number, wire_type) = (tag >> 3, (tag & 7) as u8);
            let index = match plan.fields.get(next) {
                Some(field) if field.tag == tag => next,
                _ => match plan.by_number(number) {
                    Some(index) => index,
                    None => {
                        wire.skip(number, wire_type)?;
                        continue;
                    }
                },
            };
            if index < next {
                return Err(Stop::Disorder);
            }
            if fill {
                self.absent(&plan.fields[next..index], &mut first);
            }
            next = index + 1;
            let field = &plan.fields[index];
            if field
                .oneof
                .is_some_and(|oneof| !oneofs.insert(usize::from(oneof)))
            {
                return Err(Stop::Disorder);
            }
            self.member(field, &mut wire, wire_type, &mut first, depth)?;
        }
        if fill {
            self.absent(&plan.fields[next..], &mut first);
        }
        Ok(())
    }

    #[inline]
    fn key(&mut self, field: &Field, first: &mut bool) {
        let key = field.key(self.style.proto_field_names);
        let comma = usize::from(std::mem::replace(first, false));
        self.out.extend_from_slice(&key[comma..]);
    }

    /// Prints a field whose first tag has been read.
    #[inline]
    fn member(
        &mut self,
        field: &Field,
        wire: &mut Wire<'_>,
        wire_type: u8,
        first: &mut bool,
        depth: usize,
    ) -> Printed {
        if field.shape == Shape::Singular && !field.presence && wire.may_be_zero(wire_type) {
            let mut ahead = *wire;
            if is_default(&mut ahead, field.kind, wire_type)? {
                *wire = ahead;
                if self.style.print_defaults {
                    self.absent(std::slice::from_ref(field), first);
                }
                return Ok(());
            }
        }
        if let Shape::List { .. } = field.shape {
            return self.list_member(field, wire, wire_type, first, depth);
        }
        self.key(field, first);
        if field.shape == Shape::Singular && field.tag & 7 == u32::from(wire_type) {
            return self.value(field.kind, wire, depth);
        }
        self.field_value(field, wire, wire_type, depth)
    }

    /// Prints a list, unless it is packed and nothing is in it.
    fn list_member(
        &mut self,
        field: &Field,
        wire: &mut Wire<'_>,
        wire_type: u8,
        first: &mut bool,
        depth: usize,
    ) -> Printed {
        let (start, was_first) = (self.out.len(), *first);
        self.key(field, first);
        self.list(field, wire, wire_type, depth)?;
        let wanted = self.style.print_defaults && !field.extension;
        if self.out.ends_with(b":[]") && !wanted {
            self.out.truncate(start);
            *first = was_first;
        }
        Ok(())
    }

    /// Prints the value of a field whose first tag has been read.
    fn field_value(
        &mut self,
        field: &Field,
        wire: &mut Wire<'_>,
        wire_type: u8,
        depth: usize,
    ) -> Printed {
        match (field.shape, field.kind) {
            (Shape::Singular, kind) if wire_type == kind.wire_type() => {
                self.value(kind, wire, depth)
            }
            (Shape::Singular, _) => Err(Stop::Malformed),
            (Shape::List { .. }, _) => self.list(field, wire, wire_type, depth),
            (Shape::Map, Kind::Message(entry)) => self.map(
                field.number,
                self.plans.message(entry),
                wire,
                wire_type,
                depth,
            ),
            (Shape::Map, _) => Err(Stop::Malformed),
        }
    }

    fn list(
        &mut self,
        field: &Field,
        wire: &mut Wire<'_>,
        first_type: u8,
        depth: usize,
    ) -> Printed {
        self.out.push(b'[');
        let start = self.out.len();
        let mut wire_type = first_type;
        loop {
            if wire_type == field.kind.wire_type() {
                self.separate(start);
                self.value(field.kind, wire, depth)?;
            } else if wire_type == wire::LEN && !matches!(field.kind, Kind::Group(..)) {
                let mut packed = Wire::new(wire.bytes()?);
                while !packed.is_empty() {
                    self.separate(start);
                    self.value(field.kind, &mut packed, depth)?;
                }
            } else {
                return Err(Stop::Malformed);
            }
            match again(wire, field.number)? {
                Some(next) => wire_type = next,
                None => break,
            }
        }
        self.out.push(b']');
        Ok(())
    }

    /// A comma, unless nothing has been printed since `start`.
    #[inline]
    pub(super) fn separate(&mut self, start: usize) {
        if self.out.len() != start {
            self.out.push(b',');
        }
    }

    /// Prints the fields that are not there, where the style asks for it.
    fn absent(&mut self, fields: &[Field], first: &mut bool) {
        for field in fields.iter().filter(|field| !field.extension) {
            if field.presence {
                // Where null is a value it cannot stand for the lack of one.
                let null = self.style.print_nulls && field.oneof.is_none();
                if null && !self.plans.takes_null(field.kind) {
                    self.key(field, first);
                    self.out.extend_from_slice(b"null");
                }
            } else if self.style.print_defaults {
                self.key(field, first);
                self.default_value(field);
            }
        }
    }

    /// Prints one field of a message without its key; unset, its default.
    fn only(&mut self, field: &Field, bytes: &[u8]) -> Printed {
        let mut wire = Wire::new(bytes);
        let mut found = false;
        while let Some((number, wire_type)) = wire.tag()? {
            if number != field.number {
                wire.skip(number, wire_type)?;
            } else if std::mem::replace(&mut found, true) {
                return Err(Stop::Disorder);
            } else {
                self.field_value(field, &mut wire, wire_type, 0)?;
            }
        }
        if !found {
            self.default_value(field);
        }
        Ok(())
    }
}

/// Reads a tag if it is the same field's again.
pub(super) fn again(wire: &mut Wire<'_>, number: u32) -> Printed<Option<u8>> {
    let mut ahead = *wire;
    match ahead.tag()? {
        Some((next, wire_type)) if next == number => {
            *wire = ahead;
            Ok(Some(wire_type))
        }
        _ => Ok(None),
    }
}

/// Reads a value and tells whether it is its type's default.
fn is_default(wire: &mut Wire<'_>, kind: Kind, wire_type: u8) -> Printed<bool> {
    if wire_type != kind.wire_type() {
        return Err(Stop::Malformed);
    }
    Ok(match wire_type {
        wire::VARINT => wire.varint()? == 0,
        wire::FIXED64 => wire.fixed64()? == [0; 8],
        wire::FIXED32 => wire.fixed32()? == [0; 4],
        _ => wire.bytes()?.is_empty(),
    })
}
