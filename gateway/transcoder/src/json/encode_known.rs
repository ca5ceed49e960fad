//! The types with a JSON of their own.

use super::encode::{Encoder, Printed, Stop};
use super::encode_value::text;
use super::text::string;
use super::time::{parse_mask_path, print_duration, print_mask_path, print_timestamp};
use crate::plan::{Known, Message};
use crate::wire::{self, Wire};

impl Encoder<'_> {
    pub(super) fn known(
        &mut self,
        known: Known,
        plan: &Message,
        bytes: &[u8],
        depth: usize,
    ) -> Printed {
        match known {
            Known::Timestamp => self.moment(bytes, print_timestamp),
            Known::Duration => self.moment(bytes, print_duration),
            Known::FieldMask => self.mask(bytes),
            Known::Wrapper => self.wrapper(plan, bytes, depth),
            Known::Struct => self.structure(plan, bytes, depth),
            Known::ListValue => self.list_value(plan, bytes, depth),
            Known::Value => self.dynamic_value(plan, bytes, depth),
            Known::Any => self.any(bytes, depth),
            Known::Empty | Known::HttpBody => {
                self.out.push(b'{');
                self.members(plan, bytes, true, depth)?;
                self.out.push(b'}');
                Ok(())
            }
        }
    }

    fn moment(
        &mut self,
        bytes: &[u8],
        print: impl Fn(i64, i32, &mut Vec<u8>) -> Option<()>,
    ) -> Printed {
        let (mut seconds, mut nanos) = (0, 0);
        let mut wire = Wire::new(bytes);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire_type) {
                (1, wire::VARINT) => seconds = wire.varint()? as i64,
                (2, wire::VARINT) => nanos = wire.varint()? as i32,
                _ => wire.skip(number, wire_type)?,
            }
        }
        self.out.push(b'"');
        print(seconds, nanos, &mut self.out)
            .ok_or(Stop::Unprintable("a timestamp or duration out of range"))?;
        self.out.push(b'"');
        Ok(())
    }

    /// Paths are printed as they are where fields keep their names too.
    fn mask(&mut self, bytes: &[u8]) -> Printed {
        let mut joined = String::new();
        let mut wire = Wire::new(bytes);
        while let Some((number, wire_type)) = wire.tag()? {
            if (number, wire_type) != (1, wire::LEN) {
                wire.skip(number, wire_type)?;
                continue;
            }
            if !joined.is_empty() {
                joined.push(',');
            }
            let (path, start) = (text(wire.bytes()?)?, joined.len());
            let snake = self.style.proto_field_names;
            let mut printed = Some(());
            if snake {
                joined.push_str(path);
            } else {
                printed = print_mask_path(path, &mut joined);
            }
            // Nor has one JSON that would be read as something else.
            printed
                .and_then(|()| parse_mask_path(&joined[start..], snake))
                .ok_or(Stop::Unprintable("a field mask whose path has no JSON"))?;
        }
        string(&joined, &mut self.out);
        Ok(())
    }

    fn wrapper(&mut self, plan: &Message, bytes: &[u8], depth: usize) -> Printed {
        let field = plan.fields.first().ok_or(Stop::Malformed)?;
        let mut wire = Wire::new(bytes);
        let mut last = None;
        while let Some((number, wire_type)) = wire.tag()? {
            if number == field.number && wire_type == field.kind.wire_type() {
                last = Some(wire);
            }
            wire.skip(number, wire_type)?;
        }
        match last {
            Some(mut value) => self.value(field.kind, &mut value, depth),
            None => {
                self.default_value(field);
                Ok(())
            }
        }
    }

    fn structure(&mut self, plan: &Message, bytes: &[u8], depth: usize) -> Printed {
        let field = plan.fields.first().ok_or(Stop::Malformed)?;
        let entry = match field.kind {
            crate::plan::Kind::Message(entry) => self.plans.message(entry),
            _ => return Err(Stop::Malformed),
        };
        let mut wire = Wire::new(bytes);
        let mut found = false;
        while let Some((number, wire_type)) = wire.tag()? {
            if number != field.number {
                wire.skip(number, wire_type)?;
            } else if std::mem::replace(&mut found, true) {
                return Err(Stop::Disorder);
            } else {
                self.map(number, entry, &mut wire, wire_type, depth)?;
            }
        }
        if !found {
            self.out.extend_from_slice(b"{}");
        }
        Ok(())
    }

    fn list_value(&mut self, plan: &Message, bytes: &[u8], depth: usize) -> Printed {
        let field = plan.fields.first().ok_or(Stop::Malformed)?;
        self.out.push(b'[');
        let start = self.out.len();
        let mut wire = Wire::new(bytes);
        while let Some((number, wire_type)) = wire.tag()? {
            if number != field.number || wire_type != wire::LEN {
                wire.skip(number, wire_type)?;
                continue;
            }
            self.separate(start);
            self.value(field.kind, &mut wire, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    /// A `Value` without any member has no JSON; like other implementations
    /// this one prints null.
    fn dynamic_value(&mut self, plan: &Message, bytes: &[u8], depth: usize) -> Printed {
        let mut wire = Wire::new(bytes);
        let mut found = false;
        while let Some((number, wire_type)) = wire.tag()? {
            let Some(field) = plan.by_number(number).map(|index| &plan.fields[index]) else {
                wire.skip(number, wire_type)?;
                continue;
            };
            if std::mem::replace(&mut found, true) {
                return Err(Stop::Disorder);
            }
            if wire_type != field.kind.wire_type() {
                return Err(Stop::Malformed);
            }
            let mut ahead = wire;
            if wire_type == wire::FIXED64 && !f64::from_le_bytes(ahead.fixed64()?).is_finite() {
                return Err(Stop::Unprintable("a Value that is not finite"));
            }
            self.value(field.kind, &mut wire, depth)?;
        }
        if !found {
            self.out.extend_from_slice(b"null");
        }
        Ok(())
    }

    fn any(&mut self, bytes: &[u8], depth: usize) -> Printed {
        let (mut url, mut value) = ("", &[][..]);
        let mut wire = Wire::new(bytes);
        while let Some((number, wire_type)) = wire.tag()? {
            match (number, wire_type) {
                (1, wire::LEN) => url = text(wire.bytes()?)?,
                (2, wire::LEN) => value = wire.bytes()?,
                _ => wire.skip(number, wire_type)?,
            }
        }
        if url.is_empty() && value.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        self.any_parts(url, value, depth)
    }

    /// Prints an `Any` of a type that is known here.
    pub(crate) fn any_parts(&mut self, url: &str, value: &[u8], depth: usize) -> Printed {
        let name = url.rsplit_once('/').map_or("", |(_, name)| name);
        let id = self
            .plans
            .by_name(name)
            .ok_or(Stop::Unprintable("an Any of an unknown type"))?;
        let plan = self.plans.message(id);
        self.out.extend_from_slice(b"{\"@type\":");
        string(url, &mut self.out);
        self.in_any_order(id, value, |encoder, value| match plan.known {
            // Empty is told like any other message, without a "value".
            None | Some(Known::HttpBody | Known::Empty) => {
                encoder.members(plan, value, false, depth + 1)
            }
            Some(_) => {
                encoder.out.extend_from_slice(b",\"value\":");
                encoder.message(id, value, depth + 1)
            }
        })?;
        self.out.push(b'}');
        Ok(())
    }
}
