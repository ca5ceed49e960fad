//! The dialects: the documented REST paths of other systems, each one proto
//! package and one file here that translates to the domain services.
//! Nothing else in Muster knows a vendor.

mod brokers;
mod device42;
mod emqx;
mod hardwario;
mod iottly;
mod mosquitto;
mod sensorbucket;
mod yombo;

use bytes::Bytes;
use chassis::peer::Peers;
use chassis::server::ServiceStack;
use http::{Response, StatusCode, header};
use transcoder::{ErrorShape, Problem};

/// One dialect, as the gateway needs to know it.
#[derive(Clone, Copy)]
pub(crate) struct Dialect {
    /// Full name of its service.
    pub(crate) service: &'static str,
    /// What its paths begin with: errors of unknown paths have its shape too.
    pub(crate) prefixes: &'static [&'static str],
    /// The shape of its errors.
    pub(crate) error: fn(&Problem) -> Response<Bytes>,
    /// The same for the documents: schemas by media type. None if errors are
    /// the message that the dialect's option names.
    pub(crate) error_content: Option<fn() -> serde_json::Value>,
}

impl ErrorShape for Dialect {
    fn shape(&self, problem: &Problem) -> Response<Bytes> {
        (self.error)(problem)
    }
}

/// All dialects, and what has errors of its own shape as they have.
pub(crate) const ALL: [Dialect; 13] = [
    hardwario::DIALECT,
    hardwario::messages::DIALECT,
    hardwario::connectors::DIALECT,
    yombo::DIALECT,
    yombo::commands::DIALECT,
    iottly::DIALECT,
    iottly::commands::DIALECT,
    sensorbucket::DIALECT,
    device42::DIALECT,
    device42::customers::DIALECT,
    emqx::DIALECT,
    mosquitto::DIALECT,
    crate::oauth::DIALECT,
];

/// Adds the services of all dialects to a stack.
pub(crate) fn mount(stack: ServiceStack, peers: &Peers) -> ServiceStack {
    stack
        .with(hardwario::service(peers))
        .with(hardwario::messages::service(peers))
        .with(hardwario::connectors::service(peers))
        .with(yombo::service(peers))
        .with(yombo::commands::service(peers))
        .with(iottly::service(peers))
        .with(iottly::commands::service(peers))
        .with(sensorbucket::service(peers))
        .with(device42::service(peers))
        .with(device42::customers::service(peers))
        .with(emqx::service(peers))
        .with(mosquitto::service(peers))
}

/// An error's answer with a JSON body.
pub(crate) fn json(status: StatusCode, body: &serde_json::Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body.to_string()));
    *response.status_mut() = status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
