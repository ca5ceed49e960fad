//! ProtoJSON, corner by corner, through a real server.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::App;

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
        (r#"{"doubleValue": 1e300}"#, r#"{"doubleValue":1e+300}"#),
        (
            r#"{"doubleValue": "NaN", "floatValue": "-Infinity"}"#,
            r#"{"doubleValue":"NaN","floatValue":"-Infinity"}"#,
        ),
        (r#"{"floatValue": 0.1}"#, r#"{"floatValue":0.1}"#),
        (
            r#"{"floatValue": 3.4028235e38}"#,
            r#"{"floatValue":3.4028235e+38}"#,
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
            r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#,
        ),
        (
            r#"{"any": {"@type": "x/google.protobuf.Empty"}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#,
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
async fn the_deepest_json_that_is_accepted_can_be_read_by_the_server() {
    let app = App::echo();
    for (field, open, inner, close) in [
        ("value", "[", "1", "]"),
        ("value", "{\"a\":", "1", "}"),
        ("child", "{\"child\":", "{}", "}"),
    ] {
        let mut accepted = 0;
        for depth in 1..70 {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let body = format!("{{\"{field}\":{open}{inner}{close}}}");
            let got = app.json("POST /v1/echo", &body).await;
            match got.status.as_u16() {
                200 => accepted = depth,
                _ => assert_eq!(got.reason(), "TOO_DEEP", "{depth} {}", got.text()),
            }
        }
        assert!((30..70).contains(&accepted), "{open} {accepted}");
    }
}
