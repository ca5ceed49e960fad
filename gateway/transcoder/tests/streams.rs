//! Streams of requests and of answers, as they come.

#![allow(clippy::unwrap_used)]

mod feed;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use feed::{Answered, Feed, Seen, Version, item};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tonic_transcoder::{Body, Limits};

const BOTH: [Version; 2] = [Version::Http1, Version::Http2];

#[tokio::test]
async fn a_message_goes_on_before_the_next_one_comes() {
    for version in BOTH {
        for (opening, between, end) in [("", "\n", ""), (" [", " , ", "] ")] {
            let mut feed = Feed::start().await;
            let (upload, answer) = feed.send(version, "POST /v1/feeds/1:collect", &[]).await;
            upload.send(&format!("{opening}{{\"title\": \"A\"}}")).await;
            assert_eq!(feed.saw().await, item("feeds/1", "A"));
            upload.send(&format!("{between}{{\"tit")).await;
            upload.send("le\": \"B\"}").await;
            assert_eq!(feed.saw().await, item("feeds/1", "B"));
            upload.send(end).await;
            drop(upload);
            assert_eq!(feed.saw().await, Seen::End);
            let answer = answer.whole().await;
            assert_eq!(answer, (200, json!({"titles": ["A", "B"]}).to_string()));
        }
    }
}

#[tokio::test]
async fn both_sides_may_talk_in_turn() {
    for version in BOTH {
        let feed = Feed::start().await;
        let (upload, answer) = feed.send(version, "POST /v1/chat", &[]).await;
        upload.send("{\"title\": \"A\"}\n").await;
        let mut answer = answer.begun().await;
        for title in ["A", "B", "C"] {
            let line = answer.chunk().await.unwrap();
            assert_eq!(line, format!("{{\"title\":\"{title}\"}}\n"));
            upload
                .send(match title {
                    "A" => "{\"title\": \"B\"}\n",
                    _ => "{\"title\": \"C\"}\n",
                })
                .await;
        }
        drop(upload);
        assert_eq!(answer.chunk().await.as_deref(), Some("{\"title\":\"C\"}\n"));
        assert_eq!(answer.chunk().await, None);
    }
}

#[tokio::test]
async fn a_wrong_message_ends_the_call_and_is_named() {
    for (wrong, field, reason) in [
        ("{\"nope\": 1}", "[2].nope", "UNKNOWN_FIELD"),
        ("{\"seen\": \"x\"}", "[2].seen", "INVALID_VALUE"),
        ("{\"title\": tru}", "[2].title", "MALFORMED_JSON"),
        ("]", "[2]", "MALFORMED_JSON"),
        (", {}", "[2]", "MALFORMED_JSON"),
    ] {
        let mut feed = Feed::start().await;
        let (upload, answer) = feed
            .send(Version::Http1, "POST /v1/feeds/1:collect", &[])
            .await;
        upload.send("{\"title\":\"A\"} {\"title\":\"B\"} ").await;
        assert_eq!(feed.saw().await, item("feeds/1", "A"));
        assert_eq!(feed.saw().await, item("feeds/1", "B"));
        upload.send(wrong).await;
        // The client has more to say, but nobody waits for that.
        let (status, body) = answer.whole().await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["code"]), (400, &json!(3)), "{body}");
        let told = body["message"].as_str().unwrap();
        assert!(told.starts_with(&format!("{field}: ")), "{told}");
        assert_eq!(body["details"][0]["reason"], reason);
        assert_eq!(feed.saw().await, Seen::Broken);
    }
}

#[tokio::test]
async fn a_wrong_message_is_the_last_frame_of_an_answer_that_has_begun() {
    for version in BOTH {
        let mut feed = Feed::start().await;
        let (upload, answer) = feed.send(version, "POST /v1/chat", &[]).await;
        upload.send("{\"title\": \"A\"}").await;
        let mut answer = answer.begun().await;
        assert_eq!(answer.chunk().await.unwrap(), "{\"title\":\"A\"}\n");
        upload.send("{\"nope\": 1}").await;
        let last = answer.chunk().await.unwrap();
        assert!(last.starts_with("{\"error\":{\"code\":3,"), "{last}");
        assert!(last.contains("[1].nope: "), "{last}");
        assert_eq!(answer.chunk().await, None);
        assert_eq!(feed.saw().await, item("", "A"));
        assert_eq!(feed.saw().await, Seen::Broken);
    }
}

