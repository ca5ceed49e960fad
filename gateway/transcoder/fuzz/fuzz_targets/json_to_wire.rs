//! JSON is refused, or written as a message that is printed and read alike
//! for ever after, and that prost-reflect reads from the same JSON.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost_reflect::{DeserializeOptions, DynamicMessage};
use tonic_transcoder_fuzz::{chosen, same};

fuzz_target!(|data: &[u8]| {
    let Some((subject, style, json)) = chosen(data) else {
        return;
    };
    let codec = subject.codec.clone().with_style(style);
    let message = codec.message(subject.name).expect("the set has it");
    let mut wire = Vec::new();
    if message.read_json(json, &mut wire).is_err() {
        return;
    }
    let read = DynamicMessage::decode(subject.oracle.clone(), &wire[..]);
    let read = read.expect("what is written is a message");

    let mut once = Vec::new();
    match message.write_json(&wire, &mut once) {
        Ok(()) => {}
        // What JSON cannot say came in as base64 of nothing that is read here,
        // or as a path of the one case that the other has no letters for.
        Err(error) if error.reason == "UNPRINTABLE" => return,
        Err(error) => panic!("{error}"),
    }
    serde_json::from_slice::<serde_json::Value>(&once).expect("JSON");
    let (mut again, mut twice) = (Vec::new(), Vec::new());
    message.read_json(&once, &mut again).expect("its own JSON");
    message.write_json(&again, &mut twice).expect("its own");
    assert_eq!(once, twice);

    // To the oracle the case of an enum's name matters.
    if style.case_insensitive_enums {
        return;
    }
    let options = DeserializeOptions::new().deny_unknown_fields(!style.ignore_unknown);
    let mut json = serde_json::Deserializer::from_slice(json);
    let oracle =
        DynamicMessage::deserialize_with_options(subject.oracle.clone(), &mut json, &options);
    if let Ok(oracle) = oracle
        && let (Ok(read), Ok(oracle)) = (serde_json::to_value(&read), serde_json::to_value(&oracle))
    {
        assert!(same(&read, &oracle), "{read}\n{oracle}");
    }
});
