//! The route that is found is one whose template matches, and the best one:
//! compared with a search that tries every way.

#![no_main]

use std::collections::HashSet;
use std::fmt::Write as _;

use http::Method;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use tonic_transcoder::{RouteError, Transcoder};
use tonic_transcoder_fuzz::TINY;

/// Few words, so that paths are found.
const WORDS: [&str; 4] = ["a", "b", "a:v", "%61"];

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Segment {
    A,
    B,
    One,
    Many,
}

#[derive(Arbitrary, Debug)]
struct Template {
    segments: Vec<Segment>,
    /// The segments that are the variable `name`.
    start: u8,
    length: u8,
    verb: bool,
}

#[derive(Arbitrary, Debug)]
struct Input {
    templates: Vec<Template>,
    path: Vec<u8>,
    slash: bool,
}

impl Template {
    fn variable(&self) -> std::ops::Range<usize> {
        let count = self.segments.len();
        let start = usize::from(self.start) % (count + 1);
        start..(start + usize::from(self.length)).min(count)
    }

    fn text(&self) -> String {
        let variable = self.variable();
        let mut text = String::new();
        for (index, segment) in self.segments.iter().enumerate() {
            text.push('/');
            if index == variable.start && !variable.is_empty() {
                text.push_str("{name=");
            }
            text.push_str(match segment {
                Segment::A => "a",
                Segment::B => "b",
                Segment::One => "*",
                Segment::Many => "**",
            });
            if index + 1 == variable.end && !variable.is_empty() {
                text.push('}');
            }
        }
        if self.verb {
            text.push_str(":v");
        }
        text
    }

    /// All ways to match, each as the number of segments that `**` takes.
    fn matches(&self, path: &[&str]) -> Option<usize> {
        let fixed = self.segments.len() - usize::from(self.segments.contains(&Segment::Many));
        let many = path.len().checked_sub(fixed)?;
        if !self.segments.contains(&Segment::Many) && many > 0 {
            return None;
        }
        let mut path = path.iter();
        let fits = self.segments.iter().all(|segment| match segment {
            Segment::A => path.next().is_some_and(|s| *s == "a" || *s == "%61"),
            Segment::B => path.next().is_some_and(|s| *s == "b"),
            Segment::One => path.next().is_some_and(|s| !s.is_empty()),
            Segment::Many => path.by_ref().take(many).count() == many,
        });
        fits.then_some(many)
    }
}

fuzz_target!(|input: Input| {
    let mut shapes = HashSet::new();
    let templates: Vec<&Template> = input
        .templates
        .iter()
        .take(8)
        .filter(|t| (1..=5).contains(&t.segments.len()))
        .filter(|t| t.segments.iter().filter(|s| **s == Segment::Many).count() <= 1)
        .filter(|t| shapes.insert((t.segments.clone(), t.verb)))
        .collect();
    let Some((first, more)) = templates.split_first() else {
        return;
    };
    let bindings: Vec<_> = more
        .iter()
        .map(|t| serde_json::json!({"put": t.text()}))
        .collect();
    let rules = serde_json::json!({"rules": [{
        "selector": "tiny.v1.Tiny.Get",
        "put": first.text(),
        "additional_bindings": bindings,
    }]});
    let transcoder = Transcoder::builder(TINY)
        .rules_from_json(rules.to_string())
        .build()
        .expect("good templates");

    let words = input
        .path
        .iter()
        .take(8)
        .map(|b| WORDS[usize::from(*b) % WORDS.len()]);
    let mut path = words.fold(String::new(), |mut path, word| {
        let _ = write!(path, "/{word}");
        path
    });
    if input.slash || path.is_empty() {
        path.push('/');
    }
    let found = transcoder.route(&Method::PUT, &path);
    let want = best(&templates, &path);
    match (&found, want) {
        (Ok(found), Some((template, many))) => {
            assert_eq!(found.rule().template, template.text(), "{path}");
            let value = found.variables().next().map(|(_, value)| value.to_owned());
            assert_eq!(
                value,
                template.value(&path, many),
                "{path} {}",
                template.text()
            );
        }
        (Err(RouteError::NotFound | RouteError::MethodNotAllowed { .. }), None) => {}
        (found, want) => panic!("{path}: {found:?}, not {want:?}"),
    }
});

impl Template {
    fn value(&self, path: &str, many: usize) -> Option<String> {
        let variable = self.variable();
        let segments = split(path, self.verb);
        let place = |index: usize| {
            let taken = |segment: &Segment| match segment {
                Segment::Many => many,
                _ => 1,
            };
            self.segments[..index].iter().map(taken).sum::<usize>()
        };
        (!variable.is_empty())
            .then(|| segments[place(variable.start)..place(variable.end)].join("/"))
    }
}

/// The segments of a path, without its verb.
fn split(path: &str, verb: bool) -> Vec<&str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let path = if verb {
        path.strip_suffix(":v").unwrap_or(path)
    } else {
        path
    };
    if path.is_empty() {
        vec![]
    } else {
        path.split('/').collect()
    }
}

/// Templates with a verb before those without; then segment by segment from
/// the left a literal before `*` before `**`, and a `**` that takes less.
fn best<'t>(templates: &[&'t Template], path: &str) -> Option<(&'t Template, usize)> {
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    let candidates = templates.iter().filter_map(|template| {
        if template.verb && !trimmed.ends_with(":v") {
            return None;
        }
        let many = template.matches(&split(path, template.verb))?;
        let rank: Vec<u8> = template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::A | Segment::B => 0,
                Segment::One => 1,
                Segment::Many => 2,
            })
            .collect();
        let before = template.segments.iter().position(|s| *s == Segment::Many);
        let (head, tail) = rank.split_at(before.map_or(rank.len(), |at| at + 1));
        Some((
            (!template.verb, head.to_vec(), many, tail.to_vec()),
            (*template, many),
        ))
    });
    candidates
        .min_by(|a, b| a.0.cmp(&b.0))
        .map(|(_, found)| found)
}
