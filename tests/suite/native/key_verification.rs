//! Whether a key is good: asked by services that Muster does not know.

use chassis::hash::sha256;
use chrono::TimeDelta;
use proto::keys::WatchRevokedRequest;
use proto::keys::key_verification_service_client::KeyVerificationServiceClient;
use serde_json::{Value, json};

use super::keys::{in_time, new_key, path, with};
use super::people::email;
use super::{text, world};
use crate::support::{Caller, World, eventually, grpc, join};

async fn verify(asking: &Caller, secret: &str, more: Value) -> Value {
    let body = with(json!({"apiKey": secret}), more);
    asking.post("/v1/apiKeys:verify", body).await.expect(200)
}

/// Waits until a key is told to be no good for this reason; answers what is told.
async fn becomes(asking: &Caller, secret: &str, code: &str) -> Value {
    let so = async || verify(asking, secret, json!({})).await["code"] == code;
    eventually(code, so).await;
    let told = verify(asking, secret, json!({})).await;
    assert_eq!((&told["code"], told.get("valid")), (&json!(code), None));
    told
}

#[tokio::test]
async fn of_a_good_key_all_is_told_that_a_service_needs() {
    let World {
        alice, tenant_a, ..
    } = need!(world().await);
    let more = json!({
        "permissions": ["devices.read", "tags.read"],
        "metadata": {"plan": "gold"},
        "environment": "test",
        "expireTime": "2199-01-01T00:00:00Z",
    });
    let (key, secret) = new_key(alice, more.clone()).await;
    // Asked twice: what is remembered says the same.
    for _ in 0..2 {
        let told = verify(alice, &secret, json!({"permission": "tags.read"})).await;
        assert_eq!(
            (&told["valid"], &told["code"]),
            (&json!(true), &json!("CODE_VALID"))
        );
        assert_eq!(told["principal"], format!("key:{}", text(&key["id"])));
        assert_eq!(told["tenantId"], json!(tenant_a));
        assert_eq!(told["displayName"], key["displayName"]);
        for (field, value) in more.as_object().unwrap() {
            assert_eq!(told[field], *value, "{field}");
        }
        assert_eq!(told.get("superseded"), None);
    }
}

#[tokio::test]
async fn a_key_that_lacks_the_wanted_permission_is_told_as_that() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let told = verify(alice, &secret, json!({"permission": "devices.write"})).await;
    assert_eq!(told["code"], "CODE_PERMISSION_MISSING");
    assert_eq!(told.get("valid"), None);
    assert_eq!(told["permissions"], json!(["devices.read"]));
    assert_eq!(told["displayName"], key["displayName"]);
}

#[tokio::test]
async fn a_permission_that_is_none_is_the_callers_mistake() {
    let alice = &need!(world().await).alice;
    let (_, secret) = new_key(alice, json!({})).await;
    let one = json!({"apiKey": secret, "permission": "devices.fly"});
    let refused = alice.post("/v1/apiKeys:verify", one.clone()).await;
    assert_eq!(refused.fields(), ["permission"]);
    let all = json!({"requests": [{"apiKey": secret}, one]});
    let refused = alice.post("/v1/apiKeys:batchVerify", all).await;
    assert_eq!(refused.fields(), ["requests[1].permission"]);
    let nowhere = json!({"apiKey": secret, "source": "nowhere"});
    let refused = alice.post("/v1/apiKeys:verify", nowhere).await;
    assert_eq!(refused.fields(), ["source"]);
}

#[tokio::test]
async fn what_is_no_key_of_ours_is_malformed_or_unknown() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    let mut broken = secret.clone();
    let last = broken.pop().unwrap();
    broken.push(if last == 'a' { 'b' } else { 'a' });
    for (presented, code) in [
        (broken.as_str(), "CODE_MALFORMED"),
        ("no key at all", "CODE_UNKNOWN"),
        ("MToyMzQ1Njc4OQ==", "CODE_UNKNOWN"),
    ] {
        let told = verify(alice, presented, json!({})).await;
        assert_eq!(told["code"], code, "{presented}");
        assert_eq!((told.get("valid"), told.get("principal")), (None, None));
    }
    alice.delete(&path(&key)).await.expect(200);
    let told = becomes(alice, &secret, "CODE_UNKNOWN").await;
    assert_eq!(told.get("principal"), None);
}

