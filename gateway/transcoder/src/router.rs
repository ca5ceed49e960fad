//! From a path to a route, at a cost that does not grow with the routes.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use http::Method;
use percent_encoding::percent_decode_str;

use crate::template::{Segment, Template};

/// Index of a route.
pub(crate) type RouteId = usize;

/// A trie of templates for each HTTP method.
#[derive(Debug, Default)]
pub(crate) struct Router {
    methods: HashMap<Method, Trie>,
    /// The rules of the custom kind `*`.
    any: Trie,
}

impl Router {
    /// Adds a template; where one of its shape is there already, that one's
    /// route is the error.
    pub(crate) fn insert(
        &mut self,
        method: Option<&Method>,
        template: &Template,
        route: RouteId,
    ) -> Result<(), RouteId> {
        match method {
            Some(method) => self
                .methods
                .entry(method.clone())
                .or_default()
                .insert(template, route),
            None => self.any.insert(template, route),
        }
    }

    /// The route for a request and the segments of its path.
    pub(crate) fn find<'p>(
        &self,
        method: &Method,
        path: &'p str,
    ) -> Option<(RouteId, Vec<&'p str>)> {
        let found = self.methods.get(method).and_then(|trie| trie.find(path));
        let found = match found {
            None if method == Method::HEAD => self
                .methods
                .get(&Method::GET)
                .and_then(|trie| trie.find(path)),
            found => found,
        };
        found.or_else(|| self.any.find(path))
    }

    /// The methods that a path has routes for, in alphabetical order.
    pub(crate) fn allowed(&self, path: &str) -> Vec<Method> {
        let mut allowed: Vec<Method> = self
            .methods
            .iter()
            .filter(|(_, trie)| trie.find(path).is_some())
            .map(|(method, _)| method.clone())
            .collect();
        if allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD) {
            allowed.push(Method::HEAD);
        }
        allowed.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allowed
    }
}

#[derive(Debug)]
struct Trie {
    nodes: Vec<Node>,
    verbs: HashSet<Box<str>>,
    longest_verb: usize,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, usize>,
    one: Option<usize>,
    many: Option<usize>,
    /// The routes that end here, by their verbs.
    ends: Vec<(Option<Box<str>>, RouteId)>,
}

impl Node {
    fn end(&self, verb: Option<&str>) -> Option<RouteId> {
        self.ends
            .iter()
            .find(|(own, _)| own.as_deref() == verb)
            .map(|(_, route)| *route)
    }
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
            verbs: HashSet::new(),
            longest_verb: 0,
        }
    }
}

impl Trie {
    fn insert(&mut self, template: &Template, route: RouteId) -> Result<(), RouteId> {
        let mut at = 0;
        for segment in &template.segments {
            at = self.child(at, segment);
        }
        let verb = template.verb.as_deref();
        if let Some(there) = self.nodes[at].end(verb) {
            return Err(there);
        }
        if let Some(verb) = verb {
            self.longest_verb = self.longest_verb.max(verb.len());
            self.verbs.insert(verb.into());
        }
        self.nodes[at].ends.push((verb.map(Into::into), route));
        Ok(())
    }

    fn child(&mut self, at: usize, segment: &Segment) -> usize {
        let fresh = self.nodes.len();
        let node = &mut self.nodes[at];
        let child = match segment {
            Segment::Literal(text) => *node.literals.entry(text.as_str().into()).or_insert(fresh),
            Segment::One => *node.one.get_or_insert(fresh),
            Segment::Many => *node.many.get_or_insert(fresh),
        };
        if child == fresh {
            self.nodes.push(Node::default());
        }
        child
    }

