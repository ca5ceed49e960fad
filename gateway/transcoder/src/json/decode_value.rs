//! Single values, from JSON and from plain text.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::decode::Decoder;
use super::number::{Number, named};
use super::reader::{Reader, Start};
use crate::fault::{Fault, Outcome, shown};
use crate::nearby;
use crate::plan::Kind;
use crate::wire;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A value as it goes on the wire, without its tag.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
}

impl<'a> Scalar<'a> {
    /// Whether it is the default value of its type.
    #[inline]
    pub(crate) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) => *value == 0,
            Self::Fixed32(bytes) => *bytes == [0; 4],
            Self::Fixed64(bytes) => *bytes == [0; 8],
            Self::Text(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }

    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let bytes = match self {
            Self::Varint(value) => return wire::put_varint(out, *value),
            Self::Fixed32(bytes) => return out.extend_from_slice(bytes),
            Self::Fixed64(bytes) => return out.extend_from_slice(bytes),
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        };
        wire::put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    /// What tells a map's key from its other keys, however it was written.
    pub(super) fn identity(&self, text: &Cow<'a, str>) -> Cow<'a, str> {
        match self {
            Self::Varint(value) => Cow::Owned(value.to_string()),
            Self::Fixed32(bytes) => Cow::Owned(u32::from_le_bytes(*bytes).to_string()),
            Self::Fixed64(bytes) => Cow::Owned(u64::from_le_bytes(*bytes).to_string()),
            Self::Text(_) | Self::Bytes(_) => text.clone(),
        }
    }
}

impl Decoder<'_> {
    /// Reads a value that is neither a message nor a list.
    #[inline]
    pub(super) fn scalar<'a>(
        &self,
        reader: &mut Reader<'a>,
        start: Start,
        kind: Kind,
    ) -> Outcome<Scalar<'a>> {
        match (kind, start) {
            (Kind::String, Start::String) => Ok(Scalar::Text(reader.string()?)),
            (Kind::Bytes, Start::String) => base64(&reader.string()?),
            (Kind::Bool, Start::True) => reader.word("true").map(|()| Scalar::Varint(1)),
            (Kind::Bool, Start::False) => reader.word("false").map(|()| Scalar::Varint(0)),
            (Kind::Enum(id), Start::String) => self.enum_name(&reader.string()?, id),
            (Kind::Enum(_), Start::Number) => number(reader.number()?, Kind::Int32),
            (Kind::Enum(id), Start::Null) if self.plans.enumeration(id).is_null => {
                reader.word("null").map(|()| Scalar::Varint(0))
            }
            (kind, Start::Number) if is_numeric(kind) => number(reader.number()?, kind),
            (kind, Start::String) if is_numeric(kind) => number_text(&reader.string()?, kind),
            (kind, start) => {
                let message = format!("{} was expected, not {}", kind_name(kind), start.name());
                Err(Fault::invalid(message))
            }
        }
    }

    fn enum_name(&self, name: &str, id: usize) -> Outcome<Scalar<'static>> {
        let plan = self.plans.enumeration(id);
        match plan.number(name, self.style.case_insensitive_enums) {
            Some(number) => Ok(Scalar::Varint(i64::from(number) as u64)),
            None => {
                let near = nearby::names_like(name, plan.names());
                Err(Fault::invalid(format!(
                    "{:?} is not a value of the enum{near}",
                    shown(name)
                )))
            }
        }
    }

    /// Passes over the name of an enum value that is not known, in a style
    /// that ignores the unknown.
    #[inline]
    pub(super) fn passes_over(
        &self,
        reader: &mut Reader<'_>,
        start: Start,
        kind: Kind,
    ) -> Outcome<bool> {
        match (self.style.ignore_unknown, kind, start) {
            (true, Kind::Enum(id), Start::String) => self.passes_over_name(reader, id),
            _ => Ok(false),
        }
    }

    fn passes_over_name(&self, reader: &mut Reader<'_>, id: usize) -> Outcome<bool> {
        let name = reader.clone().string()?;
        let any_case = self.style.case_insensitive_enums;
        let known = self.plans.enumeration(id).number(&name, any_case);
        if known.is_none() {
            reader.skip()?;
        }
        Ok(known.is_none())
    }

    /// Reads a value from plain text, as queries, paths and forms have it.
    pub(crate) fn text<'a>(&self, text: Cow<'a, str>, kind: Kind) -> Outcome<Scalar<'a>> {
        match kind {
            Kind::String => Ok(Scalar::Text(text)),
            Kind::Bytes => base64(&text),
            Kind::Bool => boolean(&text),
            Kind::Enum(id) => match text.as_bytes().first() {
                Some(b'-' | b'0'..=b'9') => number_text(&text, Kind::Int32),
                _ => self.enum_name(&text, id),
            },
            kind if is_numeric(kind) => number_text(&text, kind),
            kind => Err(Fault::invalid(format!(
                "{} is not a single value",
                kind_name(kind)
            ))),
        }
    }
}

