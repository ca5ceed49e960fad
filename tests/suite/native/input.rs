//! What bad input gets, and what every answer has.

use reqwest::Method;
use serde_json::{Value, json};

use super::{fresh_id, world};
use crate::support::{Answer, Caller, World, send, unique};

async fn raw(caller: &Caller, method: Method, path: &str, kind: &str, body: Vec<u8>) -> Answer {
    let request = caller.request(method, path).header("content-type", kind);
    send(request.body(body)).await
}

async fn post_text(caller: &Caller, body: impl Into<Vec<u8>>) -> Answer {
    raw(
        caller,
        Method::POST,
        "/v1/devices",
        "application/json",
        body.into(),
    )
    .await
}

#[tokio::test]
async fn all_violations_are_told_at_once_each_with_its_field() {
    let olga = &need!(world().await).olga;
    let body = json!({
        "displayName": "",
        "code": "?",
        "location": {"latitude": 91, "longitude": -181},
        "tagIds": ["x"],
        "labels": {"": "y"},
        "siteId": "z",
        "state": 9,
    });
    let path = "/v1/devices?deviceId=no&secret=short";
    let answer = olga.post(path, body).await;
    let mut fields = answer.fields();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [
            "device.code",
            "device.display_name",
            "device.labels[\"\"]",
            "device.location.latitude",
            "device.location.longitude",
            "device.site_id",
            "device.state",
            "device.tag_ids[0]",
            "device_id",
            "secret",
        ]
    );
    assert_eq!(answer.reason(400), "INVALID_ARGUMENT");
    assert!(!answer.text.contains("short"), "a secret comes back");
}

#[tokio::test]
async fn the_documented_wrong_input_gets_exactly_this() {
    let olga = &need!(world().await).olga;
    let body = json!({"displayName": "", "code": "?", "location": {"latitude": 91}});
    let violations = [
        ("device.display_name", "must have at least 1 character"),
        (
            "device.code",
            "must match the pattern `^[a-zA-Z0-9][a-zA-Z0-9_-]{1,199}$`",
        ),
        (
            "device.location.latitude",
            "must be at least -90 and at most 90",
        ),
    ];
    let told: Vec<_> = violations
        .iter()
        .map(|(f, d)| format!("{f}: {d}"))
        .collect();
    let fields: Vec<_> = violations
        .iter()
        .map(|(field, description)| json!({"field": field, "description": description}))
        .collect();
    let expected = json!({
        "code": 3,
        "message": told.join("; "),
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "INVALID_ARGUMENT",
                "domain": "muster",
            },
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields},
        ],
    });
    assert_eq!(olga.post("/v1/devices", body).await.expect(400), expected);
}

#[tokio::test]
async fn an_unknown_field_is_named_wherever_it_is() {
    let olga = &need!(world().await).olga;
    for (body, field) in [
        (json!({"displayName": "x", "nope": 1}), "device.nope"),
        (
            json!({"displayName": "x", "location": {"nope": 1}}),
            "device.location.nope",
        ),
    ] {
        let answer = olga.post("/v1/devices", body).await;
        assert_eq!(answer.reason(400), "UNKNOWN_FIELD");
        assert_eq!(answer.fields(), [field]);
    }
}

