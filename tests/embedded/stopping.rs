//! What a client hears when the program stops.

use serde_json::Value;

use crate::support::{ADMIN, PASSWORD, Server, log_in};

#[tokio::test]
async fn a_stream_over_http_ends_with_the_reason_when_the_program_stops() {
    for kind in ["application/x-ndjson", "text/event-stream"] {
        let server = need!(Server::start().await);
        let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
        let mut answer = reqwest::Client::new()
            .get(format!("{}/v1/revoked:watch", server.url))
            .header("accept", kind)
            .header("authorization", alice.authorization.unwrap())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        let mut told = answer.chunk().await.unwrap().unwrap().to_vec();
        server.stop();
        // Were the stream not ended, the connection would break off.
        while let Some(piece) = answer.chunk().await.unwrap() {
            told.extend_from_slice(&piece);
        }
        let told = String::from_utf8(told).unwrap();
        let last = told.lines().rfind(|line| !line.is_empty()).unwrap();
        let last: Value = serde_json::from_str(last.trim_start_matches("data: ")).unwrap();
        let error = last.get("error").unwrap_or(&last);
        assert_eq!(error["code"], 14, "{told}");
    }
}
