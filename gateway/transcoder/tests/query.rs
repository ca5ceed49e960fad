//! Queries and path variables as fields of the request.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::App;

#[tokio::test]
async fn a_query_sets_fields_of_every_kind() {
    let app = App::echo();
    for (query, want) in [
        ("", json!({})),
        ("&&", json!({})),
        (
            "int32Value=1&int64_value=-2&boolValue=true",
            json!({"int32Value": 1, "int64Value": "-2", "boolValue": true}),
        ),
        (
            "stringValue=a+b%2Bc%20%E2%82%AC",
            json!({"stringValue": "a b+c \u{20ac}"}),
        ),
        ("stringValue", json!({})),
        (
            "doubleValue=1.5&floatValue=NaN",
            json!({"doubleValue": 1.5, "floatValue": "NaN"}),
        ),
        (
            "bytesValue=-_8&bytesList=%2B%2F8%3D",
            json!({"bytesValue": "+/8=", "bytesList": ["+/8="]}),
        ),
        (
            "enumValue=RED&enumList=2&enumList=NEGATIVE&enumList=-1",
            json!({"enumValue": "RED", "enumList": ["GREEN", "NEGATIVE", "NEGATIVE"]}),
        ),
        (
            "int32List=1&int32List=2&unpackedList=3",
            json!({"int32List": [1, 2], "unpackedList": [3]}),
        ),
        (
            "child.child.int32_value=1&child.child.string_value=x&child.boolValue=true",
            json!({"child": {"boolValue": true, "child": {"int32Value": 1, "stringValue": "x"}}}),
        ),
        (
            "child.stringList=a&child.stringList=b",
            json!({"child": {"stringList": ["a", "b"]}}),
        ),
        (
            "timestamp=2020-01-01T00:00:00.5Z&duration=1.5s&mask=a.b_c,dE",
            json!({"timestamp": "2020-01-01T00:00:00.500Z", "duration": "1.500s", "mask": "a.bC,dE"}),
        ),
        (
            "int32_wrapper=0&string_wrapper=&bool_wrapper=false&wrapper_list=a&wrapper_list=b",
            json!({"int32Wrapper": 0, "stringWrapper": "", "boolWrapper": false, "wrapperList": ["a", "b"]}),
        ),
        ("optional_int32=0", json!({"optionalInt32": 0})),
        (
            "choice_child.int32_value=1&choice_child.bool_value=true",
            json!({"choiceChild": {"int32Value": 1, "boolValue": true}}),
        ),
        (
            "string_map[a.b]=c&string_map[]=d&int32_map[-3]=4&child.string_map[x]=y",
            json!({"stringMap": {"a.b": "c", "": "d"}, "int32Map": {"-3": "4"}, "child": {"stringMap": {"x": "y"}}}),
        ),
        ("%40renamed=x", json!({"@renamed": "x"})),
        ("int32%5Fvalue=3", json!({"int32Value": 3})),
    ] {
        let got = app.get(&format!("/v1/echo?{query}")).await;
        assert_eq!(got.json(), want, "{query}");
    }
}

#[tokio::test]
async fn a_query_that_fits_no_field_is_refused_by_name() {
    let app = App::echo();
    for (query, reason, field) in [
        ("nope=1", "UNKNOWN_QUERY_PARAMETER", "nope"),
        ("child.nope=1", "UNKNOWN_QUERY_PARAMETER", "child.nope"),
        ("int32Value.x=1", "UNKNOWN_QUERY_PARAMETER", "int32Value.x"),
        (
            "childList.int32Value=1",
            "UNKNOWN_QUERY_PARAMETER",
            "childList.int32Value",
        ),
        (
            "timestamp.seconds=1",
            "UNKNOWN_QUERY_PARAMETER",
            "timestamp.seconds",
        ),
        ("=1", "UNKNOWN_QUERY_PARAMETER", ""),
        ("int32Value=", "INVALID_VALUE", "int32_value"),
        ("int32Value=1.5", "INVALID_VALUE", "int32_value"),
        ("boolValue=yes", "INVALID_VALUE", "bool_value"),
        ("enumValue=BLUE", "INVALID_VALUE", "enum_value"),
        ("child={}", "INVALID_VALUE", "child"),
        ("struct=[]", "INVALID_VALUE", "struct"),
        ("stringMap=x", "INVALID_VALUE", "string_map"),
        ("int32Value[a]=1", "INVALID_VALUE", "int32_value"),
        ("int32Map[x]=1", "INVALID_VALUE", "int32_map[\"x\"]"),
        ("child_map[1]=x", "INVALID_VALUE", "child_map[\"1\"]"),
        ("stringValue=%ff", "INVALID_VALUE", "stringValue"),
        ("timestamp=yesterday", "INVALID_VALUE", "timestamp"),
        (
            "int32Value=1&int32_value=1",
            "DUPLICATE_FIELD",
            "int32_value",
        ),
        (
            "stringMap[a]=1&stringMap[a]=2",
            "DUPLICATE_FIELD",
            "string_map",
        ),
        (
            "child.boolValue=true&child.bool_value=true",
            "DUPLICATE_FIELD",
            "child.bool_value",
        ),
        (
            "choiceInt32=1&choiceString=x",
            "DUPLICATE_FIELD",
            "choice_string",
        ),
        (
            "choiceInt32=1&choiceChild.int32Value=1",
            "DUPLICATE_FIELD",
            "choice_child.int32_value",
        ),
    ] {
        let got = app.get(&format!("/v1/echo?{query}")).await;
        assert_eq!(
            (
                got.status.as_u16(),
                got.reason().as_str(),
                got.field().as_str()
            ),
            (400, reason, field),
            "{query}"
        );
    }
    let endless = format!("/v1/echo?{}int32_value=1", "child.".repeat(1000));
    assert_eq!(app.get(&endless).await.reason(), "TOO_DEEP");
    assert!(app.server.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn path_variables_are_typed_and_win() {
    let app = App::echo();
    for (path, want) in [
        (
            "/v1/echo/5/a%2Fb/RED",
            json!({"int32Value": 5, "child": {"stringValue": "a/b"}, "enumValue": "RED"}),
        ),
        (
            "/v1/echo/-5/+/2",
            json!({"int32Value": -5, "child": {"stringValue": "+"}, "enumValue": "GREEN"}),
        ),
        (
            "/v1/echo/0/x/0?int32Value=9&enumValue=RED&child.bool_value=true",
            json!({"child": {"stringValue": "x", "boolValue": true}}),
        ),
    ] {
        let got = app.get(path).await;
        assert_eq!(got.json(), want, "{path}");
    }
    let got = app
        .json(
            "PUT /v1/echo/path/p",
            r#"{"stringValue": "b", "int32Value": 1}"#,
        )
        .await;
    assert_eq!(got.json(), json!({"stringValue": "p", "int32Value": 1}));
    for path in ["/v1/echo/99999999999/x/RED", "/v1/echo/1.5/x/RED"] {
        let got = app.get(path).await;
        assert_eq!(
            (got.status.as_u16(), got.field().as_str()),
            (400, "int32_value"),
            "{path}"
        );
    }
}
