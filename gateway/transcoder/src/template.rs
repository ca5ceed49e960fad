//! The path templates of google/api/http.proto.
//!
//! ```text
//! Template = "/" Segments [ Verb ] ;
//! Segments = Segment { "/" Segment } ;
//! Segment  = "*" | "**" | LITERAL | Variable ;
//! Variable = "{" FieldPath [ "=" Segments ] "}" ;
//! FieldPath = IDENT { "." IDENT } ;
//! Verb     = ":" LITERAL ;
//! ```
//!
//! Two liberties are taken: `**` may stand in the middle, though only once in
//! a template, and the bare `/` is a template of no segments.

use std::fmt;

use percent_encoding::percent_decode_str;

/// One segment of a template, variables dissolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// Text, percent-decoded.
    Literal(String),
    /// `*`: exactly one segment.
    One,
    /// `**`: any number of segments.
    Many,
}

/// A variable and the segments `start..end` of the template it spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) path: Vec<String>,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A parsed template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(crate) segments: Vec<Segment>,
    pub(crate) variables: Vec<Variable>,
    pub(crate) verb: Option<String>,
}

/// Why a template is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    offset: usize,
    message: &'static str,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at offset {}", self.message, self.offset)
    }
}

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        let mut parser = Parser {
            text,
            at: 0,
            segments: Vec::new(),
            variables: Vec::new(),
        };
        let verb = parser.template()?;
        Ok(Self {
            segments: parser.segments,
            variables: parser.variables,
            verb,
        })
    }

    /// The index of `**`, if the template has one.
    pub(crate) fn many(&self) -> Option<usize> {
        self.segments
            .iter()
            .position(|segment| *segment == Segment::Many)
    }

    /// Whether a variable spans more than one segment, which changes how its
    /// value is percent-decoded.
    pub(crate) fn is_multi(&self, variable: &Variable) -> bool {
        let span = &self.segments[variable.start..variable.end];
        span.len() != 1 || span[0] == Segment::Many
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
}

