//! The protobuf wire format, as far as it is read and written here.

/// Wire types.
pub(crate) const VARINT: u8 = 0;
pub(crate) const FIXED64: u8 = 1;
pub(crate) const LEN: u8 = 2;
pub(crate) const START_GROUP: u8 = 3;
pub(crate) const END_GROUP: u8 = 4;
pub(crate) const FIXED32: u8 = 5;

/// Groups inside groups that are skipped over before a message is refused, as
/// in prost.
const GROUPS: usize = 100;

/// The bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads fields off the front of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire<'a> {
    rest: &'a [u8],
}

impl<'a> Wire<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and wire type.
    #[inline]
    pub(crate) fn tag(&mut self) -> Result<Option<(u32, u8)>, Malformed> {
        Ok(self.raw_tag()?.map(|tag| (tag >> 3, (tag & 7) as u8)))
    }

    /// The next field's number and wire type as one number.
    #[inline]
    pub(crate) fn raw_tag(&mut self) -> Result<Option<u32>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        match u32::try_from(self.varint()?) {
            Ok(tag @ 8..) => Ok(Some(tag)),
            _ => Err(Malformed),
        }
    }

    /// Whether the next value can be the default of its type; most that are not
    /// show it by their first byte.
    #[inline]
    pub(crate) fn may_be_zero(&self, wire_type: u8) -> bool {
        match wire_type {
            VARINT | LEN => self.rest.first().is_some_and(|byte| byte & 0x7f == 0),
            _ => true,
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low, high, rest @ ..] if *high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    #[inline]
    pub(crate) fn fixed32(&mut self) -> Result<[u8; 4], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn fixed64(&mut self) -> Result<[u8; 8], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    /// The content of a length-delimited field.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        let (head, rest) = self.rest.split_at_checked(length).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    /// The content of a group of field `number`.
    pub(crate) fn group(&mut self, number: u32) -> Result<&'a [u8], Malformed> {
        let whole = self.rest;
        loop {
            let content = &whole[..whole.len() - self.rest.len()];
            match self.tag()? {
                Some((end, END_GROUP)) if end == number => return Ok(content),
                Some((inner, wire_type)) => self.skip(inner, wire_type)?,
                None => return Err(Malformed),
            }
        }
    }

    /// Skips the value of field `number`.
    pub(crate) fn skip(&mut self, number: u32, wire_type: u8) -> Result<(), Malformed> {
        self.skip_in(number, wire_type, GROUPS)
    }

    fn skip_in(&mut self, number: u32, wire_type: u8, groups: usize) -> Result<(), Malformed> {
        match wire_type {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            LEN => self.bytes().map(drop),
            FIXED32 => self.fixed32().map(drop),
            START_GROUP if groups > 0 => loop {
                match self.tag()? {
                    Some((end, END_GROUP)) if end == number => return Ok(()),
                    Some((inner, wire_type)) => self.skip_in(inner, wire_type, groups - 1)?,
                    None => return Err(Malformed),
                }
            },
            _ => Err(Malformed),
        }
    }
}

/// The last value of a length-delimited top-level field.
pub(crate) fn find_bytes(message: &[u8], field: u32) -> Result<Option<&[u8]>, Malformed> {
    let mut wire = Wire::new(message);
    let mut found = None;
    while let Some((number, wire_type)) = wire.tag()? {
        if number == field && wire_type == LEN {
            found = Some(wire.bytes()?);
        } else {
            wire.skip(number, wire_type)?;
        }
    }
    Ok(found)
}

/// Whether a top-level field is there at all.
pub(crate) fn has_field(message: &[u8], field: u32) -> bool {
    let mut wire = Wire::new(message);
    while let Ok(Some((number, wire_type))) = wire.tag() {
        if number == field {
            return true;
        }
        if wire.skip(number, wire_type).is_err() {
            return false;
        }
    }
    false
}

/// Whether a field of the message in a top-level field is there.
pub(crate) fn has_field_within(message: &[u8], outer: u32, inner: u32) -> bool {
    let mut wire = Wire::new(message);
    while let Ok(Some((number, wire_type))) = wire.tag() {
        if number == outer && wire_type == LEN {
            // What is given in parts is one message in the end.
            match wire.bytes() {
                Ok(part) if has_field(part, inner) => return true,
                Ok(_) => continue,
                Err(Malformed) => return false,
            }
        }
        if wire.skip(number, wire_type).is_err() {
            return false;
        }
    }
    false
}

#[inline]
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Writes a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, LEN);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a length-delimited field whose content `fill` writes. One byte is
/// kept for the length; only longer content is moved.
pub(crate) fn put_nested<E>(
    out: &mut Vec<u8>,
    number: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, LEN);
    out.push(0);
    let start = out.len();
    fill(out)?;
    close_nested(out, start);
    Ok(())
}

/// Writes a group of which `fill` writes the content.
pub(crate) fn put_group<E>(
    out: &mut Vec<u8>,
    number: u32,
    fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, START_GROUP);
    fill(out)?;
    put_tag(out, number, END_GROUP);
    Ok(())
}

/// Puts the length of what was written since `start` into the byte before it.
pub(crate) fn close_nested(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if let Ok(short @ 0..0x80) = u8::try_from(length) {
        out[start - 1] = short;
        return;
    }
    let mut prefix = [0; 10];
    let mut used = 0;
    let mut value = length;
    while value >= 0x80 {
        prefix[used] = value as u8 | 0x80;
        value >>= 7;
        used += 1;
    }
    prefix[used] = value as u8;
    out.resize(out.len() + used, 0);
    out.copy_within(start..start + length, start + used);
    out[start - 1..start + used].copy_from_slice(&prefix[..=used]);
}

/// ZigZag, as `sint32` and `sint64` have it.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// The way back.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn varints_of_every_length_survive() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                let mut wire = Wire::new(&out);
                assert_eq!(wire.varint(), Ok(value));
                assert!(wire.is_empty());
            }
        }
        assert_eq!(Wire::new(&[0xff; 11]).varint(), Err(Malformed));
        assert_eq!(Wire::new(&[0x80]).varint(), Err(Malformed));
    }

    #[test]
    fn nested_content_of_any_length_gets_its_length_in_front() {
        for length in [0, 1, 127, 128, 300, 16383, 16384, 3_000_000] {
            let content = vec![7; length];
            let mut want = vec![9];
            put_bytes(&mut want, 5, &content);
            let mut out = vec![9];
            put_nested(&mut out, 5, |out| {
                out.extend_from_slice(&content);
                Ok::<_, ()>(())
            })
            .unwrap();
            assert_eq!(out, want, "{length}");
        }
    }

    #[test]
    fn groups_are_skipped_and_unfinished_ones_refused() {
        let group = [0x0b, 0x10, 0x01, 0x13, 0x14, 0x0c];
        let mut wire = Wire::new(&group);
        assert_eq!(wire.tag(), Ok(Some((1, START_GROUP))));
        assert_eq!(wire.skip(1, START_GROUP), Ok(()));
        assert!(wire.is_empty());
        let mut wire = Wire::new(&group[1..5]);
        assert_eq!(wire.skip(1, START_GROUP), Err(Malformed));
    }
}
