//! Messages, fields and rules.

use super::*;

#[test]
fn rules_become_constraints() {
    let document = document();
    let plant = &schema(&document, "Plant")["properties"];
    for (field, want) in [
        (
            "commonName",
            json!({"type": "string", "minLength": 1, "maxLength": 20, "examples": ["Rose"]}),
        ),
        (
            "height",
            json!({"type": "string", "format": "int64", "pattern": "^[0-9]+$"}),
        ),
        ("state", json!({"$ref": "#/components/schemas/PlantState"})),
        (
            "labels",
            json!({"type": "object", "additionalProperties": {"type": "string", "minLength": 1}, "propertyNames": {"maxLength": 5}, "maxProperties": 3}),
        ),
        (
            "branches",
            json!({"type": "array", "items": {"$ref": "#/components/schemas/Plant"}, "maxItems": 9}),
        ),
        (
            "colors",
            json!({"type": "array", "items": {"type": "string", "pattern": "^#[0-9a-f]{6}$", "examples": ["#22aa55"]}, "uniqueItems": true}),
        ),
        (
            "plantTime",
            json!({"type": "string", "format": "date-time"}),
        ),
        (
            "thirst",
            json!({"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$"}),
        ),
        (
            "notes",
            json!({"type": "object", "additionalProperties": true}),
        ),
        ("value", json!({})),
        (
            "weight",
            json!({"type": ["number", "null"], "format": "double"}),
        ),
        (
            "seed",
            json!({"type": "string", "contentEncoding": "base64"}),
        ),
        ("number", json!({"type": "integer", "minimum": 0})),
    ] {
        let mut found = plant[field].clone();
        found.as_object_mut().unwrap().shift_remove("description");
        assert_eq!(found, want, "{field}");
    }
    assert_eq!(
        plant["thirst"]["description"],
        "How often it is watered. Must be at least `60s` and at most `3600s`."
    );
    assert_eq!(plant["id"]["readOnly"], true);
    assert_eq!(
        schema(&document, "Plant")["required"],
        json!(["commonName"])
    );
    let place = &schema(&document, "Place")["properties"];
    assert_eq!(place["owner"]["format"], "email");
    assert_eq!(
        (&place["latitude"]["minimum"], &place["latitude"]["maximum"]),
        (&json!(-90), &json!(90))
    );
    let state = schema(&document, "PlantState");
    assert_eq!(
        state["enum"],
        json!(["STATE_UNSPECIFIED", "STATE_GREEN", "STATE_DRY"])
    );
    assert_eq!(
        state["description"],
        "How a plant is.\n\n- `STATE_UNSPECIFIED`: Nobody knows.\n- `STATE_GREEN`: It grows."
    );
}

#[test]
fn a_service_is_described_in_its_own_style() {
    let document = document();
    let answer = &operation(&document, "GET /old/plants/{id}")["responses"]["200"]["content"];
    let name = answer["application/json"]["schema"]["$ref"]
        .as_str()
        .unwrap();
    assert_eq!(name, "#/components/schemas/PlantOutput");
    let plant = schema(&document, "PlantOutput");
    let fields = &plant["properties"];
    assert_eq!(fields["height"]["type"], "integer");
    assert_eq!(fields["state"]["$ref"], "#/components/schemas/PlantState2");
    assert_eq!(
        fields["place"]["anyOf"],
        json!([{"$ref": "#/components/schemas/PlaceOutput"}, {"type": "null"}])
    );
    assert_eq!(fields["plant_time"]["type"], json!(["string", "null"]));
    let required: Vec<&str> = plant["required"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r.as_str().unwrap())
        .collect();
    assert!(required.contains(&"common_name") && required.contains(&"place"));
    assert!(
        !required.contains(&"name") && !required.contains(&"number"),
        "members of a oneof"
    );
    let form = &operation(&document, "PUT /old/plants/{id}")["requestBody"]["content"];
    assert_eq!(
        names(form),
        ["application/x-www-form-urlencoded", "application/json"]
    );
    let fields = &form["application/x-www-form-urlencoded"]["schema"]["properties"];
    assert!(fields["place.latitude"].is_object() && fields["id"].is_null());
}

#[test]
fn references_lead_somewhere_and_nothing_is_left_over() {
    let document = document();
    let text = document.to_string();
    let schemas = names(&document["components"]["schemas"]);
    for name in &schemas {
        assert!(
            text.contains(&format!("\"#/components/schemas/{name}\"")),
            "{name} is not used"
        );
    }
    let mut rest = text.as_str();
    while let Some(at) = rest.find("#/components/schemas/") {
        rest = &rest[at + "#/components/schemas/".len()..];
        let name = &rest[..rest.find('"').unwrap()];
        assert!(schemas.contains(&name), "no {name}");
    }
}