impl Parser<'_> {
    fn refuse<T>(&self, message: &'static str) -> Result<T, Refusal> {
        Err(Refusal {
            offset: self.at,
            message,
        })
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        self.at += usize::from(hit);
        hit
    }

    fn template(&mut self) -> Result<Option<String>, Refusal> {
        if !self.eat(b'/') {
            return self.refuse("a template starts with '/'");
        }
        if self.peek().is_none() {
            return Ok(None);
        }
        self.segments(true)?;
        let verb = if self.eat(b':') {
            Some(self.verb()?)
        } else {
            None
        };
        match self.peek() {
            None => Ok(verb),
            Some(b'}') => self.refuse("a '}' without its '{'"),
            Some(_) => self.refuse("unexpected character"),
        }
    }

    fn segments(&mut self, variables: bool) -> Result<(), Refusal> {
        loop {
            self.segment(variables)?;
            if !self.eat(b'/') {
                return Ok(());
            }
        }
    }

    fn segment(&mut self, variables: bool) -> Result<(), Refusal> {
        match self.peek() {
            Some(b'*') => self.wildcard(),
            Some(b'{') if variables => self.variable(),
            Some(b'{') => self.refuse("a variable inside a variable"),
            None if self.text.ends_with('/') => self.refuse("a template does not end with '/'"),
            _ => {
                let text = self.literal(b"/:{}*=")?;
                self.segments.push(Segment::Literal(text));
                Ok(())
            }
        }
    }

    fn wildcard(&mut self) -> Result<(), Refusal> {
        self.at += 1;
        if !self.eat(b'*') {
            self.segments.push(Segment::One);
        } else if self.segments.contains(&Segment::Many) {
            return self.refuse("a second '**'");
        } else {
            self.segments.push(Segment::Many);
        }
        match self.peek() {
            None | Some(b'/' | b':' | b'}') => Ok(()),
            Some(_) => self.refuse("a wildcard is a whole segment"),
        }
    }

    fn variable(&mut self) -> Result<(), Refusal> {
        self.at += 1;
        let mut path = vec![self.ident()?];
        while self.eat(b'.') {
            path.push(self.ident()?);
        }
        let start = self.segments.len();
        if self.eat(b'=') {
            self.segments(false)?;
        } else {
            self.segments.push(Segment::One);
        }
        if !self.eat(b'}') {
            return self.refuse("a '{' without its '}'");
        }
        if self.variables.iter().any(|variable| variable.path == path) {
            return self.refuse("a variable twice");
        }
        self.variables.push(Variable {
            path,
            start,
            end: self.segments.len(),
        });
        match self.peek() {
            None | Some(b'/' | b':') => Ok(()),
            Some(_) => self.refuse("a variable is a whole segment"),
        }
    }

    fn ident(&mut self) -> Result<String, Refusal> {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        if end == 0 || rest.as_bytes()[0].is_ascii_digit() {
            return self.refuse("a field name is missing");
        }
        self.at += end;
        Ok(rest[..end].to_owned())
    }

    fn verb(&mut self) -> Result<String, Refusal> {
        self.literal(b"/{}*=")
    }

    /// Text up to one of `stops`, percent-decoded. A literal with a `%2F`
    /// could never match, for the request's is compared segment by segment.
    fn literal(&mut self, stops: &[u8]) -> Result<String, Refusal> {
        let rest = &self.text[self.at..];
        let end = rest
            .bytes()
            .position(|b| stops.contains(&b))
            .unwrap_or(rest.len());
        let raw = &rest[..end];
        if raw.is_empty() {
            return self.refuse("an empty segment");
        }
        if raw
            .bytes()
            .any(|b| b <= b' ' || matches!(b, b'?' | b'#' | b'\\' | 0x7f))
        {
            return self.refuse("a character that no path has");
        }
        let broken =
            |text: &str| text.len() < 2 || !text.bytes().take(2).all(|b| b.is_ascii_hexdigit());
        if raw.split('%').skip(1).any(broken) {
            return self.refuse("a percent sign that encodes nothing");
        }
        if raw.to_ascii_lowercase().contains("%2f") {
            return self.refuse("an encoded slash");
        }
        let Ok(text) = percent_decode_str(raw).decode_utf8() else {
            return self.refuse("percent-encoding that is not UTF-8");
        };
        self.at += end;
        Ok(text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments as text: literals as they are, variables as spans.
    fn show(text: &str) -> String {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(refusal) => return format!("! {refusal}"),
        };
        let segments: Vec<String> = template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => text.clone(),
                Segment::One => "*".into(),
                Segment::Many => "**".into(),
            })
            .collect();
        let variables: Vec<String> = template
            .variables
            .iter()
            .map(|v| format!(" {}={}..{}", v.path.join("."), v.start, v.end))
            .collect();
        let verb = template
            .verb
            .map(|verb| format!(" :{verb}"))
            .unwrap_or_default();
        format!("{}{}{verb}", segments.join("/"), variables.join(""))
    }

    #[test]
    fn templates_of_the_grammar_are_read() {
        for (text, want) in [
            ("/", ""),
            ("/v1/shelves", "v1/shelves"),
            ("/v1/*/books/**", "v1/*/books/**"),
            ("/v1/{name}", "v1/* name=1..2"),
            ("/v1/{name=*}", "v1/* name=1..2"),
            ("/v1/{name=**}", "v1/** name=1..2"),
            (
                "/v1/{name=shelves/*/books/**}",
                "v1/shelves/*/books/** name=1..5",
            ),
            (
                "/v1/{book.name=shelves/*}:cancel",
                "v1/shelves/* book.name=1..3 :cancel",
            ),
            ("/v1/{a}/x/{b.c.d}:do", "v1/*/x/* a=1..2 b.c.d=3..4 :do"),
            ("/v1/{a=**}/tail/{b}", "v1/**/tail/* a=1..2 b=3..4"),
            ("/v1/a%20b", "v1/a b"),
            ("/v1:batch", "v1 :batch"),
            ("/v1/x:a:b", "v1/x :a:b"),
            ("/v1/a.b-c_d~e", "v1/a.b-c_d~e"),
        ] {
            assert_eq!(show(text), want, "{text}");
        }
    }

    #[test]
    fn templates_outside_the_grammar_are_refused() {
        for (text, want) in [
            ("", "! a template starts with '/' at offset 0"),
            ("v1", "! a template starts with '/' at offset 0"),
            ("/v1/", "! a template does not end with '/' at offset 4"),
            ("//v1", "! an empty segment at offset 1"),
            ("/v1//x", "! an empty segment at offset 4"),
            ("/v1/{}", "! a field name is missing at offset 5"),
            ("/v1/{1a}", "! a field name is missing at offset 5"),
            ("/v1/{a.}", "! a field name is missing at offset 7"),
            ("/v1/{a", "! a '{' without its '}' at offset 6"),
            ("/v1/a}", "! a '}' without its '{' at offset 5"),
            ("/v1/{a={b}}", "! a variable inside a variable at offset 7"),
            ("/v1/{a=}", "! an empty segment at offset 7"),
            ("/v1/{a}x", "! a variable is a whole segment at offset 7"),
            ("/v1/x{a}", "! unexpected character at offset 5"),
            ("/v1/*x", "! a wildcard is a whole segment at offset 5"),
            ("/v1/***", "! a wildcard is a whole segment at offset 6"),
            ("/v1/**/x/**", "! a second '**' at offset 11"),
            ("/v1/{a}/{a}", "! a variable twice at offset 11"),
            ("/v1:", "! an empty segment at offset 4"),
            ("/v1:a/b", "! unexpected character at offset 5"),
            ("/v1/a?b", "! a character that no path has at offset 4"),
            ("/v1/a%2Fb", "! an encoded slash at offset 4"),
            (
                "/v1/a%2",
                "! a percent sign that encodes nothing at offset 4",
            ),
            (
                "/v1/%ff",
                "! percent-encoding that is not UTF-8 at offset 4",
            ),
        ] {
            assert_eq!(show(text), want, "{text}");
        }
    }
}