/// For messages: what was expected.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::String => "a string",
        Kind::Bytes => "base64 in a string",
        Kind::Bool => "true or false",
        Kind::Enum(_) => "the name or number of an enum's value",
        Kind::Message(_) | Kind::Group(..) => "an object",
        _ => "a number",
    }
}

fn is_numeric(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::String
            | Kind::Bytes
            | Kind::Bool
            | Kind::Enum(_)
            | Kind::Message(_)
            | Kind::Group(..)
    )
}

/// Reads `true` or `false`.
pub(super) fn boolean(text: &str) -> Outcome<Scalar<'static>> {
    match text {
        "true" => Ok(Scalar::Varint(1)),
        "false" => Ok(Scalar::Varint(0)),
        _ => Err(Fault::invalid(format!(
            "true or false was expected, not {:?}",
            shown(text)
        ))),
    }
}

/// Reads a number of any kind.
#[inline]
pub(super) fn number(number: Number<'_>, kind: Kind) -> Outcome<Scalar<'static>> {
    let varint = |value: i64| Scalar::Varint(value as u64);
    Ok(match kind {
        Kind::Int32 => varint(number.ranged::<i32>("int32")?.into()),
        Kind::Int64 => varint(number.ranged::<i64>("int64")?),
        Kind::Uint32 => Scalar::Varint(number.ranged::<u32>("uint32")?.into()),
        Kind::Uint64 => Scalar::Varint(number.ranged("uint64")?),
        Kind::Sint32 => Scalar::Varint(wire::zigzag(number.ranged::<i32>("sint32")?.into())),
        Kind::Sint64 => Scalar::Varint(wire::zigzag(number.ranged("sint64")?)),
        Kind::Fixed32 => Scalar::Fixed32(number.ranged::<u32>("fixed32")?.to_le_bytes()),
        Kind::Fixed64 => Scalar::Fixed64(number.ranged::<u64>("fixed64")?.to_le_bytes()),
        Kind::Sfixed32 => Scalar::Fixed32(number.ranged::<i32>("sfixed32")?.to_le_bytes()),
        Kind::Sfixed64 => Scalar::Fixed64(number.ranged::<i64>("sfixed64")?.to_le_bytes()),
        Kind::Float => Scalar::Fixed32(number.float()?.to_le_bytes()),
        Kind::Double => Scalar::Fixed64(number.double()?.to_le_bytes()),
        _ => return Err(Fault::invalid("not a number's field")),
    })
}

/// Reads a number of any kind from plain text.
pub(super) fn number_text(text: &str, kind: Kind) -> Outcome<Scalar<'static>> {
    match (Number::of(text), kind, named(text)) {
        (Some(found), ..) => number(found, kind),
        (_, Kind::Double, Some(value)) => Ok(Scalar::Fixed64(value.to_le_bytes())),
        (_, Kind::Float, Some(value)) => Ok(Scalar::Fixed32((value as f32).to_le_bytes())),
        _ => Err(Fault::invalid(format!("{:?} is not a number", shown(text)))),
    }
}

/// Reads base64 of either alphabet, padded or not.
fn base64(text: &str) -> Outcome<Scalar<'static>> {
    let engine = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    match engine.decode(text) {
        Ok(bytes) => Ok(Scalar::Bytes(bytes)),
        Err(_) => Err(Fault::invalid("base64 was expected")),
    }
}
