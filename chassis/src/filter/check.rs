//! From names and texts to fields and values.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Comparator, Fault, Literal, Restriction, Tree};

/// The fields of a resource that filters may name.
pub trait Schema {
    /// Names one of them, or a part of one, such as the label of a key.
    type Field: Clone;

    /// The field of a path and what it holds.
    fn find(&self, path: &[&str]) -> Option<(Self::Field, Kind)>;

    /// The paths that there are, to be told to whoever names another one.
    fn names(&self) -> &'static str;

    /// Where a text that stands alone is looked for: at the beginning of these.
    fn texts(&self) -> Vec<Self::Field>;
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A text; the empty one if there is none.
    Text,
    /// A whole number.
    Integer,
    /// A number, or nothing.
    Number,
    /// A moment, or nothing.
    Time,
    /// An id, or nothing.
    Id,
    /// One of these names, with their numbers.
    Enum(&'static [(&'static str, i32)]),
    /// Any number of names.
    Names,
    /// Any number of ids.
    Ids,
    /// Values by key.
    Map,
    /// Whatever JSON has.
    Json,
}

/// A filter whose fields and values are known.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter<F> {
    /// All are true; nothing is always true.
    All(Vec<Filter<F>>),
    /// One is true; nothing is never true.
    Any(Vec<Filter<F>>),
    /// A comparison.
    Test(Test<F>),
}

/// A field compared with a value.
#[derive(Clone, Debug, PartialEq)]
pub struct Test<F> {
    /// Which field.
    pub field: F,
    /// Whether the comparison must be false.
    pub negated: bool,
    /// Any but [`Comparator::NotEqual`].
    pub comparator: Comparator,
    /// With what.
    pub value: Value,
}

/// What a field is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// How a text begins.
    Prefix(String),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// Nothing.
    Null,
    /// A moment.
    Time(DateTime<Utc>),
    /// An id.
    Id(Uuid),
    /// The number of an enum's value.
    Enum(i32),
    /// Whether there is anything.
    Anything,
}

impl<F> Filter<F> {
    /// All of some filters.
    pub fn all(mut filters: Vec<Self>) -> Self {
        match filters.len() {
            1 => filters.remove(0),
            _ => Self::All(filters),
        }
    }

    /// The comparisons, each once.
    pub fn tests(&self) -> Vec<&Test<F>> {
        match self {
            Self::Test(test) => vec![test],
            Self::All(filters) | Self::Any(filters) => {
                filters.iter().flat_map(Self::tests).collect()
            }
        }
    }

    /// The same with another filter in the place of each comparison.
    #[must_use]
    pub fn replace(self, each: &impl Fn(Test<F>) -> Self) -> Self {
        let all = |filters: Vec<Self>| filters.into_iter().map(|f| f.replace(each)).collect();
        match self {
            Self::All(filters) => Self::All(all(filters)),
            Self::Any(filters) => Self::Any(all(filters)),
            Self::Test(test) => each(test),
        }
    }

    /// Whether the filter is true, if `is_true` tells it of each comparison
    /// that is not negated.
    pub fn evaluate(&self, is_true: &impl Fn(&F, Comparator, &Value) -> bool) -> bool {
        match self {
            Self::All(filters) => filters.iter().all(|filter| filter.evaluate(is_true)),
            Self::Any(filters) => filters.iter().any(|filter| filter.evaluate(is_true)),
            Self::Test(test) => is_true(&test.field, test.comparator, &test.value) != test.negated,
        }
    }
}

/// Finds fields in filters; every schema does it alike.
pub(super) fn check<S: Schema + ?Sized>(
    schema: &S,
    tree: &Tree,
) -> Result<Filter<S::Field>, Vec<Fault>> {
    let mut faults = Vec::new();
    let filter = walk(schema, tree, false, &mut faults);
    match faults.is_empty() {
        true => Ok(filter),
        false => Err(faults),
    }
}

fn walk<S: Schema + ?Sized>(
    schema: &S,
    tree: &Tree,
    negated: bool,
    faults: &mut Vec<Fault>,
) -> Filter<S::Field> {
    let mut each = |trees: &[Tree]| -> Vec<_> {
        let filters = trees.iter().map(|tree| walk(schema, tree, negated, faults));
        filters.collect()
    };
    match tree {
        Tree::All(trees) if negated => Filter::Any(each(trees)),
        Tree::All(trees) => Filter::All(each(trees)),
        Tree::Any(trees) if negated => Filter::All(each(trees)),
        Tree::Any(trees) => Filter::Any(each(trees)),
        Tree::Not(tree) => walk(schema, tree, !negated, faults),
        Tree::Text(literal) => texts(schema, literal, negated),
        Tree::Restriction(restriction) => match test(schema, restriction) {
            Ok(test) => Filter::Test(Test {
                negated: test.negated != negated,
                ..test
            }),
            Err(fault) => {
                faults.push(fault);
                Filter::All(Vec::new())
            }
        },
    }
}

