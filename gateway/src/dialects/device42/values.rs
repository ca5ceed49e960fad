//! Device42's answers to changes, its pages and its small values.

use chassis::{Error, Result};
use prost_types::value::Kind;
use prost_types::{ListValue, Value};
use proto::muster::dialect::device42::v1 as dialect;
use tonic::Response;

/// How many are on a page at most, and if the request does not say.
const MAX_LIMIT: i32 = 1000;

/// Which page of a list a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: i32,
    pub(super) offset: i32,
}

impl Page {
    pub(super) fn new(limit: u32, offset: u32) -> Result<Self> {
        let limit = match i32::try_from(limit) {
            Ok(limit @ 1..MAX_LIMIT) => limit,
            _ => MAX_LIMIT,
        };
        let offset =
            i32::try_from(offset).map_err(|_| Error::invalid("offset", "is beyond any list"))?;
        Ok(Self { limit, offset })
    }
}

/// What a change came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    New,
    Updated,
    Unchanged,
}

impl Written {
    /// `{"msg": [text, id, name, added, is_new], "code": 0}`.
    pub(super) fn response(
        self,
        text: &str,
        number: i64,
        name: &str,
    ) -> Response<dialect::WriteResponse> {
        let values = [
            Kind::StringValue(text.to_owned()),
            // Short ids are far below where a double loses integers.
            Kind::NumberValue(number as f64),
            Kind::StringValue(name.to_owned()),
            Kind::BoolValue(self != Self::Unchanged),
            Kind::BoolValue(self == Self::New),
        ];
        let values = values.map(|kind| Value { kind: Some(kind) });
        Response::new(dialect::WriteResponse {
            msg: Some(ListValue {
                values: values.into(),
            }),
            code: 0,
        })
    }
}

/// `{"deleted": "true", "id": "114"}`.
pub(super) fn deleted(number: i64) -> Response<dialect::DeleteResponse> {
    Response::new(dialect::DeleteResponse {
        deleted: "true".into(),
        id: number.to_string(),
    })
}

/// Reads `yes` or `no`, as clients write them; empty means no.
pub(super) fn flag(field: &str, text: &str) -> Result<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "1" => Ok(true),
        "no" | "false" | "0" | "" => Ok(false),
        _ => Err(Error::invalid(field, "must be yes or no")),
    }
}

/// Reads names separated by commas.
pub(super) fn names(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    for name in text.split(',').map(str::trim) {
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The names of the fields that differ.
pub(super) fn changed(fields: &[(&str, bool)]) -> Vec<String> {
    let differ = fields.iter().filter(|(_, differs)| *differs);
    differ.map(|(name, _)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_thousand_unless_fewer_are_wanted() {
        for (wanted, limit) in [(0, 1000), (4, 4), (1000, 1000), (1001, 1000)] {
            assert_eq!(Page::new(wanted, 0).unwrap().limit, limit);
        }
        assert_eq!(Page::new(u32::MAX, 8).unwrap().limit, 1000);
        assert!(Page::new(0, u32::MAX).is_err());
    }

    #[test]
    fn a_change_is_told_in_five_values() {
        let told = |written: Written| {
            let msg = written.response("done", 3, "Head-office").into_inner().msg;
            msg.unwrap().values
        };
        let last = |written| {
            let values = told(written);
            assert_eq!(values.len(), 5);
            (values[3].kind.clone(), values[4].kind.clone())
        };
        let yes = Some(Kind::BoolValue(true));
        let no = Some(Kind::BoolValue(false));
        assert_eq!(last(Written::New), (yes.clone(), yes.clone()));
        assert_eq!(last(Written::Updated), (yes, no.clone()));
        assert_eq!(last(Written::Unchanged), (no.clone(), no));
    }

    #[test]
    fn small_values_are_read_as_clients_write_them() {
        assert!(flag("active", "True").unwrap() && !flag("active", "no").unwrap());
        assert!(flag("active", "maybe").is_err());
        assert_eq!(names(" a,b c,,a "), ["a", "b c"]);
    }
}
