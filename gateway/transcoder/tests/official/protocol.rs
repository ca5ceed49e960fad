//! The messages of `conformance.proto`, as far as they are used.

/// `conformance.ConformanceRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Request {
    #[prost(oneof = "Payload", tags = "1, 2, 7, 8")]
    pub(crate) payload: Option<Payload>,
    #[prost(enumeration = "Format", tag = "3")]
    pub(crate) wanted: i32,
    #[prost(string, tag = "4")]
    pub(crate) message_type: String,
    #[prost(int32, tag = "5")]
    pub(crate) category: i32,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Payload {
    #[prost(bytes, tag = "1")]
    Wire(Vec<u8>),
    #[prost(string, tag = "2")]
    Json(String),
    #[prost(string, tag = "7")]
    Jspb(String),
    #[prost(string, tag = "8")]
    Text(String),
}

/// `conformance.WireFormat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Format {
    Unspecified = 0,
    Wire = 1,
    Json = 2,
    Jspb = 3,
    Text = 4,
}

/// `conformance.TestCategory.JSON_IGNORE_UNKNOWN_PARSING_TEST`.
pub(crate) const IGNORE_UNKNOWN: i32 = 3;

/// `conformance.ConformanceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Response {
    #[prost(oneof = "Answer", tags = "1, 2, 3, 4, 5, 6")]
    pub(crate) answer: Option<Answer>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Answer {
    /// The payload is no message.
    #[prost(string, tag = "1")]
    Unreadable(String),
    /// The test itself is broken.
    #[prost(string, tag = "2")]
    Failed(String),
    #[prost(bytes, tag = "3")]
    Wire(Vec<u8>),
    #[prost(string, tag = "4")]
    Json(String),
    #[prost(string, tag = "5")]
    Skipped(String),
    /// The message cannot be written so.
    #[prost(string, tag = "6")]
    Unprintable(String),
}
