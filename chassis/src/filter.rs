//! Filters of lists, in the language of AIP-160:
//! `labels.region = "eu" AND NOT tags:"retired" AND update_time > "2024-05-01T00:00:00Z"`.
//!
//! [`parse`] reads the language; [`read`] also finds the fields of one
//! resource in it and what they are compared with, and tells everything that
//! is wrong at once. In what comes out, only comparisons are negated, so that
//! it is as easily made SQL as evaluated.

mod check;
mod parse;
#[cfg(test)]
mod tests;
mod token;

use std::fmt;

pub use check::{Filter, Kind, Schema, Test, Value};

use crate::error::{Error, Result as Outcome};

/// A filter as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// All are true.
    All(Vec<Tree>),
    /// One is true.
    Any(Vec<Tree>),
    /// It is not true.
    Not(Box<Tree>),
    /// A field is compared with a value.
    Restriction(Restriction),
    /// A text that stands alone.
    Text(Literal),
}

impl Tree {
    fn all(mut trees: Vec<Tree>) -> Tree {
        match trees.len() {
            1 => trees.remove(0),
            _ => Tree::All(trees),
        }
    }

    fn any(mut trees: Vec<Tree>) -> Tree {
        match trees.len() {
            1 => trees.remove(0),
            _ => Tree::Any(trees),
        }
    }
}

/// A field and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction {
    /// Where it begins, in bytes.
    pub at: usize,
    /// The names of the field, from the outside in.
    pub path: Vec<String>,
    /// How it is compared.
    pub comparator: Comparator,
    /// With what.
    pub value: Literal,
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// Where it begins, in bytes.
    pub at: usize,
    /// Without quotes.
    pub text: String,
    /// Whether it stood in quotes.
    pub quoted: bool,
    /// Whether a `*` followed: the text is only how it begins.
    pub open: bool,
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `:`
    Has,
}

/// What is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// In bytes from the beginning.
    pub at: usize,
    /// For people.
    pub message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.message, self.at)
    }
}

/// Reads a filter; nothing for an empty one.
pub fn parse(filter: &str) -> Result<Option<Tree>, Fault> {
    parse::parse(filter)
}

/// Reads a filter and finds the fields of a resource in it. All that is wrong
/// is told at once, as violations of the request's field `filter`.
pub fn read<S: Schema>(schema: &S, filter: &str) -> Outcome<Option<Filter<S::Field>>> {
    let faults = match parse(filter) {
        Ok(None) => return Ok(None),
        Ok(Some(tree)) => match check::check(schema, &tree) {
            Ok(filter) => return Ok(Some(filter)),
            Err(faults) => faults,
        },
        Err(fault) => vec![fault],
    };
    let violations = faults.into_iter().map(|fault| proto::Violation {
        field: "filter".to_owned(),
        rule: "filter",
        description: fault.to_string(),
    });
    Err(Error::Invalid(violations.collect()))
}