#[tokio::test]
async fn a_client_that_breaks_off_is_no_end() {
    for version in BOTH {
        for half in ["", "{\"title\": \"B\"", "[{}"] {
            let mut feed = Feed::start().await;
            let (upload, answer) = feed.send(version, "POST /v1/feeds/1:collect", &[]).await;
            upload.send("{\"title\": \"A\"}\n").await;
            assert_eq!(feed.saw().await, item("feeds/1", "A"));
            upload.send(half).await;
            answer.go_away();
            upload.break_off();
            assert_eq!(feed.saw().await, Seen::Broken, "{version:?} {half}");
        }
    }
}

#[tokio::test]
async fn half_a_message_at_the_end_is_refused() {
    for (body, index) in [
        ("{\"title\":\"A\"}{\"title\"", 1),
        ("[{\"title\":\"A\"}", 1),
        ("[{\"title\":\"A\"},", 1),
        ("[{\"title\":\"A\"}] {}", 1),
    ] {
        let mut feed = Feed::start().await;
        let (status, answer) = feed.post("/v1/feeds/1:collect", body).await;
        assert_eq!(status, 400, "{body} {answer}");
        assert!(answer.contains(&format!("\"[{index}]: ")), "{answer}");
        // What came before may overtake the end or not, but there is no end.
        let seen = match feed.saw().await {
            Seen::Message(_) => feed.saw().await,
            seen => seen,
        };
        assert_eq!(seen, Seen::Broken);
    }
}

#[tokio::test]
async fn messages_are_limited_and_the_stream_is_not() {
    let limits = Limits::default().body(10).message(20);
    let mut feed = Feed::with(|builder| builder.limits(limits)).await;
    let many = "{\"title\": \"A\"}\n\n\n".repeat(1000);
    let (status, _) = feed.post("/v1/feeds/1:collect", &many).await;
    assert_eq!(status, 200);
    while feed.saw().await != Seen::End {}
    for size in [5, 50_000] {
        let body = format!("{{}} {{\"title\":\"{}\"}}", "x".repeat(size + 4));
        let (status, answer) = feed.post("/v1/feeds/1:collect", &body).await;
        assert_eq!(
            (status, answer.contains("\"[1]: ")),
            (413, true),
            "{answer}"
        );
        assert!(answer.contains("BODY_TOO_LARGE"), "{answer}");
    }
}

#[tokio::test]
async fn a_stream_of_nothing_is_one() {
    for body in ["", " \n", "[]", "[ ] "] {
        let mut feed = Feed::start().await;
        let answer = feed.post("/v1/feeds/1:collect", body).await;
        assert_eq!(answer, (200, "{}".to_owned()), "{body}");
        assert_eq!(feed.saw().await, Seen::End);
    }
}

#[tokio::test]
async fn an_upload_goes_on_in_pieces_that_know_what_they_belong_to() {
    for version in BOTH {
        let mut feed = Feed::start().await;
        let kind = [("content-type", "image/gif")];
        let (upload, answer) = feed.send(version, "POST /v1/files/cat?size=7", &kind).await;
        upload.send("GIF").await;
        let file = json!({"contentType": "image/gif", "data": "R0lG"});
        let piece = json!({"name": "cat", "size": 7, "file": file});
        assert_eq!(feed.saw().await, Seen::Message(piece));
        upload.send("89a").await;
        let piece = json!({"name": "cat", "size": 7, "file": {"data": "ODlh"}});
        assert_eq!(feed.saw().await, Seen::Message(piece));
        drop(upload);
        assert_eq!(feed.saw().await, Seen::End);
        assert_eq!(answer.whole().await.0, 200);
    }
    // The request may be the upload itself, and the upload be empty.
    let mut feed = Feed::start().await;
    feed.post("/v1/raw", "ab").await;
    let piece = json!({"contentType": "application/json", "data": "YWI="});
    assert_eq!(feed.saw().await, Seen::Message(piece));
    assert_eq!(feed.saw().await, Seen::End);
    feed.post("/v1/files/nothing", "").await;
    assert_eq!(feed.saw().await, Seen::Message(json!({"name": "nothing"})));
    assert_eq!(feed.saw().await, Seen::End);
}

