//! Which devices a list wants, and how they are found: by the filters of the
//! request's fields, by its filter in the language of AIP-160, in its order.
//!
//! What an index can find is asked of the database ([`sql`]). The rest is
//! looked at here ([`matches`]), in no more rows than a page may cost.

pub(crate) mod fields;
pub(crate) mod matches;
pub(crate) mod order;
pub(crate) mod pages;
#[cfg(test)]
mod plans;
pub(crate) mod sql;
