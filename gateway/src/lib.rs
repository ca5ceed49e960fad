//! The gateway: credentials in, contract out.

mod dialects;
mod domain;