#[tokio::test]
async fn a_form_is_one_message_and_other_types_are_refused() {
    let mut feed = Feed::start().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let line = "POST /v1/feeds/1:collect";
    let (upload, answer) = feed.send(Version::Http1, line, &form).await;
    upload.send("title=").await;
    upload.send("A").await;
    drop(upload);
    assert_eq!(answer.whole().await.0, 200);
    assert_eq!(feed.saw().await, item("feeds/1", "A"));
    assert_eq!(feed.saw().await, Seen::End);
    for header in [("content-type", "text/plain"), ("content-encoding", "x")] {
        let (upload, answer) = feed.send(Version::Http1, line, &[header]).await;
        upload.send("title").await;
        assert_eq!(answer.whole().await.0, 415, "{header:?}");
    }
}

/// The messages of a body that comes in these pieces.
async fn messages(pieces: Vec<Bytes>) -> Vec<Value> {
    let mut feed = Feed::start().await;
    let frames = pieces
        .into_iter()
        .map(|piece| Ok::<_, tonic::Status>(Frame::data(piece)));
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let response = feed.answer("POST /v1/chat", &[], body).await;
    response.into_body().collect().await.unwrap();
    let mut seen = Vec::new();
    while let Seen::Message(message) = feed.saw().await {
        seen.push(message);
    }
    seen
}

#[tokio::test]
async fn it_does_not_matter_where_a_body_is_cut() {
    let array = "[{\"title\": \"\u{e9}\\\"]}\\\\\"} ,{\"seen\":12},\n{}]";
    let lines = "{\"title\": \"\u{e9}\\\"]}\\\\\"}\n{\"seen\":12}{}";
    let want = [
        json!({"title": "\u{e9}\"]}\\"}),
        json!({"seen": "12"}),
        json!({}),
    ];
    for body in [array, lines] {
        let body = Bytes::from_static(body.as_bytes());
        for cut in 0..=body.len() {
            let pieces = vec![body.slice(..cut), body.slice(cut..)];
            assert_eq!(messages(pieces).await, want, "{cut}");
        }
        let bytes = (0..body.len()).map(|at| body.slice(at..=at)).collect();
        assert_eq!(messages(bytes).await, want);
    }
}

#[tokio::test]
async fn a_body_is_read_no_faster_than_the_service_reads() {
    let read = Arc::new(AtomicUsize::new(0));
    let counted = read.clone();
    let endless = tokio_stream::iter(std::iter::repeat_with(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        Ok::<_, tonic::Status>(Frame::data(Bytes::from_static(b"{\"title\": \"A\"}\n")))
    }));
    let feed = Feed::start().await;
    let body = Body::new(StreamBody::new(endless));
    // It answers without looking at more than one piece of the request.
    let response = feed.answer("POST /v1/greet", &[], body).await;
    assert_eq!(response.status(), 200);
    let few = read.load(Ordering::Relaxed);
    assert!((1..50_000).contains(&few), "{few}");
}

#[tokio::test]
async fn an_answer_is_read_no_faster_than_the_client_reads() {
    let mut feed = Feed::start().await;
    let mut response = feed.answer("GET /v1/endless", &[], Body::empty()).await;
    for _ in 0..3 {
        response.body_mut().frame().await.unwrap().unwrap();
    }
    drop(response);
    let Seen::Gone(sent) = feed.saw().await else {
        panic!("the service was not told that nobody reads");
    };
    assert!((1..50_000).contains(&sent), "{sent}");
}

#[tokio::test]
async fn a_reader_that_goes_away_ends_the_call() {
    for version in BOTH {
        let mut feed = Feed::start().await;
        let (upload, answer) = feed.send(version, "GET /v1/watch", &[]).await;
        drop(upload);
        let mut answer: Answered = answer.begun().await;
        assert_eq!(answer.chunk().await.unwrap(), "{\"title\":\"A\"}\n");
        answer.go_away();
        assert!(matches!(feed.saw().await, Seen::Gone(_)), "{version:?}");
    }
}

