//! The grammar of filters, as AIP-160 has it.

use super::token::{Kind, Token, tokens};
use super::{Comparator, Fault, Literal, Restriction, Tree};

/// Bytes of a filter.
const LENGTH: usize = 8 << 10;
/// Parentheses inside each other.
const DEPTH: usize = 20;
/// Restrictions in one filter.
const RESTRICTIONS: usize = 100;

/// Reads a filter; nothing for an empty one.
pub(super) fn parse(filter: &str) -> Result<Option<Tree>, Fault> {
    if filter.len() > LENGTH {
        return Err(Fault::new(
            0,
            format!("a filter has at most {LENGTH} bytes"),
        ));
    }
    let mut parser = Parser {
        tokens: tokens(filter)?,
        next: 0,
        end: filter.len(),
        depth: 0,
        restrictions: 0,
    };
    if parser.tokens.is_empty() {
        return Ok(None);
    }
    let tree = parser.expression()?;
    match parser.peek() {
        None => Ok(Some(tree)),
        Some(Kind::Close) => Err(parser.fault("a ')' without its '('")),
        Some(_) => Err(parser.fault("something that does not belong here")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    end: usize,
    depth: usize,
    restrictions: usize,
}

impl Parser {
    fn token(&self) -> Option<&Token> {
        self.tokens.get(self.next)
    }

    fn peek(&self) -> Option<&Kind> {
        self.token().map(|token| &token.kind)
    }

    fn at(&self) -> usize {
        self.token().map_or(self.end, |token| token.at)
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.at(), message)
    }

    /// Steps over a word in capitals that connects others.
    fn eat_word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Kind::Text(text)) if text == word);
        // `AND = 1` compares a field of that name.
        let field = matches!(
            self.tokens.get(self.next + 1).map(|token| &token.kind),
            Some(Kind::Comparator(_) | Kind::Dot)
        );
        self.next += usize::from(is && !field);
        is && !field
    }

    /// `expression: sequence {AND sequence}`, where a sequence is factors side
    /// by side, which must all be true, too.
    fn expression(&mut self) -> Result<Tree, Fault> {
        let mut all = vec![self.factor()?];
        loop {
            let connected = self.eat_word("AND");
            match self.peek() {
                None | Some(Kind::Close) if connected => {
                    return Err(self.fault("something must follow AND"));
                }
                None | Some(Kind::Close | Kind::Comma) => return Ok(Tree::all(all)),
                Some(_) => all.push(self.factor()?),
            }
        }
    }

    /// `factor: term {OR term}`: OR binds closer than AND.
    fn factor(&mut self) -> Result<Tree, Fault> {
        let mut any = vec![self.term()?];
        while self.eat_word("OR") {
            any.push(self.term()?);
        }
        Ok(Tree::any(any))
    }

    fn term(&mut self) -> Result<Tree, Fault> {
        if self.eat_word("NOT") {
            return Ok(Tree::Not(Box::new(self.simple()?)));
        }
        if self.peek() == Some(&Kind::Minus) {
            self.next += 1;
            return Ok(Tree::Not(Box::new(self.simple()?)));
        }
        self.simple()
    }

    fn simple(&mut self) -> Result<Tree, Fault> {
        if self.peek() != Some(&Kind::Open) {
            return self.restriction();
        }
        self.next += 1;
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.fault(format!("more than {DEPTH} parentheses inside each other")));
        }
        let tree = self.expression()?;
        if self.peek() != Some(&Kind::Close) {
            return Err(self.fault("a ')' is missing"));
        }
        self.next += 1;
        self.depth -= 1;
        Ok(tree)
    }

    /// `restriction: comparable [comparator arg]`; what stands alone is looked
    /// for wherever it makes sense.
    fn restriction(&mut self) -> Result<Tree, Fault> {
        self.restrictions += 1;
        if self.restrictions > RESTRICTIONS {
            return Err(self.fault(format!("more than {RESTRICTIONS} comparisons")));
        }
        let at = self.at();
        let first = self.literal("a comparison or a text was expected")?;
        if self.peek() == Some(&Kind::Open) && !self.token().is_some_and(|t| t.apart) {
            return Err(Fault::new(at, "there are no functions here"));
        }
        let dotted = self.peek() == Some(&Kind::Dot);
        let compared = matches!(self.peek(), Some(Kind::Comparator(_)));
        if !dotted && !compared {
            return Ok(Tree::Text(first));
        }
        let mut path = vec![first.text];
        while self.peek() == Some(&Kind::Dot) {
            self.next += 1;
            path.push(self.literal("the name of a field must follow '.'")?.text);
        }
        let Some(Kind::Comparator(comparator)) = self.peek() else {
            return Err(self.fault("a comparison was expected: one of = != < <= > >= :"));
        };
        let comparator = *comparator;
        self.next += 1;
        let value = self.argument()?;
        Ok(Tree::Restriction(Restriction {
            at,
            path,
            comparator,
            value,
        }))
    }

    /// A value. Numbers have a sign and a point, which are words of their own.
    fn argument(&mut self) -> Result<Literal, Fault> {
        if self.peek() == Some(&Kind::Open) {
            return Err(self.fault("write the comparison again for each value: a = 1 OR a = 2"));
        }
        let at = self.at();
        let minus = self.peek() == Some(&Kind::Minus);
        self.next += usize::from(minus);
        let mut value = self.literal("a value must follow the comparison")?;
        if !value.quoted {
            if minus {
                value.text.insert(0, '-');
            }
            while self.peek() == Some(&Kind::Dot) && !self.token().is_some_and(|t| t.apart) {
                self.next += 1;
                value.text.push('.');
                value.text += &self.literal("a digit must follow '.'")?.text;
            }
            if let Some(text) = value.text.strip_suffix('*').filter(|text| !text.is_empty()) {
                value.text = text.to_owned();
                value.open = true;
            }
        } else if minus {
            return Err(Fault::new(at, "a text has no sign"));
        }
        if matches!(self.peek(), Some(Kind::Comparator(Comparator::Has))) && !value.quoted {
            return Err(Fault::new(at, "put the value in quotes"));
        }
        Ok(value)
    }

    fn literal(&mut self, missing: &str) -> Result<Literal, Fault> {
        let at = self.at();
        let literal = match self.peek() {
            Some(Kind::Text(text)) => Literal {
                at,
                text: text.clone(),
                quoted: false,
                open: false,
            },
            Some(Kind::Quoted { text, open }) => Literal {
                at,
                text: text.clone(),
                quoted: true,
                open: *open,
            },
            _ => return Err(self.fault(missing)),
        };
        self.next += 1;
        Ok(literal)
    }
}
