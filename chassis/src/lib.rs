//! What a service of Muster may not do by itself.
//!
//! A service is a set of tonic services, a few pure modules and its tables.
//! Everything that must be done alike, and right, is here: who calls
//! ([`caller`]), by which token ([`token`]), whether the call is allowed
//! ([`authorize`]), which rows the caller may touch ([`store`]), how it fails
//! ([`error`]), how lists are paged ([`paging`]), which fields
//! an update changes ([`mask`]), how what was changed is told
//! ([`audit`]), and how the whole is assembled into a server ([`server`]).
//! There is no business word in it.

pub mod audit;
pub mod authorize;
pub mod balance;
pub mod caller;
pub mod clock;
pub mod context;
pub mod error;
pub mod filter;
pub mod hash;
pub mod health;
pub mod key_format;
pub mod listen;
pub mod mask;
pub mod messages;
pub mod metrics;
pub mod outbox;
pub mod paging;
pub mod peer;
pub mod permissions;
pub mod renewal;
pub mod revocation;
pub mod server;
pub mod service_identity;
pub mod store;
pub mod telemetry;
pub mod time;
pub mod tls;
pub mod token;
mod trace;
mod until;
pub mod wrap;

pub use caller::{Caller, Subject, open, open_public, open_subject};
pub use clock::Clock;
pub use error::{Error, Result};
pub use messages::{Messages, open_stream};
