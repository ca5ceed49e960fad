//! HTTP/JSON in front of any gRPC server:
//! `proxy <descriptor set> <gRPC URL> <address to listen on> [threads]`.
//!
//! Each thread is a server of its own: it accepts for itself, and has its own
//! HTTP/2 connection to the gRPC server. Threads share only the tables, which
//! nobody changes.

use std::net::SocketAddr;
use std::thread::{self, available_parallelism};

use http::Uri;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket};
use tonic_transcoder::{Body, Transcoder};
use tower::ServiceExt as _;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (set, url, address, threads) = match &arguments[..] {
        [set, url, address] => (set, url, address, available_parallelism()?.get()),
        [set, url, address, threads] => (set, url, address, threads.parse()?),
        _ => return Err("usage: proxy <descriptor set> <gRPC URL> <address> [threads]".into()),
    };
    let (url, address): (Uri, SocketAddr) = (url.parse()?, address.parse()?);
    let transcoder = Transcoder::builder(std::fs::read(set)?).build()?;
    for rule in transcoder.rules() {
        let method = rule.http_method.as_ref().map_or("*", http::Method::as_str);
        eprintln!("{method:6} {} -> {}", rule.template, rule.method.path);
    }
    let servers: Vec<_> = (0..threads)
        .map(|_| {
            let (transcoder, url) = (transcoder.clone(), url.clone());
            thread::spawn(move || run(address, transcoder, &url))
        })
        .collect();
    servers
        .into_iter()
        .try_for_each(|server| server.join().map_err(|_| "a thread panicked")?)
}

fn run(address: SocketAddr, transcoder: Transcoder, url: &Uri) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async { serve(listen(address)?, transcoder, url).await })
}

/// All threads listen on one address; the system deals connections out.
fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    #[cfg(unix)]
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket.listen(1024)?)
}

async fn serve(listener: TcpListener, transcoder: Transcoder, url: &Uri) -> Result<(), Failure> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build::<_, Body>(connector);
    let origin = url.clone().into_parts();
    let grpc = client.map_request(move |mut request: http::Request<Body>| {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        (uri.scheme, uri.authority) = (origin.scheme.clone(), origin.authority.clone());
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        request
    });
    let service = TowerToHyperService::new(transcoder.into_service(grpc));
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new());
    server.http2().timer(TokioTimer::new());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let connection = server.serve_connection(TokioIo::new(stream), service.clone());
        let connection = connection.into_owned();
        // A connection that breaks is its client's affair.
        tokio::spawn(async move { drop(connection.await) });
    }
}