/// A text that stands alone begins one of the fields that hold names.
fn texts<S: Schema + ?Sized>(schema: &S, literal: &Literal, negated: bool) -> Filter<S::Field> {
    let tests = schema.texts().into_iter().map(|field| {
        Filter::Test(Test {
            field,
            negated,
            comparator: Comparator::Equal,
            value: Value::Prefix(literal.text.clone()),
        })
    });
    match negated {
        true => Filter::All(tests.collect()),
        false => Filter::Any(tests.collect()),
    }
}

fn test<S: Schema + ?Sized>(
    schema: &S,
    restriction: &Restriction,
) -> Result<Test<S::Field>, Fault> {
    let path: Vec<&str> = restriction.path.iter().map(String::as_str).collect();
    let Some((field, kind)) = schema.find(&path) else {
        let known = schema.names();
        let message = format!("there is no field `{}`; there are {known}", path.join("."));
        return Err(Fault::new(restriction.at, message));
    };
    let (negated, comparator) = match restriction.comparator {
        Comparator::NotEqual => (true, Comparator::Equal),
        comparator => (false, comparator),
    };
    let value = value(kind, comparator, &restriction.value)
        .map_err(|message| Fault::new(restriction.value.at, message))?;
    Ok(Test {
        field,
        negated,
        comparator,
        value,
    })
}

/// The value of a literal for a field of a kind, if they can be compared so.
fn value(kind: Kind, comparator: Comparator, literal: &Literal) -> Result<Value, String> {
    use Comparator as C;
    let text = literal.text.as_str();
    let star = (text == "*" && !literal.quoted) || (text.is_empty() && literal.open);
    if star && matches!(comparator, C::Has | C::Equal) {
        return Ok(Value::Anything);
    }
    let prefixes = matches!(kind, Kind::Text | Kind::Json) && comparator == C::Equal;
    if literal.open && !prefixes {
        return Err("only a text can be compared by how it begins".to_owned());
    }
    match (kind, comparator) {
        (Kind::Names | Kind::Ids, C::Has) => {}
        (Kind::Names | Kind::Ids, _) => {
            return Err("there may be many of it: use `:`, as in tags:\"retired\"".to_owned());
        }
        (Kind::Map, C::Has) => return Ok(Value::Text(text.to_owned())),
        (Kind::Map, _) => {
            return Err("name a key, as in labels.region = \"eu\", or use `:` for keys".to_owned());
        }
        (Kind::Json, C::Has) | (Kind::Json | Kind::Text, C::Equal) => {}
        (_, C::Has) => return Err("`:` is for what there may be many of, or for `*`".to_owned()),
        (Kind::Text, _) => {
            return Err(
                "a text can be compared by = and != only; \"pump*\" finds what begins so"
                    .to_owned(),
            );
        }
        (Kind::Id | Kind::Enum(_), C::Equal) => {}
        (Kind::Id | Kind::Enum(_), _) => return Err("use = or !=".to_owned()),
        _ => {}
    }
    match kind {
        Kind::Text | Kind::Names | Kind::Map => Ok(match literal.open {
            true => Value::Prefix(text.to_owned()),
            false => Value::Text(text.to_owned()),
        }),
        Kind::Integer => text
            .parse()
            .map(Value::Integer)
            .map_err(|_| "a whole number was expected".to_owned()),
        Kind::Number => number(text).ok_or_else(|| "a number was expected".to_owned()),
        Kind::Time => DateTime::parse_from_rfc3339(text)
            .map(|time| Value::Time(time.to_utc()))
            .map_err(|_| "a time was expected, such as \"2024-05-01T00:00:00Z\"".to_owned()),
        Kind::Id | Kind::Ids => text
            .parse()
            .map(Value::Id)
            .map_err(|_| "a UUID was expected".to_owned()),
        Kind::Enum(values) => enumerated(values, text),
        Kind::Json if literal.quoted => Ok(match literal.open {
            true => Value::Prefix(text.to_owned()),
            false => Value::Text(text.to_owned()),
        }),
        Kind::Json if literal.open => Ok(Value::Prefix(text.to_owned())),
        Kind::Json => Ok(match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            text => number(text).unwrap_or_else(|| Value::Text(text.to_owned())),
        }),
    }
}

fn number(text: &str) -> Option<Value> {
    let number: f64 = text.parse().ok()?;
    number.is_finite().then_some(Value::Number(number))
}

fn enumerated(values: &[(&str, i32)], text: &str) -> Result<Value, String> {
    // `STATE_ACTIVE` may be written `ACTIVE`.
    let is = |name: &str| name == text || name.split_once('_').is_some_and(|(_, n)| n == text);
    match values.iter().find(|(name, _)| is(name)) {
        Some((_, number)) => Ok(Value::Enum(*number)),
        None => {
            let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
            Err(format!("one of {} was expected", names.join(", ")))
        }
    }
}
