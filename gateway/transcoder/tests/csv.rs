//! Streams as CSV: rows that become messages, and messages that become rows.

#![allow(clippy::unwrap_used)]

mod feed;
mod support;

use bytes::Bytes;
use feed::{Feed, Seen, Version, item};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use support::compile_text;
use tonic_transcoder::{Body, Codec, JsonError, Limits};

const CSV: [(&str, &str); 1] = [("content-type", "text/csv")];

#[tokio::test]
async fn a_row_goes_on_before_the_next_one_comes() {
    for version in [Version::Http1, Version::Http2] {
        let mut feed = Feed::start().await;
        let (upload, answer) = feed.send(version, "POST /v1/feeds/1:collect", &CSV).await;
        upload.send("\u{feff}title,se").await;
        upload.send("en\r\n").await;
        upload.send("A,\n\"B, \"\"b").await;
        assert_eq!(feed.saw().await, item("feeds/1", "A"));
        upload.send("\"\"\n\",7\n\n").await;
        let b = json!({"parent": "feeds/1", "title": "B, \"b\"\n", "seen": "7"});
        assert_eq!(feed.saw().await, Seen::Message(b));
        // The last line need not end.
        upload.send("C,").await;
        drop(upload);
        assert_eq!(feed.saw().await, item("feeds/1", "C"));
        assert_eq!(feed.saw().await, Seen::End);
        let answer = answer.whole().await;
        assert_eq!(answer.0, 200, "{}", answer.1);
    }
}

#[tokio::test]
async fn a_wrong_row_ends_the_call_and_is_named() {
    for (rows, field, reason, text) in [
        ("nope\n", "nope", "UNKNOWN_FIELD", "line 1: unknown"),
        ("title,title\n", "title", "DUPLICATE_FIELD", "line 1: "),
        ("title.x\n", "title.x", "UNKNOWN_FIELD", "line 1: "),
        ("title,seen\nA,x\n", "[0].seen", "INVALID_VALUE", "line 2: "),
        ("title\nA\n\nB,C\n", "[1]", "MALFORMED_CSV", "line 4: "),
    ] {
        let feed = Feed::start().await;
        let (upload, answer) = feed
            .send(Version::Http1, "POST /v1/feeds/1:collect", &CSV)
            .await;
        upload.send(rows).await;
        drop(upload);
        let (status, body) = answer.whole().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(status, 400, "{body}");
        assert_eq!(body["details"][0]["reason"], reason, "{body}");
        let message = body["message"].as_str().unwrap();
        let told = message.strip_prefix(&format!("{field}: ")).unwrap();
        assert!(told.starts_with(text), "{message}");
    }
}

#[tokio::test]
async fn a_row_is_limited_also_one_of_empty_cells() {
    let limits = Limits::default().message(30);
    for (rows, status) in [
        (
            "title,seen\nabcdefghijklmnopqrstuvwxyz,123\n".to_owned(),
            200,
        ),
        (
            "title,seen\nabcdefghijklmnopqrstuvwxyz,1234\n".to_owned(),
            413,
        ),
        (format!("title\n{}\n", ",".repeat(100_000)), 413),
        // Without an end it is too long as well.
        (format!("title\n{}", ",".repeat(100_000)), 413),
        (",".repeat(100_000), 413),
        (format!("title\n{}", "A\n\n\n".repeat(100)), 200),
    ] {
        let feed = Feed::with(|builder| builder.limits(limits)).await;
        let line = "POST /v1/feeds/1:collect";
        let body = Body::new(http_body_util::Full::new(Bytes::from(rows.clone())));
        let response = feed.answer(line, &CSV, body).await;
        assert_eq!(response.status(), status, "{rows:.60}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let told = String::from_utf8_lossy(&body).contains("BODY_TOO_LARGE");
        assert_eq!(told, status == 413, "{rows:.60}");
    }
}

#[tokio::test]
async fn only_a_stream_takes_csv() {
    let feed = Feed::start().await;
    let kinds = [("content-type", "text/csv"), ("accept", "text/csv")];
    let (upload, answer) = feed.send(Version::Http1, "POST /v1/chat", &kinds).await;
    upload.send("title,seen\n\"A;\nb\",3\n,\n").await;
    drop(upload);
    let (status, body) = answer.whole().await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body, "parent,title,seen\r\n,\"A;\nb\",3\r\n,,\r\n");
    let (upload, answer) = feed.send(Version::Http1, "POST /v1/raw", &CSV).await;
    upload.send("as it is").await;
    drop(upload);
    assert_eq!(answer.whole().await.0, 200);
}

const THINGS: &str = r#"
syntax = "proto3";
package t;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
message Thing {
  string display_name = 1;
  repeated string tag_ids = 2;
  map<string, string> labels = 3;
  google.protobuf.Struct attributes = 4;
  Place place = 5;
  State state = 6;
  google.protobuf.Timestamp time = 7;
  repeated Place places = 8;
  oneof way { int64 left = 9; string right = 10; }
  Thing within = 11;
}
message Place { optional double latitude = 1; string text = 2; }
enum State { STATE_UNSPECIFIED = 0; STATE_ON = 1; }
"#;

fn codec() -> Codec {
    Codec::new(compile_text(THINGS)).unwrap()
}

