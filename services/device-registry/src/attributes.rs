//! `google.protobuf.Struct` as JSON, and back.

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use serde_json::{Map, Number, Value as Json};

/// The largest whole number below which a double tells all whole numbers apart.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Attributes as JSON; `None` if a number in them is not finite, which JSON
/// can't say, or a text holds a NUL, which PostgreSQL can't keep.
pub(crate) fn to_json(attributes: &Struct) -> Option<Json> {
    let object = attributes
        .fields
        .iter()
        .map(|(key, value)| Some((text(key)?, value_to_json(value)?)))
        .collect::<Option<Map<_, _>>>()?;
    Some(Json::Object(object))
}

/// Attributes as a column keeps them, or which field can't be kept.
pub(crate) fn column(field: &str, attributes: Option<&Struct>) -> Result<Option<Json>> {
    let Some(attributes) = attributes else {
        return Ok(None);
    };
    let json = to_json(attributes).ok_or_else(|| {
        let text = "must have finite numbers and texts without NUL only";
        Error::invalid(field, text)
    })?;
    Ok(Some(json))
}

fn value_to_json(value: &Value) -> Option<Json> {
    Some(match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(bool)) => Json::Bool(*bool),
        Some(Kind::NumberValue(number)) => Json::Number(number_to_json(*number)?),
        Some(Kind::StringValue(string)) => Json::String(text(string)?),
        Some(Kind::ListValue(list)) => Json::Array(
            list.values
                .iter()
                .map(value_to_json)
                .collect::<Option<_>>()?,
        ),
        Some(Kind::StructValue(object)) => to_json(object)?,
    })
}

fn text(text: &str) -> Option<String> {
    (!text.contains('\0')).then(|| text.to_owned())
}

/// A whole number is written without a fraction, as whoever sent it wrote it.
fn number_to_json(number: f64) -> Option<Number> {
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

/// JSON as attributes; anything but an object has none.
pub(crate) fn from_json(json: &Json) -> Struct {
    let fields = json.as_object().into_iter().flatten();
    Struct {
        fields: fields
            .map(|(key, value)| (key.clone(), value_from_json(value)))
            .collect(),
    }
}

fn value_from_json(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(bool) => Kind::BoolValue(*bool),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue {
            values: items.iter().map(value_from_json).collect(),
        }),
        Json::Object(_) => Kind::StructValue(from_json(json)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_comes_back_as_it_was() {
        let json = json!({
            "null": null,
            "bool": true,
            "whole": -3,
            "large": 1e300,
            "fraction": 0.25,
            "text": "é\n",
            "list": [1, "two", [], {}],
            "object": {"inner": {"deep": [null]}},
        });
        let attributes = from_json(&json);
        let again = to_json(&attributes).unwrap();
        assert_eq!(again, json);
        assert_eq!(from_json(&again), attributes);
    }

    #[test]
    fn a_whole_number_has_no_fraction() {
        for (number, text) in [
            (3.0, "3"),
            (-0.0, "0"),
            (0.5, "0.5"),
            (EXACT - 1.0, "9007199254740991"),
            (1e16, "1e+16"),
        ] {
            assert_eq!(number_to_json(number).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_json_can_not_say_is_refused() {
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let kind = Some(Kind::NumberValue(number));
            let list = Kind::ListValue(ListValue {
                values: vec![Value { kind }],
            });
            let fields = [("x".to_owned(), Value { kind: Some(list) })].into();
            assert_eq!(to_json(&Struct { fields }), None);
        }
    }

    #[test]
    fn a_value_without_a_kind_is_null() {
        let fields = [("x".to_owned(), Value { kind: None })].into();
        assert_eq!(to_json(&Struct { fields }).unwrap(), json!({"x": null}));
    }
}
