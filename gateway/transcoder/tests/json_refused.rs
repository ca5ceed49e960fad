//! JSON that is not ProtoJSON.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::App;

/// What comes back for a JSON body.
async fn echo(app: &App, body: &str) -> Result<Value, (String, String)> {
    let got = app.json("POST /v1/echo", body).await;
    match got.status.as_u16() {
        200 => Ok(got.json()),
        400 => Err((got.reason(), got.field())),
        other => panic!("{other} for {body}: {}", got.text()),
    }
}

#[tokio::test]
async fn what_is_no_proto_json_is_refused_by_reason_and_path() {
    let app = App::echo();
    let deep = format!("{}{}", r#"{"child":"#.repeat(70), "}".repeat(70));
    let deep_value = format!("{{\"value\":{}{}}}", "[".repeat(70), "]".repeat(70));
    let deep_messages = format!("{{\"value\":{}{}}}", "[".repeat(50), "]".repeat(50));
    for (body, reason, field) in [
        (deep_messages.as_str(), "TOO_DEEP", ""),
        ("[]", "INVALID_VALUE", ""),
        ("null", "INVALID_VALUE", ""),
        ("name=x", "MALFORMED_JSON", ""),
        ("true=x", "INVALID_VALUE", ""),
        ("{} {}", "MALFORMED_JSON", ""),
        (
            "{\"stringValue\": \"\\ud800\"}",
            "MALFORMED_JSON",
            "string_value",
        ),
        ("{'a': 1}", "MALFORMED_JSON", ""),
        (
            r#"{"int32Value": 2147483648}"#,
            "INVALID_VALUE",
            "int32_value",
        ),
        (r#"{"int32Value": 1.5}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"int32Value": ""}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"int32Value": " 1"}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"int32Value": true}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"int32Value": "0x1"}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"int32Value": "NaN"}"#, "INVALID_VALUE", "int32_value"),
        (r#"{"uint32Value": -1}"#, "INVALID_VALUE", "uint32_value"),
        (
            r#"{"uint64Value": 18446744073709551616}"#,
            "INVALID_VALUE",
            "uint64_value",
        ),
        (r#"{"int64Value": 1e30}"#, "INVALID_VALUE", "int64_value"),
        (r#"{"doubleValue": 1e400}"#, "INVALID_VALUE", "double_value"),
        (r#"{"doubleValue": NaN}"#, "MALFORMED_JSON", "double_value"),
        (r#"{"floatValue": 1e39}"#, "INVALID_VALUE", "float_value"),
        (r#"{"boolValue": "true"}"#, "INVALID_VALUE", "bool_value"),
        (r#"{"boolValue": 1}"#, "INVALID_VALUE", "bool_value"),
        (r#"{"stringValue": 1}"#, "INVALID_VALUE", "string_value"),
        (r#"{"bytesValue": "*"}"#, "INVALID_VALUE", "bytes_value"),
        (r#"{"enumValue": "red"}"#, "INVALID_VALUE", "enum_value"),
        (r#"{"enumValue": "1"}"#, "INVALID_VALUE", "enum_value"),
        (r#"{"enumValue": 1.5}"#, "INVALID_VALUE", "enum_value"),
        (r#"{"child": []}"#, "INVALID_VALUE", "child"),
        (
            r#"{"child": {"childList": [{}, {"boolList": [true, 1]}]}}"#,
            "INVALID_VALUE",
            "child.child_list[1].bool_list[1]",
        ),
        (r#"{"child": {"nope": 1}}"#, "UNKNOWN_FIELD", "child.nope"),
        (r#"{"int32List": 1}"#, "INVALID_VALUE", "int32_list"),
        (r#"{"int32List": [null]}"#, "INVALID_VALUE", "int32_list[0]"),
        (r#"{"childList": [null]}"#, "INVALID_VALUE", "child_list[0]"),
        (r#"{"stringMap": []}"#, "INVALID_VALUE", "string_map"),
        (
            r#"{"stringMap": {"a": null}}"#,
            "INVALID_VALUE",
            "string_map[\"a\"]",
        ),
        (
            r#"{"stringMap": {"a": "1", "a": "2"}}"#,
            "DUPLICATE_FIELD",
            "string_map[\"a\"]",
        ),
        (
            r#"{"int32Map": {"x": 1}}"#,
            "INVALID_VALUE",
            "int32_map[\"x\"]",
        ),
        (
            r#"{"int32Map": {"1": 1, "1.0": 1}}"#,
            "DUPLICATE_FIELD",
            "int32_map[\"1.0\"]",
        ),
        (
            r#"{"boolMap": {"True": 1}}"#,
            "INVALID_VALUE",
            "bool_map[\"True\"]",
        ),
        (
            r#"{"int32Value": 1, "int32Value": 1}"#,
            "DUPLICATE_FIELD",
            "int32_value",
        ),
        (
            r#"{"int32Value": 1, "int32_value": null}"#,
            "DUPLICATE_FIELD",
            "int32_value",
        ),
        (
            r#"{"choiceInt32": 1, "choiceString": "a"}"#,
            "DUPLICATE_FIELD",
            "choice_string",
        ),
        (
            r#"{"choiceInt32": 1, "choiceNull": null}"#,
            "DUPLICATE_FIELD",
            "choice_null",
        ),
        (
            r#"{"timestamp": "2020-01-01"}"#,
            "INVALID_VALUE",
            "timestamp",
        ),
        (r#"{"timestamp": 5}"#, "INVALID_VALUE", "timestamp"),
        (
            r#"{"timestampList": ["2020-01-01T00:00:00Z", null]}"#,
            "INVALID_VALUE",
            "timestamp_list[1]",
        ),
        (r#"{"duration": "1"}"#, "INVALID_VALUE", "duration"),
        (r#"{"mask": "foo_bar"}"#, "INVALID_VALUE", "mask"),
        (r#"{"mask": ",a"}"#, "INVALID_VALUE", "mask"),
        (
            r#"{"struct": {"a": 1, "a": 2}}"#,
            "DUPLICATE_FIELD",
            "struct[\"a\"]",
        ),
        (r#"{"struct": []}"#, "INVALID_VALUE", "struct"),
        (r#"{"empty": {"a": 1}}"#, "UNKNOWN_FIELD", "empty.a"),
        (r#"{"int32Wrapper": "x"}"#, "INVALID_VALUE", "int32_wrapper"),
        (r#"{"any": {"value": 1}}"#, "INVALID_VALUE", "any.@type"),
        (
            r#"{"any": {"@type": "nowhere/not.Known"}}"#,
            "INVALID_VALUE",
            "any.@type",
        ),
        (
            r#"{"any": {"@type": "library.v1.Book"}}"#,
            "INVALID_VALUE",
            "any.@type",
        ),
        (
            r#"{"any": {"@type": "x/library.v1.Book", "@type": "x/library.v1.Book"}}"#,
            "DUPLICATE_FIELD",
            "any.@type",
        ),
        (
            r#"{"any": {"@type": "x/library.v1.Book", "nope": 1}}"#,
            "UNKNOWN_FIELD",
            "any.nope",
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Duration"}}"#,
            "INVALID_VALUE",
            "any.value",
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Duration", "value": "1s", "x": 1}}"#,
            "UNKNOWN_FIELD",
            "any.x",
        ),
        (deep.as_str(), "TOO_DEEP", ""),
        (deep_value.as_str(), "TOO_DEEP", ""),
    ] {
        let (got, path) = echo(&app, body).await.expect_err(body);
        assert_eq!(got, reason, "{body}");
        if reason != "TOO_DEEP" {
            assert_eq!(path, field, "{body}");
        }
    }
    let mut invalid = b"{\"stringValue\": \"\xff\"}".to_vec();
    let request = http::Request::post("/v1/echo")
        .body(std::mem::take(&mut invalid).into())
        .unwrap();
    assert_eq!(app.send(request).await.reason(), "MALFORMED_JSON");
    assert!(app.server.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_syntax_error_is_told_by_line_and_column() {
    let app = App::echo();
    let got = app
        .json("POST /v1/echo", "{\n  \"int32Value\": 1,\n  \"x\n}")
        .await;
    let message = got.json()["message"].as_str().unwrap().to_owned();
    assert_eq!(
        message,
        "a control character in a string at line 3, column 5"
    );
}
