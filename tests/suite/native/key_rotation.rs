//! Two secrets of one key, and how one sees which is used.

use chassis::Clock;
use chrono::TimeDelta;
use serde_json::{Value, json};

use super::clients::admin;
use super::keys::{holder, in_time, is_refused, new_key, path};
use super::{text, world};
use crate::support::{Caller, eventually};

/// Rotates a key; answers what was told.
async fn rotate(owner: &Caller, key: &Value, overlap: &str) -> Value {
    let body = json!({"overlap": overlap});
    let path = format!("{}:rotate", path(key));
    owner.post(&path, body).await.expect(200)
}

async fn rotation(owner: &Caller, key: &Value) -> Value {
    let path = format!("{}/rotation", path(key));
    owner.get(&path).await.expect(200)
}

async fn works(holder: &Caller) -> bool {
    holder.get("/v1/devices").await.status == 200
}

#[tokio::test]
async fn both_secrets_work_until_the_rotation_is_finished() {
    let alice = &need!(world().await).alice;
    let (key, old) = new_key(alice, json!({"environment": "live"})).await;
    let old = holder(alice, &old);
    assert!(works(&old).await);
    let rotated = rotate(alice, &key, "3600s").await;
    assert_eq!(rotated["apiKey"]["id"], key["id"]);
    let secret = text(&rotated["secret"]);
    assert!(secret.starts_with("muster_live_"), "{secret}");
    let new = holder(alice, secret);
    assert!(works(&new).await && works(&old).await);
    let generations = &rotated["rotation"]["generations"];
    assert_eq!(
        (&generations[0]["number"], &generations[1]["number"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(generations[0].get("endTime"), None);
    let both_live = [&generations[0]["live"], &generations[1]["live"]];
    assert_eq!(both_live, [&json!(true), &json!(true)]);
    let finish = format!("{}/rotation:finish", path(&key));
    let finished = alice.post(&finish, json!({})).await.expect(200);
    assert_eq!(finished.get("running"), None);
    assert_eq!(finished["generations"][1].get("live"), None);
    is_refused(&old, "KEY_SUPERSEDED").await;
    assert!(works(&new).await);
}

#[tokio::test]
async fn without_an_overlap_the_old_secret_ends_at_once() {
    let alice = &need!(world().await).alice;
    let (key, old) = new_key(alice, json!({})).await;
    let old = holder(alice, &old);
    assert!(works(&old).await);
    let rotated = rotate(alice, &key, "0s").await;
    assert_eq!(rotated["rotation"].get("running"), None);
    is_refused(&old, "KEY_SUPERSEDED").await;
    assert!(works(&holder(alice, text(&rotated["secret"]))).await);
}

#[tokio::test]
async fn an_overlap_ends_by_itself() {
    let alice = &need!(world().await).alice;
    let (key, old) = new_key(alice, json!({})).await;
    rotate(alice, &key, "1s").await;
    is_refused(&holder(alice, &old), "KEY_SUPERSEDED").await;
    assert_eq!(rotation(alice, &key).await.get("running"), None);
}

#[tokio::test]
async fn an_overlap_is_a_day_if_nothing_else_is_said() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({})).await;
    let path = format!("{}:rotate", path(&key));
    let rotated = alice.post(&path, json!({})).await.expect(200);
    let generations = &rotated["rotation"]["generations"];
    let time = |text: &Value| {
        let text = super::text(text);
        chrono::DateTime::parse_from_rfc3339(text).unwrap()
    };
    let overlap = time(&generations[1]["endTime"]) - time(&generations[0]["createTime"]);
    assert_eq!(overlap, TimeDelta::hours(24));
}

#[tokio::test]
async fn a_key_has_two_secrets_at_most() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({})).await;
    rotate(alice, &key, "3600s").await;
    let path = format!("{}:rotate", path(&key));
    let refused = alice.post(&path, json!({})).await;
    assert_eq!(refused.reason(400), "ROTATION_RUNNING");
}

#[tokio::test]
async fn an_overlap_can_be_extended_and_only_while_it_lasts() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({})).await;
    let extend = format!("{}/rotation:extend", path(&key));
    let later = |seconds| {
        let end = Clock::system().now() + TimeDelta::seconds(seconds);
        json!({"endTime": end.to_rfc3339()})
    };
    let refused = alice.post(&extend, later(60)).await;
    assert_eq!(refused.reason(400), "NO_ROTATION_RUNNING");
    rotate(alice, &key, "3600s").await;
    let refused = alice.post(&extend, later(-60)).await;
    assert_eq!(refused.fields(), ["end_time"]);
    let refused = alice.post(&extend, later(366 * 24 * 3600)).await;
    assert_eq!(refused.fields(), ["end_time"]);
    let before = rotation(alice, &key).await;
    let extended = alice.post(&extend, later(7200)).await.expect(200);
    let end = |rotation: &Value| text(&rotation["generations"][1]["endTime"]).to_owned();
    assert!(end(&extended) > end(&before));
    assert_eq!(rotation(alice, &key).await, extended);
}

