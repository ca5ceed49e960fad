//! Which fields a change names.

use prost_types::FieldMask;

/// The mask of the fields that are told to change (AIP-134).
pub(crate) fn mask<const N: usize>(fields: [(&str, bool); N]) -> FieldMask {
    let named = fields.into_iter().filter(|(_, named)| *named);
    FieldMask {
        paths: named.map(|(path, _)| path.to_owned()).collect(),
    }
}
