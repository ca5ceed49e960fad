//! What holds in every shape, through the wire.

mod audit;
pub(crate) mod cli;
mod cli_keys;
mod cli_proofs;
mod cli_transfer;
mod cli_webhooks;
mod commands_dialects;
pub(crate) mod contract;
mod device42;
mod forwarded;
mod grpc;
mod grpc_kinds;
mod grpc_web;
mod hardening;
mod hardwario;
mod iottly;
mod limits;
mod native;
mod oauth;
mod openapi;
mod operator;
mod pages;
mod paths;
mod sensorbucket;
mod yombo;
