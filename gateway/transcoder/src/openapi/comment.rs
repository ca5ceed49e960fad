//! Comments of .proto files as texts for people.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, OneofDescriptor, ServiceDescriptor,
};

/// The comments before declarations, by file and place. A descriptor set
/// without source information has none.
pub(super) struct Comments {
    files: HashMap<String, HashMap<Vec<i32>, String>>,
}

/// What a comment can stand before.
pub(super) trait Commented {
    /// The file, and the place as `google.protobuf.SourceCodeInfo` counts it.
    fn place(&self) -> (FileDescriptor, &[i32]);
}

macro_rules! commented {
    ($($descriptor:ty),*) => {$(
        impl Commented for $descriptor {
            fn place(&self) -> (FileDescriptor, &[i32]) {
                (self.parent_file(), self.path())
            }
        }
    )*};
}

commented!(
    EnumDescriptor,
    EnumValueDescriptor,
    FieldDescriptor,
    MessageDescriptor,
    MethodDescriptor,
    OneofDescriptor,
    ServiceDescriptor
);

impl Comments {
    pub(super) fn read(pool: &DescriptorPool) -> Self {
        let files = pool.files().map(|file| {
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            let locations = info.map(|info| &*info.location).unwrap_or_default();
            let comments = locations.iter().filter_map(|location| {
                let comment = location.leading_comments.as_deref()?;
                Some((location.path.clone(), text(comment)))
            });
            (file.name().to_owned(), comments.collect())
        });
        Self {
            files: files.collect(),
        }
    }

    /// The comment before a declaration; empty if there is none.
    pub(super) fn of(&self, declared: &impl Commented) -> &str {
        let (file, path) = declared.place();
        let comments = self.files.get(file.name());
        let comment = comments.and_then(|comments| comments.get(path));
        comment.map_or("", String::as_str)
    }
}

/// Joins the lines of each paragraph, which are as long as they are for the
/// sake of the source; items of lists and indented lines stay.
fn text(comment: &str) -> String {
    let mut text = String::with_capacity(comment.len());
    for line in comment.lines() {
        let line = line.strip_prefix(' ').unwrap_or(line).trim_end();
        let own = ["- ", "* ", "  ", "|", "#"];
        if line.is_empty() {
            text.truncate(text.trim_end().len());
            text.push_str("\n\n");
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                let separate = own.iter().any(|start| line.starts_with(start));
                text.push(if separate { '\n' } else { ' ' });
            }
            text.push_str(line);
        }
    }
    text.trim().to_owned()
}

/// The first sentence without its full stop, and what follows it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let paragraph = text.find("\n\n").unwrap_or(text.len());
    let mut from = 0;
    while let Some(at) = text[from..paragraph].find(". ").map(|at| from + at) {
        let abbreviated = ["e.g", "i.e", "etc", "cf"]
            .iter()
            .any(|short| text[..at].ends_with(short));
        let goes_on = text[at + 2..].starts_with(|c: char| c.is_lowercase());
        if !abbreviated && !goes_on {
            return (&text[..at], text[at + 2..].trim());
        }
        from = at + 2;
    }
    let (first, rest) = text.split_at(paragraph);
    (first.strip_suffix('.').unwrap_or(first), rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_and_lists_stay() {
        assert_eq!(
            text(" One\n two.\n\n Three:\n - a\n - b\n"),
            "One two.\n\nThree:\n- a\n- b"
        );
    }

    #[test]
    fn the_first_sentence_ends_where_the_next_begins() {
        for (text, want) in [
            ("One.", ("One", "")),
            ("One. Two. Three.", ("One", "Two. Three.")),
            ("One, e.g. Two. Three.", ("One, e.g. Two", "Three.")),
            ("At 1. of it.", ("At 1. of it", "")),
            ("One\n\nTwo. Three.", ("One", "Two. Three.")),
            ("", ("", "")),
        ] {
            assert_eq!(split(text), want, "{text}");
        }
    }
}
