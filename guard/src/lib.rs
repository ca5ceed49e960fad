#![doc = include_str!("../README.md")]

mod ask;
mod connect;
mod credential;
mod guard;
mod layer;
mod principal;
mod refusal;
mod revoked;

pub use connect::{Builder, ConnectError};
pub use guard::Guard;
pub use layer::{Guarded, Require};
pub use principal::Principal;
