//! ProtoJSON to the wire format and back, without a message in between.

pub(crate) mod bits;
pub(crate) mod decode;
pub(crate) mod decode_known;
pub(crate) mod decode_value;
pub(crate) mod details;
pub(crate) mod encode;
mod encode_known;
mod encode_value;
mod keys;
pub(crate) mod mask;
pub(crate) mod number;
pub(crate) mod reader;
mod scan;
pub(crate) mod text;
pub(crate) mod time;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod reader_tests;
