//! Keys that are used from many places, while they are changed.

use serde_json::{Value, json};

use super::keys::{in_time, new_key, path};
use super::{text, world};
use crate::support::Caller;

const KEYS: usize = 10;
const AGENTS: usize = 60;

/// Uses a key from many places at once.
async fn use_everywhere(owner: &Caller, secret: &str) {
    let one = |number| {
        let source = format!("192.0.{number}.1");
        json!({"apiKey": secret, "source": source, "userAgent": format!("script/{number}")})
    };
    let all: Vec<_> = (0..AGENTS).map(one).collect();
    let body = json!({"requests": all});
    let answer = owner.post("/v1/apiKeys:batchVerify", body).await;
    let answer = answer.expect(200);
    let told = answer["responses"].as_array().unwrap();
    assert!(told.iter().all(|one| one["valid"] == true), "{answer}");
}

#[tokio::test]
async fn keys_that_are_used_from_many_places_can_be_rotated_and_revoked_at_once() {
    let alice = &need!(world().await).alice;
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        keys.push(new_key(alice, json!({})).await);
    }
    for (_, secret) in &keys {
        use_everywhere(alice, secret).await;
    }
    // Whichever of these comes while the uses are written is not refused.
    for (key, secret) in &keys {
        let rotate = format!("{}:rotate", path(key));
        let rotated = alice.post(&rotate, json!({"overlap": "3600s"})).await;
        rotated.expect(200);
        use_everywhere(alice, secret).await;
        let revoke = format!("{}:revoke", path(key));
        alice.post(&revoke, json!({})).await.expect(200);
    }
    for (key, _) in &keys {
        all_are_counted(alice, key).await;
    }
}

async fn all_are_counted(owner: &Caller, key: &Value) {
    let all = (2 * AGENTS).to_string();
    let old = async || {
        let rotation = owner.get(&format!("{}/rotation", path(key))).await;
        rotation.expect(200)["generations"][1].clone()
    };
    in_time("the uses of a secret", async || {
        old().await["useCount"] == all.as_str()
    })
    .await;
    let old = old().await;
    let uses = old["uses"].as_array().unwrap();
    let count = |one: &Value| text(&one["count"]).parse::<usize>().unwrap();
    assert_eq!(uses.iter().map(count).sum::<usize>(), 2 * AGENTS);
    assert_eq!(uses.len(), 32, "31 origins, and all others together");
    let noted = async || owner.get(&path(key)).await.json()["lastUseTime"] == old["lastUseTime"];
    in_time("the last use of the key", noted).await;
}
