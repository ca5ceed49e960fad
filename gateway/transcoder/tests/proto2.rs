//! What only proto2 has, through a real server.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{App, Server, compile};
use tonic_transcoder::{Codec, JsonStyle, Transcoder};

fn descriptors() -> Vec<u8> {
    compile(&["tests/proto", "proto", "../../proto"], "legacy.proto")
}

fn app() -> App {
    let transcoder = Transcoder::builder(descriptors()).build().unwrap();
    let server = Server::of(&descriptors(), |call| {
        let message = &call.messages[0];
        Ok(vec![Ok(match call.method.as_str() {
            "Change" => message["record"].clone(),
            _ => message.clone(),
        })])
    });
    let service = transcoder.into_service(server.clone());
    App { server, service }
}

/// Messages of each sort, as they are printed.
const MESSAGES: [&str; 9] = [
    r#"{"title":""}"#,
    r#"{"part":{}}"#,
    r#"{"part":{"note":"n","inner":{"numbers":[1,2]},"record":{"part":{"note":"m"}}}}"#,
    r#"{"page":[{},{"number":"7","counts":{"a":1}}]}"#,
    r#"{"choice":{"yes":false}}"#,
    r#"{"[legacy.v1.remark]":"r","[legacy.v1.marks]":[1,2,-3]}"#,
    r#"{"[legacy.v1.extra]":{"weight":5}}"#,
    r#"{"[legacy.v1.copies]":[{"[legacy.v1.remark]":"inner"},{}]}"#,
    r#"{"shade":"DARK","[legacy.v1.Scope.edge]":"LIGHT"}"#,
];

#[tokio::test]
async fn groups_and_extensions_are_messages_and_fields_like_others() {
    let app = app();
    for json in MESSAGES {
        let got = app.json("POST /legacy/echo", json).await;
        assert_eq!(got.text(), json);
        // The service has understood the same.
        assert_eq!(
            app.last().messages[0],
            serde_json::from_str::<Value>(json).unwrap()
        );
    }
}

#[tokio::test]
async fn groups_are_bound_from_paths_and_queries_and_are_bodies() {
    let app = app();
    let got = app
        .get("/legacy/echo/x?part.inner.numbers=1&part.inner.numbers=2&title=t")
        .await;
    assert_eq!(
        got.json(),
        serde_json::json!({"title": "t", "part": {"note": "x", "inner": {"numbers": [1, 2]}}})
    );
    let got = app.json("PUT /legacy/part", r#"{"note": "n"}"#).await;
    assert_eq!(got.text(), r#"{"part":{"note":"n"}}"#);
    let got = app
        .json("PATCH /legacy/record", r#"{"page": [{"number": 1}, {}]}"#)
        .await;
    assert_eq!(got.text(), r#"[{"number":"1"},{}]"#);
}

#[tokio::test]
async fn faults_in_groups_and_extensions_are_told_by_their_path() {
    let app = app();
    for (json, reason, field) in [
        (
            r#"{"part": {"inner": {"numbers": [1, "x"]}}}"#,
            "INVALID_VALUE",
            "part.inner.numbers[1]",
        ),
        (r#"{"part": {"nope": 1}}"#, "UNKNOWN_FIELD", "part.nope"),
        (r#"{"page": [{}, null]}"#, "INVALID_VALUE", "page[1]"),
        (
            r#"{"[legacy.v1.extra]": {"weight": -1}}"#,
            "INVALID_VALUE",
            "[legacy.v1.extra].weight",
        ),
        (
            r#"{"[legacy.v1.unheard]": 1}"#,
            "UNKNOWN_FIELD",
            "[legacy.v1.unheard]",
        ),
        (
            r#"{"word": "w", "choice": {}}"#,
            "DUPLICATE_FIELD",
            "choice",
        ),
        (r#"{"part": [], "title": 1}"#, "INVALID_VALUE", "part"),
    ] {
        let got = app.json("POST /legacy/echo", json).await;
        assert_eq!((got.reason(), got.field()), (reason.into(), field.into()));
    }
}

#[test]
fn groups_out_of_order_are_merged_and_broken_ones_refused() {
    let codec = Codec::new(descriptors()).unwrap();
    let record = codec.message("legacy.v1.Record").unwrap();
    let print = |wire: &[u8]| {
        let mut json = Vec::new();
        let printed = record.write_json(wire, &mut json);
        printed.map(|()| String::from_utf8(json).unwrap())
    };
    // Field 2 is a group: 0x13 opens it and 0x14 closes it.
    let (note, inner) = ([0x0a, 1, b'n'], [0x13, 0x0a, 1, 5, 0x14]);
    let one = [&[0x13][..], &note, &[0x14]].concat();
    let two = [&[0x13][..], &inner, &[0x14]].concat();
    assert_eq!(
        print(&[one.clone(), two.clone()].concat()).unwrap(),
        r#"{"part":{"note":"n","inner":{"numbers":[5]}}}"#
    );
    for broken in [
        &one[..one.len() - 1],
        &[0x13, 0x1c],
        &[0x14],
        &[0x12, 0],
        // A packed list of groups is nothing.
        &[0x1a, 2, 0x08, 1],
    ] {
        let error = print(broken).unwrap_err();
        assert_eq!(error.reason, "MALFORMED_MESSAGE", "{broken:?}");
    }
}

#[test]
fn extensions_that_are_not_set_are_not_printed_in_any_style() {
    let mut style = JsonStyle::default();
    style.print_defaults = true;
    style.print_nulls = true;
    let codec = Codec::new(descriptors()).unwrap().with_style(style);
    let mut json = Vec::new();
    let record = codec.message("legacy.v1.Record").unwrap();
    // Nor is an empty list of the marks, which are field 101.
    for wire in [&[][..], &[0xaa, 6, 0]] {
        json.clear();
        record.write_json(wire, &mut json).unwrap();
        assert_eq!(
            std::str::from_utf8(&json).unwrap(),
            r#"{"title":null,"part":null,"page":[],"shade":null}"#
        );
    }
}

#[test]
fn groups_are_as_deep_as_messages() {
    let codec = Codec::new(descriptors()).unwrap();
    let record = codec.message("legacy.v1.Record").unwrap();
    let nested = |depth: usize| {
        let (open, close) = (r#"{"part":{"record":"#.repeat(depth), "}}".repeat(depth));
        format!("{open}{{}}{close}")
    };
    let mut wire = Vec::new();
    record.read_json(nested(49).as_bytes(), &mut wire).unwrap();
    let mut json = Vec::new();
    record.write_json(&wire, &mut json).unwrap();
    assert_eq!(json, nested(49).as_bytes());
    let error = record
        .read_json(nested(60).as_bytes(), &mut wire)
        .unwrap_err();
    assert_eq!(error.reason, "TOO_DEEP");
}
