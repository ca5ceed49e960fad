//! The details of a status.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::DescriptorPool;
use prost_types::Any;

use super::encode::Encoder;
use super::text::string;
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
