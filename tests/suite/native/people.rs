//! Logins, users, members, and who may grant what.

use reqwest::Method;
use serde_json::json;

use super::{fresh_id, text, world};
use crate::support::{ADMIN, Answer, Caller, PASSWORD, World, join, log_in, send, unique};

pub(crate) fn email() -> String {
    format!("{}@example.com", unique())
}

/// Creates a user that can log in and is no member.
pub(crate) async fn user(admin: &Caller, email: &str, id: Option<&str>) -> Answer {
    let id = id.map(|id| format!("&userId={id}")).unwrap_or_default();
    let path = format!("/v1/users?password={}{id}", PASSWORD.replace(' ', "+"));
    admin.post(&path, json!({"email": email})).await
}

pub(crate) async fn login(anybody: &Caller, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password});
    anybody.post("/v1/auth:login", body).await
}

/// What is the same in two answers but for the request's id and time.
fn comparable(answer: &Answer) -> (u16, Vec<(String, String)>, &str) {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(name, _)| !["x-request-id", "date"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), format!("{value:?}")))
        .collect();
    headers.sort();
    (answer.status.as_u16(), headers, &answer.text)
}

#[tokio::test]
async fn whoever_can_not_log_in_gets_the_same_answer() {
    let World { alice, server, .. } = need!(world().await);
    let (without, disabled) = (email(), email());
    let body = json!({"email": without});
    alice.post("/v1/users", body).await.expect(201);
    let made = user(alice, &disabled, None).await.expect(201);
    let path = format!("/v1/users/{}:disable", text(&made["id"]));
    alice.post(&path, json!({})).await.expect(200);
    let anybody = server.anybody();
    let wrong = login(&anybody, ADMIN, "not the password").await;
    let expected = json!({
        "code": 16,
        "message": "the e-mail address or the password is wrong",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "BAD_CREDENTIALS",
            "domain": "muster",
        }],
    });
    assert_eq!(wrong.expect(401), expected);
    for (email, password) in [
        (email().as_str(), "not the password"),
        ("no address", "not the password"),
        ("' OR 1=1 --", "x"),
        (&without, PASSWORD),
        (&disabled, PASSWORD),
        (&disabled, "not the password"),
    ] {
        let answer = login(&anybody, email, password).await;
        assert_eq!(comparable(&answer), comparable(&wrong), "{email}");
    }
}

#[tokio::test]
async fn the_same_holds_for_basic_on_every_path() {
    use base64::Engine;
    let server = &need!(world().await).server;
    let answer = async |pair: String| {
        let pair = base64::prelude::BASE64_STANDARD.encode(pair);
        server.caller(format!("Basic {pair}")).get("/v1/me").await
    };
    let wrong = answer(format!("{ADMIN}:not the password")).await;
    wrong.expect(401);
    let unknown = answer(format!("{}:not the password", email())).await;
    assert_eq!(comparable(&unknown), comparable(&wrong));
    answer(format!("{ADMIN}:{PASSWORD}")).await.expect(200);
}

#[tokio::test]
async fn an_e_mail_address_is_one_in_any_case() {
    let World { alice, server, .. } = need!(world().await);
    let name = email();
    let made = user(alice, &name.to_uppercase(), None).await.expect(201);
    assert_eq!(made["email"], name);
    login(&server.anybody(), &name, PASSWORD).await.expect(200);
    login(&server.anybody(), &name.to_uppercase(), PASSWORD)
        .await
        .expect(200);
    assert_eq!(user(alice, &name, None).await.taken(), "user.email");
}

#[tokio::test]
async fn a_login_answers_a_token_without_a_tenant_and_a_session() {
    let server = &need!(world().await).server;
    let answer = login(&server.anybody(), ADMIN, PASSWORD).await.expect(200);
    assert_eq!(answer["tokenType"], "Bearer");
    assert_eq!(answer["expiresIn"], "3600");
    let names: Vec<_> = answer.as_object().unwrap().keys().collect();
    let expected = [
        "accessToken",
        "tokenType",
        "expiresIn",
        "sessionToken",
        "sessionExpireTime",
    ];
    assert_eq!(names, expected);
    let me = server.caller(format!("Bearer {}", text(&answer["accessToken"])));
    let who = me.get("/v1/me").await.expect(200);
    assert_eq!(who["user"]["email"], ADMIN);
    assert_eq!(
        (who.get("currentTenant"), who.get("permissions")),
        (None, None)
    );
    me.get("/v1/devices").await.expect(403);
}

