//! Keyset paging: a page begins after the last row of the page before, so
//! that its cost grows with the page and not with the list.

mod sealed;

pub use sealed::Sealer;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::error::{Error, Result};

/// What a list answers when the request does not say how much (AIP-158).
const DEFAULT_SIZE: u64 = 50;
/// What a list answers at most.
const MAX_SIZE: u64 = 1000;
/// First byte of a page token, so that its format can change.
const VERSION: u8 = 1;

/// Which page of a list a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// At most this many rows.
    pub size: u64,
    /// Only rows beyond the one with this number.
    pub after: Option<i64>,
    /// Skip this many (AIP-158).
    pub skip: u64,
}

impl Page {
    /// Reads `page_size` and `page_token` of a request.
    pub fn new(page_size: i32, page_token: &str) -> Result<Self> {
        let after = match page_token {
            "" => None,
            token => Some(i64::from_be_bytes(read(token)?)),
        };
        Ok(Self {
            size: size(page_size),
            after,
            skip: 0,
        })
    }

    /// The same page, some rows further on.
    #[must_use]
    pub fn skip(self, rows: i32) -> Self {
        Self {
            skip: u64::try_from(rows).unwrap_or_default(),
            ..self
        }
    }

    /// How many rows to read: one more than wanted tells whether there is a next page.
    pub fn limit(&self) -> u64 {
        self.size + 1
    }

    /// Cuts what was read to the page; also answers the token of the next one.
    pub fn finish<T>(&self, mut rows: Vec<T>, number: impl Fn(&T) -> i64) -> (Vec<T>, String) {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        if rows.len() <= size {
            return (rows, String::new());
        }
        rows.truncate(size);
        let next = rows
            .last()
            .map(|row| token_after(number(row)))
            .unwrap_or_default();
        (rows, next)
    }
}

/// How many rows a request wants, by its `page_size`.
pub fn size(page_size: i32) -> u64 {
    match u64::try_from(page_size).unwrap_or_default() {
        0 => DEFAULT_SIZE,
        size => size.min(MAX_SIZE),
    }
}

/// The token of the page that begins after the row with this number.
pub fn token_after(number: i64) -> String {
    write(number.to_be_bytes())
}

/// A page token that holds the place of a row; clients don't look into it.
pub fn write<const N: usize>(place: [u8; N]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(place);
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The place that a page token holds.
pub fn read<const N: usize>(token: &str) -> Result<[u8; N]> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    let place = bytes.as_deref().and_then(|bytes| {
        let (version, place) = bytes.split_first()?;
        let place = place.try_into().ok()?;
        (*version == VERSION).then_some(place)
    });
    place.ok_or_else(|| {
        Error::invalid(
            "page_token",
            "is no token of a page before; leave it out to begin at the first page",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_begins_after_the_last_row_of_this_one() {
        let (rows, next) = Page::new(2, "").unwrap().finish(vec![7, 8, 9], |n| *n);
        assert_eq!(rows, [7, 8]);
        assert_eq!(Page::new(2, &next).unwrap().after, Some(8));
    }

    #[test]
    fn the_last_page_names_no_next_one() {
        let (rows, next) = Page::new(2, "").unwrap().finish(vec![7, 8], |n| *n);
        assert_eq!((rows.len(), next.as_str()), (2, ""));
    }

    #[test]
    fn sizes_are_bounded_and_made_up_tokens_refused() {
        assert_eq!(Page::new(0, "").unwrap().size, DEFAULT_SIZE);
        assert_eq!(Page::new(1_000_000, "").unwrap().size, MAX_SIZE);
        for token in ["x", "AAAA", "AgAAAAAAAAAB", "%%%"] {
            assert!(Page::new(1, token).is_err(), "{token}");
        }
    }
}
