//! What errors look like, for the documents.

use serde_json::{Value, json};

/// The schema of errors: where there is no code, the field is not there.
pub(super) fn content() -> Value {
    json!({"application/json": {"schema": {
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": {"type": "string", "description": "For a person."},
            "code": {"type": "string", "description": "For a program; left out where there is none."},
        },
    }}})
}
