//! What a client may have meant by a name that nothing has.
//!
//! Names of types say nothing to somebody who speaks JSON, so a fault tells
//! the names that it could have been: the one that is almost the same, or else
//! the first few there are.

use crate::plan::Message;

/// Longer names are not compared; no field has one.
const LONGEST: usize = 64;
/// How many letters may differ.
const DISTANCE: usize = 2;
/// How many names are listed.
const LISTED: usize = 12;

/// `; did you mean "title"?`, or `; known here are "name", "title"`.
pub(crate) fn fields(message: &Message, name: &str, proto_names: bool) -> String {
    let names = message.fields.iter().map(|field| match proto_names {
        true => &*field.name,
        false => &*field.json_name,
    });
    names_like(name, names)
}

/// The same for any names.
pub(crate) fn names_like<'n>(name: &str, names: impl Iterator<Item = &'n str> + Clone) -> String {
    let closest = names
        .clone()
        .filter_map(|known| Some((distance(name, known)?, known)))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, known)) = closest {
        return format!("; did you mean {known:?}?");
    }
    let mut text = String::new();
    let mut names = names;
    for known in names.by_ref().take(LISTED) {
        text.push_str(if text.is_empty() {
            "; known here are "
        } else {
            ", "
        });
        text.push_str(&format!("{known:?}"));
    }
    if names.next().is_some() {
        text.push_str(" and others");
    }
    text
}

/// How many letters have to be changed, if it is so few that somebody may have
/// mistyped: of a short name less than half of it. Case and underscores do not
/// count.
fn distance(one: &str, other: &str) -> Option<usize> {
    if one.len() > LONGEST || other.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| {
        let bytes = text.bytes().filter(|b| *b != b'_' && *b != b'-');
        bytes.map(|b| b.to_ascii_lowercase()).collect::<Vec<_>>()
    };
    let (one, other) = (plain(one), plain(other));
    let most = DISTANCE.min(other.len().saturating_sub(1) / 2);
    if one.len().abs_diff(other.len()) > most {
        return None;
    }
    let found = levenshtein(&one, &other);
    (found <= most).then_some(found)
}

/// The rows of the usual table, of which only one is kept.
fn levenshtein(one: &[u8], other: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in other.iter().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_proposed_or_all_are_listed() {
        let names = ["title", "givenName", "id", "tags"];
        for (name, want) in [
            ("titel", "; did you mean \"title\"?"),
            ("TITLE", "; did you mean \"title\"?"),
            ("given-name", "; did you mean \"givenName\"?"),
            ("tag", "; did you mean \"tags\"?"),
            (
                "ix",
                "; known here are \"title\", \"givenName\", \"id\", \"tags\"",
            ),
            (
                "colour",
                "; known here are \"title\", \"givenName\", \"id\", \"tags\"",
            ),
        ] {
            assert_eq!(names_like(name, names.into_iter()), want, "{name}");
        }
        assert_eq!(names_like("x", [].into_iter()), "");
        let many: Vec<String> = (0..20).map(|n| format!("field{n:03}x")).collect();
        let listed = names_like("?", many.iter().map(String::as_str));
        assert!(listed.ends_with("\"field011x\" and others"), "{listed}");
        assert_eq!(distance(&"x".repeat(65), "title"), None);
    }

    #[test]
    fn distances_are_those_of_levenshtein() {
        for (one, other, want) in [
            ("", "", 0),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(levenshtein(one.as_bytes(), other.as_bytes()), want);
            assert_eq!(levenshtein(other.as_bytes(), one.as_bytes()), want);
        }
    }
}
