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
        let text = match decode(raw, variable.multi) {
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

/// A value of several segments keeps its encoded slashes, for they are not
/// the ones between the segments.
fn decode(raw: &str, multi: bool) -> Option<Cow<'_, str>> {
    if !raw.contains('%') {
        return Some(Cow::Borrowed(raw));
    }
    if !multi {
        return percent_decode_str(raw).decode_utf8().ok();
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(at) = rest.find("%2F").into_iter().chain(rest.find("%2f")).min() {
        bytes.extend(percent_decode_str(&rest[..at]));
        bytes.extend_from_slice(&rest.as_bytes()[at..at + 3]);
        rest = &rest[at + 3..];
    }
    bytes.extend(percent_decode_str(rest));
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_segment_is_decoded_fully_and_several_keep_their_slashes() {
        for (raw, single, multi) in [
            ("plain", "plain", "plain"),
            ("a%20b", "a b", "a b"),
            ("a%2Fb", "a/b", "a%2Fb"),
            ("a%2fb%20c%2F", "a/b c/", "a%2fb c%2F"),
            ("%E2%82%AC", "\u{20ac}", "\u{20ac}"),
            ("a%3Ab%3F", "a:b?", "a:b?"),
            ("100%", "100%", "100%"),
            ("a+b", "a+b", "a+b"),
        ] {
            assert_eq!(decode(raw, false).as_deref(), Some(single), "{raw}");
            assert_eq!(decode(raw, true).as_deref(), Some(multi), "{raw}");
        }
        assert_eq!(decode("%ff", false), None);
        assert_eq!(decode("%ff", true), None);
    }
}
