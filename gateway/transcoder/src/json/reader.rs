//! A strict reader of JSON (RFC 8259) that copies only strings with escapes.

use std::borrow::Cow;

use super::number::Number;
use super::scan;
use crate::fault::{Fault, Outcome, Reason};

/// What a value starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Object,
    Array,
    String,
    Number,
    True,
    False,
    Null,
}

impl Start {
    /// For messages: what was found.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Object => "an object",
            Self::Array => "an array",
            Self::String => "a string",
            Self::Number => "a number",
            Self::True => "true",
            Self::False => "false",
            Self::Null => "null",
        }
    }
}

/// Reads one document from the front to the back.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// How many more objects and arrays may be opened.
    depth: usize,
    /// How many more messages may be nested, see [`NESTING`].
    nesting: usize,
}

/// How deep prost and others read nested messages. Some JSON is shallower than
/// its messages: one array in a `google.protobuf.Value` is two of them.
const NESTING: usize = 100;

impl<'a> Reader<'a> {
    /// Reads bytes that claim to be JSON.
    pub(crate) fn new(bytes: &'a [u8], depth: usize) -> Outcome<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self {
                text,
                at: 0,
                depth,
                nesting: NESTING,
            }),
            Err(error) => {
                let valid = &bytes[..error.valid_up_to()];
                let (line, column) = position(valid);
                let message = format!("invalid UTF-8 at line {line}, column {column}");
                Err(Fault::new(Reason::MalformedJson, message))
            }
        }
    }

    /// A syntax error at the present position.
    #[cold]
    fn syntax<T>(&self, message: &str) -> Outcome<T> {
        let (line, column) = position(&self.text.as_bytes()[..self.at]);
        let message = format!("{message} at line {line}, column {column}");
        Err(Fault::new(Reason::MalformedJson, message))
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// The next byte that is not whitespace.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                byte => return byte,
            }
        }
    }

    /// What the next value is.
    #[inline]
    pub(crate) fn start(&mut self) -> Outcome<Start> {
        match self.peek() {
            Some(b'{') => Ok(Start::Object),
            Some(b'[') => Ok(Start::Array),
            Some(b'"') => Ok(Start::String),
            Some(b'-' | b'0'..=b'9') => Ok(Start::Number),
            Some(b't') if self.is_at("true") => Ok(Start::True),
            Some(b'f') if self.is_at("false") => Ok(Start::False),
            Some(b'n') if self.is_at("null") => Ok(Start::Null),
            Some(_) => self.syntax("a value was expected"),
            None => self.syntax("the document ends too early"),
        }
    }

    /// Makes sure that nothing follows.
    pub(crate) fn end(&mut self) -> Outcome<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.syntax("more after the end of the document"),
        }
    }

    fn is_at(&self, word: &str) -> bool {
        self.text.as_bytes()[self.at..].starts_with(word.as_bytes())
    }

    /// Reads `true`, `false` or `null`.
    pub(crate) fn word(&mut self, word: &'static str) -> Outcome<()> {
        if self.is_at(word) {
            self.at += word.len();
            return Ok(());
        }
        self.syntax("a value was expected")
    }

    /// Enters an object or array; every entry needs its [`Self::leave`].
    pub(crate) fn enter(&mut self) -> Outcome<()> {
        if self.depth == 0 {
            return Err(self.too_deep());
        }
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    #[cold]
    fn too_deep(&self) -> Box<Fault> {
        let (line, column) = position(&self.text.as_bytes()[..self.at]);
        let message = format!("nested too deeply at line {line}, column {column}");
        Fault::new(Reason::TooDeep, message)
    }

    /// Reads what is a message, or an entry of a map, inside another.
    #[inline]
    pub(crate) fn nested(&mut self, read: impl FnOnce(&mut Self) -> Outcome<()>) -> Outcome<()> {
        if self.nesting == 0 {
            return Err(self.too_deep());
        }
        self.nesting -= 1;
        read(self)?;
        self.nesting += 1;
        Ok(())
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth += 1;
    }

    /// The next key of the object that was entered, `None` at its end.
    #[inline]
    pub(crate) fn key(&mut self, first: &mut bool) -> Outcome<Option<Cow<'a, str>>> {
        match self.has_key(first)? {
            true => self.this_key().map(Some),
            false => Ok(None),
        }
    }

    /// Whether the object that was entered has another key; it is next then.
    #[inline]
    pub(crate) fn has_key(&mut self, first: &mut bool) -> Outcome<bool> {
        match (self.peek(), *first) {
            (Some(b'}'), _) => {
                self.leave();
                return Ok(false);
            }
            (Some(b','), false) => {
                self.at += 1;
                self.peek();
            }
            (Some(_), false) => return self.syntax("',' or '}' was expected"),
            (Some(_), true) => *first = false,
            (None, _) => return self.syntax("the document ends too early"),
        }
        match self.byte() {
            Some(b'"') => Ok(true),
            _ => self.syntax("a key was expected"),
        }
    }

    /// Reads the key that is next if it is this one, quoted and with its colon.
    #[inline]
    pub(crate) fn is_key(&mut self, key: &[u8]) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(key);
        if found {
            self.at += key.len();
        }
        found
    }

    /// Reads the key that is next.
    #[inline]
    pub(crate) fn this_key(&mut self) -> Outcome<Cow<'a, str>> {
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return self.syntax("':' was expected");
        }
        self.at += 1;
        Ok(key)
    }

    /// Whether the array that was entered has another element.
    #[inline]
    pub(crate) fn element(&mut self, first: &mut bool) -> Outcome<bool> {
        match (self.peek(), *first) {
            (Some(b']'), _) => {
                self.leave();
                Ok(false)
            }
            (Some(b','), false) => {
                self.at += 1;
                match self.peek() {
                    Some(b']') => self.syntax("a value was expected"),
                    _ => Ok(true),
                }
            }
            (Some(_), true) => {
                *first = false;
                Ok(true)
            }
            (Some(_), false) => self.syntax("',' or ']' was expected"),
            (None, _) => self.syntax("the document ends too early"),
        }
    }

    /// Reads a string; the next byte is its quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Outcome<Cow<'a, str>> {
        let start = self.at + 1;
        self.at = self.plain(start);
        if self.byte() == Some(b'"') {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(Cow::Borrowed(text));
        }
        self.escaped(start).map(Cow::Owned)
    }

    /// The first byte from `at` on that ends a run of plain characters.
    #[inline]
    fn plain(&self, at: usize) -> usize {
        at + scan::plain(&self.text.as_bytes()[at..])
    }

    fn escaped(&mut self, start: usize) -> Outcome<String> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.byte() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                Some(_) => return self.syntax("a control character in a string"),
                None => return self.syntax("a string does not end"),
            }
            let run = self.at;
            self.at = self.plain(run);
            text.push_str(&self.text[run..self.at]);
        }
    }

    fn escape(&mut self) -> Outcome<char> {
        let escape = self.text.as_bytes().get(self.at + 1).copied();
        let char = match escape {
            Some(b'u') => return self.unicode(),
            Some(quoted @ (b'"' | b'\\' | b'/')) => char::from(quoted),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return self.syntax("an unknown escape"),
        };
        self.at += 2;
        Ok(char)
    }

    /// `\uXXXX`, or two of them that are a surrogate pair.
    fn unicode(&mut self) -> Outcome<char> {
        let first = self.code_unit()?;
        let code = match first {
            0xd800..=0xdbff => match self.low_surrogate()? {
                Some(second) => 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                None => return self.syntax("a surrogate without its pair"),
            },
            _ => first,
        };
        match char::from_u32(code) {
            Some(char) => Ok(char),
            None => self.syntax("a surrogate without its pair"),
        }
    }

    fn low_surrogate(&mut self) -> Outcome<Option<u32>> {
        if !self.text.as_bytes()[self.at..].starts_with(b"\\u") {
            return Ok(None);
        }
        let unit = self.code_unit()?;
        Ok((0xdc00..=0xdfff).contains(&unit).then_some(unit))
    }

    fn code_unit(&mut self) -> Outcome<u32> {
        let digits = self.text.as_bytes().get(self.at + 2..self.at + 6);
        let unit = digits.and_then(|digits| {
            digits.iter().try_fold(0, |unit, byte| {
                Some(unit << 4 | char::from(*byte).to_digit(16)?)
            })
        });
        match unit {
            Some(unit) => {
                self.at += 6;
                Ok(unit)
            }
            None => self.syntax("four hexadecimal digits were expected"),
        }
    }

    /// Reads a number.
    #[inline]
    pub(crate) fn number(&mut self) -> Outcome<Number<'a>> {
        match Number::at_front(&self.text[self.at..]) {
            Some(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            None => self.syntax("a malformed number"),
        }
    }

    /// Reads a value and forgets it.
    pub(crate) fn skip(&mut self) -> Outcome<()> {
        let mut first = true;
        match self.start()? {
            Start::Object => {
                self.enter()?;
                while self.key(&mut first)?.is_some() {
                    self.skip()?;
                }
                Ok(())
            }
            Start::Array => {
                self.enter()?;
                while self.element(&mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            Start::String => self.string().map(drop),
            Start::Number => self.number().map(drop),
            Start::True => self.word("true"),
            Start::False => self.word("false"),
            Start::Null => self.word("null"),
        }
    }
}

/// Line and column (in characters) after what has been read, from 1.
fn position(read: &[u8]) -> (usize, usize) {
    let line_start = read
        .iter()
        .rposition(|b| *b == b'\n')
        .map_or(0, |at| at + 1);
    let line = read.iter().filter(|b| **b == b'\n').count() + 1;
    let column = read[line_start..]
        .iter()
        .filter(|b| **b & 0xc0 != 0x80)
        .count()
        + 1;
    (line, column)
}