#[tokio::test]
async fn the_framing_is_what_the_client_likes_best() {
    let lines = "application/x-ndjson";
    let (array, events) = ("application/json", "text/event-stream");
    for (accept, want) in [
        ("", lines),
        ("text/html", lines),
        ("application/json;q=0.4, text/event-stream;q=0.5", events),
        ("text/event-stream;q=0.4, application/json ; q=0.5", array),
        ("application/json;q=0.3, */*;q=0.8", lines),
        ("text/event-stream, */*", events),
        ("text/*", events),
        ("application/json;q=0", lines),
        ("application/json;q=0.001", array),
        ("application/json;q=x, text/event-stream;q=0.9", array),
        ("TEXT/Event-Stream;charset=utf-8;Q=1", events),
    ] {
        let feed = Feed::start().await;
        let header = [("accept", accept)];
        let response = feed.answer("GET /v1/watch", &header, Body::empty()).await;
        assert_eq!(response.headers()["content-type"], want, "{accept}");
    }
}

#[tokio::test(start_paused = true)]
async fn silent_events_are_kept_alive_and_others_are_left_alone() {
    let quarter = Duration::from_secs(15);
    let feed = Feed::with(|builder| builder.heartbeat(quarter)).await;
    let accept = [("accept", "text/event-stream")];
    let response = feed.answer("GET /v1/watch", &accept, Body::empty()).await;
    let mut body = response.into_body();
    let mut next = async || body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(next().await, "data: {\"title\":\"A\"}\n\n");
    let begun = tokio::time::Instant::now();
    for beat in 1..4 {
        assert_eq!(next().await, ":\n\n");
        assert_eq!(begun.elapsed().as_secs(), 15 * beat);
    }
    let response = feed.answer("GET /v1/watch", &[], Body::empty()).await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let more = tokio::time::timeout(4 * quarter, body.frame()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_reader_that_comes_back_says_what_it_has_seen() {
    let mut feed = Feed::start().await;
    let header = [("last-event-id", "41")];
    feed.answer("GET /v1/resume", &header, Body::empty()).await;
    assert_eq!(feed.saw().await, Seen::Message(json!("41")));
}

#[tokio::test]
async fn what_the_service_refuses_first_is_an_answer_and_later_the_last_frame() {
    let feed = Feed::start().await;
    // By headers alone, and before any message of the client.
    let (_upload, answer) = feed.send(Version::Http2, "POST /v1/refuse", &[]).await;
    let (status, body) = answer.whole().await;
    assert_eq!(status, 403, "{body}");
    let (upload, answer) = feed.send(Version::Http1, "POST /v1/chat", &[]).await;
    upload.send("{\"title\": \"A\"}{\"title\": \"stop\"}").await;
    let (status, body) = answer.whole().await;
    let want =
        "{\"title\":\"A\"}\n{\"error\":{\"code\":10,\"message\":\"stopped\",\"details\":[]}}\n";
    assert_eq!((status, body.as_str()), (200, want));
}

#[tokio::test]
async fn a_service_may_answer_before_it_has_heard_all() {
    for version in BOTH {
        let feed = Feed::start().await;
        let (upload, answer) = feed.send(version, "POST /v1/greet", &[]).await;
        upload.send("{\"title\": \"A\"}\n").await;
        assert_eq!(answer.whole().await.0, 200);
        drop(upload);
    }
}

#[tokio::test]
async fn a_service_in_the_same_process_sees_what_one_behind_a_wire_sees() {
    let mut feed = Feed::start().await;
    let frames = [
        Ok(Frame::data(Bytes::from_static(b"{\"title\": \"A\"} {\"ti"))),
        Err(tonic::Status::cancelled("the client went away")),
    ];
    let body = Body::new(StreamBody::new(tokio_stream::iter(frames)));
    let response = feed.answer("POST /v1/feeds/1:collect", &[], body).await;
    assert_eq!(response.status(), 400);
    assert_eq!(feed.saw().await, item("feeds/1", "A"));
    assert_eq!(feed.saw().await, Seen::Broken);
}
