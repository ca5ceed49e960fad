//! Paths, operations and their parameters.

use super::*;

#[test]
fn every_rule_has_its_place_or_is_listed_as_one_that_has_none() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"], json!({"title": "Garden", "version": "1"}));
    let paths: Vec<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| format!("{path} {}", names(item).join(",")))
        .collect();
    assert_eq!(
        paths,
        [
            "/v1/plants post,get",
            "/v1/plants/{id} get,patch",
            "/v1/beds/{bed}/plants/{id} get",
            "/v1/plants/{plantId}:water post",
            "/v1/garden/{id}:rest post",
            "/v1/plants:count get",
            "/v1/plants:best get",
            "/v1/plants/{id}:watch get",
            "/v1/notes post",
            "/v1/word get",
            "/old/plants/{id} get,put",
            "/old/plants post",
        ]
    );
    assert_eq!(document["x-unlisted-rules"], json!(["DIG /v1/plants/{id}"]));
    assert_eq!(
        document["tags"],
        json!([
            {"name": "Garden", "description": "What grows in the garden."},
            {"name": "OldGarden", "description": "The same in another style."}
        ])
    );
}

#[test]
fn comments_become_summaries_and_descriptions() {
    let document = document();
    let create = operation(&document, "POST /v1/plants");
    assert_eq!(create["operationId"], "Garden_CreatePlant");
    assert_eq!(create["tags"], json!(["Garden"]));
    assert_eq!(create["summary"], "Plants something");
    assert_eq!(
        create["description"],
        "It grows by itself.\n\nBut for weeds:\n- they grow\n- faster\n\nNeeds a spade."
    );
    let second = operation(&document, "GET /v1/beds/{bed}/plants/{id}");
    assert_eq!(second["operationId"], "Garden_GetPlant2");
    assert_eq!(
        operation(&document, "POST /v1/garden/{id}:rest")["deprecated"],
        true
    );
    let plant = schema(&document, "Plant");
    assert_eq!(
        plant["description"],
        "Something that grows.\n\nAt most one of `name`, `number` is set."
    );
    assert_eq!(plant["properties"]["old"]["deprecated"], true);
}

#[test]
fn what_is_neither_in_the_path_nor_in_the_body_is_in_the_query() {
    let document = document();
    for (line, want) in [
        (
            "POST /v1/plants",
            &[
                ("requestId", "query", false),
                ("Idempotency-Key", "header", false),
            ][..],
        ),
        (
            "GET /v1/plants/{id}",
            &[
                ("id", "path", true),
                ("bed", "query", true),
                ("If-None-Match", "header", false),
            ],
        ),
        (
            "GET /v1/beds/{bed}/plants/{id}",
            &[
                ("bed", "path", true),
                ("id", "path", true),
                ("If-None-Match", "header", false),
            ],
        ),
        (
            "PATCH /v1/plants/{id}",
            &[
                ("id", "path", true),
                ("updateMask", "query", false),
                ("etag", "query", false),
                ("If-Match", "header", false),
            ],
        ),
        (
            "POST /v1/plants/{plantId}:water",
            &[("plantId", "path", true)],
        ),
        ("POST /v1/notes", &[]),
        (
            "GET /v1/plants",
            &[
                ("state", "query", true),
                ("names", "query", false),
                ("labels", "query", false),
                ("near.latitude", "query", false),
                ("near.owner", "query", false),
                ("after", "query", false),
                ("filter", "query", false),
            ],
        ),
        (
            "PUT /old/plants/{id}",
            &[("id", "path", true), ("If-Match", "header", false)],
        ),
    ] {
        let found = parameters(operation(&document, line));
        let found: Vec<_> = found
            .into_iter()
            .filter(|(name, ..)| !name.starts_with("like."))
            .collect();
        assert_eq!(found, want, "{line}");
    }
    let find = operation(&document, "GET /v1/plants");
    assert_eq!(
        parameter(find, "state")["schema"],
        json!({"$ref": "#/components/schemas/PlantState", "not": {"enum": ["STATE_UNSPECIFIED"]}})
    );
    assert_eq!(
        parameter(find, "names")["schema"],
        json!({"type": "array", "items": {"type": "string"}, "maxItems": 5})
    );
    let labels = parameter(find, "labels");
    assert_eq!(
        (&labels["style"], &labels["explode"]),
        (&json!("deepObject"), &json!(true))
    );
    assert_eq!(
        parameter(find, "after")["schema"],
        json!({"type": "string", "format": "date-time"})
    );
    assert_eq!(
        parameter(find, "near.latitude")["description"],
        "Degrees north."
    );
    assert_eq!(
        parameter(find, "filter")["content"]["application/json"]["schema"]["type"],
        "object"
    );
    let bed = parameter(
        operation(&document, "GET /v1/beds/{bed}/plants/{id}"),
        "bed",
    );
    assert_eq!(
        bed["schema"],
        json!({"type": "integer", "format": "int64", "exclusiveMinimum": 0})
    );
}

/// Templates with segments inside of variables, custom kinds and streams of bytes.
#[test]
fn the_library_has_one_path_for_each_shape() {
    let set = {
        let mut compiler = protox::Compiler::new(["tests/proto", "proto", "../../proto"]).unwrap();
        compiler
            .include_imports(true)
            .open_file("library.proto")
            .unwrap();
        compiler.encode_file_descriptor_set()
    };
    struct Library;
    impl Api for Library {
        fn info(&self) -> Value {
            json!({"title": "Library", "version": "1"})
        }
    }
    let document = Transcoder::builder(set).build().unwrap().openapi(&Library);
    let book = operation(&document, "GET /v1/shelves/{shelvesId}/books/{booksId}");
    assert_eq!(
        parameters(book)[..2],
        [("shelvesId", "path", true), ("booksId", "path", true)]
    );
    assert_eq!(book["summary"], Value::Null);
    operation(&document, "PATCH /v1/shelves/{shelvesId}/books/{booksId}");
    let files = operation(&document, "GET /v1/files/{path}");
    assert_eq!(
        parameter(files, "path")["description"],
        "May be several segments, with slashes."
    );
    let cover = operation(
        &document,
        "GET /v1/shelves/{shelvesId}/books/{booksId}/cover",
    );
    assert_eq!(cover["responses"]["200"]["content"], json!({"*/*": {}}));
    let write = operation(
        &document,
        "PUT /v1/shelves/{shelvesId}/books/{booksId}/cover",
    );
    assert_eq!(
        write["requestBody"]["content"],
        json!({"application/octet-stream": {}})
    );
    let unlisted = document["x-unlisted-rules"].as_array().unwrap();
    assert!(
        unlisted.contains(&json!("REPORT /v1/files/{path}")),
        "{unlisted:?}"
    );
    assert!(
        unlisted.contains(&json!("* /v1/anything/{path}")),
        "{unlisted:?}"
    );
}
#[test]
fn public_methods_say_that_they_need_nothing() {
    let document = document();
    assert_eq!(
        operation(&document, "GET /v1/plants/{id}")["security"],
        json!([])
    );
    assert_eq!(
        operation(&document, "POST /v1/plants")["security"],
        json!([{"key": []}])
    );
    assert_eq!(
        document["components"]["securitySchemes"]["key"]["scheme"],
        "bearer"
    );
}
