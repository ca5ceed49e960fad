//! Where documents end in JSON that comes in pieces.
//!
//! Each byte is looked at once, whatever the pieces are. What is between the
//! ends is not judged here: whoever reads a document does that.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::fault::{Fault, Outcome, Reason};

/// Documents one after the other, or the elements of one array.
pub(crate) struct Documents {
    buffer: BytesMut,
    /// How much of the present document was looked at.
    at: usize,
    within: Option<Within>,
    expects: Expects,
    /// Whether an array that comes first is a document itself.
    lists: bool,
    /// Bytes that a document may have.
    limit: usize,
}

/// What may come next between documents.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A document, or the array of all.
    First,
    Document,
    ElementOrEnd,
    Element,
    CommaOrEnd,
    Nothing,
}

/// What the present document has open.
struct Within {
    /// Objects and arrays.
    depth: usize,
    text: bool,
    /// The next byte of the text stands for itself.
    escaped: bool,
}

impl Documents {
    pub(crate) fn new(lists: bool, limit: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            at: 0,
            within: None,
            expects: Expects::First,
            lists,
            limit,
        }
    }

    /// Takes the next piece in.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next document that is there as a whole.
    pub(crate) fn next(&mut self) -> Outcome<Option<Bytes>> {
        loop {
            if let Some(within) = &mut self.within {
                let end = within.end(&self.buffer[self.at..]);
                self.at += end.unwrap_or(self.buffer.len() - self.at);
                if self.at > self.limit {
                    let message = format!("the message is larger than {} bytes", self.limit);
                    return Err(Fault::new(Reason::BodyTooLarge, message));
                }
                return Ok(end.map(|_| self.cut()));
            }
            let blank = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t');
            let Some(start) = self.buffer.iter().position(|byte| !blank(byte)) else {
                self.buffer.clear();
                return Ok(None);
            };
            self.buffer.advance(start);
            self.expects = match (self.expects, self.buffer[0]) {
                (Expects::First, b'[') if !self.lists => Expects::ElementOrEnd,
                (Expects::ElementOrEnd | Expects::CommaOrEnd, b']') => Expects::Nothing,
                (Expects::CommaOrEnd, b',') => Expects::Element,
                (Expects::CommaOrEnd, _) => return malformed("',' or ']' was expected"),
                (Expects::Nothing, _) => return malformed("more after the end of the array"),
                (_, first) if !Within::may_begin(first) => {
                    return malformed("a value was expected");
                }
                (expected, first) => {
                    (self.within, self.at) = (Some(Within::new(first)), 1);
                    self.expects = match expected {
                        Expects::First => Expects::Document,
                        expected => expected,
                    };
                    continue;
                }
            };
            self.buffer.advance(1);
        }
    }

    /// What is left when nothing more comes: a number or a word, which only
    /// the end ends, or half a document, which its reader refuses.
    pub(crate) fn finish(&mut self) -> Outcome<Option<Bytes>> {
        match (self.expects, &self.within) {
            (Expects::ElementOrEnd | Expects::Element | Expects::CommaOrEnd, _) => {
                malformed("the array does not end")
            }
            (_, Some(_)) => {
                self.at = self.buffer.len();
                Ok(Some(self.cut()))
            }
            (_, None) => Ok(None),
        }
    }

    fn cut(&mut self) -> Bytes {
        self.within = None;
        if self.expects != Expects::Document {
            self.expects = Expects::CommaOrEnd;
        }
        self.buffer.split_to(std::mem::take(&mut self.at)).freeze()
    }
}

fn malformed<T>(message: &str) -> Outcome<T> {
    Err(Fault::new(Reason::MalformedJson, message))
}

impl Within {
    fn may_begin(first: u8) -> bool {
        matches!(
            first,
            b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n'
        )
    }

    /// A document that begins so.
    fn new(first: u8) -> Self {
        Self {
            depth: usize::from(matches!(first, b'{' | b'[')),
            text: first == b'"',
            escaped: false,
        }
    }

