//! The types with a JSON of their own.

use std::borrow::Cow;

use super::decode::{Decoder, duplicate, expect};
use super::keys::Keys;
use super::reader::{Reader, Start};
use super::time::{parse_duration, parse_mask_path, parse_timestamp};
use crate::fault::{Fault, Outcome, Reason, shown};
use crate::plan::{Known, Message};
use crate::wire::{self, put_bytes, put_nested, put_tag, put_varint};

impl Decoder<'_> {
    pub(super) fn known(
        &self,
        reader: &mut Reader<'_>,
        known: Known,
        plan: &Message,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        match known {
            Known::Timestamp | Known::Duration | Known::FieldMask => {
                expect(reader, Start::String)?;
                let snake = self.style.proto_field_names;
                known_text(known, &reader.string()?, snake, false, out)
            }
            Known::Wrapper => self.wrapper(reader, plan, out),
            Known::Struct => self.structure(reader, out),
            Known::ListValue => self.list_value(reader, out),
            Known::Value => self.dynamic_value(reader, out),
            Known::Any => self.any(reader, out),
            Known::Empty | Known::HttpBody => self.object(reader, plan, false, out),
        }
    }

    fn wrapper(&self, reader: &mut Reader<'_>, plan: &Message, out: &mut Vec<u8>) -> Outcome<()> {
        let Some(field) = plan.fields.first() else {
            return Err(Fault::invalid("the wrapper's descriptor is broken"));
        };
        let start = reader.start()?;
        let scalar = self.scalar(reader, start, field.kind)?;
        if !scalar.is_default() {
            put_tag(out, field.number, field.kind.wire_type());
            scalar.put(out);
        }
        Ok(())
    }

    fn structure(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        expect(reader, Start::Object)?;
        reader.enter()?;
        let (mut first, mut seen) = (true, Keys::default());
        while let Some(key) = reader.key(&mut first)? {
            put_nested(out, 1, |out| {
                put_bytes(out, 1, key.as_bytes());
                // The entry and the value in it.
                reader.nested(|reader| {
                    put_nested(out, 2, |out| reader.nested(|r| self.dynamic_value(r, out)))
                })
            })
            .map_err(|fault| fault.in_key(&key))?;
            if !seen.insert(key.clone()) {
                return Err(duplicate("the key is given twice").in_key(&key));
            }
        }
        Ok(())
    }

    fn list_value(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        expect(reader, Start::Array)?;
        reader.enter()?;
        let (mut first, mut index) = (true, 0);
        while reader.element(&mut first)? {
            put_nested(out, 1, |out| reader.nested(|r| self.dynamic_value(r, out)))
                .map_err(|fault| fault.in_index(index))?;
            index += 1;
        }
        Ok(())
    }

    /// The members of `google.protobuf.Value` are one oneof, so they are
    /// written even where they hold a default.
    fn dynamic_value(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        match reader.start()? {
            Start::Null => {
                reader.word("null")?;
                out.extend_from_slice(&[1 << 3, 0]);
            }
            Start::Number => {
                let number = reader.number()?.double()?;
                put_tag(out, 2, wire::FIXED64);
                out.extend_from_slice(&number.to_le_bytes());
            }
            Start::String => put_bytes(out, 3, reader.string()?.as_bytes()),
            Start::True => {
                reader.word("true")?;
                out.extend_from_slice(&[4 << 3, 1]);
            }
            Start::False => {
                reader.word("false")?;
                out.extend_from_slice(&[4 << 3, 0]);
            }
            Start::Object => {
                return put_nested(out, 5, |out| reader.nested(|r| self.structure(r, out)));
            }
            Start::Array => {
                return put_nested(out, 6, |out| reader.nested(|r| self.list_value(r, out)));
            }
        }
        Ok(())
    }

    fn any(&self, reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Outcome<()> {
        expect(reader, Start::Object)?;
        // The type may be named last, but is needed first.
        let Some(url) = find_type(&mut reader.clone())? else {
            return self.untyped_any(reader);
        };
        let name = url.rsplit_once('/').map_or("", |(_, name)| name);
        let Some(id) = self.plans.by_name(name) else {
            let message = format!("the type {:?} is not known", shown(&url));
            return Err(Fault::invalid(message).in_field("@type"));
        };
        put_bytes(out, 1, url.as_bytes());
        let plan = self.plans.message(id);
        put_nested(out, 2, |out| match plan.known {
            None | Some(Known::HttpBody) => self.object(reader, plan, true, out),
            Some(known) => self.any_value(reader, known, plan, out),
        })
    }

    /// Only the empty object is an `Any` without a type.
    fn untyped_any(&self, reader: &mut Reader<'_>) -> Outcome<()> {
        reader.enter()?;
        match reader.key(&mut true)? {
            None => Ok(()),
            Some(_) => Err(Fault::invalid("an Any needs its type").in_field("@type")),
        }
    }

    fn any_value(
        &self,
        reader: &mut Reader<'_>,
        known: Known,
        plan: &Message,
        out: &mut Vec<u8>,
    ) -> Outcome<()> {
        reader.enter()?;
        let (mut first, mut seen) = (true, false);
        while let Some(key) = reader.key(&mut first)? {
            match &*key {
                "@type" => reader.skip()?,
                "value" if seen => {
                    return Err(duplicate("the field is given twice").in_field("value"));
                }
                "value" => {
                    seen = true;
                    self.known(reader, known, plan, out)
                        .map_err(|fault| fault.in_field("value"))?;
                }
                _ if self.style.ignore_unknown => reader.skip()?,
                _ => {
                    let message = "unknown field; this type has only a \"value\" in an Any";
                    return Err(Fault::new(Reason::UnknownField, message).in_field(&key));
                }
            }
        }
        if seen || known == Known::Empty {
            return Ok(());
        }
        Err(Fault::invalid("the value is missing").in_field("value"))
    }
}

