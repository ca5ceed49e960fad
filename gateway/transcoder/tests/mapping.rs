//! ProtoJSON, corner by corner, from a table that names the clauses.

#![allow(clippy::unwrap_used)]

mod support;

use support::{compile_text, descriptors};
use tonic_transcoder::{Codec, JsonStyle};

const TABLE: &str = include_str!("conformance/json.txt");
const EVERYTHING: &str = "library.v1.Everything";

/// What is printed of a document, or the reason and the field of its refusal.
fn mapped(codec: &Codec, name: &str, json: &[u8]) -> String {
    let message = codec.message(name).unwrap();
    let (mut wire, mut printed) = (Vec::new(), Vec::new());
    match message.read_json(json, &mut wire) {
        Ok(()) => {
            message.write_json(&wire, &mut printed).unwrap();
            String::from_utf8(printed).unwrap()
        }
        Err(error) => format!("{} {}", error.reason, error.path)
            .trim_end()
            .to_owned(),
    }
}

#[test]
fn documents_mean_what_the_mapping_says() {
    let codec = Codec::new(descriptors()).unwrap();
    let (mut rows, mut wrong) = (0, Vec::new());
    for (line, text) in (1..).zip(TABLE.lines()) {
        let Some((row, _clause)) = text.rsplit_once(" # ").filter(|_| !text.starts_with('#'))
        else {
            assert!(
                text.is_empty() || text.starts_with('#'),
                "line {line}: {text}"
            );
            continue;
        };
        let (json, want) = row.split_once(" => ").unwrap();
        let want = match want.trim() {
            "SAME" => json,
            want => want,
        };
        let got = mapped(&codec, EVERYTHING, json.as_bytes());
        if got != want {
            wrong.push(format!(
                "line {line}: {json}\n  gives {got}\n  not   {want}"
            ));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(rows > 200, "{rows}");
}

#[test]
fn only_utf8_without_a_mark_is_json() {
    let codec = Codec::new(descriptors()).unwrap();
    for json in [
        &b"\xef\xbb\xbf{}"[..],
        b"\xff\xfe{\0}\0",
        b"",
        b" ",
        b"\0{}",
        b"{}\0",
        // A byte too many, an overlong form, half of a pair, and too far.
        b"{\"stringValue\":\"\xc3\x28\"}",
        b"{\"stringValue\":\"\xc0\xaf\"}",
        b"{\"stringValue\":\"\xed\xa0\x80\"}",
        b"{\"stringValue\":\"\xf4\x90\x80\x80\"}",
        b"{\"\xff\":1}",
    ] {
        let got = mapped(&codec, EVERYTHING, json);
        assert_eq!(got, "MALFORMED_JSON", "{}", json.escape_ascii());
    }
}

#[test]
fn a_name_that_two_fields_claim_is_read_as_it_is_printed() {
    let set = compile_text(
        r#"syntax = "proto2"; package t;
        message M {
          optional string one = 1 [json_name = "two"];
          optional string two = 2 [json_name = "three"];
        }"#,
    );
    let codec = Codec::new(set).unwrap();
    for (json, want) in [
        (r#"{"two":"x"}"#, r#"{"two":"x"}"#),
        (r#"{"three":"y","two":"x"}"#, r#"{"two":"x","three":"y"}"#),
        (r#"{"one":"x","three":"y"}"#, r#"{"two":"x","three":"y"}"#),
        (r#"{"two":"x","one":"y"}"#, "DUPLICATE_FIELD one"),
    ] {
        assert_eq!(mapped(&codec, "t.M", json.as_bytes()), want);
    }
    let mut style = JsonStyle::default();
    style.proto_field_names = true;
    let codec = codec.with_style(style);
    for (json, want) in [
        (r#"{"two":"x"}"#, r#"{"two":"x"}"#),
        (r#"{"two":"y","one":"x"}"#, r#"{"one":"x","two":"y"}"#),
        (r#"{"three":"x","two":"y"}"#, "DUPLICATE_FIELD two"),
    ] {
        assert_eq!(mapped(&codec, "t.M", json.as_bytes()), want);
    }
}

#[test]
fn huge_documents_are_read_or_refused_at_once() {
    let codec = Codec::new(descriptors()).unwrap();
    let digits = "9".repeat(1 << 20);
    let zeros = "0".repeat(1 << 20);
    for (json, want) in [
        (
            format!("{{\"int64Value\":{digits}}}"),
            "INVALID_VALUE int64_value".into(),
        ),
        (
            format!("{{\"int64Value\":1{zeros}}}"),
            "INVALID_VALUE int64_value".into(),
        ),
        (
            format!("{{\"int64Value\":1.{zeros}}}"),
            r#"{"int64Value":"1"}"#.into(),
        ),
        (
            format!("{{\"int64Value\":1{zeros}e-{}}}", 1 << 20),
            r#"{"int64Value":"1"}"#.into(),
        ),
        (
            format!("{{\"doubleValue\":{digits}}}"),
            "INVALID_VALUE double_value".into(),
        ),
        (format!("{{\"doubleValue\":0.{zeros}1}}"), "{}".into()),
        (
            format!("{{\"timestamp\":\"{digits}\"}}"),
            "INVALID_VALUE timestamp".into(),
        ),
        (
            format!("{{\"stringValue\":\"{digits}\"}}"),
            format!("{{\"stringValue\":\"{digits}\"}}"),
        ),
        ("[".repeat(1 << 20), "INVALID_VALUE".into()),
        (
            format!("{{\"value\":{}", "[".repeat(1 << 20)),
            "TOO_DEEP value".into(),
        ),
        (
            format!("{{\"x\":{}", "{\"a\":".repeat(1 << 20)),
            "UNKNOWN_FIELD x".into(),
        ),
    ] {
        let got = mapped(&codec, EVERYTHING, json.as_bytes());
        let got = got.split('[').next().unwrap();
        assert!(got == want, "{:.60} gives {got:.60}", json);
    }
}

#[test]
fn what_is_skipped_is_json_too() {
    let mut style = JsonStyle::default();
    style.ignore_unknown = true;
    let codec = Codec::new(descriptors()).unwrap().with_style(style);
    for (json, want) in [
        (
            r#"{"x":{"a":[1,"b",null,true,{}]},"int32Value":1}"#,
            r#"{"int32Value":1}"#,
        ),
        (r#"{"x":1,"x":2}"#, "{}"),
        (r#"{"x":[1,]}"#, "MALFORMED_JSON"),
        (r#"{"x":"\ud800"}"#, "MALFORMED_JSON"),
        (r#"{"x":01}"#, "MALFORMED_JSON"),
        (r#"{"x":nope}"#, "MALFORMED_JSON"),
        // A name that is not known of an enum is as good as not given.
        (
            r#"{"enumValue":"PURPLE","enumList":["RED","PURPLE"],"boolMap":{"true":"PURPLE"}}"#,
            r#"{"enumList":["RED"]}"#,
        ),
        (
            r#"{"enumValue":"PURPLE","enumValue":"RED"}"#,
            "DUPLICATE_FIELD enum_value",
        ),
        (r#"{"enumList":"PURPLE"}"#, "INVALID_VALUE enum_list"),
        (r#"{"enumValue":true}"#, "INVALID_VALUE enum_value"),
        (
            r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s","more":1}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s"}}"#,
        ),
    ] {
        assert_eq!(mapped(&codec, EVERYTHING, json.as_bytes()), want, "{json}");
    }
}

#[test]
fn a_list_of_nothing_is_no_list() {
    let codec = Codec::new(descriptors()).unwrap();
    let message = codec.message(EVERYTHING).unwrap();
    let print = |wire: &[u8]| {
        let mut json = Vec::new();
        message.write_json(wire, &mut json).unwrap();
        String::from_utf8(json).unwrap()
    };
    let mut wire = Vec::new();
    message
        .read_json(br#"{"int32List":[]}"#, &mut wire)
        .unwrap();
    assert_eq!(wire, b"");
    // int32_list is field 23: packed and empty, then packed with a 7.
    let (empty, seven) = (&[0xba, 1, 0][..], &[0xba, 1, 1, 7][..]);
    assert_eq!(print(empty), "{}");
    assert_eq!(print(&[empty, seven].concat()), r#"{"int32List":[7]}"#);
    assert_eq!(
        print(&[&[0x18, 1][..], empty].concat()),
        r#"{"int32Value":1}"#
    );
}

#[test]
fn null_stands_for_nothing_only_where_it_is_no_value() {
    let mut style = JsonStyle::default();
    style.print_nulls = true;
    let codec = Codec::new(descriptors()).unwrap().with_style(style);
    let printed = mapped(&codec, EVERYTHING, b"{}");
    assert!(printed.contains(r#""struct":null"#), "{printed}");
    assert!(!printed.contains(r#""value":null"#), "{printed}");
    let with_value = mapped(&codec, EVERYTHING, br#"{"value":null}"#);
    assert!(with_value.contains(r#""value":null"#), "{with_value}");
}

#[test]
fn only_masks_that_can_be_read_are_printed() {
    let codec = Codec::new(descriptors()).unwrap();
    let mut style = JsonStyle::default();
    style.proto_field_names = true;
    let proto = codec.clone().with_style(style);
    for (path, camel, snake) in [
        ("a_b.c", Some("aB.c"), Some("a_b.c")),
        ("*", Some("*"), Some("*")),
        ("", None, None),
        ("a,b", None, None),
        ("a b", None, None),
        ("a\n", None, None),
        ("a__b", None, Some("a__b")),
        ("aB", None, Some("aB")),
    ] {
        // mask is field 74, and its paths are field 1.
        let length = u8::try_from(path.len()).unwrap();
        let wire = [&[0xd2, 4, length + 2, 10, length], path.as_bytes()].concat();
        for (codec, want) in [(&codec, camel), (&proto, snake)] {
            let mut json = Vec::new();
            let message = codec.message(EVERYTHING).unwrap();
            match (message.write_json(&wire, &mut json), want) {
                (Ok(()), Some(want)) => {
                    assert_eq!(json, format!("{{\"mask\":\"{want}\"}}").as_bytes());
                }
                (Err(error), None) => assert_eq!(error.reason, "UNPRINTABLE"),
                (got, want) => panic!("{path:?}: {got:?}, not {want:?}"),
            }
        }
    }
}

#[test]
fn a_key_that_is_written_in_two_ways_is_one_key_and_the_last_value_wins() {
    let codec = Codec::new(descriptors()).unwrap();
    let message = codec.message(EVERYTHING).unwrap();
    // string_map is field 41, int32_map 42 and bool_map 43.
    for (wire, want) in [
        // The empty key, written and left out.
        (
            &[
                0xca, 2, 5, 0x0a, 0, 0x12, 1, b'a', 0xca, 2, 3, 0x12, 1, b'b',
            ][..],
            r#"{"stringMap":{"":"b"}}"#,
        ),
        // Seven in one byte and in two.
        (
            &[0xd2, 2, 4, 8, 7, 16, 1, 0xd2, 2, 5, 8, 0x87, 0, 16, 2],
            r#"{"int32Map":{"7":"2"}}"#,
        ),
        // True is whatever is not nothing.
        (
            &[0xda, 2, 4, 8, 1, 16, 1, 0xda, 2, 4, 8, 2, 16, 2],
            r#"{"boolMap":{"true":"GREEN"}}"#,
        ),
    ] {
        let mut json = Vec::new();
        message.write_json(wire, &mut json).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), want);
    }
}
