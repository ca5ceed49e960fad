//! The one listener: HTTP/1.1 and HTTP/2, plain or TLS, that drains when it
//! is told to stop.

use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;

use crate::error::{Error, Result};
use crate::peer::Stack;

/// How long requests that run may go on once the listener stops.
const DRAIN: Duration = Duration::from_secs(20);
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send the headers of an HTTP/1.1 request.
const HEADERS: Duration = Duration::from_secs(30);
/// How many requests of one HTTP/2 connection may run at once.
const STREAMS: u32 = 200;
/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a client may go on to send what nobody wants.
const LINGER: Duration = Duration::from_secs(10);
/// How much of it is read.
const UNWANTED: usize = 64 << 20;

/// Reads a certificate chain and its private key, both PEM.
pub fn tls(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let unreadable = |file: &Path, error: &dyn std::fmt::Display| {
        Error::internal(format!("can't read {} as PEM: {error}", file.display()))
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .map_err(|e| unreadable(certificate, &e))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(Error::internal)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop` is done, then lets what runs finish, within a bound.
pub async fn serve(
    listener: TcpListener,
    stack: Stack,
    tls: Option<TlsAcceptor>,
    stop: impl Future<Output = ()>,
) {
    let open = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, _)) => spawn(stream, stack.clone(), tls.clone(), &open),
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, open.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

fn spawn(stream: TcpStream, stack: Stack, tls: Option<TlsAcceptor>, open: &GracefulShutdown) {
    // Small answers must not wait for a full packet.
    let _ = stream.set_nodelay(true);
    let watcher = open.watcher();
    tokio::spawn(async move {
        match tls {
            None => connection(stream, stack, watcher).await,
            Some(tls) => {
                if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    connection(stream, stack, watcher).await;
                }
            }
        }
    });
}

async fn connection<I>(stream: I, stack: Stack, watcher: hyper_util::server::graceful::Watcher)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::new(AtomicBool::new(false));
    let hears = heard.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        hears.store(true, Ordering::Relaxed);
        let stack = stack.clone();
        async move {
            // HTTP/2 has a way to say that the rest is not wanted.
            let lingers = request.version() < http::Version::HTTP_2;
            let request = request.map(|body| {
                let body = Whole {
                    body: Some(body),
                    lingers,
                };
                Body::new(body.map_err(|e| Status::unavailable(e.to_string())))
            });
            let answer = stack.oneshot(request).await;
            Ok::<_, Infallible>(
                answer.unwrap_or_else(|e| Status::unavailable(e.to_string()).into_http()),
            )
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS);
    let connection = builder
        .serve_connection(TokioIo::new(stream), service)
        .into_owned();
    tokio::select! {
        // A client that goes away is no fault of ours.
        _ = watcher.watch(connection) => (),
        () = silent(&heard) => (),
    }
}

/// Done when a connection has brought no request in time: until its first
/// bytes tell the version, nothing else bounds it.
async fn silent(heard: &AtomicBool) {
    tokio::time::sleep(HEADERS).await;
    if heard.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// A request's body, the rest of which is read when nobody wants it: a client
/// that is still sending would find the connection closed, not the answer.
struct Whole {
    /// There until this is dropped.
    body: Option<Incoming>,
    lingers: bool,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_default()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|rest| !rest.is_end_stream());
        let runtime = tokio::runtime::Handle::try_current();
        if let (true, Some(rest), Ok(runtime)) = (self.lingers, rest, runtime) {
            runtime.spawn(tokio::time::timeout(LINGER, discard(rest)));
        }
    }
}

/// Reads a body, within a bound, and keeps nothing.
async fn discard(mut rest: Incoming) {
    let mut read = 0;
    while let Some(Ok(frame)) = rest.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
        if read > UNWANTED {
            return;
        }
    }
}
