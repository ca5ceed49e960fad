//! The one binary: composition of the services, and the commands of people
//! and scripts.

mod admin;
mod bootstrap;
mod client;
mod compose;
mod config;
mod data_dir;
mod migrate;
mod openapi;
mod serve;
mod up;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A call makes many small things; this makes them faster than the system's does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Muster: an open control plane for device fleets
#[derive(Parser)]
#[command(version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  muster up                                   start everything on this machine, on embedded SQLite
  muster login --server http://127.0.0.1:8080 --email admin@example.com
  muster key create --name ci --permission devices.read
  muster device list --output json

`muster COMMAND --help` names the environment variables that stand for flags.";

#[derive(Subcommand)]
enum Command {
    /// Start all services and the gateway in one process, on embedded SQLite or PostgreSQL
    Up(Box<up::Up>),
    /// Start one service, or the gateway, on PostgreSQL
    Serve(Box<serve::Serve>),
    /// Set an installation up: keys, and the first administrator
    Admin(admin::Admin),
    /// Bring the schemas of a PostgreSQL database up to date
    Migrate(migrate::Migrate),
    /// Print the OpenAPI document of an API, for generators of clients
    #[command(name = "openapi")]
    OpenApi(openapi::OpenApi),
    #[command(flatten)]
    Client(client::Command),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Up(up) => up.run().await,
        Command::Serve(serve) => serve.run().await,
        Command::Admin(admin) => admin.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::OpenApi(openapi) => openapi.run(),
        Command::Client(command) => client::run(command).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn every_command_can_be_asked_for() {
        Cli::command().debug_assert();
    }
}
