//! What is sent and what is answered.

use super::*;

#[test]
fn a_body_is_without_what_the_path_says_and_a_change_needs_nothing() {
    let document = document();
    let create = &operation(&document, "POST /v1/plants")["requestBody"];
    assert_eq!(create["required"], true);
    assert_eq!(
        create["content"]["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/Plant"})
    );
    let update = &operation(&document, "PATCH /v1/plants/{id}")["requestBody"];
    assert_eq!(update["required"], Value::Null);
    assert_eq!(
        update["content"]["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/PlantUpdate"})
    );
    let changed = schema(&document, "PlantUpdate");
    assert_eq!(
        (&changed["required"], &changed["properties"]["id"]),
        (&Value::Null, &Value::Null)
    );
    let water = schema(&document, "WaterRequestUpdate");
    assert_eq!(names(&water["properties"]), ["litres", "cans", "source"]);
    assert_eq!(
        water["oneOf"],
        json!([{"required": ["litres"]}, {"required": ["cans"]}])
    );
    assert_eq!(water["properties"]["cans"]["enum"], json!([1, 2, 4]));
    let rest = operation(&document, "POST /v1/garden/{id}:rest");
    assert_eq!(rest["requestBody"], Value::Null);
}

#[test]
fn streams_are_lines_or_arrays() {
    let document = document();
    let note = &operation(&document, "POST /v1/notes")["requestBody"]["content"];
    let item = json!({"$ref": "#/components/schemas/WaterRequest"});
    assert_eq!(note["application/x-ndjson"]["schema"], item);
    assert_eq!(
        note["application/json"]["schema"],
        json!({"type": "array", "items": item})
    );
    let watch = &operation(&document, "GET /v1/plants/{id}:watch")["responses"]["200"]["content"];
    assert_eq!(
        names(watch),
        [
            "application/x-ndjson",
            "text/event-stream",
            "application/json",
            "text/csv"
        ]
    );
}

#[test]
fn answers_have_the_status_and_the_part_that_the_rule_chooses() {
    let document = document();
    let answer = |line, status: &str| operation(&document, line)["responses"][status].clone();
    let content = |line| answer(line, "200")["content"]["application/json"]["schema"].clone();
    let plant = json!({"$ref": "#/components/schemas/Plant"});
    assert_eq!(
        answer("POST /v1/plants", "201")["headers"]["ETag"]["schema"],
        json!({"type": "string"})
    );
    assert_eq!(
        content("GET /v1/plants"),
        json!({"type": "array", "items": plant})
    );
    assert_eq!(
        content("GET /v1/plants:count"),
        json!({"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"})
    );
    assert_eq!(
        content("GET /v1/plants:best"),
        json!({"anyOf": [plant, {"type": "null"}]})
    );
    assert_eq!(answer("GET /v1/plants/{id}", "304")["content"], Value::Null);
    assert_eq!(
        answer("POST /v1/garden/{id}:rest", "204"),
        json!({"description": "Success."})
    );
    assert_eq!(
        answer("GET /v1/word", "200")["content"],
        json!({"text/plain": {"schema": {"type": "string"}}})
    );
    assert_eq!(
        names(&operation(&document, "GET /v1/word")["responses"]),
        ["200", "400", "401", "default"]
    );
    assert_eq!(
        names(&operation(&document, "POST /v1/garden/{id}:rest")["responses"]),
        ["204", "400", "401", "404", "default"]
    );
}

#[test]
fn errors_have_the_shape_that_the_api_says() {
    let document = document();
    let refused = &operation(&document, "GET /v1/plants/{id}")["responses"];
    assert_eq!(
        refused["404"],
        json!({"$ref": "#/components/responses/NotFound"})
    );
    assert_eq!(
        refused["default"],
        json!({"$ref": "#/components/responses/Error"})
    );
    let content = &document["components"]["responses"]["NotFound"]["content"];
    assert_eq!(
        content["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/RpcStatus"})
    );
    assert_eq!(
        schema(&document, "RpcStatus")["required"],
        json!(["code", "message", "details"])
    );

    let error = ErrorBody::Message("garden.v1.WaterResponse".to_owned());
    let document = transcoder().openapi(&Garden { error });
    let content = &document["components"]["responses"]["NotFound"]["content"];
    assert_eq!(
        content["application/json"]["schema"],
        json!({"$ref": "#/components/schemas/WaterResponse"})
    );
    assert!(document["components"]["schemas"]["RpcStatus"].is_null());

    let text = json!({"text/plain": {"schema": {"type": "string"}}});
    let document = transcoder().openapi(&Garden {
        error: ErrorBody::Content(text.clone()),
    });
    assert_eq!(
        document["components"]["responses"]["Error"]["content"],
        text
    );
}

#[test]
fn bodies_have_examples_of_what_is_needed_and_what_has_examples() {
    let document = document();
    let example = |line, kind: &str| {
        operation(&document, line)["requestBody"]["content"][kind]["example"].clone()
    };
    assert_eq!(
        example("POST /v1/plants", "application/json"),
        json!({
            "commonName": "Rose",
            "branches": [{"commonName": "Rose", "colors": ["#22aa55"]}],
            "colors": ["#22aa55"]
        })
    );
    assert_eq!(
        example("POST /v1/plants/{plantId}:water", "application/json"),
        json!({"litres": 1})
    );
    assert_eq!(
        example("POST /v1/notes", "application/json"),
        json!([{"plantId": "text", "litres": 1, "source": "rain"}])
    );
}
