//! What an update changes, and under which condition.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::{App, books};
use tonic::{Code, Status};

#[tokio::test]
async fn a_patch_gets_its_mask_from_the_body() {
    let app = books();
    for (query, body, want) in [
        (
            "",
            r#"{"title":"N","author":{"givenName":"A","mentor":{"family_name":null}},"tags":[],"labels":{"a":"b"}}"#,
            json!("title,author.givenName,author.mentor.familyName,tags,labels"),
        ),
        ("", r#"{"author":{}}"#, json!("author")),
        (
            "",
            r#"{"name":"lost","published":"2020-01-01T00:00:00Z","author":null}"#,
            json!("published,author"),
        ),
        (
            "?update_mask=title,author.given_name",
            r#"{"title":"N"}"#,
            json!("title,author.givenName"),
        ),
        ("", "{}", json!("")),
        ("?updateMask=*", r#"{"title":"N"}"#, json!("*")),
        (
            "?updateMask=labels.*",
            r#"{"title":"N"}"#,
            json!("labels.*"),
        ),
        (
            "",
            r#"{"labels":{},"tags":["a"],"author":{"mentor":{}}}"#,
            json!("labels,tags,author.mentor"),
        ),
    ] {
        let got = app
            .json(&format!("PATCH /v1/shelves/1/books/2{query}"), body)
            .await;
        assert_eq!(got.status, 200, "{}", got.text());
        let message = &app.last().messages[0];
        assert_eq!(message["updateMask"], want, "{body}");
        assert_eq!(message["book"]["name"], "shelves/1/books/2");
    }
    // Nothing is no change, and there is nothing to make a mask of.
    app.json("PATCH /v1/shelves/1/books/2", "").await;
    assert!(app.last().messages[0].get("updateMask").is_none());
    for body in ["[]", "\"x\"", "1", "[{}]"] {
        let got = app.json("PATCH /v1/shelves/1/books/2", body).await;
        assert_eq!((got.status.as_u16(), got.field()), (400, "book".into()));
    }
    let form = [("content-type", "application/x-www-form-urlencoded")];
    app.request(
        "PATCH /v1/shelves/1/books/2",
        &form,
        "title=A+B&author.given_name=C",
    )
    .await;
    let message = &app.last().messages[0];
    assert_eq!(message["updateMask"], "title,author.givenName");
    assert_eq!(message["book"]["title"], "A B");
}

#[tokio::test]
async fn a_condition_is_a_field_of_the_request() {
    let app = books();
    let headers = [
        ("content-type", "application/json"),
        ("if-match", "W/\"v1\""),
    ];
    app.request("PATCH /v1/shelves/1/books/2", &headers, r#"{"title":"N"}"#)
        .await;
    assert_eq!(app.last().messages[0]["etag"], "v1");
    assert_eq!(app.last().metadata["if-match"], "W/\"v1\"");
    app.request("PATCH /v1/shelves/1/books/2?etag=own", &headers, "{}")
        .await;
    assert_eq!(app.last().messages[0]["etag"], "own");
}

#[tokio::test]
async fn an_etag_that_is_refused_is_a_failed_condition_if_it_was_one() {
    let app = App::new(|call| {
        let code = match call.messages[0]["book"]["title"].as_str() {
            Some("busy") => Code::Unavailable,
            Some("there") => Code::AlreadyExists,
            _ => Code::Aborted,
        };
        Err(Status::new(code, "no"))
    });
    let line = "PATCH /v1/shelves/1/books/2";
    let json = ("content-type", "application/json");
    let tag = ("if-match", "\"v1\"");
    for (headers, body, want) in [
        (&[json, tag][..], r#"{"title":"N"}"#, 412),
        // The same refusal of what was no condition of HTTP.
        (&[json], r#"{"title":"N"}"#, 409),
        (&[json, ("if-match", "*")], r#"{"title":"N"}"#, 409),
        (&[json, tag], r#"{"title":"there"}"#, 409),
        (&[json, tag], r#"{"title":"busy"}"#, 503),
    ] {
        let got = app.request(line, headers, body).await;
        assert_eq!(got.status, want, "{headers:?} {body}: {}", got.text());
    }
    let got = app.request(line, &[json, tag], "{}").await;
    assert_eq!(got.json()["code"], Code::Aborted as i32, "{}", got.text());
}

#[tokio::test]
async fn a_condition_that_nobody_checks_is_refused() {
    let app = books();
    let (book, json) = ("/v1/shelves/1/books", "application/json");
    for (line, body) in [
        (format!("DELETE {book}/2"), ""),
        (format!("POST {book}"), r#"{"title":"N","etag":"v1"}"#),
        (format!("POST {book}/2:move"), r#"{"otherShelf":"s"}"#),
        (format!("PUT {book}/2/tags"), "[]"),
        ("REPORT /v1/files/x".to_owned(), ""),
    ] {
        for tag in ["\"v1\"", "W/\"v1\"", "v1", "\"v1\", \"v2\""] {
            let headers = [("content-type", json), ("if-match", tag)];
            let got = app.request(&line, &headers, body).await;
            assert_eq!(
                (got.status.as_u16(), got.reason().as_str(), got.field()),
                (412, "CONDITION_UNSUPPORTED", "if-match".to_owned()),
                "{line} {tag}: {}",
                got.text()
            );
        }
    }
    assert!(app.server.calls.lock().unwrap().is_empty());
    for (line, tag) in [
        (format!("DELETE {book}/2"), "*"),
        (format!("POST {book}"), "*"),
        (format!("GET {book}/2"), "\"v1\""),
        (format!("HEAD {book}/2"), "\"v1\""),
        // A stream, of which only the service knows.
        ("POST /v1/books:import".to_owned(), "\"v1\""),
    ] {
        let headers = [("content-type", json), ("if-match", tag)];
        let got = app.request(&line, &headers, "{}").await;
        assert!(got.status.is_success(), "{line}: {}", got.status);
    }
}

#[tokio::test]
async fn a_condition_is_a_field_of_the_resource_where_the_request_has_none() {
    let app = books();
    let json = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let line = "PATCH /v1/shelves/1/drafts/2";
    for (kind, body, etag, mask) in [
        (json, r#"{"title":"N"}"#, "v1", "title"),
        // What the body says goes first, and is a condition, not a change.
        (json, r#"{"title":"N","etag":"own"}"#, "own", "title"),
        (json, r#"{"etag":"own"}"#, "own", ""),
        (json, r#"{"etag":null,"title":"N"}"#, "v1", "title"),
        (json, "{}", "v1", ""),
        (form, "title=N&etag=own", "own", "title"),
        (form, "title=N", "v1", "title"),
    ] {
        let headers = [kind, ("if-match", "\"v1\"")];
        let got = app.request(line, &headers, body).await;
        assert_eq!(got.status, 200, "{}", got.text());
        let message = &app.last().messages[0];
        assert_eq!(message["book"]["etag"], etag, "{body}");
        assert_eq!(message["updateMask"], mask, "{body}");
        assert_eq!(message["book"]["name"], "shelves/1/drafts/2");
    }
    let got = app
        .request(
            "PUT /v1/shelves/1/drafts/2",
            &[json, ("if-match", "\"v1\"")],
            "",
        )
        .await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert_eq!(app.last().messages[0]["book"]["etag"], "v1");
    app.request(line, &[json, ("if-match", "*")], "{}").await;
    assert!(app.last().messages[0]["book"].get("etag").is_none());
    let got = app
        .request(line, &[json, ("if-match", "\"v1\", \"v2\"")], "{}")
        .await;
    assert_eq!(
        (got.status.as_u16(), got.field().as_str()),
        (400, "if-match"),
        "a condition is never passed over"
    );
}
