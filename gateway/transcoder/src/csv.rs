//! CSV (RFC 4180): the first line names fields, each other line is a message.
//!
//! A column is a field by its path (`display_name`, `location.latitude`), or
//! an entry of a map (`labels.region`, `labels[region]`). A cell that is empty
//! leaves the field unset. Values of a repeated field are parted by `;`; what
//! has no other text is JSON.

pub(crate) mod column;
pub(crate) mod rows;
pub(crate) mod sheet;

/// Between the values of a repeated field in one cell.
const BETWEEN: char = ';';
