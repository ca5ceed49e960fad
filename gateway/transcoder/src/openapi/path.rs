//! Path templates as OpenAPI has them: a parameter is one segment.
//!
//! A variable of several segments is taken apart, as Google's discovery
//! documents do in their `flatPath`: `/v1/{name=shelves/*/books/*}` becomes
//! `/v1/shelves/{shelvesId}/books/{booksId}`. Otherwise two templates of
//! different shapes could become the same path.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::template::{Segment, Template};

/// What literals may hold as they are (RFC 3986, `pchar`).
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'@')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b':');

/// One segment of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Literal(String),
    Parameter(Parameter),
}

/// A segment that a caller fills in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// The variable that it is all of, by its index.
    pub(super) variable: Option<usize>,
    /// Whether it may be several segments.
    pub(super) many: bool,
}

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) steps: Vec<Step>,
    verb: String,
}

impl Path {
    /// Takes a template apart; `names` are those of its variables.
    pub(super) fn of(template: &Template, names: &[String]) -> Self {
        let mut steps: Vec<Step> = Vec::with_capacity(template.segments.len());
        for (index, segment) in template.segments.iter().enumerate() {
            if let Segment::Literal(text) = segment {
                let text = utf8_percent_encode(text, LITERAL).to_string();
                steps.push(Step::Literal(text));
                continue;
            }
            let whole = template
                .variables
                .iter()
                .position(|v| (v.start, v.end) == (index, index + 1));
            let name = match whole {
                Some(variable) => names[variable].clone(),
                None => match steps.last() {
                    Some(Step::Literal(text)) => format!("{text}Id"),
                    _ => format!("segment{}", index + 1),
                },
            };
            let name = free(&steps, name);
            steps.push(Step::Parameter(Parameter {
                name,
                variable: whole,
                many: *segment == Segment::Many,
            }));
        }
        let verb = template.verb.as_deref().unwrap_or_default();
        let verb = match verb {
            "" => String::new(),
            verb => format!(":{}", utf8_percent_encode(verb, LITERAL)),
        };
        Self { steps, verb }
    }

    /// The path without its parameters' names: OpenAPI takes two paths that
    /// differ by them only for the same.
    pub(super) fn shape(&self) -> String {
        self.show(|_| "")
    }

    /// The path as the document has it.
    pub(super) fn text(&self) -> String {
        self.show(|parameter| &parameter.name)
    }

    fn show<'a>(&'a self, name: impl Fn(&'a Parameter) -> &'a str) -> String {
        let mut text = String::new();
        for step in &self.steps {
            text.push('/');
            match step {
                Step::Literal(literal) => text.push_str(literal),
                Step::Parameter(parameter) => {
                    text.push('{');
                    text.push_str(name(parameter));
                    text.push('}');
                }
            }
        }
        if text.is_empty() {
            text.push('/');
        }
        text + &self.verb
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.steps.iter().filter_map(|step| match step {
            Step::Parameter(parameter) => Some(parameter),
            Step::Literal(_) => None,
        })
    }

    /// Takes over the simpler names of a path of the same shape.
    pub(super) fn agree(&mut self, other: &Self) {
        for (mine, other) in self.steps.iter_mut().zip(&other.steps) {
            if let (Step::Parameter(mine), Step::Parameter(other)) = (mine, other)
                && simplicity(&other.name) < simplicity(&mine.name)
            {
                mine.name.clone_from(&other.name);
            }
        }
    }
}

/// The name, with a number if another parameter has it.
fn free(steps: &[Step], name: String) -> String {
    let taken = |name: &String| steps.iter().any(|step| step.is_named(name));
    let numbered = (2..).map(|n| format!("{name}{n}"));
    let mut candidates = std::iter::once(name.clone()).chain(numbered);
    candidates.find(|name| !taken(name)).unwrap_or(name)
}

impl Step {
    fn is_named(&self, name: &str) -> bool {
        matches!(self, Self::Parameter(parameter) if parameter.name == name)
    }
}

/// Of `id` and `device.id`, `id` is simpler.
fn simplicity(name: &str) -> (usize, usize, &str) {
    (name.matches('.').count(), name.len(), name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(template: &str, names: &[&str]) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Path::of(&Template::parse(template).unwrap(), &names).text()
    }

    #[test]
    fn variables_become_parameters_of_one_segment() {
        for (template, names, want) in [
            ("/", &[][..], "/"),
            ("/v1/devices/{id}:seen", &["id"], "/v1/devices/{id}:seen"),
            ("/v1/{a=shelves/*}", &["a"], "/v1/shelves/{shelvesId}"),
            ("/v1/{a=x/*/x/*}/b", &["a"], "/v1/x/{xId}/x/{xId2}/b"),
            ("/v1/{a=**}/raw", &["a"], "/v1/{a}/raw"),
            ("/v1/*/*", &[], "/v1/{v1Id}/{segment3}"),
            ("/v1/a%20b/{x.y}", &["x.y"], "/v1/a%20b/{x.y}"),
        ] {
            assert_eq!(text(template, names), want, "{template}");
        }
    }

    #[test]
    fn of_two_names_for_one_parameter_the_simpler_one_is_taken() {
        let path = |name: &str| {
            let template = Template::parse("/v1/devices/{a}").unwrap();
            Path::of(&template, &[name.to_owned()])
        };
        let (mut one, other) = (path("device.id"), path("id"));
        assert_eq!(one.shape(), other.shape());
        one.agree(&other);
        assert_eq!(one.text(), "/v1/devices/{id}");
    }
}