#[tokio::test]
async fn of_another_tenants_key_nothing_is_told() {
    let World { alice, bob, .. } = need!(world().await);
    let (key, secret) = new_key(alice, json!({})).await;
    let nothing = json!({"code": "CODE_UNKNOWN"});
    let told_to_bob = async || {
        let mut told = verify(bob, &secret, json!({})).await;
        told.as_object_mut().unwrap().remove("message");
        told
    };
    assert_eq!(told_to_bob().await, nothing);
    assert_eq!(verify(alice, &secret, json!({})).await["valid"], true);
    assert_eq!(told_to_bob().await, nothing);
    let revoke = format!("{}:revoke", path(&key));
    alice.post(&revoke, json!({})).await.expect(200);
    becomes(alice, &secret, "CODE_REVOKED").await;
    assert_eq!(told_to_bob().await, nothing);
    let (_, elsewhere) = new_key(alice, json!({"allowedNetworks": ["192.0.2.0/24"]})).await;
    let told = verify(bob, &elsewhere, json!({})).await;
    assert_eq!(told["code"], "CODE_UNKNOWN");
}

#[tokio::test]
async fn a_key_that_ended_is_told_by_how() {
    let alice = &need!(world().await).alice;
    let end = chassis::Clock::system().now() + TimeDelta::milliseconds(1500);
    let (_, expired) = new_key(alice, json!({"expireTime": end.to_rfc3339()})).await;
    let (key, disabled) = new_key(alice, json!({})).await;
    assert_eq!(verify(alice, &disabled, json!({})).await["valid"], true);
    alice
        .patch(&path(&key), json!({"disabled": true}))
        .await
        .expect(200);
    // What it is is told, since its secret was right.
    let told = becomes(alice, &disabled, "CODE_DISABLED").await;
    assert_eq!(told["principal"], format!("key:{}", text(&key["id"])));
    let (key, superseded) = new_key(alice, json!({})).await;
    let rotate = format!("{}:rotate", path(&key));
    alice
        .post(&rotate, json!({"overlap": "0s"}))
        .await
        .expect(200);
    becomes(alice, &superseded, "CODE_SUPERSEDED").await;
    let expires = async || verify(alice, &expired, json!({})).await["code"] == "CODE_EXPIRED";
    in_time("the key's end", expires).await;
}

#[tokio::test]
async fn an_old_secret_says_that_there_is_a_newer_one_and_when_it_ends() {
    let alice = &need!(world().await).alice;
    let (key, secret) = new_key(alice, json!({})).await;
    assert_eq!(
        verify(alice, &secret, json!({})).await.get("superseded"),
        None
    );
    let rotate = format!("{}:rotate", path(&key));
    let body = json!({"overlap": "3600s"});
    let rotated = alice.post(&rotate, body).await.expect(200);
    let told = async || verify(alice, &secret, json!({})).await;
    eventually("the newer secret", async || {
        told().await["superseded"] == true
    })
    .await;
    let (told, generations) = (told().await, &rotated["rotation"]["generations"]);
    assert_eq!(told["valid"], true);
    assert_eq!(told["expireTime"], generations[1]["endTime"]);
}

#[tokio::test]
async fn a_key_with_networks_is_good_from_there_only() {
    let alice = &need!(world().await).alice;
    let (_, secret) = new_key(alice, json!({"allowedNetworks": ["192.0.2.0/24"]})).await;
    for _ in 0..2 {
        for (source, code) in [
            ("192.0.2.9", "CODE_VALID"),
            ("::ffff:192.0.2.9", "CODE_VALID"),
            ("192.0.3.9", "CODE_NETWORK_NOT_ALLOWED"),
            ("2001:db8::1", "CODE_NETWORK_NOT_ALLOWED"),
            ("", "CODE_NETWORK_NOT_ALLOWED"),
        ] {
            let told = verify(alice, &secret, json!({"source": source})).await;
            assert_eq!(told["code"], code, "{source}");
        }
    }
}

