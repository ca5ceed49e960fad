//! Single values and maps.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::encode::{Encoder, Printed, Stop, again};
use super::keys::Keys;
use super::text;
use crate::plan::{Field, Kind, Message, Shape};
use crate::wire::{self, Wire, unzigzag};

impl Encoder<'_> {
    /// Prints a single value off the wire.
    #[inline]
    pub(super) fn value(&mut self, kind: Kind, wire: &mut Wire<'_>, depth: usize) -> Printed {
        match kind {
            Kind::String => text::print(wire.bytes()?, &mut self.out)?,
            Kind::Bytes => self.base64(wire.bytes()?),
            Kind::Message(id) => return self.message(id, wire.bytes()?, depth + 1),
            Kind::Enum(id) => self.enumeration(id, wire.varint()? as i32),
            Kind::Bool => self.boolean(wire.varint()? != 0),
            Kind::Int32 => self.integer(wire.varint()? as i32),
            Kind::Uint32 => self.integer(wire.varint()? as u32),
            // Of a longer varint the low half counts, before it is unzigzagged.
            Kind::Sint32 => self.integer(unzigzag(u64::from(wire.varint()? as u32)) as i32),
            Kind::Fixed32 => self.integer(u32::from_le_bytes(wire.fixed32()?)),
            Kind::Sfixed32 => self.integer(i32::from_le_bytes(wire.fixed32()?)),
            Kind::Int64 => self.long(wire.varint()? as i64),
            Kind::Uint64 => self.long(wire.varint()?),
            Kind::Sint64 => self.long(unzigzag(wire.varint()?)),
            Kind::Fixed64 => self.long(u64::from_le_bytes(wire.fixed64()?)),
            Kind::Sfixed64 => self.long(i64::from_le_bytes(wire.fixed64()?)),
            Kind::Float => self.float(f32::from_le_bytes(wire.fixed32()?)),
            Kind::Double => self.double(f64::from_le_bytes(wire.fixed64()?)),
            Kind::Group(id, number) => return self.message(id, wire.group(number)?, depth + 1),
        }
        Ok(())
    }

    /// Prints what an unset field stands for.
    pub(super) fn default_value(&mut self, field: &Field) {
        let text: &[u8] = match (field.shape, field.kind) {
            (Shape::List { .. }, _) => b"[]",
            (Shape::Map, _) => b"{}",
            (Shape::Singular, Kind::String | Kind::Bytes) => b"\"\"",
            (Shape::Singular, Kind::Message(_) | Kind::Group(..)) => b"null",
            (Shape::Singular, Kind::Bool) => b"false",
            (Shape::Singular, Kind::Enum(id)) => return self.enumeration(id, 0),
            (
                Shape::Singular,
                Kind::Int64 | Kind::Uint64 | Kind::Sint64 | Kind::Fixed64 | Kind::Sfixed64,
            ) => return self.long(0_i64),
            (Shape::Singular, _) => b"0",
        };
        self.out.extend_from_slice(text);
    }

    fn integer(&mut self, value: impl itoa::Integer) {
        self.out
            .extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn long(&mut self, value: impl itoa::Integer) {
        if self.style.int64_as_numbers {
            return self.integer(value);
        }
        self.out.push(b'"');
        self.integer(value);
        self.out.push(b'"');
    }

    pub(super) fn boolean(&mut self, value: bool) {
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn enumeration(&mut self, id: usize, number: i32) {
        let plan = self.plans.enumeration(id);
        if plan.is_null {
            return self.out.extend_from_slice(b"null");
        }
        match plan.quoted_name(number) {
            Some(name) if !self.style.enums_as_numbers => self.out.extend_from_slice(name),
            _ => self.integer(number),
        }
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.out.push(b'"');
        let start = self.out.len();
        self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
        let written = STANDARD.encode_slice(bytes, &mut self.out[start..]);
        debug_assert!(written.is_ok(), "the room is exact");
        self.out.push(b'"');
    }

    fn float(&mut self, value: f32) {
        match value.is_finite() {
            true => self.finite(zmij::Buffer::new().format_finite(value)),
            false => self.infinite(value.into()),
        }
    }

    fn double(&mut self, value: f64) {
        match value.is_finite() {
            true => self.finite(zmij::Buffer::new().format_finite(value)),
            false => self.infinite(value),
        }
    }

    /// Prints `3`, not `3.0`, as other implementations do.
    pub(super) fn finite(&mut self, text: &str) {
        let text = text.strip_suffix(".0").unwrap_or(text);
        self.out.extend_from_slice(text.as_bytes());
    }

    fn infinite(&mut self, value: f64) {
        let name: &[u8] = if value.is_nan() {
            b"\"NaN\""
        } else if value > 0.0 {
            b"\"Infinity\""
        } else {
            b"\"-Infinity\""
        };
        self.out.extend_from_slice(name);
    }

    /// Prints the entries of a map, the first tag of which has been read.
    pub(super) fn map(
        &mut self,
        number: u32,
        entry: &Message,
        wire: &mut Wire<'_>,
        first_type: u8,
        depth: usize,
    ) -> Printed {
        let [key_field, value_field] = &*entry.fields else {
            return Err(Stop::Malformed);
        };
        self.out.push(b'{');
        let start = self.out.len();
        let mut keys = Keys::default();
        let mut wire_type = first_type;
        loop {
            if wire_type != wire::LEN {
                return Err(Stop::Malformed);
            }
            let [key, value] = entry_parts(wire.bytes()?)?;
            if !keys.insert(identity(key_field.kind, key)?) {
                return Err(Stop::Disorder);
            }
            self.separate(start);
            self.map_key(key_field, key)?;
            self.out.push(b':');
            self.map_value(value_field, value, depth)?;
            match again(wire, number)? {
                Some(next) => wire_type = next,
                None => break,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn map_key(&mut self, field: &Field, bytes: Option<&[u8]>) -> Printed {
        let start = self.out.len();
        match bytes {
            Some(bytes) => self.tagged(field, bytes, 0)?,
            None => self.default_value(field),
        }
        if self.out.get(start) != Some(&b'"') {
            self.out.insert(start, b'"');
            self.out.push(b'"');
        }
        Ok(())
    }

    fn map_value(&mut self, field: &Field, bytes: Option<&[u8]>, depth: usize) -> Printed {
        match (bytes, field.kind) {
            (Some(bytes), _) => self.tagged(field, bytes, depth),
            (None, Kind::Message(id)) => self.message(id, &[], depth + 1),
            (None, _) => {
                self.default_value(field);
                Ok(())
            }
        }
    }

    /// Prints a value that still has its tag.
    fn tagged(&mut self, field: &Field, bytes: &[u8], depth: usize) -> Printed {
        let mut wire = Wire::new(bytes);
        match wire.tag()? {
            Some((_, wire_type)) if wire_type == field.kind.wire_type() => {
                self.value(field.kind, &mut wire, depth)
            }
            _ => Err(Stop::Malformed),
        }
    }
}

/// The key and the value of an entry, each with its tag.
fn entry_parts(bytes: &[u8]) -> Printed<[Option<&[u8]>; 2]> {
    let (mut key, mut value) = (None, None);
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut wire = Wire::new(rest);
        let Some((number, wire_type)) = wire.tag()? else {
            break;
        };
        wire.skip(number, wire_type)?;
        let (field, after) = rest.split_at(rest.len() - wire.remaining());
        rest = after;
        let slot = match number {
            1 => &mut key,
            2 => &mut value,
            _ => continue,
        };
        if slot.replace(field).is_some() {
            return Err(Stop::Disorder);
        }
    }
    Ok([key, value])
}

/// What tells a key from others, however many bytes it was written with; a
/// string by its text, all else by a number. The default may be left out.
fn identity(kind: Kind, key: Option<&[u8]>) -> Printed<(u64, &[u8])> {
    let mut wire = Wire::new(key.unwrap_or_default());
    let number = match (wire.tag()?, kind) {
        (None, _) => 0,
        (Some((_, wire_type)), _) if wire_type != kind.wire_type() => return Err(Stop::Malformed),
        (_, Kind::String) => return Ok((0, wire.bytes()?)),
        (_, Kind::Bool) => u64::from(wire.varint()? != 0),
        (_, Kind::Int32 | Kind::Uint32 | Kind::Sint32) => u64::from(wire.varint()? as u32),
        (_, Kind::Fixed32 | Kind::Sfixed32) => u32::from_le_bytes(wire.fixed32()?).into(),
        (_, Kind::Fixed64 | Kind::Sfixed64) => u64::from_le_bytes(wire.fixed64()?),
        _ => wire.varint()?,
    };
    Ok((number, &[]))
}

pub(super) fn text(bytes: &[u8]) -> Printed<&str> {
    std::str::from_utf8(bytes).map_err(|_| Stop::Malformed)
}