#[tokio::test]
async fn a_session_is_traded_for_new_tokens_and_stands_in_a_cookie() {
    let World { server, olga, .. } = need!(world().await);
    let anybody = server.anybody();
    let answer = login(&anybody, "olga@example.com", PASSWORD)
        .await
        .expect(200);
    let session = text(&answer["sessionToken"]);
    let body = json!({"sessionToken": session});
    let fresh = anybody.post("/v1/auth:refresh", body).await.expect(200);
    let token = format!("Bearer {}", text(&fresh["accessToken"]));
    server.caller(token).get("/v1/me").await.expect(200);
    // Her account's own tenant is the one that a cookie stands for.
    let request = anybody.request(Method::GET, "/v1/devices");
    let request = request.header("cookie", format!("theme=dark; muster_session={session}"));
    send(request).await.expect(200);
    let request = anybody.request(Method::GET, "/v1/me");
    let request = request.header("cookie", format!("muster_session={session}"));
    let me = send(request).await.expect(200);
    assert_eq!(me, olga.get("/v1/me").await.expect(200));
}

#[tokio::test]
async fn a_session_that_is_none_is_refused() {
    let anybody = need!(world().await).server.anybody();
    for session in ["x", "mss_0198c5a27d1e7bd09a3c5f1f0d6f2a11_AAAA"] {
        let body = json!({"sessionToken": session});
        anybody.post("/v1/auth:refresh", body).await.expect(401);
        let request = anybody.request(Method::GET, "/v1/me");
        let request = request.header("cookie", format!("muster_session={session}"));
        send(request).await.expect(401);
    }
}

#[tokio::test]
async fn a_user_is_created_read_listed_disabled_and_enabled() {
    let alice = &need!(world().await).alice;
    let id = fresh_id();
    let made = user(alice, &email(), Some(&id)).await.expect(201);
    assert_eq!(
        (&made["id"], &made["state"]),
        (&json!(id), &json!("STATE_ACTIVE"))
    );
    let path = format!("/v1/users/{id}");
    assert_eq!(alice.get(&path).await.expect(200), made);
    let listed = alice.get("/v1/users?pageSize=1000").await.expect(200);
    assert!(listed["users"].as_array().unwrap().contains(&made));
    let disabled = alice
        .post(&format!("{path}:disable"), json!({}))
        .await
        .expect(200);
    assert_eq!(disabled["state"], "STATE_DISABLED");
    let enabled = alice
        .post(&format!("{path}:enable"), json!({}))
        .await
        .expect(200);
    assert_eq!(enabled["state"], "STATE_ACTIVE");
    let again = user(alice, &email(), Some(&id)).await;
    assert_eq!(again.taken(), "user_id");
}

#[tokio::test]
async fn no_tenant_takes_the_id_of_another_tenants_user() {
    let World { alice, bob, .. } = need!(world().await);
    let me = alice.get("/v1/me").await.expect(200);
    let answer = user(bob, &email(), Some(text(&me["principalId"]))).await;
    assert_eq!(answer.taken(), "user_id");
}

#[tokio::test]
async fn nobody_disables_himself() {
    let alice = &need!(world().await).alice;
    let me = alice.get("/v1/me").await.expect(200);
    let path = format!("/v1/users/{}:disable", text(&me["principalId"]));
    assert_eq!(
        alice.post(&path, json!({})).await.reason(400),
        "OWN_ACCOUNT"
    );
}

#[tokio::test]
async fn a_user_of_another_tenant_is_not_found() {
    let World { alice, bob, .. } = need!(world().await);
    let theirs = user(alice, &email(), None).await.expect(201);
    let path = format!("/v1/users/{}", text(&theirs["id"]));
    let refused = [
        bob.get(&path).await,
        bob.post(&format!("{path}:disable"), json!({})).await,
        bob.post(&format!("{path}:enable"), json!({})).await,
    ];
    for answer in refused {
        assert_eq!(answer.reason(404), "NOT_FOUND");
    }
    let listed = bob.get("/v1/users?pageSize=1000").await.expect(200);
    assert!(!listed.to_string().contains(text(&theirs["id"])));
    assert_eq!(alice.get(&path).await.expect(200), theirs);
}

