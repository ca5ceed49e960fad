//! An axum service on 127.0.0.1:3000 that greets whoever may read devices.
//! `MUSTER_KEY` holds a key with `keys.verify`.

use std::net::SocketAddr;

use axum::{Extension, Router, routing::get};
use muster_guard::{Guard, Principal};
use tokio::net::TcpListener;

async fn greet(Extension(caller): Extension<Principal>) -> String {
    format!("{} of tenant {}\n", caller.principal, caller.tenant_id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = std::env::var("MUSTER_KEY")?;
    let guard = Guard::connect("http://127.0.0.1:8080", &key).await?;
    let app = Router::new()
        .route("/", get(greet))
        .layer(guard.require("devices.read"));
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, service).await?;
    Ok(())
}
