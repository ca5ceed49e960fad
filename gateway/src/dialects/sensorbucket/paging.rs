//! Pages as SensorBucket has them: a cursor in a link to the next page.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chassis::{Error, Result};
use proto::muster::dialect::sensorbucket::v1::Links;
use serde::{Deserialize, Serialize};

/// How many are on a page when the request does not say.
const DEFAULT_LIMIT: u32 = 100;
/// How many are on a page at most.
const MAX_LIMIT: u32 = 1000;

/// Where a page begins. It names nothing that the caller may not name anyway.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// The tenants whose rows are still to be shown, by number.
    pub(super) tenants: Vec<i64>,
    /// Where the first of them goes on; empty: at its beginning.
    pub(super) token: String,
    limit: u32,
}

impl Cursor {
    /// The beginning of a list.
    pub(super) fn start(limit: u32, tenants: Vec<i64>) -> Self {
        Self {
            tenants,
            token: String::new(),
            limit,
        }
    }

    /// Where a request's page begins.
    pub(super) fn at(cursor: &str, limit: u32) -> Result<Self> {
        match cursor {
            "" => Ok(Self::start(limit, vec![])),
            cursor => Self::read(cursor),
        }
    }

    /// Reads what a link to a page has.
    pub(super) fn read(text: &str) -> Result<Self> {
        let json = BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| Error::invalid("cursor", "is no cursor of a page before"))
    }

    /// How many may be on the page.
    pub(super) fn limit(&self) -> i32 {
        let limit = match self.limit {
            0 => DEFAULT_LIMIT,
            limit => limit.min(MAX_LIMIT),
        };
        limit.cast_signed()
    }

    /// The links of the page before the one that begins here.
    pub(super) fn links(&self, base: &str, list: &str) -> Links {
        // Generated clients read on until `next` is the empty string.
        let next = match self.tenants.is_empty() {
            true => String::new(),
            false => format!(
                "{base}/api/{list}?cursor={}&limit={}",
                self.written(),
                self.limit()
            ),
        };
        Links {
            previous: String::new(),
            next,
        }
    }

    fn written(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        BASE64_URL_SAFE_NO_PAD.encode(json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_where_it_says() {
        let mut here = Cursor::start(2, vec![7, 9]);
        here.token = "abc".into();
        let next = here.links("http://localhost", "api-keys").next;
        let query = next
            .strip_prefix("http://localhost/api/api-keys?cursor=")
            .unwrap();
        let (cursor, limit) = query.split_once('&').unwrap();
        assert_eq!(Cursor::read(cursor).unwrap(), here);
        assert_eq!(limit, "limit=2");
    }

    #[test]
    fn the_last_page_has_an_empty_link() {
        let end = Cursor::start(2, vec![]);
        assert_eq!(end.links("http://localhost", "devices").next, "");
    }

    #[test]
    fn limits_are_bounded_and_made_up_cursors_refused() {
        assert_eq!(Cursor::start(0, vec![]).limit(), 100);
        assert_eq!(Cursor::start(5000, vec![]).limit(), 1000);
        assert!(Cursor::read("bm8").is_err() && Cursor::read("%").is_err());
    }
}