fn find_type<'a>(ahead: &mut Reader<'a>) -> Outcome<Option<Cow<'a, str>>> {
    ahead.enter()?;
    let (mut first, mut found) = (true, None);
    while let Some(key) = ahead.key(&mut first)? {
        if key != "@type" {
            ahead.skip()?;
        } else if found.is_some() {
            return Err(duplicate("the type is given twice").in_field("@type"));
        } else {
            expect(ahead, Start::String).map_err(|fault| fault.in_field("@type"))?;
            found = Some(ahead.string()?);
        }
    }
    Ok(found)
}

/// Writes the content of a message that is a string in JSON. `explicit` also
/// writes zeros, for content that is to replace what was written before.
pub(crate) fn known_text(
    known: Known,
    text: &str,
    snake: bool,
    explicit: bool,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    let refused = |what: &str| Fault::invalid(format!("{:?} is not {what}", shown(text)));
    let (seconds, nanos) = match known {
        Known::FieldMask => return mask(text, snake, out),
        Known::Timestamp => {
            parse_timestamp(text).ok_or_else(|| refused("an RFC 3339 timestamp"))?
        }
        _ => parse_duration(text).ok_or_else(|| refused("a duration such as \"1.5s\""))?,
    };
    if explicit || seconds != 0 {
        put_tag(out, 1, wire::VARINT);
        put_varint(out, seconds as u64);
    }
    if explicit || nanos != 0 {
        put_tag(out, 2, wire::VARINT);
        put_varint(out, i64::from(nanos) as u64);
    }
    Ok(())
}

fn mask(text: &str, snake: bool, out: &mut Vec<u8>) -> Outcome<()> {
    if text.is_empty() {
        return Ok(());
    }
    for path in text.split(',') {
        match parse_mask_path(path, snake) {
            Some(path) => put_bytes(out, 1, path.as_bytes()),
            None => {
                return Err(Fault::invalid(format!(
                    "{:?} is not a path of a field mask",
                    shown(path)
                )));
            }
        }
    }
    Ok(())
}