fn read(codec: &Codec, names: &[&str], cells: &[&str]) -> Result<Value, JsonError> {
    let things = codec.message("t.Thing").unwrap();
    let (mut wire, mut json) = (Vec::new(), Vec::new());
    let header = things.csv(names.iter().copied())?;
    header.read_row(cells, &mut wire)?;
    things.write_json(&wire, &mut json)?;
    Ok(serde_json::from_slice(&json).unwrap())
}

#[test]
fn a_cell_is_whatever_its_column_is() {
    let codec = codec();
    for (name, cell, want) in [
        ("displayName", "x", json!({"displayName": "x"})),
        ("display_name", " x ", json!({"displayName": " x "})),
        ("display_name", "", json!({})),
        ("tag_ids", "a; b;", json!({"tagIds": ["a", "b"]})),
        ("tag_ids", r#"["a;b", ""]"#, json!({"tagIds": ["a;b", ""]})),
        ("labels.region", "eu", json!({"labels": {"region": "eu"}})),
        ("labels.a.b", "c", json!({"labels": {"a.b": "c"}})),
        ("labels[plantId]", "c", json!({"labels": {"plantId": "c"}})),
        ("labels", r#"{"a": "b"}"#, json!({"labels": {"a": "b"}})),
        (
            "attributes",
            r#"{"a": [1]}"#,
            json!({"attributes": {"a": [1]}}),
        ),
        ("place.latitude", "0", json!({"place": {"latitude": 0}})),
        ("place", r#"{"text": "t"}"#, json!({"place": {"text": "t"}})),
        ("state", "STATE_ON", json!({"state": "STATE_ON"})),
        (
            "time",
            "2026-01-02T03:04:05Z",
            json!({"time": "2026-01-02T03:04:05Z"}),
        ),
        (
            "places",
            r#"[{"text": "t"}]"#,
            json!({"places": [{"text": "t"}]}),
        ),
        (
            "within.place.text",
            "t",
            json!({"within": {"place": {"text": "t"}}}),
        ),
    ] {
        assert_eq!(read(&codec, &[name], &[cell]).unwrap(), want, "{name}");
    }
    for (name, cell, path) in [
        ("display_nam", "", "display_nam"),
        ("place.nope", "", "place.nope"),
        ("display_name[x]", "", "display_name[x]"),
        ("state", "ON", "state"),
        ("places", "x", "places"),
        ("place.latitude", "north", "place.latitude"),
        ("labels", "x", "labels"),
    ] {
        assert_eq!(read(&codec, &[name], &[cell]).unwrap_err().path, path);
    }
}

#[test]
fn a_row_has_one_member_of_a_oneof() {
    let codec = codec();
    let both = ["left", "right"];
    assert_eq!(
        read(&codec, &both, &["1", ""]).unwrap(),
        json!({"left": "1"})
    );
    let refused = read(&codec, &both, &["1", "2"]).unwrap_err();
    assert_eq!(refused.reason, "DUPLICATE_FIELD");
}

#[test]
fn oneofs_are_told_apart_by_where_they_are() {
    let codec = codec();
    for (names, cells, refused) in [
        (&["left", "within.right"][..], &["1", "2"][..], ""),
        (&["within.left", "within.right"], &["1", "2"], "right"),
        (&["within.left", "within.within.right"], &["1", "2"], ""),
        (&["right", "left", "display_name"], &["1", "2", ""], "left"),
        (&["right", "left", "display_name"], &["", "2", "x"], ""),
    ] {
        let path = read(&codec, names, cells).err().map(|error| error.path);
        assert_eq!(path.unwrap_or_default(), refused, "{names:?}");
    }
}

#[test]
fn many_columns_are_not_compared_with_each_other() {
    let codec = codec();
    let things = codec.message("t.Thing").unwrap();
    let names: Vec<String> = (0..100_000).map(|n| format!("labels.{n}")).collect();
    let names = ["left", "right"]
        .into_iter()
        .chain(names.iter().map(String::as_str));
    let begun = std::time::Instant::now();
    let header = things.csv(names).unwrap();
    let mut cells = vec![""; 100_002];
    cells[1] = "r";
    header.read_row(&cells, &mut Vec::new()).unwrap();
    // All pairs would take minutes.
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn what_is_written_reads_as_it_was() {
    let codec = codec();
    let things = codec.message("t.Thing").unwrap();
    let names = [
        "display_name",
        "tag_ids",
        "labels",
        "attributes",
        "place.latitude",
        "places",
    ];
    let header = things.csv(names.into_iter()).unwrap();
    for want in [
        json!({"displayName": "a\r\n\"b\",;", "tagIds": ["a", "b"], "place": {"latitude": 0}}),
        json!({"tagIds": ["a;b"], "labels": {"a": "1", "b": ""}, "places": [{}, {"text": ";"}]}),
        json!({"tagIds": ["[a"], "attributes": {"x": {"y": [null, 1.5]}}}),
        json!({"tagIds": [" a", ""]}),
        json!({"displayName": "=1+1"}),
    ] {
        let (mut wire, mut csv) = (Vec::new(), Vec::new());
        things
            .read_json(want.to_string().as_bytes(), &mut wire)
            .unwrap();
        header.write_row(&wire, &mut csv).unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&csv[..]);
        let row = reader.records().next().unwrap().unwrap();
        let cells: Vec<_> = row.iter().collect();
        let (mut again, mut json) = (Vec::new(), Vec::new());
        header.read_row(&cells, &mut again).unwrap();
        things.write_json(&again, &mut json).unwrap();
        let got: Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(got, want, "{}", String::from_utf8_lossy(&csv));
    }
}
