//! What a build accepts and what it refuses, all at once.

#![allow(clippy::unwrap_used)]

mod support;

use tonic_transcoder::Transcoder;

const MESSAGES: &str = r#"
    message M { string name = 1; M child = 2; repeated string list = 3; map<string, string> map = 4;
      google.protobuf.Struct struct = 5; google.protobuf.Timestamp time = 6; int32 n = 7; }
"#;

/// The problems of a service with these methods; a method is its options.
fn problems(methods: &[&str]) -> Vec<String> {
    match Transcoder::builder(set(methods)).build() {
        Ok(_) => Vec::new(),
        Err(error) => error.problems().to_vec(),
    }
}

fn set(methods: &[&str]) -> Vec<u8> {
    let methods: String = methods
        .iter()
        .enumerate()
        .map(|(index, options)| format!("rpc R{index}(M) returns (M) {{ {options} }}\n"))
        .collect();
    support::compile_text(&format!(
        r#"syntax = "proto3"; package t;
        import "google/api/annotations.proto"; import "transcoder/v1/options.proto";
        import "google/protobuf/struct.proto"; import "google/protobuf/timestamp.proto";
        {MESSAGES} service S {{ {methods} }}"#
    ))
}

fn http(rule: &str) -> String {
    format!("option (google.api.http) = {{ {rule} }};")
}

