//! `muster openapi`: the documents that the gateway serves, without a server.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Prints one document.
#[derive(Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct OpenApi {
    /// The API: Muster's own, or that of another system which it serves
    #[arg(long, default_value = "muster", value_parser = PossibleValuesParser::new(gateway::apis()))]
    api: String,
}

const EXAMPLES: &str = "\
Examples:
  muster openapi > openapi.json
  openapi-generator-cli generate -i openapi.json -g python -o muster-client

A running gateway serves the same at /openapi.json and /openapi/API.json, and shows it at /docs/.";

impl OpenApi {
    pub(crate) fn run(&self) -> ExitCode {
        let Some(document) = gateway::openapi(&self.api) else {
            return ExitCode::FAILURE;
        };
        match writeln!(io::stdout(), "{document:#}") {
            Ok(()) => ExitCode::SUCCESS,
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }
}
