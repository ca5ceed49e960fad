//! The schemas that a document shares, each once for every way in which its
//! type is looked at, under names that people can read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost_reflect::{EnumDescriptor, MessageDescriptor};
use serde_json::{Map, Value};

use crate::style::Style;

/// What a reference to a component begins with.
pub(super) const SCHEMAS: &str = "#/components/schemas/";

/// The purpose for which a message is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is answered.
    Answer,
    /// It is sent, and its rules hold.
    Request,
    /// It is sent, and its rules hold only once it has been applied.
    Change,
}

/// How a message is looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct View {
    pub(super) style: Style,
    pub(super) purpose: Purpose,
}

impl View {
    /// A style that leaves out what is unset answers what it was sent, so
    /// that one schema is enough for both.
    pub(super) fn new(style: Style, purpose: Purpose) -> Self {
        let same = purpose == Purpose::Answer && !style.print_defaults && !style.print_nulls;
        let purpose = if same { Purpose::Request } else { purpose };
        Self { style, purpose }
    }

    /// Which of several views of a type has the plain name: what is answered.
    fn rank(&self) -> u8 {
        match self.purpose {
            Purpose::Answer => 0,
            Purpose::Request if Self::new(self.style, Purpose::Answer) == *self => 0,
            Purpose::Request => 1,
            Purpose::Change => 2,
        }
    }

    /// Whether fields are there also when they are unset.
    pub(super) fn is_filled(&self) -> bool {
        self.purpose == Purpose::Answer
    }
}

/// A type that has a schema of its own.
#[derive(Clone, PartialEq)]
pub(super) enum Type {
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
}

impl Type {
    fn full_name(&self) -> &str {
        match self {
            Self::Message(message) => message.full_name(),
            Self::Enum(kind) => kind.full_name(),
        }
    }

    /// The name within its package, without dots.
    fn short_name(&self) -> String {
        let package = match self {
            Self::Message(message) => message.package_name(),
            Self::Enum(kind) => kind.package_name(),
        };
        let name = self.full_name().strip_prefix(package);
        name.unwrap_or(self.full_name()).replace('.', "")
    }
}

/// A schema that is referred to.
#[derive(Clone, PartialEq)]
pub(super) struct Part {
    pub(super) kind: Type,
    pub(super) view: View,
    /// Fields that are given elsewhere, such as in the path.
    pub(super) without: BTreeSet<String>,
}

/// All parts that were referred to. A reference holds the part's index until
/// [`Parts::name`] gives it a name.
#[derive(Default)]
pub(super) struct Parts {
    parts: Vec<Part>,
    schemas: Vec<Value>,
}

impl Parts {
    /// A reference to a part.
    pub(super) fn refer(&mut self, part: Part) -> Value {
        let known = self.parts.iter().position(|other| *other == part);
        let index = known.unwrap_or_else(|| {
            self.parts.push(part);
            self.parts.len() - 1
        });
        serde_json::json!({"$ref": format!("{SCHEMAS}{index}")})
    }

    /// The next part whose schema has not been made yet.
    pub(super) fn next(&self) -> Option<Part> {
        self.parts.get(self.schemas.len()).cloned()
    }

    /// The schema of [`Parts::next`].
    pub(super) fn put(&mut self, schema: Value) {
        self.schemas.push(schema);
    }

    /// The schemas by name, and references in `document` by name too. Parts of
    /// one type whose schemas are the same become one.
    pub(super) fn name(self, document: &mut Value) -> Map<String, Value> {
        let classes = self.classes();
        let names = self.names(&classes);
        let name = |index: usize| names[&classes[index]].clone();
        rename(document, &name);
        let mut named = BTreeMap::new();
        for (index, mut schema) in self.schemas.into_iter().enumerate() {
            rename(&mut schema, &name);
            named.insert(name(index), schema);
        }
        named.into_iter().collect()
    }

    /// Numbers the parts so that equal ones have the same number. At first all
    /// parts of a type are taken for equal; those whose schemas differ are
    /// told apart, and then those that refer to different ones, to the end.
    fn classes(&self) -> Vec<usize> {
        let mut classes = number(
            self.parts
                .iter()
                .map(|part| part.kind.full_name().to_owned()),
        );
        loop {
            let shown = self.schemas.iter().zip(&classes).map(|(schema, class)| {
                let mut schema = schema.clone();
                rename(&mut schema, &|index| classes[index].to_string());
                format!("{class} {schema}")
            });
            let finer = number(shown);
            if finer == classes {
                return classes;
            }
            classes = finer;
        }
    }

    fn names(&self, classes: &[usize]) -> HashMap<usize, String> {
        let mut owners: HashMap<String, BTreeSet<&str>> = HashMap::new();
        for part in &self.parts {
            let owner = owners.entry(part.kind.short_name()).or_default();
            owner.insert(part.kind.full_name());
        }
        let mut order: Vec<usize> = (0..self.parts.len()).collect();
        order.sort_by_key(|index| {
            let part = &self.parts[*index];
            let rank = match part.without.is_empty() {
                true => part.view.rank(),
                false => 2,
            };
            (rank, *index)
        });
        let mut names: HashMap<usize, String> = HashMap::new();
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for index in order {
            let part = &self.parts[index];
            let short = part.kind.short_name();
            let base = match owners[&short].len() {
                1 => short,
                _ => part.kind.full_name().to_owned(),
            };
            names.entry(classes[index]).or_insert_with(|| {
                let name = free(&base, part, &taken);
                taken.insert(name.clone());
                name
            });
        }
        names
    }
}

/// A name that nothing has yet, which says what the part is for.
fn free(base: &str, part: &Part, taken: &BTreeSet<String>) -> String {
    let purpose = match part.view.purpose {
        _ if !part.without.is_empty() => "Update",
        Purpose::Change => "Update",
        Purpose::Request => "Input",
        Purpose::Answer => "Output",
    };
    let named = match &part.kind {
        Type::Message(_) => format!("{base}{purpose}"),
        Type::Enum(_) => base.to_owned(),
    };
    let numbered = (2..).map(|n| format!("{named}{n}"));
    let mut candidates = [base.to_owned(), named.clone()].into_iter().chain(numbered);
    candidates
        .find(|name| !taken.contains(name))
        .unwrap_or_default()
}

/// The index of the first equal item, for each.
fn number(items: impl Iterator<Item = String>) -> Vec<usize> {
    let mut first: HashMap<String, usize> = HashMap::new();
    items
        .enumerate()
        .map(|(index, item)| *first.entry(item).or_insert(index))
        .collect()
}

/// Gives references by index another name.
fn rename(value: &mut Value, name: &impl Fn(usize) -> String) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name)),
        Value::Object(members) => {
            for (key, member) in members {
                let index = member.as_str().and_then(|text| text.strip_prefix(SCHEMAS));
                let index = index.and_then(|index| index.parse().ok());
                match index.filter(|_| key == "$ref") {
                    Some(index) => *member = format!("{SCHEMAS}{}", name(index)).into(),
                    None => rename(member, name),
                }
            }
        }
        _ => {}
    }
}