#[tokio::test]
async fn a_wrong_current_password_changes_none() {
    let World {
        alice,
        tenant_a,
        server,
        ..
    } = need!(world().await);
    let name = email();
    let user = join(alice, tenant_a, &name, "viewer").await;
    let change = |current: &str, new: &str| json!({"currentPassword": current, "newPassword": new});
    let path = "/v1/me:changePassword";
    let answer = user
        .post(path, change("not the password", "another password"))
        .await;
    assert_eq!(answer.reason(403), "BAD_CREDENTIALS");
    let answer = user.post(path, change(PASSWORD, "short")).await;
    assert_eq!(answer.fields(), ["new_password"]);
    login(&server.anybody(), &name, PASSWORD).await.expect(200);
}

#[tokio::test]
async fn select_tenant_does_not_tell_a_foreign_tenant_from_none() {
    let World { bob, tenant_a, .. } = need!(world().await);
    let select = async |tenant: &str| {
        let body = json!({"tenantId": tenant});
        bob.post("/v1/auth:selectTenant", body).await
    };
    let (foreign, none) = (select(tenant_a).await, select(&fresh_id()).await);
    foreign.expect(403);
    let answer = select("x").await;
    assert_eq!(answer.fields(), ["tenant_id"]);
    let same = |answer: &Answer| answer.reason(403);
    assert_eq!(same(&foreign), same(&none));
}

#[tokio::test]
async fn a_tenant_is_created_below_and_owned_by_its_creator() {
    let World {
        alice,
        olga,
        bob,
        server,
        tenant_a,
        ..
    } = need!(world().await);
    let id = fresh_id();
    let path = format!("/v1/tenants?tenantId={id}");
    let body = json!({"displayName": "below"});
    let made = alice.post(&path, body.clone()).await.expect(201);
    assert_eq!(
        (&made["id"], &made["parent"]),
        (&json!(id), &json!(tenant_a))
    );
    assert_eq!(made["state"], "STATE_ACTIVE");
    let mine = alice.get("/v1/me/tenants").await.expect(200);
    let expected = json!({"tenant": made, "role": "owner"});
    assert!(mine["tenants"].as_array().unwrap().contains(&expected));
    // Its id is taken for everybody, and it is seen by nobody else.
    assert_eq!(bob.post(&path, body.clone()).await.taken(), "tenant_id");
    assert_eq!(
        olga.post("/v1/tenants", body).await.reason(403),
        "PERMISSION_DENIED"
    );
    bob.get(&format!("/v1/tenants/{id}")).await.expect(404);
    let founder = log_in(&server.anybody(), ADMIN, PASSWORD, Some(&id)).await;
    assert_eq!(
        founder.get(&format!("/v1/tenants/{id}")).await.expect(200),
        made
    );
    assert_eq!(founder.get("/v1/devices").await.expect(200), json!({}));
}

/// A caller with a role in tenant A, and its user's id.
async fn member(world: &World, role: &str) -> (Caller, String) {
    let caller = join(&world.alice, &world.tenant_a, &email(), role).await;
    let me = caller.get("/v1/me").await.expect(200);
    (caller, text(&me["principalId"]).to_owned())
}

#[tokio::test]
async fn a_member_is_created_read_listed_promoted_and_removed() {
    let world = need!(world().await);
    let alice = &world.alice;
    let made = user(alice, &email(), None).await.expect(201);
    let body = json!({"userId": made["id"], "role": "viewer"});
    let member = alice.post("/v1/members", body.clone()).await.expect(201);
    assert_eq!(
        (&member["userId"], &member["role"]),
        (&made["id"], &json!("viewer"))
    );
    let again = alice.post("/v1/members", body).await;
    assert_eq!(again.taken(), "member.user_id");
    let path = format!("/v1/members/{}", text(&made["id"]));
    assert_eq!(alice.get(&path).await.expect(200), member);
    let listed = alice.get("/v1/members?pageSize=1000").await.expect(200);
    assert!(listed["members"].as_array().unwrap().contains(&member));
    let promoted = alice
        .patch(&path, json!({"role": "admin"}))
        .await
        .expect(200);
    assert_eq!(promoted["role"], "admin");
    assert_eq!(alice.delete(&path).await.expect(200), json!({}));
    assert_eq!(alice.get(&path).await.reason(404), "NOT_FOUND");
}

