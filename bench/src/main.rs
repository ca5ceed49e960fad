//! Load on a running Muster, beside a bare tonic service in the same run.
//!
//! `bench/verify.sh` starts everything and prints the figures.

mod authenticate;
mod echo;
mod load;
mod sign;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Why a run ends early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Parser)]
#[command(about)]
struct Bench {
    #[command(subcommand)]
    run: Run,
}

#[derive(Subcommand)]
enum Run {
    /// A bare tonic service that answers what it is asked, on this address
    Echo {
        /// Address to listen on
        listen: std::net::SocketAddr,
    },
    /// Verification of API keys over gRPC, cold and warm, beside the bare service
    Verify(verify::Verify),
    /// Authentication of devices over gRPC, cold and warm
    Authenticate(authenticate::Authenticate),
    /// Signing and verifying tokens by algorithm, on one core
    Sign,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Bench::parse().run {
        Run::Echo { listen } => echo::serve(listen).await,
        Run::Verify(verify) => verify.run().await,
        Run::Authenticate(authenticate) => authenticate.run().await,
        Run::Sign => sign::run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("error: {failure}"));
            ExitCode::FAILURE
        }
    }
}

/// A line of the report.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}
