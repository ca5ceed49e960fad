//! HTTP/JSON in front of any gRPC server:
//! `proxy <descriptor set> <gRPC URL> <address to listen on>`.

use tonic::transport::Endpoint;
use tonic_transcoder::Transcoder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [set, url, address] = &arguments[..] else {
        return Err("usage: proxy <descriptor set> <gRPC URL> <address to listen on>".into());
    };
    let transcoder = Transcoder::builder(std::fs::read(set)?).build()?;
    for rule in transcoder.rules() {
        let method = rule
            .http_method
            .as_ref()
            .map_or("*", |method| method.as_str());
        eprintln!("{method:6} {} -> {}", rule.template, rule.method.path);
    }
    let channel = Endpoint::from_shared(url.clone())?.connect_lazy();
    let app = axum::Router::new().fallback_service(transcoder.into_service(channel));
    axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?;
    Ok(())
}