#[tokio::test]
async fn a_role_that_is_none_and_a_foreign_user_are_refused() {
    let World { alice, bob, .. } = need!(world().await);
    let made = user(alice, &email(), None).await.expect(201);
    let body = json!({"userId": made["id"], "role": "king"});
    let answer = alice.post("/v1/members", body).await;
    assert_eq!(answer.fields(), ["member.role"]);
    let body = json!({"userId": made["id"], "role": "viewer"});
    let answer = bob.post("/v1/members", body).await;
    assert_eq!(answer.fields(), ["member.user_id"]);
}

#[tokio::test]
async fn the_last_owner_stays_owner() {
    let world = need!(World::new().await);
    let alice = &world.alice;
    let me = alice.get("/v1/me").await.expect(200);
    let path = format!("/v1/members/{}", text(&me["principalId"]));
    assert_eq!(alice.delete(&path).await.reason(400), "LAST_OWNER");
    let answer = alice.patch(&path, json!({"role": "admin"})).await;
    assert_eq!(answer.reason(400), "LAST_OWNER");
    assert_eq!(alice.get(&path).await.expect(200)["role"], "owner");
    // With another owner, one may go; then the other is the last.
    let (second, id) = member(&world, "owner").await;
    alice
        .patch(&path, json!({"role": "admin"}))
        .await
        .expect(200);
    let other = format!("/v1/members/{id}");
    assert_eq!(second.delete(&other).await.reason(400), "LAST_OWNER");
}

#[tokio::test]
async fn nobody_gives_a_role_that_allows_more_than_he_may() {
    let world = need!(world().await);
    let (admin, _) = member(world, "admin").await;
    let (viewer, viewer_id) = member(world, "viewer").await;
    let made = user(&world.alice, &email(), None).await.expect(201);
    let refused = [
        admin
            .post(
                "/v1/members",
                json!({"userId": made["id"], "role": "owner"}),
            )
            .await,
        admin
            .patch(
                &format!("/v1/members/{viewer_id}"),
                json!({"role": "owner"}),
            )
            .await,
    ];
    for answer in refused {
        answer.expect(403);
    }
    let body = json!({"userId": made["id"], "role": "admin"});
    admin.post("/v1/members", body.clone()).await.expect(201);
    for caller in [&viewer, &world.olga] {
        let answer = caller.post("/v1/members", body.clone()).await;
        assert_eq!(answer.reason(403), "PERMISSION_DENIED");
    }
}

#[tokio::test]
async fn an_admin_has_no_power_over_an_owner() {
    let world = need!(world().await);
    let (admin, _) = member(world, "admin").await;
    let (owner, owner_id) = member(world, "owner").await;
    let path = format!("/v1/members/{owner_id}");
    admin
        .patch(&path, json!({"role": "viewer"}))
        .await
        .expect(403);
    admin.delete(&path).await.expect(403);
    assert_eq!(owner.get(&path).await.expect(200)["role"], "owner");
}

#[tokio::test]
async fn no_key_or_client_allows_more_than_its_creator_may() {
    let world = need!(world().await);
    let (admin, _) = member(world, "admin").await;
    let manager = world
        .alice
        .key_holder(&["keys.write", "clients.write", "devices.read"])
        .await;
    for path in ["/v1/apiKeys", "/v1/apiClients"] {
        let body =
            |permissions: &[&str]| json!({"displayName": unique(), "permissions": permissions});
        for (caller, permissions, status) in [
            (&admin, &["devices.write", "keys.write"][..], 201),
            (&admin, &["devices.write", "tenants.create"], 403),
            (&admin, &["tenant.write"], 403),
            (&manager, &["devices.read", "keys.write"], 201),
            (&manager, &["devices.read", "devices.write"], 403),
            (&world.olga, &["devices.read"], 403),
            (&world.victor, &[], 403),
        ] {
            caller.post(path, body(permissions)).await.expect(status);
        }
    }
}

#[tokio::test]
async fn a_permission_that_is_none_is_named() {
    let alice = &need!(world().await).alice;
    for (path, field) in [
        ("/v1/apiKeys", "api_key.permissions"),
        ("/v1/apiClients", "api_client.permissions"),
    ] {
        let body = json!({"displayName": "x", "permissions": ["nope", "devices.read", "devices"]});
        let fields = alice.post(path, body).await.fields();
        assert_eq!(fields, [format!("{field}[0]"), format!("{field}[2]")]);
    }
}

