//! The styles of a service, and limits.

#![allow(clippy::unwrap_used)]

mod support;

use serde_json::json;
use support::App;
use tonic_transcoder::{Limits, Transcoder};

#[tokio::test]
async fn a_service_may_have_a_style_of_its_own() {
    let app = App::echo();
    let all = r#"{"first_name":"","big_number":0,"color":0,"tag_list":[],"by_name":{},"maybe_int":null,"child":null,"mask":null,"flag":false}"#;
    for (kind, body, want) in [
        ("application/json", "{}", all.to_owned()),
        (
            "application/json",
            r#"{"unknown": [1], "first_name": ""}"#,
            all.to_owned(),
        ),
        (
            "application/json",
            r#"{"firstName": "A", "big_number": "5"}"#,
            all.replace(r#""first_name":"""#, r#""first_name":"A""#)
                .replace(r#""big_number":0"#, r#""big_number":5"#),
        ),
        (
            "application/json",
            r#"{"color": "rEd"}"#,
            all.replace(r#""color":0"#, r#""color":1"#),
        ),
        (
            "application/json",
            r#"{"mask": "first_name,child.flag"}"#,
            all.replace(r#""mask":null"#, r#""mask":"first_name,child.flag""#),
        ),
        (
            "application/json",
            r#"{"pick_b": ""}"#,
            all.replace(r#""mask""#, r#""pick_b":"","mask""#),
        ),
        (
            "application/json",
            r#"{"maybe_int": 0}"#,
            all.replace(r#""maybe_int":null"#, r#""maybe_int":0"#),
        ),
        (
            "",
            "first_name=F&unknown=x&by_name[k]=3",
            all.replace(r#""first_name":"""#, r#""first_name":"F""#)
                .replace(r#""by_name":{}"#, r#""by_name":{"k":3}"#),
        ),
    ] {
        let headers: &[(&str, &str)] = if kind.is_empty() {
            &[]
        } else {
            &[("content-type", kind)]
        };
        let got = app.request("POST /styled/echo", headers, body).await;
        assert_eq!(got.text(), want, "{body}");
    }
    let got = app
        .get("/styled/echo?flag=true&unknown=1&color=green")
        .await;
    assert_eq!(
        (got.json()["flag"].clone(), got.json()["color"].clone()),
        (json!(true), json!(2))
    );
    assert_eq!(
        app.request(
            "POST /styled/echo?x=1",
            &[("content-type", "application/json")],
            "{}"
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn limits_can_be_chosen() {
    let limits = Limits::default().body(10).depth(2).query(5);
    let transcoder = Transcoder::builder(support::descriptors())
        .limits(limits)
        .build()
        .unwrap();
    let app = App::with(transcoder, |call| Ok(vec![Ok(call.messages[0].clone())]));
    assert_eq!(app.json("POST /v1/echo", "{         }").await.status, 413);
    assert_eq!(app.json("POST /v1/echo", "{        }").await.status, 200);
    assert_eq!(app.get("/v1/echo?int32_value=1").await.status, 414);
    let body = [("content-type", "application/json")];
    let got = app.request("PUT /v1/echo/value", &body, "[[]]").await;
    assert_eq!(got.status, 200);
    let got = app.request("PUT /v1/echo/value", &body, "[[[]]]").await;
    assert_eq!(got.reason(), "TOO_DEEP");
}
