//! Documents of RFC 8259 and others.

use super::reader::Reader;

fn read(text: &[u8]) -> Result<(), String> {
    let mut reader = Reader::new(text, 4).map_err(|f| f.message)?;
    reader
        .skip()
        .and_then(|()| reader.end())
        .map_err(|f| f.message)
}

#[test]
fn documents_of_the_rfc_are_read() {
    for text in [
        "null",
        " true ",
        "false",
        "0",
        "-0",
        "10.5e+3",
        "1E-2",
        "\"\"",
        "[]",
        "{}",
        "[1, 2]",
        "{\"a\": {\"b\": []}, \"c\": \"\\u00e9\\ud83d\\ude00\"}",
        "[[[[]]]]",
        "\"\u{7f}\"",
    ] {
        assert_eq!(read(text.as_bytes()), Ok(()), "{text}");
    }
}

#[test]
fn anything_else_is_refused_with_its_place() {
    for (text, want) in [
        ("", "the document ends too early at line 1, column 1"),
        ("nul", "a value was expected at line 1, column 1"),
        ("01", "a malformed number at line 1, column 1"),
        ("1.", "a malformed number at line 1, column 1"),
        (".5", "a value was expected at line 1, column 1"),
        ("+1", "a value was expected at line 1, column 1"),
        (
            "1 2",
            "more after the end of the document at line 1, column 3",
        ),
        ("[1,]", "a value was expected at line 1, column 4"),
        ("[1 2]", "',' or ']' was expected at line 1, column 4"),
        ("{\"a\":1,}", "a key was expected at line 1, column 8"),
        ("{,}", "a key was expected at line 1, column 2"),
        ("{a:1}", "a key was expected at line 1, column 2"),
        ("{\"a\" 1}", "':' was expected at line 1, column 6"),
        (
            "{\"a\":1",
            "the document ends too early at line 1, column 7",
        ),
        (
            "[\n\n  \"\u{e9}\", x]",
            "a value was expected at line 3, column 8",
        ),
        ("\"a", "a string does not end at line 1, column 3"),
        (
            "\"a\n\"",
            "a control character in a string at line 1, column 3",
        ),
        ("\"\\x\"", "an unknown escape at line 1, column 2"),
        (
            "\"\\u12g4\"",
            "four hexadecimal digits were expected at line 1, column 2",
        ),
        (
            "\"\\ud800\"",
            "a surrogate without its pair at line 1, column 8",
        ),
        (
            "\"\\udc00\"",
            "a surrogate without its pair at line 1, column 8",
        ),
        (
            "\"\\ud800\\u0041\"",
            "a surrogate without its pair at line 1, column 14",
        ),
        ("[[[[[]]]]]", "nested too deeply at line 1, column 5"),
        ("NaN", "a value was expected at line 1, column 1"),
        ("// x", "a value was expected at line 1, column 1"),
    ] {
        assert_eq!(read(text.as_bytes()), Err(want.to_owned()), "{text}");
    }
    let want = "invalid UTF-8 at line 1, column 2".to_owned();
    assert_eq!(read(b"\"\xff\""), Err(want));
}
