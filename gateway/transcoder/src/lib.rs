//! google.api.http for tonic: JSON and form requests transcoded to gRPC, driven by descriptors.
//!
//! A [`Transcoder`] is built once from an encoded `FileDescriptorSet`. It finds
//! the `google.api.http` rule for a request, makes the request message from the
//! path, the query and the body, calls a gRPC service (anything that is a
//! [`tower::Service`], such as `tonic::service::Routes` or a channel) and
//! prints the answer as JSON.
//!
//! Between JSON and the wire format there is no message: descriptors are
//! compiled to flat tables, by which JSON is written as wire bytes and back.
//!
//! ```no_run
//! # async fn serve(set: Vec<u8>) -> Result<(), Box<dyn std::error::Error>> {
//! use tonic_transcoder::Transcoder;
//!
//! let transcoder = Transcoder::builder(set).build()?;
//! let grpc = tonic::transport::Endpoint::from_static("http://[::1]:50051").connect_lazy();
//! let app = axum::Router::new().fallback_service(transcoder.into_service(grpc));
//! axum::serve(tokio::net::TcpListener::bind("[::1]:8080").await?, app).await?;
//! # Ok(())
//! # }
//! ```

mod bind;
mod builder;
mod call;
mod codec;
mod compile;
mod csv;
mod documents;
mod fault;
mod frames;
mod headers;
mod json;
mod nearby;
#[cfg(feature = "openapi")]
pub mod openapi;
mod plan;
mod problem;
mod request;
mod response;
mod route;
mod router;
mod rule;
mod service;
mod stream;
mod style;
mod template;
mod transcoder;
mod uplink;
mod wire;

pub use builder::{BuildError, Builder, Limits};
pub use codec::{Codec, CsvHeader, JsonError, JsonStyle, MessageCodec};
pub use headers::{forwarded, preferred_wait};
pub use problem::{ErrorShape, GoogleErrors, Problem};
pub use route::{MethodInfo, Rule};
pub use service::TranscodeService;
pub use transcoder::{Matched, RouteError, Transcoder};

/// The body of requests to gRPC and of responses to HTTP.
pub type Body = tonic::body::Body;

/// Any error.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;
