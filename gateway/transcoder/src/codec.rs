//! ProtoJSON for messages that are only known by their descriptors, without
//! any HTTP around it.

use std::sync::Arc;

use bytes::Bytes;
use prost_reflect::DescriptorPool;

use crate::BuildError;
use crate::csv::column::Header;
use crate::csv::sheet::Sheet;
use crate::fault::{Fault, Reason};
use crate::json::decode::Decoder;
use crate::json::encode::{Encoder, Stop};
use crate::plan::{MessageId, Plans};
use crate::style::Style;

/// How JSON is printed and read. The default is the standard protobuf JSON
/// mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonStyle {
    /// Print `field_name`, not `fieldName`.
    pub proto_field_names: bool,
    /// Print 64-bit integers as numbers, not as strings.
    pub int64_as_numbers: bool,
    /// Print fields without presence also when they hold their default.
    pub print_defaults: bool,
    /// Print unset fields with presence as null.
    pub print_nulls: bool,
    /// Print enum values as their numbers.
    pub enums_as_numbers: bool,
    /// Accept enum names in any case.
    pub case_insensitive_enums: bool,
    /// Skip unknown fields instead of refusing them.
    pub ignore_unknown: bool,
}

impl From<JsonStyle> for Style {
    fn from(style: JsonStyle) -> Self {
        Self {
            proto_field_names: style.proto_field_names,
            int64_as_numbers: style.int64_as_numbers,
            print_defaults: style.print_defaults,
            print_nulls: style.print_nulls,
            enums_as_numbers: style.enums_as_numbers,
            case_insensitive_enums: style.case_insensitive_enums,
            ignore_unknown: style.ignore_unknown,
            untyped_body: 0,
        }
    }
}

/// Compiled descriptors. Cheap to clone; threads share it without contention.
#[derive(Clone, Debug)]
pub struct Codec {
    plans: Arc<Plans>,
    style: Style,
    depth: usize,
}

impl Codec {
    /// Compiles an encoded `google.protobuf.FileDescriptorSet`.
    pub fn new(file_descriptor_set: impl Into<Bytes>) -> Result<Self, BuildError> {
        let pool = DescriptorPool::decode(file_descriptor_set.into())
            .map_err(|error| BuildError::one(format!("the descriptor set: {error}")))?;
        Ok(Self {
            plans: Arc::new(Plans::compile(pool)),
            style: Style::default(),
            depth: 100,
        })
    }

    /// Reads and prints in this style from now on.
    pub fn with_style(mut self, style: JsonStyle) -> Self {
        self.style = style.into();
        self
    }

    /// The codec of one message type, by its full name; `None` for a type that
    /// the set does not have.
    pub fn message(&self, name: &str) -> Option<MessageCodec<'_>> {
        let id = self.plans.by_name(name)?;
        Some(MessageCodec { codec: self, id })
    }
}

/// Between JSON and the wire format of one message type.
#[derive(Clone, Copy, Debug)]
pub struct MessageCodec<'c> {
    codec: &'c Codec,
    id: MessageId,
}

impl MessageCodec<'_> {
    /// Appends the wire bytes of a JSON document. After an error, what `wire`
    /// holds beyond its former length is of no use.
    pub fn read_json(&self, json: &[u8], wire: &mut Vec<u8>) -> Result<(), JsonError> {
        let decoder = Decoder {
            plans: &self.codec.plans,
            style: &self.codec.style,
        };
        decoder
            .document(json, self.codec.depth, self.id, wire)
            .map_err(|fault| JsonError::of(&fault))
    }

    /// Appends the JSON of a message.
    pub fn write_json(&self, wire: &[u8], json: &mut Vec<u8>) -> Result<(), JsonError> {
        let room = std::mem::take(json);
        let mut encoder = Encoder::new(&self.codec.plans, &self.codec.style, room);
        let printed = encoder.document(self.id, wire);
        *json = encoder.into_output();
        printed.map_err(|stop| {
            let (reason, message) = match stop {
                Stop::Unprintable(what) => ("UNPRINTABLE", format!("the message holds {what}")),
                Stop::Malformed | Stop::Disorder => {
                    ("MALFORMED_MESSAGE", "the bytes are no such message".into())
                }
            };
            JsonError {
                path: String::new(),
                reason,
                message,
            }
        })
    }
}

/// The columns of a CSV whose rows are messages of one type.
#[derive(Clone, Debug)]
pub struct CsvHeader<'c> {
    codec: MessageCodec<'c>,
    header: Header,
    sheet: Sheet,
}

impl<'c> MessageCodec<'c> {
    /// The columns of these names: fields by their paths, such as
    /// `location.latitude`, and entries of maps, such as `labels.region`.
    pub fn csv<'n>(
        self,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Result<CsvHeader<'c>, JsonError> {
        let decoder = self.decoder();
        let told = |fault: Box<Fault>| JsonError::of(&fault);
        let header = Header::read(&decoder, self.id, names.clone()).map_err(told)?;
        let sheet = Sheet::named(&decoder, self.id, names).map_err(told)?;
        Ok(CsvHeader {
            codec: self,
            header,
            sheet,
        })
    }

    fn decoder(self) -> Decoder<'c> {
        Decoder {
            plans: &self.codec.plans,
            style: &self.codec.style,
        }
    }
}

impl CsvHeader<'_> {
    /// Appends the wire bytes of a row; empty cells say nothing.
    pub fn read_row(&self, cells: &[&str], wire: &mut Vec<u8>) -> Result<(), JsonError> {
        let put = self.header.put(&self.codec.decoder(), cells, wire);
        put.map_err(|fault| JsonError::of(&fault))
    }

    /// Appends the line of a message.
    pub fn write_row(&self, wire: &[u8], csv: &mut Vec<u8>) -> Result<(), JsonError> {
        let mut json = Vec::new();
        self.codec.write_json(wire, &mut json)?;
        self.sheet.row(&json, csv);
        Ok(())
    }

    /// Appends the first line.
    pub fn write_names(&self, csv: &mut Vec<u8>) {
        self.sheet.header(csv);
    }
}

/// Why a document is no message, or a message has no document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}{message}", path, if path.is_empty() { "" } else { ": " })]
#[non_exhaustive]
pub struct JsonError {
    /// The field, such as `device.tags[3].color`; empty if it is the document.
    pub path: String,
    /// A stable reason, such as `UNKNOWN_FIELD`.
    pub reason: &'static str,
    /// What is wrong, for people.
    pub message: String,
}

impl JsonError {
    fn of(fault: &Fault) -> Self {
        let reason: Reason = fault.reason;
        Self {
            path: fault.path(),
            reason: reason.as_str(),
            message: fault.message.clone(),
        }
    }
}
