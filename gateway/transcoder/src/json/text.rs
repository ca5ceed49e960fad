//! Strings as JSON prints them.

use super::scan;
use crate::wire::Malformed;

/// Prints bytes that claim to be UTF-8 as a string with its quotes.
#[inline]
pub(crate) fn print(bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let content = scan::content(bytes);
    if content.wide && std::str::from_utf8(bytes).is_err() {
        return Err(Malformed);
    }
    quote(bytes, content.special, out);
    Ok(())
}

/// Prints a string with its quotes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    quote(text.as_bytes(), true, out);
}

#[inline]
fn quote(bytes: &[u8], special: bool, out: &mut Vec<u8>) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    if special {
        escaped(bytes, out);
    } else {
        out.extend_from_slice(bytes);
    }
    out.push(b'"');
}

fn escaped(mut bytes: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = bytes.split_at(scan::plain(bytes));
        out.extend_from_slice(plain);
        let Some((special, rest)) = rest.split_first() else {
            return;
        };
        escape(*special, out);
        bytes = rest;
    }
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short: &[u8] = match byte {
        b'"' => b"\\\"",
        b'\\' => b"\\\\",
        b'\n' => b"\\n",
        b'\r' => b"\\r",
        b'\t' => b"\\t",
        0x08 => b"\\b",
        0x0c => b"\\f",
        _ => return out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
    };
    out.extend_from_slice(short);
}