#[tokio::test]
async fn a_key_may_do_what_it_allows_and_nothing_else() {
    let World {
        alice, tenant_a, ..
    } = need!(world().await);
    let key = alice.key_holder(&["devices.read"]).await;
    key.get("/v1/devices").await.expect(200);
    let answer = key.post("/v1/devices", json!({"displayName": "x"})).await;
    assert_eq!(answer.reason(403), "PERMISSION_DENIED");
    key.get("/v1/tags").await.expect(403);
    key.get("/v1/apiKeys").await.expect(403);
    let me = key.get("/v1/me").await.expect(200);
    assert_eq!(
        (&me["principalKind"], &me["currentTenant"]),
        (&json!("key"), &json!(tenant_a))
    );
    assert_eq!(me["permissions"], json!(["devices.read"]));
}

#[tokio::test]
async fn a_secret_is_shown_once() {
    let alice = &need!(world().await).alice;
    for (path, one, secret) in [
        ("/v1/apiKeys", "apiKey", "secret"),
        ("/v1/apiClients", "apiClient", "clientSecret"),
    ] {
        let body = json!({
            "displayName": unique(),
            "permissions": ["devices.read"],
            "metadata": {"ticket": "42"},
        });
        let made = alice.post(path, body.clone()).await.expect(201);
        let (thing, secret) = (&made[one], text(&made[secret]));
        assert_eq!(thing["metadata"], body["metadata"]);
        let read = alice
            .get(&format!("{path}/{}", text(&thing["id"])))
            .await
            .expect(200);
        assert_eq!(read, *thing);
        let listed = alice.get(&format!("{path}?pageSize=1000")).await;
        assert!(listed.text.contains(text(&thing["id"])));
        assert!(!listed.text.contains(secret));
    }
}

#[tokio::test]
async fn a_key_of_another_tenant_is_not_found() {
    let World { alice, bob, .. } = need!(world().await);
    for (path, one) in [("/v1/apiKeys", "apiKey"), ("/v1/apiClients", "apiClient")] {
        let body = json!({"displayName": unique(), "permissions": ["devices.read"]});
        let made = alice.post(path, body).await.expect(201);
        let id = text(&made[one]["id"]);
        let one = format!("{path}/{id}");
        bob.get(&one).await.expect(404);
        match path {
            "/v1/apiKeys" => bob
                .post(&format!("{one}:revoke"), json!({}))
                .await
                .expect(404),
            _ => bob.delete(&one).await.expect(404),
        };
        let listed = bob.get(&format!("{path}?pageSize=1000")).await;
        listed.expect(200);
        assert!(!listed.text.contains(id));
        alice.get(&one).await.expect(200);
    }
}

#[tokio::test]
async fn what_a_client_is_told_is_unique() {
    let alice = &need!(world().await).alice;
    let name = unique();
    let body = json!({"displayName": name, "permissions": ["devices.read"]});
    alice.post("/v1/apiKeys", body.clone()).await.expect(201);
    let again = alice.post("/v1/apiKeys", body).await;
    assert_eq!(again.taken(), "api_key.display_name");
    let body = json!({"clientKey": format!("client-key-{}", unique())});
    alice.post("/v1/apiClients", body.clone()).await.expect(201);
    let again = alice.post("/v1/apiClients", body).await;
    assert_eq!(again.taken(), "api_client.client_key");
}

#[tokio::test]
async fn an_end_in_the_past_is_refused() {
    let alice = &need!(world().await).alice;
    let body = json!({"displayName": unique(), "expireTime": "2020-01-01T00:00:00Z"});
    let answer = alice.post("/v1/apiKeys", body).await;
    assert_eq!(answer.fields(), ["api_key.expire_time"]);
}

#[tokio::test]
async fn the_roles_are_told_to_every_member() {
    let World { victor, .. } = need!(world().await);
    let roles = victor.get("/v1/roles").await.expect(200);
    let names: Vec<_> = roles["roles"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| text(&r["name"]))
        .collect();
    assert_eq!(names, ["owner", "admin", "operator", "viewer"]);
    let viewer = &roles["roles"][3]["permissions"];
    assert_eq!(
        *viewer,
        victor.get("/v1/me").await.expect(200)["permissions"]
    );
}
