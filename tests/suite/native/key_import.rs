//! Keys of other systems that go on unchanged.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chassis::hash::sha256;
use serde_json::{Value, json};

use super::keys::{holder, in_time, is_refused, path};
use super::{text, world};
use crate::support::{Answer, Caller, World, eventually, unique};

/// bcrypt of `U*U*U`, from the test vectors of its first implementations.
const BCRYPT: &str = "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a";

async fn import(owner: &Caller, format: &str, id: &str, secret: Value) -> Answer {
    let body = json!({
        "apiKey": {"displayName": unique(), "permissions": ["devices.read"]},
        "format": format!("FOREIGN_FORMAT_{format}"),
        "foreignId": id,
        "secret": secret,
    });
    owner.post("/v1/apiKeys:import", body).await
}

fn hex(text: &str) -> String {
    let digest = sha256(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn pair(id: &str, secret: &str) -> String {
    BASE64_STANDARD.encode(format!("{id}:{secret}"))
}

/// A key that is found, and goes on being found, by what it was before; and by
/// nothing else.
async fn goes_on(world: &World, key: &Value, presented: &str, wrong: &str) {
    let alice = &world.alice;
    assert_eq!(alice.get(&path(key)).await.expect(200), *key);
    let rotation = format!("{}/rotation", path(key));
    let uses = async || {
        let rotation = alice.get(&rotation).await.expect(200);
        let count = rotation["generations"][0].get("useCount").map(text);
        count.map_or(0, |count| count.parse::<i64>().unwrap())
    };
    for round in ["first", "second"] {
        let before = uses().await;
        // What is remembered is forgotten, so that it is compared once more.
        let body = json!({"metadata": {"round": round}});
        alice.patch(&path(key), body).await.expect(200);
        let compared = async || {
            let body = json!({"apiKey": presented});
            let told = alice.post("/v1/apiKeys:verify", body).await.expect(200);
            assert_eq!(told["principal"], format!("key:{}", text(&key["id"])));
            told["metadata"]["round"] == round
        };
        eventually("a look at the changed key", compared).await;
        // Together with its first use it is hashed in our way.
        in_time("its use", async || uses().await > before).await;
    }
    let caller = holder(alice, presented);
    let works = async || caller.get("/v1/devices").await.status == 200;
    eventually("the foreign key", works).await;
    let caller = holder(alice, wrong);
    let refused = caller.get("/v1/devices").await;
    assert_eq!(refused.reason(401), "BAD_CREDENTIALS");
}

#[tokio::test]
async fn a_number_and_a_secret_in_base64_by_each_form_of_the_secret() {
    let world = need!(world().await);
    for (id, secret, known) in [
        ("700001", "a raw secret", json!({"raw": "a raw secret"})),
        (
            "700002",
            "hashed:once",
            json!({"sha256": hex("hashed:once")}),
        ),
        ("700003", "U*U*U", json!({"bcrypt": BCRYPT})),
    ] {
        let made = import(&world.alice, "BASE64_ID_SECRET", id, known).await;
        let key = made.expect(201);
        assert_eq!(key["foreignFormat"], "FOREIGN_FORMAT_BASE64_ID_SECRET");
        assert!(!made.text.contains(secret) && !made.text.contains("$2a$"));
        goes_on(world, &key, &pair(id, secret), &pair(id, "another secret")).await;
    }
}

#[tokio::test]
async fn any_text_by_itself_or_by_its_hash() {
    let world = need!(world().await);
    let (raw, hashed) = (format!("raw-{}", unique()), format!("hashed-{}", unique()));
    for (text, known) in [
        (&raw, json!({"raw": raw})),
        (&hashed, json!({"sha256": hex(&hashed)})),
    ] {
        let key = import(&world.alice, "OPAQUE", "", known).await.expect(201);
        assert_eq!(key["foreignFormat"], "FOREIGN_FORMAT_OPAQUE");
        goes_on(world, &key, text, &format!("{text}x")).await;
    }
}

#[tokio::test]
async fn a_foreign_key_is_imported_once() {
    let World { alice, bob, .. } = need!(world().await);
    let secret = json!({"raw": format!("once-{}", unique())});
    import(alice, "OPAQUE", "", secret.clone())
        .await
        .expect(201);
    for owner in [alice, bob] {
        let again = import(owner, "OPAQUE", "", secret.clone()).await;
        assert_eq!(again.taken(), "secret");
    }
    let secret = json!({"raw": "some secret"});
    let made = import(alice, "BASE64_ID_SECRET", "700010", secret).await;
    made.expect(201);
    let other = json!({"bcrypt": BCRYPT});
    let again = import(alice, "BASE64_ID_SECRET", "700010", other).await;
    assert_eq!(again.taken(), "foreign_id");
}

#[tokio::test]
async fn two_tenants_have_keys_of_two_systems_with_the_same_id() {
    let World { alice, bob, .. } = need!(world().await);
    for (owner, secret) in [(alice, "the secret of a"), (bob, "the secret of b")] {
        let known = json!({"raw": secret});
        let made = import(owner, "BASE64_ID_SECRET", "700020", known).await;
        made.expect(201);
    }
    let tenant = async |secret: &str| {
        let caller = holder(alice, &pair("700020", secret));
        let mine = caller.get("/v1/me/tenants").await.expect(200);
        mine["tenants"][0]["tenant"]["displayName"].clone()
    };
    let (of_a, of_b) = (
        tenant("the secret of a").await,
        tenant("the secret of b").await,
    );
    assert_ne!(of_a, "B");
    assert_eq!(of_b, "B");
    let neither = holder(alice, &pair("700020", "the secret of c"));
    assert_eq!(
        neither.get("/v1/devices").await.reason(401),
        "BAD_CREDENTIALS"
    );
}

#[tokio::test]
async fn a_key_is_told_from_those_that_many_tenants_have_with_its_id() {
    let World { alice, .. } = need!(world().await);
    for number in 0..10 {
        let tenant = json!({"displayName": unique()});
        let tenant = alice.post("/v1/tenants", tenant).await.expect(201);
        let scope = json!({"tenantId": tenant["id"]});
        let scoped = alice.post("/v1/auth:selectTenant", scope).await.expect(200);
        let founder = alice.with(format!("Bearer {}", text(&scoped["accessToken"])));
        let secret = format!("the secret of number {number}");
        let known = json!({"raw": secret});
        let made = import(&founder, "BASE64_ID_SECRET", "700021", known).await;
        made.expect(201);
        let caller = holder(alice, &pair("700021", &secret));
        let mine = caller.get("/v1/me/tenants").await.expect(200);
        assert_eq!(mine["tenants"][0]["tenant"]["id"], tenant["id"]);
    }
}

#[tokio::test]
async fn what_no_foreign_key_can_be_is_refused() {
    let alice = &need!(world().await).alice;
    let raw = || json!({"raw": "12345678"});
    let ours = alice.new_key(&["devices.read"]).await;
    for (format, id, secret, expected) in [
        ("OPAQUE", "7", raw(), &["foreign_id"][..]),
        ("OPAQUE", "", json!({"bcrypt": BCRYPT}), &["secret.bcrypt"]),
        ("OPAQUE", "", json!({"raw": ours}), &["secret.raw"]),
        ("OPAQUE", "", json!({"raw": "1234567"}), &["secret.raw"]),
        ("OPAQUE", "", json!({"sha256": "12"}), &["secret.sha256"]),
        (
            "OPAQUE",
            "7",
            json!({"bcrypt": BCRYPT}),
            &["foreign_id", "secret.bcrypt"],
        ),
        ("BASE64_ID_SECRET", "", raw(), &["foreign_id"]),
        ("BASE64_ID_SECRET", "seven", raw(), &["foreign_id"]),
        (
            "BASE64_ID_SECRET",
            "123456789012345678901",
            raw(),
            &["foreign_id"],
        ),
        ("UNSPECIFIED", "", raw(), &["format"]),
    ] {
        let refused = import(alice, format, id, secret).await;
        assert_eq!(refused.fields(), expected, "{format} {id}");
    }
    let body = json!({
        "apiKey": {"displayName": unique(), "owner": format!("user:{}", super::fresh_id())},
        "format": "FOREIGN_FORMAT_OPAQUE",
        "secret": raw(),
    });
    let refused = alice.post("/v1/apiKeys:import", body).await;
    assert_eq!(refused.fields(), ["api_key.owner"]);
}

#[tokio::test]
async fn nobody_imports_a_key_that_allows_more_than_he_holds() {
    let alice = &need!(world().await).alice;
    let manager = alice.key_holder(&["keys.write"]).await;
    let secret = json!({"raw": format!("more-{}", unique())});
    let refused = import(&manager, "OPAQUE", "", secret).await;
    assert_eq!(refused.reason(403), "PERMISSION_NOT_HELD");
}

/// Whether a key is shown as foreign, and whether it is listed as that.
async fn is_foreign(owner: &Caller, key: &Value) -> (bool, bool) {
    let shown = owner.get(&path(key)).await.expect(200);
    let listed = owner.get("/v1/apiKeys?foreign=true&pageSize=1000").await;
    (
        shown.get("foreignFormat").is_some(),
        listed.text.contains(text(&key["id"])),
    )
}

#[tokio::test]
async fn a_key_is_foreign_until_no_foreign_secret_opens_it() {
    let alice = &need!(world().await).alice;
    let foreign = format!("foreign-{}", unique());
    let known = json!({"raw": foreign});
    let key = import(alice, "OPAQUE", "", known).await.expect(201);
    assert_eq!(is_foreign(alice, &key).await, (true, true));
    let rotate = format!("{}:rotate", path(&key));
    let body = json!({"overlap": "3600s"});
    let rotated = alice.post(&rotate, body).await.expect(200);
    // Both open it.
    assert_eq!(is_foreign(alice, &key).await, (true, true));
    let (old, new) = (
        holder(alice, &foreign),
        holder(alice, text(&rotated["secret"])),
    );
    for caller in [&old, &new] {
        caller.get("/v1/devices").await.expect(200);
    }
    let finish = format!("{}/rotation:finish", path(&key));
    alice.post(&finish, json!({})).await.expect(200);
    assert_eq!(is_foreign(alice, &key).await, (false, false));
    is_refused(&old, "KEY_SUPERSEDED").await;
    new.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn a_key_whose_overlap_has_ended_is_not_foreign_any_more() {
    let alice = &need!(world().await).alice;
    let known = json!({"raw": format!("brief-{}", unique())});
    let key = import(alice, "OPAQUE", "", known).await.expect(201);
    let rotate = format!("{}:rotate", path(&key));
    let body = json!({"overlap": "1s"});
    alice.post(&rotate, body).await.expect(200);
    let ended = async || is_foreign(alice, &key).await == (false, false);
    in_time("the end of the overlap", ended).await;
}