#[tokio::test]
async fn an_overlap_is_extended_only_by_who_may_rotate_the_key() {
    let world = need!(world().await);
    let alice = &world.alice;
    let (key, _) = new_key(alice, json!({})).await;
    let (id, user) = admin(world).await;
    let (owned, _) = new_key(&user, json!({"owner": format!("user:{id}")})).await;
    let other = alice.key_holder(&["keys.write"]).await;
    let end = Clock::system().now() + TimeDelta::hours(2);
    let body = json!({"endTime": end.to_rfc3339()});
    for (key, by, stranger, reason) in [
        (&key, alice, &other, "PERMISSION_NOT_HELD"),
        (&owned, &user, alice, "OWNER_NOT_CALLER"),
    ] {
        rotate(by, key, "3600s").await;
        let before = rotation(by, key).await;
        let extend = format!("{}/rotation:extend", path(key));
        let refused = stranger.post(&extend, body.clone()).await;
        assert_eq!(refused.reason(403), reason);
        assert_eq!(rotation(by, key).await, before);
        by.post(&extend, body.clone()).await.expect(200);
    }
}

#[tokio::test]
async fn a_rotation_can_be_finished_only_while_it_runs() {
    let alice = &need!(world().await).alice;
    let (key, _) = new_key(alice, json!({})).await;
    let finish = format!("{}/rotation:finish", path(&key));
    let refused = alice.post(&finish, json!({})).await;
    assert_eq!(refused.reason(400), "NO_ROTATION_RUNNING");
}

#[tokio::test]
async fn a_key_that_has_ended_gets_no_new_secret() {
    let alice = &need!(world().await).alice;
    let (revoked, _) = new_key(alice, json!({})).await;
    let revoke = format!("{}:revoke", path(&revoked));
    alice.post(&revoke, json!({})).await.expect(200);
    let end = Clock::system().now() + TimeDelta::milliseconds(1500);
    let (expired, _) = new_key(alice, json!({"expireTime": end.to_rfc3339()})).await;
    let state = async || alice.get(&path(&expired)).await.json()["state"] == "STATE_EXPIRED";
    in_time("the key's end", state).await;
    for (key, reason) in [(&revoked, "KEY_REVOKED"), (&expired, "KEY_EXPIRED")] {
        let path = format!("{}:rotate", path(key));
        assert_eq!(alice.post(&path, json!({})).await.reason(400), reason);
    }
}

#[tokio::test]
async fn one_sees_which_secret_is_used_from_where_and_by_what() {
    let alice = &need!(world().await).alice;
    let (key, old) = new_key(alice, json!({})).await;
    let rotated = rotate(alice, &key, "3600s").await;
    let new = text(&rotated["secret"]);
    let verify = async |secret: &str, source: &str, agent: &str| {
        let body = json!({"apiKey": secret, "source": source, "userAgent": agent});
        let answer = alice.post("/v1/apiKeys:verify", body).await.expect(200);
        assert_eq!(answer["valid"], true);
    };
    verify(&old, "192.0.2.7", "script/1").await;
    verify(&old, "192.0.2.8", "script/1").await;
    verify(&old, "2001:db8:1:2::3", "script/2").await;
    verify(new, "198.51.100.1", "script/2").await;
    let counted = async || {
        let rotation = rotation(alice, &key).await;
        let count = |i: usize| rotation["generations"][i]["useCount"].clone();
        (count(0), count(1)) == (json!("1"), json!("3"))
    };
    in_time("the uses of both secrets", counted).await;
    let rotation = rotation(alice, &key).await;
    let uses = |i: usize| {
        let uses = rotation["generations"][i]["uses"].as_array().unwrap();
        let mut uses: Vec<_> = uses
            .iter()
            .map(|u| {
                (
                    text(&u["network"]),
                    text(&u["userAgent"]),
                    text(&u["count"]),
                )
            })
            .collect();
        uses.sort_unstable();
        uses
    };
    assert_eq!(uses(0), [("198.51.100.0/24", "script/2", "1")]);
    let old_uses = [
        ("192.0.2.0/24", "script/1", "2"),
        ("2001:db8:1::/48", "script/2", "1"),
    ];
    assert_eq!(uses(1), old_uses);
    assert!(rotation["generations"][1].get("lastUseTime").is_some());
}

#[tokio::test]
async fn a_program_may_rotate_its_own_key() {
    let alice = &need!(world().await).alice;
    let more = json!({"permissions": ["keys.write", "devices.read"]});
    let (key, old) = new_key(alice, more).await;
    let program = holder(alice, &old);
    let rotated = rotate(&program, &key, "60s").await;
    let program = holder(alice, text(&rotated["secret"]));
    let finish = format!("{}/rotation:finish", path(&key));
    program.post(&finish, json!({})).await.expect(200);
    eventually("the new secret", async || works(&program).await).await;
}