#[tokio::test]
async fn an_unknown_query_key_is_named() {
    let olga = &need!(world().await).olga;
    for key in ["nope", "device.nope", "pagesize"] {
        let answer = olga.get(&format!("/v1/devices?{key}=1")).await;
        assert_eq!(answer.reason(400), "UNKNOWN_QUERY_PARAMETER", "{key}");
        assert!(answer.text.contains(key), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_is_refused() {
    let olga = &need!(world().await).olga;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for body in [
        &b"{"[..],
        b"",
        b"{\"displayName\": \"x\"} {}",
        b"{\"displayName\": 'x'}",
        b"{\"displayName\": \"\xff\"}",
        b"{\"displayName\": \"x\",}",
        b"[]",
        b"7",
        b"null",
        format!("{{\"attributes\": {{\"a\": {deep}}}}}").as_bytes(),
    ] {
        let answer = post_text(olga, body).await;
        let body = answer.expect(400);
        assert_eq!(body["code"], 3, "{body}");
        assert!(!super::text(&body["message"]).is_empty());
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_named() {
    let olga = &need!(world().await).olga;
    for (body, field) in [
        (r#"{"displayName": 7}"#, "device.display_name"),
        (r#"{"displayName": ["x"]}"#, "device.display_name"),
        (
            r#"{"location": {"latitude": "north"}}"#,
            "device.location.latitude",
        ),
        (
            r#"{"location": {"latitude": 1e999}}"#,
            "device.location.latitude",
        ),
        (r#"{"labels": {"a": 1}}"#, "device.labels[\"a\"]"),
        (r#"{"tagIds": "x"}"#, "device.tag_ids"),
        (r#"{"tagIds": ["x", null]}"#, "device.tag_ids[1]"),
        (r#"{"state": "STATE_BROKEN"}"#, "device.state"),
        (r#"{"createTime": "yesterday"}"#, "device.create_time"),
        (
            r#"{"displayName": "x", "displayName": "y"}"#,
            "device.display_name",
        ),
    ] {
        assert_eq!(post_text(olga, body).await.fields(), [field], "{body}");
    }
}

#[tokio::test]
async fn a_query_value_of_the_wrong_form_is_named() {
    let olga = &need!(world().await).olga;
    for (query, field) in [
        ("page_size=x", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=99999999999", "page_size"),
        ("page_token=x", "page_token"),
        ("skip=-1", "skip"),
        ("number=1.5", "number"),
        ("state=BROKEN", "state"),
        ("count_total=perhaps", "count_total"),
        ("tag_ids=x", "tag_ids[0]"),
        ("site_id=x", "site_id"),
    ] {
        let fields = olga.get(&format!("/v1/devices?{query}")).await.fields();
        assert_eq!(fields, [field], "{query}");
    }
}

#[tokio::test]
async fn an_id_that_is_none_is_refused_and_named() {
    let olga = &need!(world().await).olga;
    for id in ["x", "0198c5a2", "%00", "%27%20OR%201=1", "..%2f..%2fetc"] {
        let answer = olga.get(&format!("/v1/devices/{id}")).await;
        let fields = answer.fields();
        assert!(fields.iter().all(|field| field == "id"), "{id}: {fields:?}");
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_before_it_is_sent() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let olga = &need!(world().await).olga;
    let host = olga.url.strip_prefix("http://").unwrap();
    let mut connection = tokio::net::TcpStream::connect(host).await.unwrap();
    let head = format!(
        "POST /v1/devices HTTP/1.1\r\nhost: {host}\r\nauthorization: {}\r\n\
         content-type: application/json\r\ncontent-length: 5000000\r\n\r\n",
        olga.authorization.as_deref().unwrap()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"BODY_TOO_LARGE\""), "{answer}");
}

#[tokio::test]
async fn another_content_type_than_json_or_a_form_is_415() {
    let olga = &need!(world().await).olga;
    for kind in [
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "nonsense",
    ] {
        let body = br#"{"displayName": "x"}"#.to_vec();
        let answer = raw(olga, Method::POST, "/v1/devices", kind, body).await;
        assert_eq!(answer.reason(415), "UNSUPPORTED_MEDIA_TYPE", "{kind}");
    }
}

#[tokio::test]
async fn json_is_taken_with_parameters_and_in_any_case() {
    let olga = &need!(world().await).olga;
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let body = br#"{"displayName": "x"}"#.to_vec();
        raw(olga, Method::POST, "/v1/devices", kind, body)
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn a_path_that_nobody_has_is_404() {
    let world = need!(world().await);
    for path in [
        "/v1/nothing",
        "/v1",
        "/",
        "/v1/devices/a/b",
        "/v2x",
        "/v1/devices:nothing",
    ] {
        for caller in [&world.olga, &world.server.anybody()] {
            let answer = caller.get(path).await;
            assert_eq!(answer.reason(404), "ROUTE_NOT_FOUND", "{path}");
        }
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_405_and_tells_which_it_takes() {
    let olga = &need!(world().await).olga;
    for (method, path, allow) in [
        (Method::PUT, "/v1/devices", "GET, HEAD, POST"),
        (Method::DELETE, "/v1/devices", "GET, HEAD, POST"),
        (Method::POST, "/v1/me", "GET, HEAD"),
        (Method::GET, "/v1/auth:login", "POST"),
        (Method::PUT, "/v1/devices/x", "DELETE, GET, HEAD, PATCH"),
    ] {
        let answer = send(olga.request(method, path)).await;
        assert_eq!(answer.reason(405), "METHOD_NOT_ALLOWED");
        let mut allowed: Vec<_> = answer.header("allow").split(", ").collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(", "), allow, "{path}");
    }
}

#[tokio::test]
async fn no_header_overrides_the_method() {
    let olga = &need!(world().await).olga;
    let made = olga
        .post("/v1/devices", json!({"displayName": "x"}))
        .await
        .expect(201);
    let path = format!("/v1/devices/{}", super::text(&made["id"]));
    for header in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let request = olga.request(Method::GET, &path).header(header, "DELETE");
        send(request).await.expect(200);
    }
    assert_eq!(olga.get(&path).await.expect(200), made);
}

#[tokio::test]
async fn head_answers_as_get_does_without_a_body() {
    let World { olga, server, .. } = need!(world().await);
    let made = olga
        .post("/v1/devices", json!({"displayName": "x"}))
        .await
        .expect(201);
    let path = format!("/v1/devices/{}", super::text(&made["id"]));
    let missing = format!("/v1/devices/{}", fresh_id());
    for (caller, path, status) in [
        (olga, path.as_str(), 200),
        (olga, &missing, 404),
        (&server.anybody(), &path, 401),
    ] {
        let head = send(caller.request(Method::HEAD, path)).await;
        let get = caller.get(path).await;
        assert_eq!(
            (head.status.as_u16(), get.status.as_u16()),
            (status, status)
        );
        assert_eq!(head.text, "");
        for name in ["content-type", "etag"] {
            assert_eq!(head.header(name), get.header(name));
        }
    }
}

#[tokio::test]
async fn a_call_without_a_credential_is_401_in_exactly_this_shape() {
    let anybody = need!(world().await).server.anybody();
    let expected = json!({
        "code": 16,
        "message": "a credential is required, in one of: header `authorization: Bearer <credential>`, header `authorization: ApiKey <credential>`, header `authorization: Basic <credential>`, header `x-api-key: <credential>`, cookie `muster_session`",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "UNAUTHENTICATED",
            "domain": "muster",
        }],
    });
    for path in [
        "/v1/me",
        "/v1/devices",
        "/v1/devices/x",
        "/v1/members",
        "/v1/apiKeys",
    ] {
        assert_eq!(anybody.get(path).await.expect(401), expected, "{path}");
    }
}

#[tokio::test]
async fn a_credential_that_is_none_is_401() {
    let server = &need!(world().await).server;
    for value in [
        "Bearer x",
        "Bearer muster_0198c5a27d1e7bd09a3c5f1f0d6f2a11_0123456789",
        "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c2VyOjEifQ.",
        "Bearer",
        "Basic !",
        "Basic eA==",
        "ApiKey ",
        "Digest x",
    ] {
        let body = server.caller(value).get("/v1/devices").await.expect(401);
        assert_eq!(body["code"], 16, "{value}");
    }
}

#[tokio::test]
async fn a_token_whose_claims_were_changed_is_401() {
    use base64::Engine;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
    let World { victor, server, .. } = need!(world().await);
    let parts: Vec<_> = victor
        .authorization
        .as_deref()
        .unwrap()
        .split('.')
        .collect();
    let claims = B64.decode(parts[1]).unwrap();
    let mut claims: Value = serde_json::from_slice(&claims).unwrap();
    claims["scope"] = json!("devices.read devices.write");
    let claims = B64.encode(claims.to_string());
    let none = B64.encode(r#"{"typ":"at+jwt","alg":"none"}"#);
    let none = format!("Bearer {none}");
    for token in [
        [parts[0], &claims, parts[2]].join("."),
        [&none, &claims, ""].join("."),
        [&none, &claims, parts[2]].join("."),
        [parts[0], parts[1], ""].join("."),
    ] {
        server.caller(token).get("/v1/devices").await.expect(401);
    }
    victor.get("/v1/devices").await.expect(200);
}

#[tokio::test]
async fn the_vendors_places_for_credentials_do_not_count_natively() {
    let World { alice, server, .. } = need!(world().await);
    let key = alice.new_key(&["devices.read"]).await;
    let anybody = server.anybody();
    for (header, value) in [
        ("x-auth-key", key.clone()),
        ("x-api-auth", key.clone()),
        ("authentication", format!("bearer {key}")),
        ("cookie", format!("session={key}")),
        ("cookie", format!("muster_session={key}")),
    ] {
        let request = anybody.request(Method::GET, "/v1/devices");
        send(request.header(header, value)).await.expect(401);
    }
    for query in ["_auth_key", "_api_auth", "_api_key", "access_token"] {
        let answer = anybody.get(&format!("/v1/devices?{query}={key}")).await;
        answer.expect(401);
        assert!(!answer.text.contains(&key));
    }
}

#[tokio::test]
async fn the_documented_places_for_a_key_all_count() {
    let World { alice, server, .. } = need!(world().await);
    let key = alice.new_key(&["devices.read"]).await;
    for (header, value) in [
        ("authorization", format!("Bearer {key}")),
        ("authorization", format!("ApiKey {key}")),
        ("x-api-key", key.clone()),
        ("X-API-KEY", key),
    ] {
        let request = server.anybody().request(Method::GET, "/v1/devices");
        send(request.header(header, value)).await.expect(200);
    }
}

#[tokio::test]
async fn probes_need_no_credential() {
    let anybody = need!(world().await).server.anybody();
    for path in ["/healthz", "/readyz"] {
        let answer = anybody.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text.as_str()),
            (200, "ok\n")
        );
    }
}

#[tokio::test]
async fn the_public_keys_are_told_to_anybody_and_no_private_part_is() {
    let anybody = need!(world().await).server.anybody();
    let keys = anybody.get("/.well-known/jwks.json").await.expect(200);
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        let names: Vec<_> = key.as_object().unwrap().keys().collect();
        assert_eq!(names, ["kty", "use", "alg", "kid", "crv", "x", "y"]);
        assert_eq!((&key["kty"], &key["alg"]), (&json!("EC"), &json!("ES256")));
    }
}

#[tokio::test]
async fn the_clients_own_request_id_comes_back() {
    let olga = &need!(world().await).olga;
    let id = unique();
    for path in ["/v1/devices", "/v1/nothing", "/healthz", "/v1/devices/x"] {
        let request = olga.request(Method::GET, path).header("x-request-id", &id);
        assert_eq!(send(request).await.header("x-request-id"), id);
    }
}

#[tokio::test]
async fn a_request_id_that_is_none_is_replaced() {
    let olga = &need!(world().await).olga;
    let long = "x".repeat(65);
    for id in ["two words", "<script>", long.as_str()] {
        let request = olga
            .request(Method::GET, "/v1/me")
            .header("x-request-id", id);
        let given = send(request).await.header("x-request-id").to_owned();
        assert_eq!(given.len(), 36, "a UUID: {given}");
    }
}

#[tokio::test]
async fn no_other_origin_may_call_from_a_browser() {
    let olga = &need!(world().await).olga;
    let request = olga.request(Method::GET, "/v1/me");
    let answer = send(request.header("origin", "https://evil.example")).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");
}
