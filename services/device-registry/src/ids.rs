//! Ids as requests write them.

use chassis::{Clock, Error, Result};
use uuid::Uuid;

/// The id in a field of a request.
pub(crate) fn parse(field: &str, id: &str) -> Result<Uuid> {
    id.parse()
        .map_err(|_| Error::invalid(field, "must be a UUID"))
}

/// The ids in a field that holds several.
pub(crate) fn parse_all(field: &str, ids: &[String]) -> Result<Vec<Uuid>> {
    let ids = ids.iter().enumerate();
    ids.map(|(i, id)| parse(&format!("{field}[{i}]"), id))
        .collect()
}

/// The id in a field that may be empty.
pub(crate) fn parse_optional(field: &str, id: &str) -> Result<Option<Uuid>> {
    match id {
        "" => Ok(None),
        id => parse(field, id).map(Some),
    }
}

/// The id that the creator of something chose for it, or a new one (AIP-133).
pub(crate) fn chosen_or_new(field: &str, id: &str, clock: &Clock) -> Result<Uuid> {
    Ok(parse_optional(field, id)?.unwrap_or_else(|| clock.new_id()))
}