    /// One trailing slash is overlooked. A `:` that starts no verb of any
    /// template is part of the last segment.
    fn find<'p>(&self, path: &'p str) -> Option<(RouteId, Vec<&'p str>)> {
        let path = path.strip_prefix('/')?;
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments: Vec<&str> = if path.is_empty() {
            vec![]
        } else {
            path.split('/').collect()
        };
        if let Some(last) = segments.last().copied() {
            for (colon, _) in last.match_indices(':') {
                let Some(verb) = self.verb(&last[colon + 1..]) else {
                    continue;
                };
                let end = segments.len() - 1;
                segments[end] = &last[..colon];
                if let Some(route) = self.walk(0, &segments, Some(&verb)) {
                    return Some((route, segments));
                }
                segments[end] = last;
            }
        }
        self.walk(0, &segments, None).map(|route| (route, segments))
    }

    /// A verb that some template has, decoded.
    fn verb<'v>(&self, text: &'v str) -> Option<Cow<'v, str>> {
        // One byte is three of them at most.
        if text.len() > self.longest_verb * 3 {
            return None;
        }
        let verb = percent_decode_str(text).decode_utf8().ok()?;
        self.verbs.contains(&*verb).then_some(verb)
    }

    /// Literal before `*` before `**`, going back where that leads nowhere.
    /// A template has one `**` at most, so a node is visited at most once for
    /// each segment.
    fn walk(&self, at: usize, segments: &[&str], verb: Option<&str>) -> Option<RouteId> {
        let node = &self.nodes[at];
        let Some((segment, rest)) = segments.split_first() else {
            let many = || node.many.and_then(|many| self.walk(many, &[], verb));
            return node.end(verb).or_else(many);
        };
        if let Some(child) = literal(node, segment)
            && let Some(route) = self.walk(child, rest, verb)
        {
            return Some(route);
        }
        if let Some(child) = node.one
            && !segment.is_empty()
            && let Some(route) = self.walk(child, rest, verb)
        {
            return Some(route);
        }
        let many = node.many?;
        // Upwards, so that what follows the `**` goes before what ends with it.
        (0..=segments.len()).find_map(|taken| self.walk(many, &segments[taken..], verb))
    }
}

fn literal(node: &Node, segment: &str) -> Option<usize> {
    if node.literals.is_empty() {
        return None;
    }
    match node.literals.get(segment) {
        Some(child) => Some(*child),
        None if segment.contains('%') => {
            let decoded = percent_decode_str(segment).decode_utf8().ok()?;
            node.literals.get(&*decoded).copied()
        }
        None => None,
    }
}

