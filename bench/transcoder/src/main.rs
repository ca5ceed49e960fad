//! The servers that are compared: `service` is a bare tonic service, `process` the same behind
//! the transcoder in one process, `handler` what one would write by hand with axum and serde.
//! `transcoder.sh` starts them and puts load on them.

use std::error::Error;

use axum::Router;
use axum::serve::ListenerExt as _;
use clap::{Parser, ValueEnum};
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic_transcoder::Transcoder;
use tonic_transcoder_bench::fleet::fleet_server::FleetServer;
use tonic_transcoder_bench::{DESCRIPTORS, handler, service};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(about)]
struct Arguments {
    /// What to serve
    what: What,
    /// The address to listen on; for `descriptors` the file to write
    place: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    Service,
    Process,
    Handler,
    Descriptors,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let routes = || Routes::new(FleetServer::new(service::Fixed::default()));
    let app = match arguments.what {
        What::Descriptors => return Ok(std::fs::write(arguments.place, DESCRIPTORS)?),
        What::Service => routes().into_axum_router(),
        What::Process => {
            let transcoder = Transcoder::builder(DESCRIPTORS).build()?;
            Router::new().fallback_service(transcoder.into_service(routes()))
        }
        What::Handler => handler::router(),
    };
    // Small answers must not wait for more to come.
    let listener = TcpListener::bind(arguments.place).await?;
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    Ok(axum::serve(listener, app).await?)
}
