//! A tonic service on 127.0.0.1:50051, here that of health checks, for whoever
//! may read devices. `MUSTER_KEY` holds a key with `keys.verify`.

use muster_guard::Guard;
use tonic::transport::Server;
use tower::Layer;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::var("MUSTER_KEY")?;
    let guard = Guard::connect("http://127.0.0.1:8080", &key).await?;
    let (_, health) = tonic_health::server::health_reporter();
    let health = guard.require("devices.read").layer(health);
    let server = Server::builder().add_service(health);
    server.serve("127.0.0.1:50051".parse()?).await?;
    Ok(())
}
