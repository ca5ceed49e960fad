//! How services reach each other, over real connections.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod balance;
mod calls;
mod ready;
mod server;
mod tls;
