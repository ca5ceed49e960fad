//! The contract: everything that the services and their clients say to each
//! other, generated from the .proto files beside this crate.
//!
//! Besides the types, the build makes three things out of the options: the
//! table of what each method requires ([`access::requirement`]), the checks
//! of the rules on fields ([`Validate`]), and a `Debug` that leaves out secrets.

#![allow(
    missing_docs,
    reason = "the .proto files are the documentation; not every comment is carried over"
)]
#![allow(unreachable_pub, clippy::all, reason = "generated code")]

pub mod validate;

pub use validate::{Path, Validate, Violation};

/// The descriptors of all packages, with comments and options: for
/// reflection, transcoding and documentation.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

include!(concat!(env!("OUT_DIR"), "/packages.rs"));

pub use muster::{
    audit::v1 as audit, identity::v1 as identity, keys::v1 as keys, oauth::v1 as oauth,
    registry::v1 as registry, tenancy::v1 as tenancy,
};

/// google.api.HttpBody: a request or answer over HTTP as it is, without JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub struct HttpBody {
    /// Its Content-Type.
    #[prost(string, tag = "1")]
    pub content_type: String,
    /// The bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub data: Vec<u8>,
}

/// What a caller must be, or hold, to call a method.
pub mod access {
    pub use crate::muster::access::v1::Permission;

    /// What a method requires of its caller.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Requirement {
        /// Anybody may call it, without a token.
        Public,
        /// Any valid token, also one that is not scoped to a tenant.
        Authenticated,
        /// Another service of this installation.
        Service,
        /// A tenant-scoped token that holds the permission.
        Permission(Permission),
    }

    include!(concat!(env!("OUT_DIR"), "/access.rs"));
}

/// The server of a service that can read and write compressed messages.
pub trait Gzip: Sized {
    /// The same with `grpc-encoding: gzip`, for whoever asks for it.
    #[must_use]
    fn gzip(self) -> Self;
}

mod compressed {
    include!(concat!(env!("OUT_DIR"), "/compress.rs"));
}

mod redacted {
    include!(concat!(env!("OUT_DIR"), "/redact.rs"));
}

mod validation {
    include!(concat!(env!("OUT_DIR"), "/validate.rs"));
}
