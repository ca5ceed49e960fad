//! What holds in every shape, through the wire.

mod audit;
pub(crate) mod cli;
mod contract;
mod device42;
mod grpc;
mod hardening;
mod hardwario;
mod iottly;
mod native;
mod operator;
mod oauth;
mod sensorbucket;
mod yombo;
