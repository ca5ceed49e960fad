//! Strings, and the details of a status.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::DescriptorPool;
use prost_types::Any;

use super::encode::Encoder;
use crate::plan::Plans;
use crate::style::Style;

/// `google.rpc`'s own types, for programs whose descriptors lack them.
static STANDARD_TYPES: LazyLock<Option<Plans>> = LazyLock::new(|| {
    DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET)
        .ok()
        .map(Plans::compile)
});

/// The details of a status as a JSON array.
pub(crate) fn array(details: &[Any], plans: Option<&Plans>) -> String {
    let mut out = vec![b'['];
    for (index, detail) in details.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        one(detail, plans, &mut out);
    }
    out.push(b']');
    String::from_utf8(out).unwrap_or_default()
}

fn one(detail: &Any, plans: Option<&Plans>, out: &mut Vec<u8>) {
    let style = Style::default();
    for plans in [plans, STANDARD_TYPES.as_ref()].into_iter().flatten() {
        let mut encoder = Encoder::new(plans, &style, Vec::new());
        if encoder
            .any_parts(&detail.type_url, &detail.value, 0)
            .is_ok()
        {
            out.extend_from_slice(&encoder.into_output());
            return;
        }
    }
    out.extend_from_slice(b"{\"@type\":");
    string(&detail.type_url, out);
    out.extend_from_slice(b",\"value\":\"");
    out.extend_from_slice(STANDARD.encode(&detail.value).as_bytes());
    out.extend_from_slice(b"\"}");
}

/// Writes a string with its quotes.
#[inline]
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        escape(*byte, out);
        from = at + 1;
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
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