#[tokio::test]
async fn a_key_whose_user_is_no_member_any_more_is_told_as_that() {
    let World {
        alice, tenant_a, ..
    } = need!(world().await);
    let admin = join(alice, tenant_a, &email(), "admin").await;
    let user = admin.get("/v1/me").await.expect(200)["principalId"].clone();
    let owner = json!({"owner": format!("user:{}", text(&user))});
    let (_, secret) = new_key(&admin, owner.clone()).await;
    let told = verify(alice, &secret, json!({})).await;
    assert_eq!(
        (&told["valid"], &told["owner"]),
        (&json!(true), &owner["owner"])
    );
    let member = format!("/v1/members/{}", text(&user));
    alice.delete(&member).await.expect(200);
    becomes(alice, &secret, "CODE_OWNER_GONE").await;
}

#[tokio::test]
async fn many_keys_are_told_in_their_order() {
    let alice = &need!(world().await).alice;
    let (_, good) = new_key(alice, json!({})).await;
    let (_, disabled) = new_key(alice, json!({"disabled": true})).await;
    let mut requests = Vec::new();
    for _ in 0..10 {
        requests.push(json!({"apiKey": good}));
        requests.push(json!({"apiKey": disabled}));
        requests.push(json!({"apiKey": "nothing"}));
        requests.push(json!({"apiKey": good, "permission": "tags.write"}));
    }
    let body = json!({"requests": requests});
    let told = alice
        .post("/v1/apiKeys:batchVerify", body)
        .await
        .expect(200);
    let told = told["responses"].as_array().unwrap();
    let codes: Vec<_> = told.iter().map(|told| text(&told["code"])).collect();
    let expected = [
        "CODE_VALID",
        "CODE_DISABLED",
        "CODE_UNKNOWN",
        "CODE_PERMISSION_MISSING",
    ];
    assert_eq!(codes, expected.repeat(10));
    let none = alice.post("/v1/apiKeys:batchVerify", json!({})).await;
    assert_eq!(none.fields(), ["requests"]);
    let many = json!({"requests": vec![json!({"apiKey": "x"}); 101]});
    let many = alice.post("/v1/apiKeys:batchVerify", many).await;
    assert_eq!(many.fields(), ["requests"]);
}

#[tokio::test]
async fn only_who_may_verify_is_told() {
    let World { alice, victor, .. } = need!(world().await);
    let (_, secret) = new_key(alice, json!({})).await;
    let service = alice.key_holder(&["keys.verify"]).await;
    assert_eq!(verify(&service, &secret, json!({})).await["valid"], true);
    let body = json!({"apiKey": secret});
    let refused = victor.post("/v1/apiKeys:verify", body).await;
    assert_eq!(refused.reason(403), "PERMISSION_DENIED");
}

#[tokio::test]
async fn whoever_remembers_keys_is_told_which_were_revoked_and_no_other_tenants() {
    let world = need!(world().await);
    let service = world.alice.key_holder(&["keys.verify"]).await;
    let channel = grpc::connect(&world.server.url).await;
    let mut client = KeyVerificationServiceClient::new(channel);
    let mut request = tonic::Request::new(WatchRevokedRequest {});
    let credential = service.authorization.as_deref().unwrap().parse().unwrap();
    request.metadata_mut().insert("authorization", credential);
    let mut stream = client.watch_revoked(request).await.unwrap().into_inner();
    let (theirs, _) = new_key(&world.bob, json!({})).await;
    let (ours, _) = new_key(&world.alice, json!({})).await;
    for (owner, key) in [(&world.bob, &theirs), (&world.alice, &ours)] {
        let revoke = format!("{}:revoke", path(key));
        owner.post(&revoke, json!({})).await.expect(200);
    }
    let hash = |key: &Value| sha256(format!("key:{}", text(&key["id"])).as_bytes()).to_vec();
    let (theirs, ours) = (hash(&theirs), hash(&ours));
    let told = async {
        loop {
            let batch = stream.message().await.unwrap().expect("the stream goes on");
            assert!(batch.synchronised);
            assert!(batch.revoked.iter().all(|one| one.subject_sha256 != theirs));
            if batch.revoked.iter().any(|one| one.subject_sha256 == ours) {
                return;
            }
        }
    };
    let told = tokio::time::timeout(std::time::Duration::from_secs(60), told).await;
    told.expect("the revocation is told");
}
