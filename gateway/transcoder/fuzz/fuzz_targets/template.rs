//! A template is refused, or finds the paths that it describes.

#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use tonic_transcoder::Transcoder;
use tonic_transcoder_fuzz::TINY;

fuzz_target!(|template: &str| {
    let rules = serde_json::json!({"rules": [
        {"selector": "tiny.v1.Tiny.Get", "get": template},
    ]});
    let transcoder = Transcoder::builder(TINY)
        .rules_from_json(rules.to_string())
        .build();
    let Ok(transcoder) = transcoder else { return };
    let path = example(template);
    let found = transcoder.route(&Method::GET, &path);
    assert!(found.is_ok(), "{template} does not find {path}");
});

/// A path of a template: variables dissolved, one segment for each wildcard.
fn example(template: &str) -> String {
    let mut path = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, after) = after.split_once('}').expect("it was parsed");
        let segments = variable
            .split_once('=')
            .map_or("*", |(_, segments)| segments);
        path.push_str(before);
        path.push_str(segments);
        rest = after;
    }
    path.push_str(rest);
    path.replace("**", "*").replace('*', "x")
}