/// The part of the request's segments that the template's `start..end` spans.
pub(crate) fn span(
    start: usize,
    end: usize,
    many: Option<usize>,
    template: usize,
    request: usize,
) -> std::ops::Range<usize> {
    // Only what lies behind the `**` is shifted by what it matched.
    let place = |index: usize| match many {
        Some(many) if index > many => index + request - template,
        _ => index,
    };
    place(start)..place(end)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEMPLATES: &[(&str, &str)] = &[
        ("GET", "/v1/shelves"),
        ("POST", "/v1/shelves"),
        ("GET", "/v1/shelves/{id}"),
        ("DELETE", "/v1/shelves/{id}"),
        ("GET", "/v1/shelves/main"),
        ("POST", "/v1/shelves/{id}:merge"),
        ("POST", "/v1/shelves/{id}:merge:now"),
        ("POST", "/v1/shelves:batch"),
        ("GET", "/v1/{name=shelves/*/books/**}"),
        ("GET", "/v2/{a=**}/tail/{b}"),
        ("GET", "/v2/**"),
        ("GET", "/v3/{a}/x/deep"),
        ("GET", "/v3/lit/{b}"),
        ("*", "/any/{x}"),
        ("REPORT", "/v1/shelves"),
        ("GET", "/v4/a%20b"),
        ("GET", "/"),
    ];

    fn router() -> Router {
        let mut router = Router::default();
        for (id, (method, template)) in TEMPLATES.iter().enumerate() {
            let method = (*method != "*").then(|| method.parse().unwrap());
            router
                .insert(method.as_ref(), &Template::parse(template).unwrap(), id)
                .unwrap();
        }
        router
    }

    /// The template a request finds and the values of its variables.
    fn find(method: &str, path: &str) -> String {
        let Some((id, segments)) = router().find(&method.parse().unwrap(), path) else {
            return "none".into();
        };
        let template = Template::parse(TEMPLATES[id].1).unwrap();
        let mut text = TEMPLATES[id].1.to_owned();
        for variable in &template.variables {
            let many = template.many();
            let range = span(
                variable.start,
                variable.end,
                many,
                template.segments.len(),
                segments.len(),
            );
            text += &format!(" {}={}", variable.path.join("."), segments[range].join("/"));
        }
        text
    }

    #[test]
    fn requests_find_the_most_literal_template() {
        for (method, path, want) in [
            ("GET", "/v1/shelves", "/v1/shelves"),
            ("GET", "/v1/shelves/", "/v1/shelves"),
            ("GET", "/v1/shelves//", "none"),
            ("GET", "/v1/shelves/7", "/v1/shelves/{id} id=7"),
            ("GET", "/v1/shelves/main", "/v1/shelves/main"),
            ("DELETE", "/v1/shelves/main", "/v1/shelves/{id} id=main"),
            ("GET", "/v1/shelves/a:b", "/v1/shelves/{id} id=a:b"),
            ("GET", "/v1/shelves/7:merge", "/v1/shelves/{id} id=7:merge"),
            ("POST", "/v1/shelves/7:merge", "/v1/shelves/{id}:merge id=7"),
            (
                "POST",
                "/v1/shelves/7:merge:now",
                "/v1/shelves/{id}:merge:now id=7",
            ),
            (
                "POST",
                "/v1/shelves/7:now:merge",
                "/v1/shelves/{id}:merge id=7:now",
            ),
            ("POST", "/v1/shelves/7%3Amerge", "none"),
            ("POST", "/v1/shelves:batch", "/v1/shelves:batch"),
            ("POST", "/v1/shelves/:merge", "none"),
            (
                "GET",
                "/v1/shelves/7/books",
                "/v1/{name=shelves/*/books/**} name=shelves/7/books",
            ),
            (
                "GET",
                "/v1/shelves/7/books/a/b%2Fc",
                "/v1/{name=shelves/*/books/**} name=shelves/7/books/a/b%2Fc",
            ),
            ("GET", "/v2/x/y/tail/z", "/v2/{a=**}/tail/{b} a=x/y b=z"),
            ("GET", "/v2/tail/z", "/v2/{a=**}/tail/{b} a= b=z"),
            ("GET", "/v2/x/tail", "/v2/**"),
            ("GET", "/v2", "/v2/**"),
            ("GET", "/v3/lit/x/deep", "/v3/{a}/x/deep a=lit"),
            ("GET", "/v3/lit/x", "/v3/lit/{b} b=x"),
            ("GET", "/v4/a%20b", "/v4/a%20b"),
            ("GET", "/v4/%61%20b", "/v4/a%20b"),
            ("GET", "/v1/shel%76es", "/v1/shelves"),
            ("BREW", "/any/1", "/any/{x} x=1"),
            ("REPORT", "/v1/shelves", "/v1/shelves"),
            ("HEAD", "/v1/shelves/7", "/v1/shelves/{id} id=7"),
            ("GET", "/", "/"),
            ("GET", "", "none"),
            ("GET", "/nothing", "none"),
            ("PUT", "/v1/shelves", "none"),
        ] {
            assert_eq!(find(method, path), want, "{method} {path}");
        }
    }

    #[test]
    fn the_methods_of_a_path_are_known() {
        let names = |path| {
            router()
                .allowed(path)
                .iter()
                .map(|m| m.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("/v1/shelves"), ["GET", "HEAD", "POST", "REPORT"]);
        assert_eq!(
            names("/v1/shelves/7:merge"),
            ["DELETE", "GET", "HEAD", "POST"]
        );
        assert!(names("/nothing").is_empty());
    }

    #[test]
    fn two_templates_of_one_shape_clash() {
        let mut router = router();
        let mut insert = |method: Method, template: &str| {
            router.insert(Some(&method), &Template::parse(template).unwrap(), 99)
        };
        assert_eq!(insert(Method::GET, "/v1/shelves/{other}"), Err(2));
        assert_eq!(insert(Method::GET, "/v1/{x=shelves/*}"), Err(2));
        assert_eq!(insert(Method::PUT, "/v1/shelves/{other}"), Ok(()));
        assert_eq!(insert(Method::GET, "/v1/shelves/{other}:verb"), Ok(()));
    }
}
