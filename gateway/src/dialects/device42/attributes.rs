//! What the registry has no field for: kept in the attributes of the same
//! name, as are the custom fields of buildings and customers.

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::muster::dialect::device42::v1 as dialect;

use super::values::flag;

/// As the registry has them.
pub(super) type Attributes = Option<Struct>;

/// Where custom fields are: objects with a value and notes, by their keys.
const FIELDS: &str = "custom_fields";

/// A text that is kept; empty if there is none.
pub(super) fn text(attributes: &Attributes, name: &str) -> String {
    let fields = attributes.as_ref().map(|a| &a.fields);
    match fields.and_then(|fields| fields.get(name)?.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    }
}

/// Texts that are kept.
pub(super) fn texts(attributes: &Attributes, name: &str) -> Vec<String> {
    let fields = attributes.as_ref().map(|a| &a.fields);
    let Some(Kind::ListValue(list)) = fields.and_then(|f| f.get(name)?.kind.as_ref()) else {
        return Vec::new();
    };
    let texts = list.values.iter().filter_map(|value| match &value.kind {
        Some(Kind::StringValue(text)) => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

/// Keeps a text, or nothing instead of an empty one.
pub(super) fn keep_text(attributes: &mut Attributes, name: &str, text: &str) {
    let kind = (!text.is_empty()).then(|| Kind::StringValue(text.to_owned()));
    keep(attributes, name, kind);
}

/// Keeps texts, or nothing instead of none.
pub(super) fn keep_texts(attributes: &mut Attributes, name: &str, texts: &[String]) {
    let values = texts.iter().map(|text| Value {
        kind: Some(Kind::StringValue(text.clone())),
    });
    let kind = (!texts.is_empty()).then(|| {
        Kind::ListValue(ListValue {
            values: values.collect(),
        })
    });
    keep(attributes, name, kind);
}

fn keep(attributes: &mut Attributes, name: &str, kind: Option<Kind>) {
    match (kind, attributes) {
        (None, None) => {}
        (None, Some(attributes)) => drop(attributes.fields.remove(name)),
        (kind, attributes) => {
            let attributes = attributes.get_or_insert_with(Struct::default);
            attributes.fields.insert(name.to_owned(), Value { kind });
        }
    }
}

/// Custom fields, in the order of their keys.
pub(super) fn custom_fields(attributes: &Attributes) -> Vec<dialect::CustomField> {
    let shown = kept(attributes).fields.into_iter().map(|(key, field)| {
        let field = match field.kind {
            Some(Kind::StructValue(field)) => Some(field),
            _ => None,
        };
        let notes = text(&field, "notes");
        dialect::CustomField {
            key,
            value: text(&field, "value"),
            notes: (!notes.is_empty()).then_some(notes),
        }
    });
    shown.collect()
}

fn kept(attributes: &Attributes) -> Struct {
    let fields = attributes.as_ref().map(|a| &a.fields);
    match fields.and_then(|fields| fields.get(FIELDS)?.kind.as_ref()) {
        Some(Kind::StructValue(kept)) => kept.clone(),
        _ => Struct::default(),
    }
}

/// Sets custom fields, or takes off those that are left with nothing.
pub(super) fn put(
    attributes: &mut Attributes,
    wanted: &dialect::PutBuildingFieldRequest,
) -> Result<()> {
    for (field, text) in [
        ("related_field_name", &wanted.related_field_name),
        ("groups", &wanted.groups),
    ] {
        if !text.is_empty() {
            return Err(Error::invalid(field, "custom fields have none here"));
        }
    }
    let cleared = |field: &str, text: &str| flag(field, text).map(|yes| yes.then(String::new));
    let clear_value = cleared("clear_value", &wanted.clear_value)?;
    let clear_notes = cleared("clear_notes", &wanted.clear_notes)?;
    let mut fields = kept(attributes);
    for (key, value) in pairs(&wanted.bulk_fields)? {
        set(&mut fields, key, Some(value), None);
    }
    if !wanted.key.is_empty() {
        let value = wanted.value.as_ref().or(clear_value.as_ref());
        let notes = wanted.notes.as_ref().or(clear_notes.as_ref());
        set(
            &mut fields,
            &wanted.key,
            value.map(String::as_str),
            notes.map(String::as_str),
        );
    } else if wanted.bulk_fields.is_empty() {
        return Err(Error::invalid("key", "is required"));
    }
    let kind = (!fields.fields.is_empty()).then_some(Kind::StructValue(fields));
    keep(attributes, FIELDS, kind);
    Ok(())
}

/// What is not given stays.
fn set(fields: &mut Struct, key: &str, value: Option<&str>, notes: Option<&str>) {
    let mut field = match fields.fields.remove(key).and_then(|field| field.kind) {
        Some(Kind::StructValue(field)) => Some(field),
        _ => None,
    };
    for (name, given) in [("value", value), ("notes", notes)] {
        if let Some(text) = given {
            keep_text(&mut field, name, text);
        }
    }
    if let Some(field) = field.filter(|field| !field.fields.is_empty()) {
        let kind = Some(Kind::StructValue(field));
        fields.fields.insert(key.to_owned(), Value { kind });
    }
}

/// Reads `key1:value1, key2:value2`.
fn pairs(text: &str) -> Result<Vec<(&str, &str)>> {
    let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
    parts
        .map(|part| match part.split_once(':') {
            Some((key, value)) if !key.trim().is_empty() => Ok((key.trim(), value.trim())),
            _ => Err(Error::invalid(
                "bulk_fields",
                "must be pairs such as key:value, separated by commas",
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(key: &str, value: &str) -> dialect::PutBuildingFieldRequest {
        dialect::PutBuildingFieldRequest {
            key: key.into(),
            value: Some(value.into()),
            ..Default::default()
        }
    }

    fn field(key: &str, value: &str, notes: Option<&str>) -> (String, String, Option<String>) {
        (key.into(), value.into(), notes.map(str::to_owned))
    }

    fn told(attributes: &Attributes) -> Vec<(String, String, Option<String>)> {
        let fields = custom_fields(attributes).into_iter();
        fields.map(|f| (f.key, f.value, f.notes)).collect()
    }

    #[test]
    fn a_custom_field_keeps_what_is_not_given_and_goes_when_nothing_is_left() {
        let mut kept = None;
        put(&mut kept, &wanted("b", "2")).unwrap();
        put(&mut kept, &wanted("a", "1")).unwrap();
        let noted = dialect::PutBuildingFieldRequest {
            key: "a".into(),
            notes: Some("first".into()),
            ..Default::default()
        };
        put(&mut kept, &noted).unwrap();
        let (a, b) = (field("a", "1", Some("first")), field("b", "2", None));
        assert_eq!(told(&kept), [a, b.clone()]);
        let cleared = dialect::PutBuildingFieldRequest {
            key: "a".into(),
            clear_value: "yes".into(),
            clear_notes: "yes".into(),
            ..Default::default()
        };
        put(&mut kept, &cleared).unwrap();
        assert_eq!(told(&kept), [b]);
        put(&mut kept, &wanted("b", "")).unwrap();
        assert_eq!(kept, Some(Struct::default()));
    }

    #[test]
    fn several_fields_are_put_at_once() {
        let mut kept = None;
        let many = |text: &str| dialect::PutBuildingFieldRequest {
            bulk_fields: text.into(),
            ..Default::default()
        };
        put(&mut kept, &many("a:1, b : http://x ,")).unwrap();
        let expected = [field("a", "1", None), field("b", "http://x", None)];
        assert_eq!(told(&kept), expected);
        assert!(put(&mut kept, &many("a")).is_err());
        assert!(put(&mut kept, &many("")).is_err());
    }

    #[test]
    fn what_is_empty_is_not_kept() {
        let mut kept = None;
        keep_text(&mut kept, "groups", "");
        keep_texts(&mut kept, "tags", &[]);
        assert_eq!(kept, None);
        keep_texts(&mut kept, "tags", &["a".to_owned()]);
        assert_eq!(
            (texts(&kept, "tags"), text(&kept, "tags")),
            (vec!["a".to_owned()], String::new())
        );
    }
}
