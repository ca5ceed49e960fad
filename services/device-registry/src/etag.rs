//! Etags (AIP-154): the revision of a row, in decimals.

use chassis::{Error, Result};

/// The etag of a row.
pub(crate) fn of(revision: i64) -> String {
    revision.to_string()
}

/// Refuses a change by somebody who has not seen the present revision. An
/// empty etag means that he does not care.
pub(crate) fn check(etag: &str, revision: i64) -> Result<()> {
    if etag.is_empty() || etag == of(revision) {
        return Ok(());
    }
    Err(Error::Aborted {
        message: "it was changed since the etag was given out; get it and try again".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_present_etag_or_none_may_change_a_row() {
        assert!(check("", 7).is_ok());
        assert!(check(&of(7), 7).is_ok());
        for stale in ["6", "07", "x", " 7"] {
            assert!(
                matches!(check(stale, 7), Err(Error::Aborted { .. })),
                "{stale}"
            );
        }
    }
}