#[test]
fn each_kind_of_mistake_has_its_message() {
    for (rule, want) in [
        (
            r#"get: "/v1/{nope}""#,
            "t.S.R0: /v1/{nope}: {nope} is not a field of the request",
        ),
        (
            r#"get: "/v1/{child.nope}""#,
            "t.S.R0: /v1/{child.nope}: {child.nope} is not a field of the request",
        ),
        (
            r#"get: "/v1/{name.x}""#,
            "t.S.R0: /v1/{name.x}: {name.x} leads through something that has no fields",
        ),
        (
            r#"get: "/v1/{list}""#,
            "t.S.R0: /v1/{list}: {list} is repeated, which no path can hold",
        ),
        (
            r#"get: "/v1/{map}""#,
            "t.S.R0: /v1/{map}: {map} is repeated, which no path can hold",
        ),
        (
            r#"get: "/v1/{struct}""#,
            "t.S.R0: /v1/{struct}: {struct} is a message, which no path can hold",
        ),
        (
            r#"get: "/v1/""#,
            "t.S.R0: /v1/: a template does not end with '/' at offset 4",
        ),
        (
            r#"get: "/v1/{name""#,
            "t.S.R0: /v1/{name: a '{' without its '}' at offset 9",
        ),
        (
            r#"post: "/v1" body: "nope""#,
            "t.S.R0: body \"nope\" is not a field of t.M",
        ),
        (
            r#"post: "/v1" body: "child.name""#,
            "t.S.R0: body \"child.name\" is not a field of t.M",
        ),
        (
            r#"get: "/v1" response_body: "nope""#,
            "t.S.R0: response_body \"nope\" is not a field of t.M",
        ),
        (r#"body: "*""#, "t.S.R0: the rule has no pattern"),
        (
            r#"custom { kind: "A B" path: "/v1" }"#,
            "t.S.R0: the custom kind \"A B\" is no HTTP method",
        ),
        (
            r#"get: "/v1" additional_bindings { get: "/v2" additional_bindings { get: "/v3" } }"#,
            "t.S.R0: additional_bindings inside additional_bindings",
        ),
    ] {
        assert_eq!(problems(&[&http(rule)]), [want], "{rule}");
    }
    let style = |style: &str| {
        format!(
            r#"{} option (transcoder.v1.method) = {{ {style} }};"#,
            http(r#"get: "/v1""#)
        )
    };
    assert_eq!(
        problems(&[&style("success_status: 404")]),
        ["t.S.R0: success_status 404 is not a success"]
    );
    assert_eq!(
        problems(&[&style("text_body: \"n\"")]),
        ["t.S.R0: text_body \"n\" is not a string of t.M"]
    );
    let stream = support::compile_text(
        r#"syntax = "proto3"; package t;
        import "google/api/annotations.proto"; import "transcoder/v1/options.proto";
        message M { string name = 1; }
        service S { rpc R0(M) returns (stream M) {
          option (google.api.http) = { get: "/v1" };
          option (transcoder.v1.method) = { text_body: "name" };
        } }"#,
    );
    assert_eq!(
        Transcoder::builder(stream).build().unwrap_err().problems(),
        ["t.S.R0: text_body \"name\" of a stream, which is no single text"]
    );
}

#[test]
fn all_mistakes_are_told_at_once() {
    let rules = [
        http(r#"get: "/v1/{a}/{b}" body: "c" additional_bindings { get: "x" }"#),
        http(r#"get: "/v1/x/{name}""#),
        http(r#"get: "/v1/x/{child.name=*}""#),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert_eq!(
        problems(&rules),
        [
            "t.S.R0: /v1/{a}/{b}: {a} is not a field of the request",
            "t.S.R0: /v1/{a}/{b}: {b} is not a field of the request",
            "t.S.R0: body \"c\" is not a field of t.M",
            "t.S.R0: x: a template starts with '/' at offset 0",
            "GET /v1/x/{child.name=*} of /t.S/R2 has the shape of /v1/x/{name} of /t.S/R1",
        ]
    );
}

#[test]
fn rules_that_differ_in_method_verb_or_depth_live_together() {
    let rules = [
        http(r#"get: "/v1/{name}" additional_bindings { put: "/v1/{name}" body: "child" }"#),
        http(r#"get: "/v1/{name}:verb" additional_bindings { get: "/v1/literal" }"#),
        http(r#"get: "/v1/{name}/{child.time}" additional_bindings { get: "/v1/{name=**}" }"#),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    assert!(problems(&rules).is_empty());
    let transcoder = Transcoder::builder(set(&rules)).build().unwrap();
    let names: Vec<String> = transcoder
        .rules()
        .map(|rule| {
            let method = rule
                .http_method
                .as_ref()
                .map_or("*", |method| method.as_str());
            format!("{method} {} {}", rule.template, rule.method.path)
        })
        .collect();
    assert_eq!(
        names[..3],
        [
            "GET /v1/{name} /t.S/R0",
            "PUT /v1/{name} /t.S/R0",
            "GET /v1/{name}:verb /t.S/R1"
        ]
    );
}

#[test]
fn a_match_tells_its_method_and_variables() {
    let transcoder = Transcoder::builder(support::descriptors()).build().unwrap();
    let matched = transcoder
        .route(&http::Method::PATCH, "/v1/shelves/1/books/a%20b")
        .unwrap();
    assert_eq!(matched.method().path, "/library.v1.Library/UpdateBook");
    let variables: Vec<(&str, &str)> = matched.variables().collect();
    assert_eq!(variables, [("book.name", "shelves/1/books/a%20b")]);
    let error = transcoder
        .route(&http::Method::POST, "/v1/shelves/1/books/2")
        .unwrap_err();
    let allow = [
        http::Method::DELETE,
        http::Method::GET,
        http::Method::HEAD,
        http::Method::PATCH,
    ];
    assert_eq!(
        error,
        tonic_transcoder::RouteError::MethodNotAllowed {
            allow: allow.into()
        }
    );
}

#[test]
fn services_can_be_left_out() {
    let transcoder = Transcoder::builder(support::descriptors())
        .service_filter(|service| service == "library.v1.Styled")
        .build()
        .unwrap();
    assert!(
        transcoder
            .rules()
            .all(|rule| rule.method.service == "library.v1.Styled")
    );
    assert_eq!(transcoder.rules().count(), 2);
}

#[test]
fn rules_of_a_document_replace_the_annotations() {
    let document = r#"{"http": {"rules": [{"selector": "library.v1.Library.Unrouted", "post": "/doc", "body": "*"},
        {"selector": "library.v1.Library.GetBook", "get": "/doc/{name=**}"}]}}"#;
    let transcoder = Transcoder::builder(support::descriptors())
        .rules_from_json(document)
        .build()
        .unwrap();
    let find = |method: http::Method, path: &str| {
        transcoder
            .route(&method, path)
            .map(|matched| matched.method().name.clone())
            .ok()
    };
    assert_eq!(
        find(http::Method::POST, "/doc").as_deref(),
        Some("Unrouted")
    );
    assert_eq!(
        find(http::Method::GET, "/doc/x/y").as_deref(),
        Some("GetBook")
    );
    assert_eq!(find(http::Method::GET, "/v1/shelves/1/books/2"), None);
    let document = r#"{"rules": [{"selector": "a.B.C", "get": "/x"}, {"selector": "library.v1.Library.Echo", "get": "y"}]}"#;
    let error = Transcoder::builder(support::descriptors())
        .rules_from_json(document)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "library.v1.Library.Echo: y: a template starts with '/' at offset 0\na.B.C: no such method"
    );
}

#[test]
fn a_selector_may_stand_for_several_methods_and_the_last_rule_counts() {
    let route = |document: &str, path: &str| {
        let transcoder = Transcoder::builder(support::descriptors())
            .rules_from_json(document)
            .build()
            .unwrap();
        let matched = transcoder.route(&http::Method::GET, path);
        matched.map(|matched| matched.method().name.clone()).ok()
    };
    let document = r#"{"rules": [
        {"selector": "library.v1.Styled.*", "get": "/star"},
        {"selector": "library.v1.Library.Unrouted, library.v1.Library.Unrouted", "get": "/old"},
        {"selector": "library.v1.Library.Unrouted", "get": "/new"}]}"#;
    assert_eq!(route(document, "/star").as_deref(), Some("Echo"));
    assert_eq!(route(document, "/new").as_deref(), Some("Unrouted"));
    assert_eq!(route(document, "/old"), None);
    for (selector, problem) in [
        ("library.v2.*", "library.v2.*: no such method"),
        (
            "library.v1.Lib*",
            "the rules: \"library.v1.Lib*\" is no selector of methods",
        ),
    ] {
        let document = format!(r#"{{"rules": [{{"selector": "{selector}", "get": "/x"}}]}}"#);
        let error = Transcoder::builder(support::descriptors())
            .rules_from_json(document)
            .build()
            .unwrap_err();
        assert_eq!(error.problems(), [problem]);
    }
}

#[cfg(feature = "yaml")]
#[test]
fn rules_may_come_from_a_service_configuration_in_yaml() {
    let document = "
type: google.api.Service
config_version: 3
name: library.example.com
http:
  fully_decode_reserved_expansion: true
  rules:
    # Comments are what a configuration is in YAML for.
    - selector: library.v1.Library.Unrouted
      post: /yaml/{string_value=**}:do
      body: \"*\"
      additional_bindings:
        - custom: {kind: REPORT, path: /yaml}
          response_body: child
";
    let transcoder = Transcoder::builder(support::descriptors())
        .rules_from_yaml(document)
        .build()
        .unwrap();
    let matched = transcoder
        .route(&http::Method::POST, "/yaml/a/b:do")
        .unwrap();
    assert_eq!(
        (matched.method().name.as_str(), matched.rule().body.as_str()),
        ("Unrouted", "*")
    );
    let report = http::Method::from_bytes(b"REPORT").unwrap();
    let matched = transcoder.route(&report, "/yaml").unwrap();
    assert_eq!(matched.rule().response_body, "child");
    for (document, problem) in [
        ("http: {rules: [1]}", "the rules: a rule is an object"),
        ("type: x", "the rules: the document has no \"rules\""),
    ] {
        let builder = Transcoder::builder(support::descriptors()).rules_from_yaml(document);
        assert_eq!(builder.build().unwrap_err().problems(), [problem]);
    }
    let broken = Transcoder::builder(support::descriptors()).rules_from_yaml("http: [");
    assert!(
        broken
            .build()
            .unwrap_err()
            .to_string()
            .starts_with("the rules: ")
    );
}

#[test]
fn descriptors_without_options_have_no_rules() {
    let set = support::compile_text(
        r#"syntax = "proto3"; package t; message M {} service S { rpc R(M) returns (M); }"#,
    );
    assert_eq!(Transcoder::builder(set).build().unwrap().rules().count(), 0);
    let error = Transcoder::builder(&b"\xff\xff"[..]).build().unwrap_err();
    assert!(error.problems()[0].starts_with("the descriptor set: "));
}
