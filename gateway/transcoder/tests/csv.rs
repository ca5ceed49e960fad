//! Streams as CSV: rows that become messages, and messages that become rows.

#![allow(clippy::unwrap_used)]

mod feed;
mod support;

use feed::{Feed, Seen, Version, item};
use support::compile_text;
use tonic_transcoder::Codec;

const CSV: &[(&str, &str)] = &[("content-type", "text/csv")];
