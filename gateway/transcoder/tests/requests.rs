//! HTTP requests, as a tonic server sees them.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::books;

#[tokio::test]
async fn a_get_reads_the_path_and_prints_the_message() {
    let app = books();
    let got = app.get("/v1/shelves/1/books/2").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("etag"), "\"v1\"");
    assert_eq!(
        got.text(),
        r#"{"name":"shelves/1/books/2","title":"T","etag":"v1","pages":"7"}"#
    );
    assert_eq!(app.last().messages[0], json!({"name": "shelves/1/books/2"}));
    app.get("/v1/books/a%2Fb?name=x").await;
    assert_eq!(app.last().messages[0], json!({"name": "x", "isbn": "a/b"}));
}

#[tokio::test]
async fn a_post_creates_with_its_own_status_and_idempotency_key() {
    let app = books();
    let headers = [
        ("content-type", "application/json"),
        ("idempotency-key", "k1"),
    ];
    let got = app
        .request(
            "POST /v1/shelves/1/books?validate_only=true",
            &headers,
            r#"{"title":"New"}"#,
        )
        .await;
    assert_eq!(got.status, 201);
    assert_eq!(got.json(), json!({"title": "New", "etag": "v2"}));
    let want = json!({"parent": "shelves/1", "book": {"title": "New"}, "requestId": "k1", "validateOnly": true});
    assert_eq!(app.last().messages[0], want);
    app.request("POST /v1/shelves/1/books?request_id=own", &headers, "{}")
        .await;
    assert_eq!(app.last().messages[0]["requestId"], "own");
}

#[tokio::test]
async fn verbs_and_bodies_of_the_whole_request() {
    let app = books();
    let got = app
        .json(
            "POST /v1/shelves/1/books/2:move",
            r#"{"otherShelf":"shelves/9","name":"lost"}"#,
        )
        .await;
    assert_eq!(got.json(), json!({"name": "shelves/9"}));
    let want = json!({"name": "shelves/1/books/2", "otherShelf": "shelves/9"});
    assert_eq!(app.last().messages[0], want, "the path wins");
    let got = app
        .json("POST /v1/shelves/1/books/2:move?other_shelf=x", "{}")
        .await;
    assert_eq!(
        (got.status.as_u16(), got.reason().as_str()),
        (400, "UNKNOWN_QUERY_PARAMETER")
    );
    let got = app
        .request("POST /v1/shelves/1/books/2:move", &[], "")
        .await;
    assert_eq!(got.status, 200, "an empty body is an empty message");
}

