//! What the transcoder itself finds wrong with a request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::problem::Problem;

/// The `domain` of every `google.rpc.ErrorInfo` made here.
pub(crate) const DOMAIN: &str = "transcoder";

/// How many characters of what a client sent stand in a message.
const SHOWN: usize = 100;

/// What a client sent, cut so that the answer to a large request is a small one.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

/// The stable reasons, as they stand in `google.rpc.ErrorInfo.reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    MalformedJson,
    MalformedForm,
    MalformedCsv,
    UnknownField,
    UnknownQueryParameter,
    InvalidValue,
    DuplicateField,
    TooDeep,
    BodyTooLarge,
    UnreadableBody,
    UnsupportedMediaType,
    QueryTooLong,
    UnexpectedBody,
    ConditionUnsupported,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MalformedJson => "MALFORMED_JSON",
            Self::MalformedForm => "MALFORMED_FORM",
            Self::MalformedCsv => "MALFORMED_CSV",
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::UnknownQueryParameter => "UNKNOWN_QUERY_PARAMETER",
            Self::InvalidValue => "INVALID_VALUE",
            Self::DuplicateField => "DUPLICATE_FIELD",
            Self::TooDeep => "TOO_DEEP",
            Self::BodyTooLarge => "BODY_TOO_LARGE",
            Self::UnreadableBody => "UNREADABLE_BODY",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::QueryTooLong => "QUERY_TOO_LONG",
            Self::UnexpectedBody => "UNEXPECTED_BODY",
            Self::ConditionUnsupported => "CONDITION_UNSUPPORTED",
        }
    }

    /// The HTTP status, where INVALID_ARGUMENT's 400 would say too little.
    fn http_status(self) -> StatusCode {
        match self {
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::QueryTooLong => StatusCode::URI_TOO_LONG,
            Self::ConditionUnsupported => StatusCode::PRECONDITION_FAILED,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

/// One step of a field path, innermost first while a fault travels outwards.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(Box<str>),
    Index(usize),
    Key(Box<str>),
}

/// A fault of a request, with the path of the field it was found at.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) reason: Reason,
    pub(crate) message: String,
    path: Vec<Step>,
}

/// The result of everything that reads requests; the error is boxed, for the
/// good case must not pay for its size.
pub(crate) type Outcome<T> = Result<T, Box<Fault>>;

impl Fault {
    pub(crate) fn new(reason: Reason, message: impl Into<String>) -> Box<Self> {
        Box::new(Self {
            reason,
            message: message.into(),
            path: Vec::new(),
        })
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Box<Self> {
        Self::new(Reason::InvalidValue, message)
    }

    /// The fault seen from the message that holds `field`.
    pub(crate) fn in_field(mut self: Box<Self>, field: &str) -> Box<Self> {
        self.path.push(Step::Field(shown(field).into()));
        self
    }

    /// The fault seen from the list it was found in.
    pub(crate) fn in_index(mut self: Box<Self>, index: usize) -> Box<Self> {
        self.path.push(Step::Index(index));
        self
    }

    /// The fault seen from the map it was found in.
    pub(crate) fn in_key(mut self: Box<Self>, key: &str) -> Box<Self> {
        self.path.push(Step::Key(shown(key).into()));
        self
    }

    /// The path as text, such as `device.tags[3].color`.
    pub(crate) fn path(&self) -> String {
        let mut text = String::new();
        for step in self.path.iter().rev() {
            let written = match step {
                Step::Field(name) if text.is_empty() => write!(text, "{name}"),
                Step::Field(name) => write!(text, ".{name}"),
                Step::Index(index) => write!(text, "[{index}]"),
                Step::Key(key) => write!(text, "[{key:?}]"),
            };
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        text
    }

    /// The fault as INVALID_ARGUMENT with its standard details.
    pub(crate) fn into_problem(self) -> Problem {
        let path = self.path();
        let message = if path.is_empty() {
            self.message.clone()
        } else {
            format!("{path}: {}", self.message)
        };
        let mut details = ErrorDetails::new();
        details.set_error_info(self.reason.as_str(), DOMAIN, HashMap::new());
        if !path.is_empty() || self.reason == Reason::InvalidValue {
            details.add_bad_request_violation(path, self.message);
        }
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        let mut problem = Problem::new(status);
        problem.http_status = self.reason.http_status();
        problem
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_from_the_outside_in() {
        let fault = Fault::invalid("no")
            .in_field("color")
            .in_index(3)
            .in_field("tags")
            .in_field("device");
        assert_eq!(fault.path(), "device.tags[3].color");
        let fault = Fault::invalid("no").in_key("a\"b").in_field("labels");
        assert_eq!(fault.path(), "labels[\"a\\\"b\"]");
    }
}
