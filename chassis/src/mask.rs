//! Which fields an update changes (AIP-134, AIP-161).

use prost_types::FieldMask;
use proto::{Path, Validate};

use crate::error::{Error, Result};

/// How much of an unknown path an error shows.
const SHOWN: usize = 64;

/// A field that updates may change.
pub struct Field<M> {
    /// Its path, as in a mask.
    pub path: &'static str,
    /// Whether an update without a mask changes it.
    pub is_set: fn(&M) -> bool,
    /// Takes it over into the first message, from the second.
    pub copy: fn(&mut M, &M),
}

/// The fields of a message.
pub struct Fields<M: 'static> {
    /// The update request's field that holds the message.
    pub message: &'static str,
    /// What updates may change.
    pub input: &'static [Field<M>],
    /// What masks may name without effect, because only the service sets it.
    pub output: &'static [&'static str],
}

/// Fields that are changed as a whole, by name.
#[macro_export]
macro_rules! mask_field {
    ($name:ident) => {
        $crate::mask::Field {
            path: stringify!($name),
            is_set: |message| $crate::mask::is_set(&message.$name),
            copy: |to, from| to.$name.clone_from(&from.$name),
        }
    };
}
pub use crate::mask_field as field;

/// Whether a field has another value than its default.
pub fn is_set<T: Default + PartialEq>(value: &T) -> bool {
    *value != T::default()
}

impl<M: Validate> Fields<M> {
    /// The current message with the fields of the wanted one that the mask
    /// names, if it then keeps the contract's rules.
    pub fn merge(&self, mask: Option<&FieldMask>, wanted: &M, current: M) -> Result<M> {
        let mut merged = current;
        for field in self.changed(mask, wanted)? {
            (field.copy)(&mut merged, wanted);
        }
        let mut violations = Vec::new();
        merged.validate(&Path::Root.field(self.message), &mut violations);
        if violations.is_empty() {
            Ok(merged)
        } else {
            Err(Error::Invalid(violations))
        }
    }

    fn changed(&self, mask: Option<&FieldMask>, wanted: &M) -> Result<Vec<&Field<M>>> {
        let paths = mask.map(|mask| mask.paths.as_slice()).unwrap_or_default();
        if paths.is_empty() {
            let set = |field: &&Field<M>| (field.is_set)(wanted);
            return Ok(self.input.iter().filter(set).collect());
        }
        let mut changed = Vec::new();
        for path in paths {
            match self.input.iter().find(|field| field.path == path) {
                Some(field) => changed.push(field),
                None if path == "*" => changed.extend(self.input),
                None if self.output.contains(&path.as_str()) => {}
                None => return Err(unknown(path)),
            }
        }
        Ok(changed)
    }
}

fn unknown(path: &str) -> Error {
    let shown: String = path.chars().take(SHOWN).collect();
    Error::invalid(
        "update_mask",
        format!("`{shown}` is no field that can be changed"),
    )
}

#[cfg(test)]
mod tests {
    use proto::registry::Tag;

    use super::*;

    const FIELDS: Fields<Tag> = Fields {
        message: "tag",
        input: &[field!(display_name), field!(color)],
        output: &["id", "number"],
    };

    fn tag(display_name: &str, color: &str) -> Tag {
        Tag {
            display_name: display_name.to_owned(),
            color: color.to_owned(),
            ..Tag::default()
        }
    }

    fn merge(paths: &[&str], wanted: Tag) -> Result<Tag> {
        let mask = FieldMask {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        let current = Tag {
            id: "kept".to_owned(),
            ..tag("old", "#000000")
        };
        FIELDS.merge(Some(&mask), &wanted, current)
    }

    fn invalid_field(result: Result<Tag>) -> String {
        match result {
            Err(Error::Invalid(violations)) => violations[0].field.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_named_fields_change() {
        let merged = merge(&["color"], tag("new", "#ffffff")).unwrap();
        assert_eq!(
            (merged.display_name.as_str(), merged.color.as_str()),
            ("old", "#ffffff")
        );
    }

    #[test]
    fn a_named_field_that_is_not_set_is_cleared() {
        assert_eq!(merge(&["color"], tag("", "")).unwrap().color, "");
    }

    #[test]
    fn without_a_mask_every_field_that_is_set_changes() {
        let merged = merge(&[], tag("new", "")).unwrap();
        assert_eq!(
            (merged.display_name.as_str(), merged.color.as_str()),
            ("new", "#000000")
        );
    }

    #[test]
    fn a_star_replaces_all_but_what_only_the_service_sets() {
        let merged = merge(&["*"], tag("new", "")).unwrap();
        assert_eq!(
            (merged.display_name.as_str(), merged.color.as_str()),
            ("new", "")
        );
        assert_eq!(merged.id, "kept");
    }

    #[test]
    fn naming_an_output_field_has_no_effect() {
        let wanted = Tag {
            id: "other".to_owned(),
            ..tag("new", "")
        };
        let merged = merge(&["id", "number"], wanted).unwrap();
        assert_eq!(
            (merged.id.as_str(), merged.display_name.as_str()),
            ("kept", "old")
        );
    }

    #[test]
    fn an_unknown_path_is_refused() {
        for path in ["name", "", "color.red", "displayName"] {
            assert_eq!(invalid_field(merge(&[path], tag("x", ""))), "update_mask");
        }
    }

    #[test]
    fn the_outcome_must_keep_the_rules() {
        assert_eq!(
            invalid_field(merge(&["*"], tag("", ""))),
            "tag.display_name"
        );
    }
}
