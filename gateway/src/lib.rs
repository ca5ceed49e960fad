//! The gateway: credentials in, contract out
