//! The words of a filter.

use super::Fault;

/// One word, and where it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// Bytes from the beginning.
    pub(super) at: usize,
    /// Whether white space stands in front of it.
    pub(super) apart: bool,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything that is not quoted.
    Text(String),
    /// What stood in quotes, without them. A `*` at its end that is not
    /// escaped is told apart.
    Quoted {
        text: String,
        open: bool,
    },
    Comparator(super::Comparator),
    Dot,
    Comma,
    Minus,
    Open,
    Close,
}

/// Cuts a filter into words.
pub(super) fn tokens(filter: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let mut rest = filter;
    loop {
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let apart = trimmed.len() < rest.len() || rest.len() == filter.len();
        let at = filter.len() - trimmed.len();
        let Some(first) = trimmed.chars().next() else {
            return Ok(tokens);
        };
        let (kind, length) = match first {
            '"' | '\'' => quoted(trimmed, first, at)?,
            _ => match symbol(trimmed) {
                Some(found) => found,
                None => text(trimmed, at)?,
            },
        };
        tokens.push(Token { kind, at, apart });
        rest = &trimmed[length..];
    }
}

fn symbol(rest: &str) -> Option<(Kind, usize)> {
    use super::Comparator as C;
    const SYMBOLS: [(&str, Kind); 11] = [
        ("<=", Kind::Comparator(C::LessOrEqual)),
        (">=", Kind::Comparator(C::GreaterOrEqual)),
        ("!=", Kind::Comparator(C::NotEqual)),
        ("<", Kind::Comparator(C::Less)),
        (">", Kind::Comparator(C::Greater)),
        ("=", Kind::Comparator(C::Equal)),
        (":", Kind::Comparator(C::Has)),
        (".", Kind::Dot),
        (",", Kind::Comma),
        ("(", Kind::Open),
        (")", Kind::Close),
    ];
    let found = SYMBOLS.into_iter().find(|(s, _)| rest.starts_with(s));
    let minus = || rest.starts_with('-').then_some((Kind::Minus, 1));
    found.map(|(s, kind)| (kind, s.len())).or_else(minus)
}

/// Text without quotes: up to white space or anything that means something.
fn text(rest: &str, at: usize) -> Result<(Kind, usize), Fault> {
    let ends = |c: char| c.is_whitespace() || "<>=!:.,()\"'".contains(c);
    let end = rest.find(ends).unwrap_or(rest.len());
    match end {
        0 => Err(Fault::new(at, "a character that means nothing here")),
        end => Ok((Kind::Text(rest[..end].to_owned()), end)),
    }
}

fn quoted(rest: &str, quote: char, at: usize) -> Result<(Kind, usize), Fault> {
    let mut text = String::new();
    let mut open = false;
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, char)) = chars.next() {
        if char == quote {
            if open {
                text.pop();
            }
            return Ok((Kind::Quoted { text, open }, index + char.len_utf8()));
        }
        open = char == '*';
        text.push(match char {
            '\\' => match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, 't')) => '\t',
                Some((_, 'r')) => '\r',
                Some((_, char @ ('"' | '\'' | '\\' | '*'))) => char,
                _ => return Err(Fault::new(at + index, "an escape that means nothing")),
            },
            char => char,
        });
    }
    Err(Fault::new(at, "a text in quotes does not end"))
}
