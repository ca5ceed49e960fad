//! The grammar and the types, in tables.

use super::*;

fn show(tree: &Tree) -> String {
    let list = |trees: &[Tree], word: &str| {
        format!(
            "({})",
            trees.iter().map(show).collect::<Vec<_>>().join(word)
        )
    };
    match tree {
        Tree::All(trees) => list(trees, " & "),
        Tree::Any(trees) => list(trees, " | "),
        Tree::Not(tree) => format!("!{}", show(tree)),
        Tree::Text(literal) => value(literal),
        Tree::Restriction(r) => {
            format!(
                "{} {:?} {}",
                r.path.join("."),
                r.comparator,
                value(&r.value)
            )
        }
    }
}

fn value(literal: &Literal) -> String {
    let text = match literal.quoted {
        true => format!("{:?}", literal.text),
        false => literal.text.clone(),
    };
    format!("{text}{}", if literal.open { "*" } else { "" })
}

#[test]
fn filters_of_the_grammar_are_read() {
    for (filter, want) in [
        ("a = 1", "a Equal 1"),
        ("a=1 AND b!=2", "(a Equal 1 & b NotEqual 2)"),
        ("a = 1 b = 2", "(a Equal 1 & b Equal 2)"),
        (
            "a = 1 OR b = 2 AND c = 3",
            "((a Equal 1 | b Equal 2) & c Equal 3)",
        ),
        ("NOT a = 1", "!a Equal 1"),
        ("-a = 1", "!a Equal 1"),
        ("NOT (a = 1 OR b = 2)", "!(a Equal 1 | b Equal 2)"),
        ("labels.region = \"eu\"", "labels.region Equal \"eu\""),
        ("labels.\"a b\" = 'x'", "labels.a b Equal \"x\""),
        ("tags:retired", "tags Has retired"),
        ("tags:*", "tags Has *"),
        ("name = \"pump*\"", "name Equal \"pump\"*"),
        ("name = pump*", "name Equal pump*"),
        ("name = \"pump\\*\"", "name Equal \"pump*\""),
        ("a < -1.5", "a Less -1.5"),
        ("a >= 1e3", "a GreaterOrEqual 1e3"),
        (
            "t > \"2024-05-01T00:00:00Z\"",
            "t Greater \"2024-05-01T00:00:00Z\"",
        ),
        ("pump", "pump"),
        ("\"two words\"", "\"two words\""),
        ("AND = 1", "AND Equal 1"),
        ("a = \"\\\"\\\\\\n\"", "a Equal \"\\\"\\\\\\n\""),
        ("(((a = 1)))", "a Equal 1"),
        ("a = 1\n\tAND b = 2", "(a Equal 1 & b Equal 2)"),
    ] {
        assert_eq!(show(&parse(filter).unwrap().unwrap()), want, "{filter}");
    }
    assert_eq!(parse("  "), Ok(None));
}

#[test]
fn filters_outside_the_grammar_are_refused_with_their_place() {
    for (filter, want) in [
        ("a =", "a value must follow the comparison at offset 3"),
        ("= 1", "a comparison or a text was expected at offset 0"),
        ("a = 1 AND", "something must follow AND at offset 9"),
        (
            "a = 1 OR",
            "a comparison or a text was expected at offset 8",
        ),
        ("(a = 1", "a ')' is missing at offset 6"),
        ("a = 1)", "a ')' without its '(' at offset 5"),
        ("a = \"x", "a text in quotes does not end at offset 4"),
        ("a = \"\\x\"", "an escape that means nothing at offset 5"),
        ("a. = 1", "the name of a field must follow '.' at offset 3"),
        (
            "a.b",
            "a comparison was expected: one of = != < <= > >= : at offset 3",
        ),
        ("f(a)", "there are no functions here at offset 0"),
        (
            "a = (1 OR 2)",
            "write the comparison again for each value: a = 1 OR a = 2 at offset 4",
        ),
        ("a ! 1", "a character that means nothing here at offset 2"),
        (
            "t > 2024-05-01T00:00:00Z",
            "put the value in quotes at offset 4",
        ),
    ] {
        assert_eq!(
            parse(filter).map_err(|fault| fault.to_string()),
            Err(want.to_owned()),
            "{filter}"
        );
    }
    assert!(parse(&"(".repeat(100)).is_err());
    assert!(parse(&"a=1 ".repeat(101)).is_err());
}
