//! Bytes are refused, or printed as JSON that is read and printed alike for
//! ever after, and that prost-reflect prints of the same bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost_reflect::DynamicMessage;
use serde_json::Value;
use tonic_transcoder::JsonStyle;
use tonic_transcoder_fuzz::{chosen, same};

fuzz_target!(|data: &[u8]| {
    let Some((subject, style, wire)) = chosen(data) else {
        return;
    };
    let codec = subject.codec.clone().with_style(style);
    let message = codec.message(subject.name).expect("the set has it");
    let mut once = Vec::new();
    if message.write_json(wire, &mut once).is_err() {
        return;
    }
    let printed: Value = serde_json::from_slice(&once).expect("JSON");

    let (mut again, mut twice) = (Vec::new(), Vec::new());
    if let Err(error) = message.read_json(&once, &mut again) {
        // What others wrote may be deeper than what is read here.
        assert_eq!(error.reason, "TOO_DEEP", "{error}");
        return;
    }
    message.write_json(&again, &mut twice).expect("its own");
    // With the names of the .proto file a mask's path may be in either case,
    // so that one in camel case comes back in the other. A NullValue of a
    // number that it does not have comes back as the one that it has.
    let recased = style.proto_field_names && subject.has_mask(&once);
    let denied = printed
        .to_string()
        .replace("_v", "V")
        .contains("nullValue\":null");
    assert!(once == twice || recased || denied, "{printed}");

    if style == JsonStyle::default()
        && let Ok(oracle) = DynamicMessage::decode(subject.oracle.clone(), wire)
        && let Ok(oracle) = serde_json::to_value(&oracle)
    {
        assert!(same(&printed, &oracle), "{printed}\n{oracle}");
    }
});
