//! What the runner asks: payloads go through a [`Codec`] and back.

use std::io::{Read, Write, stdin, stdout};
use std::path::Path;

use prost::Message as _;
use tonic_transcoder::{Codec, JsonError, JsonStyle};

use crate::protocol::{Answer, Format, IGNORE_UNKNOWN, Payload, Request, Response};

/// Answers every request; each message is preceded by its length.
pub(crate) fn answer(include: &Path) {
    let strict = Codec::new(descriptors(include)).unwrap();
    let mut style = JsonStyle::default();
    style.ignore_unknown = true;
    let lenient = strict.clone().with_style(style);
    let mut length = [0; 4];
    while stdin().read_exact(&mut length).is_ok() {
        let mut request = vec![0; u32::from_le_bytes(length) as usize];
        stdin().read_exact(&mut request).unwrap();
        let request = Request::decode(&request[..]).unwrap();
        let codec = match request.category {
            IGNORE_UNKNOWN => &lenient,
            _ => &strict,
        };
        let response = Response {
            answer: Some(transcode(codec, &request)),
        };
        let response = response.encode_to_vec();
        let length = u32::try_from(response.len()).unwrap();
        stdout().write_all(&length.to_le_bytes()).unwrap();
        stdout().write_all(&response).unwrap();
        stdout().flush().unwrap();
    }
}

/// The suite's messages.
fn descriptors(include: &Path) -> Vec<u8> {
    let mut compiler = protox::Compiler::new([include]).unwrap();
    compiler.include_imports(true);
    for syntax in ["proto2", "proto3"] {
        let file = format!("conformance/messages/test_messages_{syntax}.proto");
        compiler.open_file(file).unwrap();
    }
    compiler.encode_file_descriptor_set()
}

fn transcode(codec: &Codec, request: &Request) -> Answer {
    // Asked before all else for the tests that are known to fail; the empty
    // message lists none.
    if request.message_type == "conformance.FailureSet" {
        return Answer::Wire(Vec::new());
    }
    let Some(message) = codec.message(&request.message_type) else {
        return Answer::Failed("the type is not known".into());
    };
    let wanted = Format::try_from(request.wanted).unwrap();
    let (wire, json) = match (&request.payload, wanted) {
        (Some(Payload::Wire(wire)), Format::Json) => (wire.clone(), true),
        (Some(Payload::Json(json)), Format::Wire | Format::Json) => {
            let mut wire = Vec::new();
            if let Err(error) = message.read_json(json.as_bytes(), &mut wire) {
                return Answer::Unreadable(error.to_string());
            }
            (wire, wanted == Format::Json)
        }
        _ => return Answer::Skipped("neither reads nor writes JSON".into()),
    };
    if !json {
        return Answer::Wire(wire);
    }
    let mut json = Vec::new();
    match message.write_json(&wire, &mut json) {
        Ok(()) => Answer::Json(String::from_utf8(json).unwrap()),
        Err(error) => refused(&error),
    }
}

fn refused(error: &JsonError) -> Answer {
    match error.reason {
        "UNPRINTABLE" => Answer::Unprintable(error.to_string()),
        _ => Answer::Unreadable(error.to_string()),
    }
}