    /// Where the document ends in what follows, if it does.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.text => self.escaped = true,
                b'"' if self.text => {
                    self.text = false;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ if self.text => {}
                // A number or a word ends before what can't be part of it.
                b' ' | b'\n' | b'\r' | b'\t' | b',' | b'"' | b'{' | b'}' | b'[' | b']'
                    if self.depth == 0 =>
                {
                    return Some(at);
                }
                b'"' => self.text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// All documents of pieces, or what is wrong with them.
    fn split(pieces: &[&[u8]]) -> Result<Vec<Bytes>, String> {
        let mut documents = Documents::new(false, 1 << 20);
        let mut found = Vec::new();
        let told = |fault: Box<Fault>| fault.message.clone();
        for piece in pieces {
            documents.push(piece);
            while let Some(document) = documents.next().map_err(told)? {
                found.push(document);
            }
        }
        found.extend(documents.finish().map_err(told)?);
        Ok(found)
    }

    fn texts(body: &str) -> Result<Vec<String>, String> {
        let found = split(&[body.as_bytes()])?;
        Ok(found
            .iter()
            .map(|document| String::from_utf8(document.to_vec()).unwrap())
            .collect())
    }

    #[test]
    fn documents_end_where_json_says() {
        for (body, want) in [
            ("", vec![]),
            (" \r\n\t", vec![]),
            ("{}{}", vec!["{}", "{}"]),
            (
                "{\"a\": [1, \"]}\"]}\n{}",
                vec!["{\"a\": [1, \"]}\"]}", "{}"],
            ),
            ("\"a\\\"b\" \"\\\\\"1", vec!["\"a\\\"b\"", "\"\\\\\"", "1"]),
            ("1 2\n-3e5", vec!["1", "2", "-3e5"]),
            ("[]", vec![]),
            ("[ {} , [1], 2 ] ", vec!["{}", "[1]", "2"]),
            // Nobody reads these.
            ("{", vec!["{"]),
            ("nul[1", vec!["nul", "[1"]),
        ] {
            assert_eq!(texts(body).unwrap(), want, "{body}");
        }
    }

    #[test]
    fn what_is_between_documents_is_refused_at_once() {
        for (body, want) in [
            ("[", "the array does not end"),
            ("[1", "the array does not end"),
            ("[1,", "the array does not end"),
            ("[{}", "the array does not end"),
            ("[1 2]", "',' or ']' was expected"),
            ("[1] 2", "more after the end of the array"),
            ("[,1]", "a value was expected"),
            ("[1,]", "a value was expected"),
            ("{},{}", "a value was expected"),
            ("]", "a value was expected"),
            ("\u{feff}{}", "a value was expected"),
        ] {
            assert_eq!(texts(body).unwrap_err(), want, "{body}");
        }
    }

    #[test]
    fn a_document_is_kept_only_up_to_its_limit_and_blanks_not_at_all() {
        let mut documents = Documents::new(false, 10);
        for _ in 0..1000 {
            documents.push(b"  {\"a\": 123} \n");
            assert_eq!(documents.next().unwrap().unwrap(), "{\"a\": 123}");
            assert!(documents.next().unwrap().is_none());
            assert!(documents.buffer.is_empty());
        }
        documents.push(b"{\"a\": 12345");
        let fault = documents.next().unwrap_err();
        assert_eq!(fault.reason, Reason::BodyTooLarge);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map("[\\\\\"{}a]*", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_a_body_is_cut(
            values in prop::collection::vec(json(), 0..5),
            array: bool,
            pretty: bool,
        ) {
            let print = |value| match pretty {
                true => serde_json::to_string_pretty(value),
                false => serde_json::to_string(value),
            };
            let texts: Vec<_> = values.iter().map(|value| print(value).unwrap()).collect();
            // What begins with an array would be one.
            let array = array || values.first().is_some_and(Value::is_array);
            let body = match array {
                true => format!("[{}]", texts.join(",")),
                false => texts.join("\n"),
            };
            let body = body.as_bytes();
            let bytewise: Vec<_> = body.chunks(1).collect();
            prop_assert_eq!(&split(&bytewise).unwrap(), &texts);
            for cut in 0..=body.len() {
                let (before, after) = body.split_at(cut);
                prop_assert_eq!(&split(&[before, after]).unwrap(), &texts);
            }
        }

        #[test]
        fn whatever_comes_is_cut_the_same_way(body: Vec<u8>, cut: prop::sample::Index) {
            let (before, after) = body.split_at(cut.index(body.len() + 1));
            prop_assert_eq!(split(&[before, after]), split(&[&body]));
        }
    }
}
