//! OpenAPI 3.1 documents of what a [`Transcoder`] serves, from the same rules
//! and descriptors: comments become descriptions, `buf.validate` rules become
//! constraints, and the style of a service becomes the form of its schemas.
//!
//! What no descriptor says comes from the application, by [`Api`].
//!
//! ```no_run
//! # fn print(transcoder: &tonic_transcoder::Transcoder) {
//! use tonic_transcoder::openapi::Api;
//!
//! struct Library;
//!
//! impl Api for Library {
//!     fn info(&self) -> serde_json::Value {
//!         serde_json::json!({"title": "Library", "version": "1"})
//!     }
//! }
//!
//! println!("{:#}", transcoder.openapi(&Library));
//! # }
//! ```

mod body;
mod comment;
mod component;
mod example;
mod field;
mod operation;
mod parameter;
mod path;
mod rules;
mod schema;

use http::StatusCode;
use serde_json::{Map, Value};

use crate::route::MethodInfo;
use crate::transcoder::Transcoder;

/// What only the application knows of its API. Everything but [`Api::info`]
/// has a default.
pub trait Api {
    /// The Info Object: at least `title` and `version`.
    fn info(&self) -> Value;

    /// Server Objects; none means the server that the document comes from.
    fn servers(&self) -> Vec<Value> {
        Vec::new()
    }

    /// Whether a method is in the document.
    fn has(&self, _method: &MethodInfo) -> bool {
        true
    }

    /// Security Scheme Objects by their names.
    fn security_schemes(&self) -> Map<String, Value> {
        Map::new()
    }

    /// The Security Requirement Objects of a method, any of which is enough; an
    /// empty list says that the method is public. `None` says nothing.
    fn security(&self, _method: &MethodInfo) -> Option<Vec<Value>> {
        None
    }

    /// What the description of a method says besides its comment.
    fn note(&self, _method: &MethodInfo) -> Option<String> {
        None
    }

    /// What the body of a method's errors is.
    fn error_body(&self, _method: &MethodInfo) -> ErrorBody {
        ErrorBody::Status
    }

    /// Statuses of errors that are listed by themselves, besides 400 where there
    /// is input and 404 where the path names something. All others are in
    /// `default`.
    fn refusals(&self, _method: &MethodInfo) -> Vec<StatusCode> {
        Vec::new()
    }
}

/// What the body of an error is.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorBody {
    /// `google.rpc.Status`, as [`GoogleErrors`](crate::GoogleErrors) prints it.
    Status,
    /// The JSON of a message, by its full name, in the style of the service.
    Message(String),
    /// The `content` of the response: Media Type Objects by media type.
    Content(Value),
}

impl Transcoder {
    /// The OpenAPI 3.1 document of the methods that an API has.
    ///
    /// Rules of custom kinds that OpenAPI has no place for are listed under
    /// `x-unlisted-rules`.
    pub fn openapi(&self, api: &dyn Api) -> Value {
        operation::document(self, api)
    }
}
