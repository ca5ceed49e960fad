//! ProtoJSON, corner by corner, through a real server.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::App;
use tonic_transcoder::{Limits, Transcoder};

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
async fn values_are_accepted_in_every_notation_and_printed_in_one() {
    let app = App::echo();
    for (body, want) in [
        ("{}", "{}"),
        (" {\n} ", "{}"),
        // Numbers.
        (r#"{"int32Value": 1.0}"#, r#"{"int32Value":1}"#),
        (r#"{"int32Value": 1e2}"#, r#"{"int32Value":100}"#),
        (r#"{"int32Value": "7"}"#, r#"{"int32Value":7}"#),
        (r#"{"int32Value": "1e1"}"#, r#"{"int32Value":10}"#),
        (
            r#"{"int32Value": -2147483648}"#,
            r#"{"int32Value":-2147483648}"#,
        ),
        (
            r#"{"int64Value": 9223372036854775807}"#,
            r#"{"int64Value":"9223372036854775807"}"#,
        ),
        (
            r#"{"int64Value": "-9223372036854775808"}"#,
            r#"{"int64Value":"-9223372036854775808"}"#,
        ),
        (
            r#"{"uint64Value": 18446744073709551615}"#,
            r#"{"uint64Value":"18446744073709551615"}"#,
        ),
        (
            r#"{"sint32Value": -1, "sint64Value": -2}"#,
            r#"{"sint32Value":-1,"sint64Value":"-2"}"#,
        ),
        (
            r#"{"fixed32Value": 4294967295, "fixed64Value": 1}"#,
            r#"{"fixed32Value":4294967295,"fixed64Value":"1"}"#,
        ),
        (
            r#"{"sfixed32Value": -1, "sfixed64Value": "-1"}"#,
            r#"{"sfixed32Value":-1,"sfixed64Value":"-1"}"#,
        ),
        (r#"{"doubleValue": "1.5"}"#, r#"{"doubleValue":1.5}"#),
        (r#"{"doubleValue": 3.0}"#, r#"{"doubleValue":3}"#),
        (
            r#"{"doubleList": [-0.0, 1e-7]}"#,
            r#"{"doubleList":[-0,1e-7]}"#,
        ),
        (r#"{"doubleValue": 1e300}"#, r#"{"doubleValue":1e300}"#),
        (
            r#"{"doubleValue": "NaN", "floatValue": "-Infinity"}"#,
            r#"{"doubleValue":"NaN","floatValue":"-Infinity"}"#,
        ),
        (r#"{"floatValue": 0.1}"#, r#"{"floatValue":0.1}"#),
        (
            r#"{"floatValue": 3.4028235e38}"#,
            r#"{"floatValue":3.4028235e38}"#,
        ),
        // Strings and bytes.
        (
            r#"{"stringValue": "\ud83d\ude00\u0000\n\"\\\/"}"#,
            "{\"stringValue\":\"\u{1f600}\\u0000\\n\\\"\\\\/\"}",
        ),
        (r#"{"bytesValue": "-_8"}"#, r#"{"bytesValue":"+/8="}"#),
        (r#"{"bytesValue": "+/8="}"#, r#"{"bytesValue":"+/8="}"#),
        (r#"{"bytesValue": "AA"}"#, r#"{"bytesValue":"AA=="}"#),
        // Enums.
        (r#"{"enumValue": "RED"}"#, r#"{"enumValue":"RED"}"#),
        (r#"{"enumValue": 2}"#, r#"{"enumValue":"GREEN"}"#),
        (r#"{"enumValue": -1}"#, r#"{"enumValue":"NEGATIVE"}"#),
        (r#"{"enumValue": 99}"#, r#"{"enumValue":99}"#),
        // Names, null, defaults and presence.
        (r#"{"int32_value": 1}"#, r#"{"int32Value":1}"#),
        (r#"{"@renamed": "a"}"#, r#"{"@renamed":"a"}"#),
        (r#"{"renamed": "a"}"#, r#"{"@renamed":"a"}"#),
        (r#"{"snakeCase1Name": 1}"#, r#"{"snakeCase1Name":1}"#),
        (
            r#"{"int32Value": null, "child": null, "int32List": null, "stringMap": null}"#,
            "{}",
        ),
        (
            r#"{"int32Value": 0, "stringValue": "", "boolValue": false, "enumValue": 0}"#,
            "{}",
        ),
        (
            r#"{"optionalInt32": 0, "optionalString": "", "optionalEnum": "COLOR_UNSPECIFIED"}"#,
            r#"{"optionalInt32":0,"optionalString":"","optionalEnum":"COLOR_UNSPECIFIED"}"#,
        ),
        (r#"{"child": {}}"#, r#"{"child":{}}"#),
        // Oneofs.
        (r#"{"choiceInt32": 0}"#, r#"{"choiceInt32":0}"#),
        (
            r#"{"choiceInt32": null, "choiceString": "a"}"#,
            r#"{"choiceString":"a"}"#,
        ),
        (r#"{"choiceNull": null}"#, r#"{"choiceNull":null}"#),
        // Lists and maps.
        (
            r#"{"int32List": [], "childList": [{}]}"#,
            r#"{"childList":[{}]}"#,
        ),
        (
            r#"{"int32List": [0, "1", 2.0], "unpackedList": [0, 3]}"#,
            r#"{"int32List":[0,1,2],"unpackedList":[0,3]}"#,
        ),
        (
            r#"{"stringMap": {"": "", "a": "b"}}"#,
            r#"{"stringMap":{"":"","a":"b"}}"#,
        ),
        (
            r#"{"int32Map": {"-1": 5}, "boolMap": {"true": "RED", "false": 0}}"#,
            r#"{"int32Map":{"-1":"5"},"boolMap":{"true":"RED","false":"COLOR_UNSPECIFIED"}}"#,
        ),
        (
            r#"{"childMap": {"18446744073709551615": {}}, "valueMap": {"n": null}}"#,
            r#"{"childMap":{"18446744073709551615":{}},"valueMap":{"n":null}}"#,
        ),
        // Well-known types.
        (
            r#"{"timestamp": "2020-01-01T01:00:00.5+01:00"}"#,
            r#"{"timestamp":"2020-01-01T00:00:00.500Z"}"#,
        ),
        (
            r#"{"timestamp": "1970-01-01T00:00:00Z"}"#,
            r#"{"timestamp":"1970-01-01T00:00:00Z"}"#,
        ),
        (r#"{"duration": "-1.50s"}"#, r#"{"duration":"-1.500s"}"#),
        (r#"{"mask": "fooBar,a.bC"}"#, r#"{"mask":"fooBar,a.bC"}"#),
        (r#"{"mask": ""}"#, r#"{"mask":""}"#),
        (
            r#"{"struct": {"a": [1, 2.5, null, {"b": true}]}}"#,
            r#"{"struct":{"a":[1,2.5,null,{"b":true}]}}"#,
        ),
        (r#"{"value": null}"#, r#"{"value":null}"#),
        (r#"{"value": 3.0}"#, r#"{"value":3}"#),
        (r#"{"value": {}}"#, r#"{"value":{}}"#),
        (
            r#"{"listValue": [[], {}, "x"]}"#,
            r#"{"listValue":[[],{},"x"]}"#,
        ),
        (r#"{"valueList": [null, 1]}"#, r#"{"valueList":[null,1]}"#),
        (r#"{"empty": {}}"#, r#"{"empty":{}}"#),
        (r#"{"nullValue": null}"#, "{}"),
        (
            r#"{"int64Wrapper": 5, "boolWrapper": false, "stringWrapper": ""}"#,
            r#"{"int64Wrapper":"5","boolWrapper":false,"stringWrapper":""}"#,
        ),
        (r#"{"int32Wrapper": null}"#, "{}"),
        (
            r#"{"wrapperList": ["a", ""]}"#,
            r#"{"wrapperList":["a",""]}"#,
        ),
        (
            r#"{"any": {"title": "T", "@type": "type.googleapis.com/library.v1.Book"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/library.v1.Book","title":"T"}}"#,
        ),
        (
            r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}}"#,
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}"#,
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Any", "value": {"@type": "y/google.protobuf.Int32Value", "value": 3}}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Any","value":{"@type":"y/google.protobuf.Int32Value","value":3}}}"#,
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Empty", "value": {}}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Empty","value":{}}}"#,
        ),
    ] {
        let got = app.json("POST /v1/echo", body).await;
        // Two entries of a map may come in either order.
        if want.contains("boolMap") || want.contains("\"stringMap\":{\"\"") {
            assert_eq!(got.json(), serde_json::from_str::<Value>(want).unwrap());
        } else {
            assert_eq!(got.text(), want, "{body}");
        }
    }
}

#[tokio::test]
async fn what_is_no_proto_json_is_refused_by_reason_and_path() {
    let app = App::echo();
    let deep = format!("{}{}", r#"{"child":"#.repeat(70), "}".repeat(70));
    let deep_value = format!("{{\"value\":{}{}}}", "[".repeat(70), "]".repeat(70));
    for (body, reason, field) in [
        ("[]", "INVALID_VALUE", ""),
        ("null", "INVALID_VALUE", ""),
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

#[tokio::test]
async fn a_service_may_have_a_style_of_its_own() {
    let app = App::echo();
    let all = r#"{"first_name":"","big_number":0,"color":0,"tag_list":[],"by_name":{},"maybe_int":null,"child":null,"mask":null,"flag":false}"#;
    for (kind, body, want) in [
        ("application/json", "{}", all.to_owned()),
        (
            "application/json",
            r#"{"unknown": [1], "first_name": ""}"#,
            all.to_owned(),
        ),
        (
            "application/json",
            r#"{"firstName": "A", "big_number": "5"}"#,
            all.replace(r#""first_name":"""#, r#""first_name":"A""#)
                .replace(r#""big_number":0"#, r#""big_number":5"#),
        ),
        (
            "application/json",
            r#"{"color": "rEd"}"#,
            all.replace(r#""color":0"#, r#""color":1"#),
        ),
        (
            "application/json",
            r#"{"mask": "first_name,child.flag"}"#,
            all.replace(r#""mask":null"#, r#""mask":"first_name,child.flag""#),
        ),
        (
            "application/json",
            r#"{"pick_b": ""}"#,
            all.replace(r#""mask""#, r#""pick_b":"","mask""#),
        ),
        (
            "application/json",
            r#"{"maybe_int": 0}"#,
            all.replace(r#""maybe_int":null"#, r#""maybe_int":0"#),
        ),
        (
            "",
            "first_name=F&unknown=x&by_name[k]=3",
            all.replace(r#""first_name":"""#, r#""first_name":"F""#)
                .replace(r#""by_name":{}"#, r#""by_name":{"k":3}"#),
        ),
    ] {
        let headers: &[(&str, &str)] = if kind.is_empty() {
            &[]
        } else {
            &[("content-type", kind)]
        };
        let got = app.request("POST /styled/echo", headers, body).await;
        assert_eq!(got.text(), want, "{body}");
    }
    let got = app
        .get("/styled/echo?flag=true&unknown=1&color=green")
        .await;
    assert_eq!(
        (got.json()["flag"].clone(), got.json()["color"].clone()),
        (json!(true), json!(2))
    );
    assert_eq!(
        app.request(
            "POST /styled/echo?x=1",
            &[("content-type", "application/json")],
            "{}"
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn limits_can_be_chosen() {
    let limits = Limits::default().body(10).depth(2).query(5);
    let transcoder = Transcoder::builder(support::descriptors())
        .limits(limits)
        .build()
        .unwrap();
    let app = App::with(transcoder, |call| Ok(vec![Ok(call.messages[0].clone())]));
    assert_eq!(app.json("POST /v1/echo", "{         }").await.status, 413);
    assert_eq!(app.json("POST /v1/echo", "{        }").await.status, 200);
    assert_eq!(app.get("/v1/echo?int32_value=1").await.status, 414);
    let body = [("content-type", "application/json")];
    let got = app.request("PUT /v1/echo/value", &body, "[[]]").await;
    assert_eq!(got.status, 200);
    let got = app.request("PUT /v1/echo/value", &body, "[[[]]]").await;
    assert_eq!(got.reason(), "TOO_DEEP");
}