#[tokio::test]
async fn a_body_may_be_a_list_or_a_single_value() {
    let app = books();
    let got = app
        .json("PUT /v1/shelves/1/books/2/tags", r#"["a","b"]"#)
        .await;
    assert_eq!(
        got.json(),
        json!({"name": "shelves/1/books/2", "tags": ["a", "b"]})
    );
    for (line, body, want) in [
        ("PUT /v1/echo/list", "[1, 2]", json!({"int32List": [1, 2]})),
        ("PUT /v1/echo/text", "\"x\"", json!({"stringValue": "x"})),
        (
            "PUT /v1/echo/value",
            "{\"a\": [null]}",
            json!({"value": {"a": [null]}}),
        ),
        ("PUT /v1/echo/value", "null", json!({"value": null})),
        (
            "PUT /v1/echo?int32_value=4",
            "{\"int32Value\": 3}",
            json!({"int32Value": 4, "child": {"int32Value": 3}}),
        ),
        (
            "PUT /v1/echo/path/p",
            "{\"stringValue\": \"b\"}",
            json!({"stringValue": "p"}),
        ),
    ] {
        let got = app.json(line, body).await;
        assert_eq!(got.json(), want, "{line} {body}");
    }
}

#[tokio::test]
async fn a_form_is_read_like_a_query() {
    let app = books();
    let form = [(
        "content-type",
        "application/x-www-form-urlencoded; charset=utf-8",
    )];
    let got = app
        .request(
            "POST /v1/shelves/1/books",
            &form,
            "title=A%26B+C&tags=x&tags=y&author.given_name=Z&labels[k.1]=v",
        )
        .await;
    assert_eq!(got.status, 201, "{}", got.text());
    let want = json!({"title": "A&B C", "tags": ["x", "y"], "author": {"givenName": "Z"}, "labels": {"k.1": "v"}});
    assert_eq!(app.last().messages[0]["book"], want);
    let got = app
        .request("POST /v1/shelves/1/books", &form, "nope=1")
        .await;
    assert_eq!(
        (got.status.as_u16(), got.reason(), got.field()),
        (400, "UNKNOWN_FIELD".into(), "book.nope".into())
    );
    let got = app
        .request("POST /v1/shelves/1/books/2:move", &form, "other_shelf=s")
        .await;
    assert_eq!(got.json(), json!({"name": "s"}));
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_with_reasons() {
    let app = books();
    let long = format!(
        "GET /v1/shelves/1/books?page_token={}",
        "x".repeat(17 << 10)
    );
    let big = format!("\"{}\"", "x".repeat(5 << 20));
    let json = "application/json";
    for (line, kind, body, status, reason, field) in [
        ("POST /v1/echo", json, "{", 400, "MALFORMED_JSON", ""),
        (
            "POST /v1/echo",
            json,
            "{\"child\": {\"int32List\": [1, \"x\"]}}",
            400,
            "INVALID_VALUE",
            "child.int32_list[1]",
        ),
        (
            "POST /v1/echo",
            json,
            "{\"nope\": 1}",
            400,
            "UNKNOWN_FIELD",
            "nope",
        ),
        (
            "POST /v1/echo",
            json,
            "{\"boolValue\": true, \"bool_value\": false}",
            400,
            "DUPLICATE_FIELD",
            "bool_value",
        ),
        (
            "POST /v1/echo",
            "text/plain",
            "x",
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "",
        ),
        (
            "POST /v1/echo",
            json,
            big.as_str(),
            413,
            "BODY_TOO_LARGE",
            "",
        ),
        (
            "GET /v1/shelves/1/books",
            json,
            "[]",
            400,
            "UNEXPECTED_BODY",
            "",
        ),
        (
            "DELETE /v1/shelves/1/books/2",
            json,
            "{\"force\": true}",
            400,
            "UNEXPECTED_BODY",
            "force",
        ),
        (
            "DELETE /v1/shelves/1/books/2",
            json,
            "{} {}",
            400,
            "MALFORMED_JSON",
            "",
        ),
        (
            "DELETE /v1/shelves/1/books/2",
            "application/x-www-form-urlencoded",
            "a=b",
            400,
            "UNEXPECTED_BODY",
            "",
        ),
        (
            "DELETE /v1/shelves/1/books/2",
            "text/plain",
            "{}",
            400,
            "UNEXPECTED_BODY",
            "",
        ),
        (long.as_str(), json, "", 414, "QUERY_TOO_LONG", ""),
        (
            "GET /v1/shelves/1/books?nope=1",
            json,
            "",
            400,
            "UNKNOWN_QUERY_PARAMETER",
            "nope",
        ),
        (
            "GET /v1/shelves/1/books?page_size=x",
            json,
            "",
            400,
            "INVALID_VALUE",
            "page_size",
        ),
        (
            "GET /v1/shelves/1/books?page_size=1&pageSize=1",
            json,
            "",
            400,
            "DUPLICATE_FIELD",
            "page_size",
        ),
        ("GET /v1/books/%ff", json, "", 400, "INVALID_VALUE", "isbn"),
        (
            "GET /v1/echo/x/y/RED",
            json,
            "",
            400,
            "INVALID_VALUE",
            "int32_value",
        ),
    ] {
        let got = app.request(line, &[("content-type", kind)], body).await;
        assert_eq!(got.status.as_u16(), status, "{line}");
        assert_eq!(
            (got.reason().as_str(), got.field().as_str()),
            (reason, field),
            "{line}: {}",
            got.text()
        );
        assert_eq!(got.json()["code"], 3);
        assert_eq!(got.detail("ErrorInfo")["domain"], "transcoder");
    }
    let gzip = [("content-type", json), ("content-encoding", "gzip")];
    assert_eq!(app.request("POST /v1/echo", &gzip, "x").await.status, 415);
    assert!(app.server.calls.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_empty_object_is_no_body() {
    let app = books();
    for body in ["{}", " { }\n"] {
        let got = app.json("DELETE /v1/shelves/1/books/2", body).await;
        assert_eq!(got.status, 204, "{}", got.text());
        let got = app.json("GET /v1/shelves/1/books?page_size=1", body).await;
        assert_eq!(got.status, 200, "{}", got.text());
    }
    let got = app.request("DELETE /v1/shelves/1/books/2", &[], "{}").await;
    assert_eq!(got.status, 204, "also without a type: {}", got.text());
    // A service that ignores what it does not know ignores it here too.
    let got = app
        .json("GET /styled/echo?flag=true", r#"{"x": [1]}"#)
        .await;
    assert_eq!(got.json()["flag"], true);
}

#[tokio::test]
async fn paths_without_a_rule_are_not_found_and_other_methods_not_allowed() {
    let app = books();
    let got = app.get("/v1/nothing/here/at/all").await;
    assert_eq!(
        (got.status.as_u16(), got.reason().as_str()),
        (404, "ROUTE_NOT_FOUND")
    );
    assert_eq!(got.json()["code"], 5);
    let got = app.request("PUT /v1/shelves/1/books", &[], "").await;
    assert_eq!(
        (got.status.as_u16(), got.header("allow")),
        (405, "GET, HEAD, POST")
    );
    let got = app.request("OPTIONS /v1/shelves/1/books", &[], "").await;
    assert_eq!(
        (got.status.as_u16(), got.header("allow"), got.text()),
        (204, "GET, HEAD, POST, OPTIONS", "")
    );
    assert_eq!(
        app.request("OPTIONS /v1/nothing", &[], "").await.status,
        404
    );
}

#[tokio::test]
async fn custom_methods_and_paths_of_several_segments() {
    let app = books();
    for (line, want) in [
        ("GET /v1/files/a/b%2Fc%20d", json!({"path": "a/b%2Fc d"})),
        ("REPORT /v1/files/x", json!({"path": "x"})),
        (
            "GET /v1/drive/c%2F/a/b/raw",
            json!({"drive": "c/", "path": "a/b"}),
        ),
        ("BREW /v1/anything/x%2Fy", json!({"path": "x/y"})),
        ("GET /v1/files", json!({})),
        ("GET /v1/files/a:b", json!({"path": "a:b"})),
    ] {
        let got = app.request(line, &[], "").await;
        assert_eq!(got.json(), want, "{line}");
    }
}
