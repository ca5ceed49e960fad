//! A rule with everything a call needs looked up.

use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::bind::FieldPath;
use crate::bind::path::Decoding;
use crate::headers;
use crate::plan::{Field, MessageId};
use crate::router;
use crate::style::Style;

/// A gRPC method that has HTTP routes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodInfo {
    /// `/package.Service/Method`.
    pub path: String,
    /// `package.Service`.
    pub service: String,
    /// `Method`.
    pub name: String,
    /// Full name of the request message.
    pub input: String,
    /// Full name of the response message.
    pub output: String,
    /// Whether the client sends a stream of messages.
    pub client_streaming: bool,
    /// Whether the server answers with a stream of messages.
    pub server_streaming: bool,
}

/// One HTTP binding of a gRPC method.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Rule {
    /// The HTTP method; `None` for the custom kind `*`, any method.
    pub http_method: Option<Method>,
    /// The path template as it was written.
    pub template: String,
    /// `HttpRule.body`: empty, `*` or a field of the request.
    pub body: String,
    /// `HttpRule.response_body`: empty or a field of the response.
    pub response_body: String,
    /// The gRPC method that is called.
    pub method: Arc<MethodInfo>,
}

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) rule: Rule,
    pub(crate) uri: Uri,
    pub(crate) style: Style,
    pub(crate) input: MessageId,
    pub(crate) output: MessageId,
    pub(crate) segments: usize,
    pub(crate) many: Option<usize>,
    pub(crate) variables: Vec<PathVariable>,
    pub(crate) body: BodyPlan,
    pub(crate) response: ResponsePlan,
    pub(crate) success: StatusCode,
    /// The field that names an event of a stream.
    pub(crate) event_id: Option<u32>,
    /// Fields of the request that HTTP headers map to.
    pub(crate) request_id: Option<u32>,
    pub(crate) etag: Option<EtagAt>,
    /// The field mask that a PATCH fills by itself.
    pub(crate) update_mask: Option<u32>,
    /// The paths below the body's field that are no changes: what the path
    /// decides, and the `etag`, which is a condition (AIP-154).
    pub(crate) unmasked: Vec<String>,
    /// How a stream is answered as CSV, where it can be.
    pub(crate) csv: Option<CsvPlan>,
    /// Where the response has its `etag`.
    pub(crate) response_etag: Option<EtagAt>,
}

/// The number of an `etag` field, perhaps within another field's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EtagAt {
    pub(crate) within: Option<u32>,
    pub(crate) number: u32,
}

/// A stream of messages as the rows of a CSV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CsvPlan {
    /// The message that a row is.
    pub(crate) root: MessageId,
    /// The field of the request that names columns.
    pub(crate) columns: Option<u32>,
}

/// A variable of the path and the field it is bound to.
#[derive(Debug)]
pub(crate) struct PathVariable {
    pub(crate) name: String,
    pub(crate) field: FieldPath,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) decoding: Decoding,
}

/// What the HTTP body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyPlan {
    /// Nothing; it must be empty.
    None,
    /// The whole request message.
    Whole,
    /// The field at this index of the request message.
    Field(usize),
    /// A `google.api.HttpBody`: the request itself, or the field at an index.
    Raw(Option<usize>),
}

impl BodyPlan {
    /// The index of the field that the body is.
    pub(crate) fn field(self) -> Option<usize> {
        match self {
            Self::None | Self::Whole => None,
            Self::Field(index) => Some(index),
            Self::Raw(index) => index,
        }
    }
}

/// What the HTTP response's body is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponsePlan {
    /// The whole response message.
    Whole,
    /// The field at this index of the response message.
    Field(usize),
    /// The string field at this index, as plain text.
    Text(usize),
    /// A `google.api.HttpBody`: the response itself, or the field at an index.
    Raw(Option<usize>),
}

impl Route {
    /// Whether a request asks by `If-Match` for something that is only so.
    pub(crate) fn is_conditional(&self, headers: &HeaderMap) -> bool {
        self.etag.is_some() && headers::if_match(headers).is_ok_and(|tag| tag.is_some())
    }

    /// The raw values of the path's variables.
    pub(crate) fn captures(&self, segments: &[&str]) -> Vec<String> {
        let capture = |variable: &PathVariable| {
            let (start, end) = (variable.start, variable.end);
            let range = router::span(start, end, self.many, self.segments, segments.len());
            match &segments[range] {
                [one] => (*one).to_owned(),
                several => several.join("/"),
            }
        };
        self.variables.iter().map(capture).collect()
    }
}

/// The URI of a gRPC method.
pub(crate) fn grpc_uri(path: &str) -> Option<Uri> {
    path.parse::<PathAndQuery>().ok().map(Uri::from)
}

/// Finds the index of a field for its error message's sake by name only.
pub(crate) fn position(fields: &[Field], name: &str) -> Option<usize> {
    fields
        .iter()
        .position(|field| &*field.name == name || &*field.json_name == name)
}
