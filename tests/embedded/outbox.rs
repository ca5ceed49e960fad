//! What key management refuses to be told, which no client can bring about.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{ADMIN, PASSWORD, Server, log_in, python};

#[tokio::test]
async fn what_is_refused_keeps_back_nothing_else_and_is_told_of_once() {
    let server = need!(Server::start().await);
    let alice = log_in(&server.anybody(), ADMIN, PASSWORD, None).await;
    let body = json!({"displayName": "below"});
    let made = alice.post("/v1/tenants", body).await.expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let owner = log_in(&server.anybody(), ADMIN, PASSWORD, Some(&id)).await;
    let mut key = owner.key_holder(&["devices.read"]).await;
    key.get("/v1/devices").await.expect(200);

    let installation = server.kill();
    let folder = installation.folder.path().to_str().unwrap();
    let variables = [("FOLDER", folder), ("TENANT", &*id)];
    let written = need!(python("letters.py", &["sqlite3"], &variables));
    assert!(written.status.success(), "{written:?}");
    let server = Server::start_on(installation).await;
    key.url = server.url.clone();
    // A page of letters that are refused comes first, and takes its time.
    let end = Instant::now() + Duration::from_secs(60);
    while key.get("/v1/devices").await.status != 401 {
        assert!(Instant::now() < end, "the last letter: {}", server.log());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = server.log();
    let told = log
        .lines()
        .filter(|line| line.contains("refuses what it is told"));
    assert_eq!(told.count(), 1500, "{log}");
    assert!(log.contains("nonsense") && !log.contains("nonsense:"));
}
