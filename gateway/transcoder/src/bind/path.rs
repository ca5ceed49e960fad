//! The variables of the path.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::put;
use crate::fault::{Fault, Outcome};
use crate::json::decode::Decoder;
use crate::route::PathVariable;

/// Appends the variables' values.
pub(crate) fn bind(
    decoder: &Decoder<'_>,
    variables: &[PathVariable],
    captures: &[String],
    out: &mut Vec<u8>,
) -> Outcome<()> {
    for (variable, raw) in variables.iter().zip(captures) {
        let text = match decode(raw, variable.decoding) {
            Some(text) => text,
            None => return Err(not_utf8(decoder, variable)),
        };
        put(decoder, &variable.field, text, out)?;
    }
    Ok(())
}

fn not_utf8(decoder: &Decoder<'_>, variable: &PathVariable) -> Box<Fault> {
    let fault = Fault::invalid("the path is not UTF-8");
    variable
        .field
        .iter()
        .rev()
        .fold(fault, |fault, (id, index)| {
            fault.in_field(&decoder.plans.message(*id).fields[*index].name)
        })
}

/// Which percent-encoded characters of a variable's value are decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// All, as in a variable of one segment.
    All,
    /// All but `/`: an encoded slash is none between segments.
    ExceptSlash,
    /// All but the reserved characters of RFC 6570.
    ExceptReserved,
}

impl Decoding {
    fn keeps(self, byte: u8) -> bool {
        match self {
            Self::All => false,
            Self::ExceptSlash => byte == b'/',
            Self::ExceptReserved => b":/?#[]@!$&'()*+,;=".contains(&byte),
        }
    }
}

fn decode(raw: &str, decoding: Decoding) -> Option<Cow<'_, str>> {
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    if decoding == Decoding::All {
        return percent_decode_str(raw).decode_utf8().ok();
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let encoded = rest.get(at..at + 3);
        let decoded = encoded.and_then(|encoded| percent_decode_str(encoded).next());
        match (encoded, decoded) {
            // What is no encoding is decoded to its '%'.
            (Some(encoded), Some(byte)) if byte != b'%' || encoded == "%25" => {
                match decoding.keeps(byte) {
                    true => bytes.extend_from_slice(encoded.as_bytes()),
                    false => bytes.push(byte),
                }
                rest = &rest[at + 3..];
            }
            _ => {
                bytes.push(b'%');
                rest = &rest[at + 1..];
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_segment_is_decoded_fully_and_several_keep_what_is_reserved() {
        for (raw, all, slash, reserved) in [
            ("plain", "plain", "plain", "plain"),
            ("a%20b", "a b", "a b", "a b"),
            ("a%2Fb", "a/b", "a%2Fb", "a%2Fb"),
            ("a%2fb%20c%2F", "a/b c/", "a%2fb c%2F", "a%2fb c%2F"),
            ("%E2%82%AC", "\u{20ac}", "\u{20ac}", "\u{20ac}"),
            ("a%3Ab%3F%40", "a:b?@", "a:b?@", "a%3Ab%3F%40"),
            ("%21%24%27%3b%3D", "!$';=", "!$';=", "%21%24%27%3b%3D"),
            ("%7E%2D%41%25", "~-A%", "~-A%", "~-A%"),
            ("100%", "100%", "100%", "100%"),
            ("%zz%4", "%zz%4", "%zz%4", "%zz%4"),
            ("%%41", "%A", "%A", "%A"),
            ("a+b", "a+b", "a+b", "a+b"),
        ] {
            let decode = |decoding| decode(raw, decoding).unwrap();
            assert_eq!(decode(Decoding::All), all, "{raw}");
            assert_eq!(decode(Decoding::ExceptSlash), slash, "{raw}");
            assert_eq!(decode(Decoding::ExceptReserved), reserved, "{raw}");
        }
        assert_eq!(decode("%ff", Decoding::All), None);
        assert_eq!(decode("%ff", Decoding::ExceptReserved), None);
    }
}
