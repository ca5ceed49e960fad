//! `Debug` for messages that hold secrets: fields marked `debug_redact` are
//! never printed.

use std::fmt::Write;

use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Full names of the messages that have a `debug_redact` field or are inside
/// a message's oneof that has one.
pub(crate) fn secret_messages(pool: &DescriptorPool) -> Vec<String> {
    secrets(pool)
        .map(|m| format!(".{}", m.full_name()))
        .collect()
}

/// Rust source of their `Debug`.
pub(crate) fn generate(pool: &DescriptorPool) -> String {
    let mut out = String::new();
    for message in secrets(pool) {
        let ty = rust_type(&message);
        let name = message.name();
        writeln!(out, "impl ::std::fmt::Debug for {ty} {{").unwrap();
        writeln!(
            out,
            "    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{"
        )
        .unwrap();
        write!(out, "        f.debug_struct({name:?})").unwrap();
        let plain = message
            .fields()
            .filter(|f| f.containing_oneof().is_none_or(|o| o.is_synthetic()));
        for field in plain.filter(|f| !redacted(f)) {
            write!(out, ".field({0:?}, &self.r#{0})", field.name()).unwrap();
        }
        // What a message does not print, it says so: `..` at the end.
        writeln!(out, ".finish_non_exhaustive()\n    }}\n}}").unwrap();
        for oneof in message.oneofs().filter(|o| !o.is_synthetic()) {
            writeln!(out, "{}", oneof_debug(&message, oneof.name())).unwrap();
        }
    }
    out
}

/// A oneof of a message with secrets prints its name only.
fn oneof_debug(message: &MessageDescriptor, oneof: &str) -> String {
    let module = rust_type(message);
    let (path, name) = module.rsplit_once("::").unwrap();
    format!(
        "impl ::std::fmt::Debug for {path}::{}::{} {{\n    fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {{\n        f.write_str(\"{oneof}(..)\")\n    }}\n}}",
        snake(name),
        upper(oneof)
    )
}

fn secrets(pool: &DescriptorPool) -> impl Iterator<Item = MessageDescriptor> {
    pool.all_messages()
        .filter(|m| m.package_name().starts_with("muster.") && m.fields().any(|f| redacted(&f)))
}

fn redacted(field: &prost_reflect::FieldDescriptor) -> bool {
    field
        .options()
        .get_field_by_name("debug_redact")
        .and_then(|v| v.as_bool())
        .unwrap_or(false)
}

/// prost's path of a message.
fn rust_type(message: &MessageDescriptor) -> String {
    let mut path = match message.parent_message() {
        Some(parent) => {
            let outer = rust_type(&parent);
            let (module, name) = outer.rsplit_once("::").unwrap();
            format!("{module}::{}", snake(name))
        }
        None => format!("crate::{}", message.package_name().replace('.', "::")),
    };
    path.push_str("::");
    path.push_str(message.name());
    path
}

pub(crate) fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.char_indices() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

fn upper(name: &str) -> String {
    name.split('_')
        .map(|w| w[..1].to_uppercase() + &w[1..])
        .collect()
}
