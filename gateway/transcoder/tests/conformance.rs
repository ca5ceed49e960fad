//! Tables that are written from the specifications, row by row.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{App, Got};
use tonic_transcoder::Transcoder;

/// A row: what is given, what is wanted, and where it is.
struct Row<'t> {
    given: &'t str,
    want: &'t str,
    line: usize,
}

/// Gives each row of a table to a test, and what else it has as it is.
fn rows<'t>(table: &'t str, mut each: impl FnMut(Result<Row<'t>, &'t str>)) {
    for (line, text) in (1..).zip(table.lines()) {
        // The clause is for readers.
        let row = text.rsplit_once(" # ").map_or(text, |(row, _)| row);
        if text.starts_with('#') || row.trim().is_empty() {
            continue;
        }
        each(match row.split_once(" =>") {
            Some((given, want)) => Ok(Row {
                given,
                want: want.trim(),
                line,
            }),
            None => Err(row.trim()),
        });
    }
}

/// A transcoder with these rules for one method.
fn routed(rules: &[(String, String)], fully: bool) -> Result<Transcoder, String> {
    let binding = |(method, template): &(String, String)| json!({"custom": {"kind": method, "path": template}});
    let mut bindings = rules.iter().map(binding);
    let mut rule = bindings.next().unwrap();
    rule["selector"] = json!("library.v1.Library.Unrouted");
    rule["additionalBindings"] = bindings.collect();
    let document = json!({"http": {"rules": [rule], "fullyDecodeReservedExpansion": fully}});
    Transcoder::builder(support::descriptors())
        .rules_from_json(document.to_string())
        .build()
        .map_err(|error| error.to_string())
}

#[test]
fn templates_are_parsed_or_refused() {
    let (mut count, mut wrong) = (0, Vec::new());
    rows(include_str!("conformance/templates.txt"), |row| {
        let row = row.unwrap_or_else(|text| panic!("{text}"));
        let got = routed(&[("REPORT".into(), row.given.into())], false);
        match (&got, row.want) {
            (Ok(_), "ok") => {}
            (Err(error), want) if want != "ok" && error.contains(want) => {}
            _ => wrong.push(format!("{}: {:?}: {:?}", row.line, row.given, got.err())),
        }
        count += 1;
    });
    assert!(count > 70, "{count} rows");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Routes, and the rows that are for them.
#[derive(Default)]
struct Set<'t> {
    fully: bool,
    rules: Vec<(String, String)>,
    rows: Vec<Row<'t>>,
}

#[tokio::test]
async fn requests_find_their_route_and_bind_its_variables() {
    let mut sets: Vec<Set<'_>> = Vec::new();
    rows(include_str!("conformance/routes.txt"), |row| match row {
        Ok(row) => sets.last_mut().unwrap().rows.push(row),
        Err("--") => {}
        Err(text) if text.starts_with('[') => {
            let fully = text.ends_with("fully_decode_reserved_expansion");
            sets.push(Set {
                fully,
                ..Set::default()
            });
        }
        Err(text) => {
            let (method, template) = text.split_once(' ').unwrap();
            let rules = &mut sets.last_mut().unwrap().rules;
            rules.push((method.to_owned(), template.to_owned()));
        }
    });
    let mut wrong = Vec::new();
    for Set { fully, rules, rows } in sets {
        let transcoder = routed(&rules, fully).unwrap();
        let app = App::with(transcoder.clone(), |call| {
            Ok(vec![Ok(call.messages[0].clone())])
        });
        assert!(!rows.is_empty());
        for row in rows {
            let (method, path) = row.given.split_once(' ').unwrap();
            let got = app.request(&format!("{method} {path}"), &[], "").await;
            let found = transcoder.route(&method.parse().unwrap(), path);
            let text = match found {
                Ok(matched) if got.text().is_empty() => matched.rule().template.clone(),
                Ok(matched) => format!("{} {}", matched.rule().template, got.text()),
                Err(_) if got.header("allow").is_empty() => got.status.as_str().to_owned(),
                Err(_) => format!("{} {}", got.status.as_str(), got.header("allow")),
            };
            if text != row.want {
                wrong.push(format!("{}: {}: {text}", row.line, row.given));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What was wrong: `REASON FIELD`.
fn fault(got: &Got) -> String {
    format!("{} {}", got.reason(), got.field())
}

#[tokio::test]
async fn queries_and_forms_make_messages() {
    let app = App::echo();
    let mut all = Vec::new();
    rows(include_str!("conformance/queries.txt"), |row| {
        all.push(row.unwrap_or_else(|text| panic!("{text}")));
    });
    assert!(all.len() > 100);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let mut wrong = Vec::new();
    for row in all {
        // Only what a URI cannot have as it is.
        let query: String = row.given.chars().map(encoded).collect();
        let by_query = app.get(&format!("/v1/echo?{query}")).await;
        let by_form = app.request("POST /v1/echo", &form, row.given).await;
        for (got, unknown) in [
            (by_query, "UNKNOWN_QUERY_PARAMETER"),
            (by_form, "UNKNOWN_FIELD"),
        ] {
            if !is_made(&got, &row.want.replace("UNKNOWN_QUERY_PARAMETER", unknown)) {
                wrong.push(format!("{}: {}: {}", row.line, row.given, got.text()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether an answer is the JSON, or the fault, that is wanted.
fn is_made(got: &Got, want: &str) -> bool {
    if want.starts_with('{') {
        return got.json() == serde_json::from_str::<Value>(want).unwrap();
    }
    let (want, text) = want.split_once(": ").unwrap_or((want, ""));
    let message = got.json()["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    // The types of the .proto file say nothing to those who speak JSON.
    fault(got).trim() == want && message.contains(text) && !message.contains("library.v1")
}

fn encoded(char: char) -> String {
    match char {
        '"' | '{' | '}' | '<' | '>' | '^' | '`' | '|' | '\\' => {
            format!("%{:02X}", u32::from(char))
        }
        char => char.into(),
    }
}

#[tokio::test]
async fn headers_become_metadata_fields_or_faults() {
    let app = support::books();
    let mut all = Vec::new();
    rows(include_str!("conformance/headers.txt"), |row| {
        all.push(row.unwrap_or_else(|text| panic!("{text}")));
    });
    for row in all {
        let (name, value) = row.given.split_once(": ").unwrap();
        let lower = name.to_ascii_lowercase();
        // One has a `request_id`, the other an `etag`.
        let line = match row.want.starts_with("[requestId]") {
            true => "POST /v1/shelves/1/books",
            false => "PATCH /v1/shelves/1/books/2",
        };
        let got = app.request(line, &[(name, value)], "").await;
        let place = format!("line {}: {}: {}", row.line, row.given, got.text());
        if let Some(field) = row.want.strip_prefix('[') {
            let (field, want) = field.split_once(']').unwrap();
            let got = app.last().messages[0][field].clone();
            assert_eq!(got.as_str().unwrap_or_default(), want.trim(), "{place}");
        } else if let Some(header) = row.want.strip_prefix("< ") {
            match header.split_once(": ") {
                Some((name, want)) => assert_eq!(got.header(name), want, "{place}"),
                None => assert_eq!(got.header(&header[1..]), "", "{place}"),
            }
        } else if row.want == "-" {
            assert!(!app.last().metadata.contains_key(&lower), "{place}");
        } else if let Some((name, want)) = row.want.split_once(": ") {
            assert_eq!(app.last().metadata[name], want, "{place}");
        } else {
            assert_eq!(fault(&got), row.want, "{place}");
        }
    }
}
