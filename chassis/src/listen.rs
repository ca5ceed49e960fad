//! The one listener: HTTP/1.1 and HTTP/2, plain or TLS, that drains when it
//! is told to stop.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use proto::access::{streamed, streams};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tower::ServiceExt;

use crate::peer::Stack;
use crate::tls::ServerTls;
use crate::until::Until;

/// How long requests that run may go on once the listener stops.
const DRAIN: Duration = Duration::from_secs(20);
/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send the headers of an HTTP/1.1 request.
const HEADERS: Duration = Duration::from_secs(30);
/// How many requests of one HTTP/2 connection may run at once: a gateway has
/// one connection to each process, for all its clients and their streams.
const STREAMS: u32 = 1000;
/// How old a connection over HTTP/2 becomes, more or less.
const AGE: Duration = Duration::from_secs(300);
/// How often a silent HTTP/2 connection is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a client may go on to send what nobody wants.
const LINGER: Duration = Duration::from_secs(10);
/// How much of it is read.
const UNWANTED: usize = 64 << 20;

/// The address that a connection came from, in the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub struct RemoteAddress(pub SocketAddr);

/// Whether the listener stops.
type Stopping = watch::Receiver<bool>;

/// Whether the listener that a request came through stops, in its extensions:
/// so that a stream which is made something else on its way out, such as JSON,
/// ends as what it is.
#[derive(Clone)]
pub(crate) struct Stops(Stopping);

impl Stops {
    /// Ends an answer over gRPC when the listener stops.
    pub(crate) fn end(self, answer: http::Response<Body>) -> http::Response<Body> {
        Ending::around(answer, self.0)
    }
}

/// Serves until `stop` is done, then lets what runs finish, within a bound.
pub async fn serve(
    listener: TcpListener,
    stack: Stack,
    tls: Option<ServerTls>,
    stop: impl Future<Output = ()>,
) {
    let (stopped, stopping) = watch::channel(false);
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, address)) => {
                spawn(
                    stream,
                    address,
                    stack.clone(),
                    tls.clone(),
                    stopping.clone(),
                );
            }
            Err(error) => {
                // Out of file descriptors, most likely: give others time to close.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop((listener, stopping));
    stopped.send_replace(true);
    // Each connection holds a receiver until it ends.
    if tokio::time::timeout(DRAIN, stopped.closed()).await.is_err() {
        tracing::warn!("some requests did not finish in time");
    }
}

fn spawn(
    stream: TcpStream,
    address: SocketAddr,
    stack: Stack,
    tls: Option<ServerTls>,
    stopping: Stopping,
) {
    // Small answers must not wait for a full packet.
    let _ = stream.set_nodelay(true);
    tokio::spawn(async move {
        let Some(tls) = tls else {
            return connection(stream, address, stack, stopping).await;
        };
        let accepted = tls.acceptor().accept(stream);
        match tokio::time::timeout(HANDSHAKE, accepted).await {
            Ok(Ok(stream)) => connection(stream, address, stack, stopping).await,
            Ok(Err(error)) => tracing::debug!(%address, %error, "no TLS"),
            Err(_) => tracing::debug!(%address, "no TLS in time"),
        }
    });
}

async fn connection<I>(stream: I, address: SocketAddr, stack: Stack, mut stopping: Stopping)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heard = Arc::new(Heard::default());
    let (hears, stops) = (heard.clone(), stopping.clone());
    let service = service_fn(move |request: http::Request<Incoming>| {
        // HTTP/2 has a way to say that the rest is not wanted, and that a
        // connection takes no more requests.
        let multiplexed = request.version() >= http::Version::HTTP_2;
        hears.request.store(true, Ordering::Relaxed);
        hears.multiplexed.store(multiplexed, Ordering::Relaxed);
        let (stack, stops) = (stack.clone(), stops.clone());
        async move {
            let mut request = request.map(|body| {
                let body = Whole {
                    body: Some(body),
                    lingers: !multiplexed,
                };
                Body::new(body.map_err(|e| Status::unavailable(e.to_string())))
            });
            request.extensions_mut().insert(RemoteAddress(address));
            request.extensions_mut().insert(Stops(stops.clone()));
            if streamed(request.uri().path()) {
                let stopping = stops.clone();
                request = request.map(|body| Until::around(body, stopped(stopping)));
            }
            let endless = is_endless(request.uri().path());
            let answer = stack.oneshot(request).await;
            let answer = answer.unwrap_or_else(|e| Status::unavailable(e.to_string()).into_http());
            Ok::<_, Infallible>(match endless {
                true => Ending::around(answer, stops),
                false => answer,
            })
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
        .adaptive_window(true)
        .keep_alive_interval(KEEP_ALIVE)
        .max_concurrent_streams(STREAMS);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection.into_owned());
    let mut silent = std::pin::pin!(silent(&heard));
    let mut aged = std::pin::pin!(aged(&heard));
    let mut ending = false;
    loop {
        tokio::select! {
            // A client that goes away is no fault of ours.
            _ = connection.as_mut() => return,
            () = silent.as_mut() => return,
            () = aged.as_mut(), if !ending => (),
            _ = stopping.wait_for(|stops| *stops), if !ending => (),
        }
        ending = true;
        connection.as_mut().graceful_shutdown();
    }
}

/// What a connection has brought.
#[derive(Default)]
struct Heard {
    /// A request.
    request: AtomicBool,
    /// Requests side by side: HTTP/2.
    multiplexed: AtomicBool,
}

/// Whether an answer may go on for as long as the process lives.
fn is_endless(path: &str) -> bool {
    streams(path) || path.starts_with("/grpc.")
}

/// Done when a connection has brought no request in time: until its first
/// bytes tell the version, nothing else bounds it.
async fn silent(heard: &Heard) {
    tokio::time::sleep(HEADERS).await;
    if heard.request.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

/// Done when a connection over HTTP/2 is so old that its client should look
/// whether there are other processes by now.
async fn aged(heard: &Heard) {
    loop {
        tokio::time::sleep(AGE.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        if heard.multiplexed.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// What is told to streams once the listener stops.
async fn stopped(mut stopping: Stopping) -> Status {
    let _ = stopping.wait_for(|stops| *stops).await;
    Status::unavailable("the process stops; ask again")
}

/// A stream that ends when the listener stops: its reader asks elsewhere.
struct Ending {
    body: Body,
    /// Whether it is gRPC-Web, whose trailers are in the body; as Base64?
    web: Option<bool>,
    stops: Pin<Box<dyn Future<Output = Status> + Send>>,
    ended: bool,
}

impl Ending {
    fn around(answer: http::Response<Body>, stopping: Stopping) -> http::Response<Body> {
        let kind = answer.headers().get(http::header::CONTENT_TYPE);
        let kind = kind.map_or(&b""[..], |kind| kind.as_bytes());
        let web = kind.strip_prefix(b"application/grpc-web");
        let web = web.map(|rest| rest.starts_with(b"-text"));
        answer.map(|body| {
            Body::new(Self {
                body,
                web,
                stops: Box::pin(stopped(stopping)),
                ended: false,
            })
        })
    }
}

impl http_body::Body for Ending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let status = std::task::ready!(self.stops.as_mut().poll(context));
        self.ended = true;
        let mut trailers = http::HeaderMap::new();
        Poll::Ready(Some(match status.add_header(&mut trailers) {
            Ok(()) => Ok(match self.web {
                Some(text) => Frame::data(in_band(&trailers, text)),
                None => Frame::trailers(trailers),
            }),
            Err(status) => Err(status),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }
}

/// Trailers as gRPC-Web has them: a frame in the body whose flag is 0x80.
fn in_band(trailers: &http::HeaderMap, text: bool) -> Bytes {
    let lines = trailers
        .iter()
        .map(|(name, value)| [name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"].concat());
    let lines: Vec<u8> = lines.flatten().collect();
    let length = u32::try_from(lines.len()).unwrap_or(u32::MAX);
    let frame = [&[0x80], &length.to_be_bytes()[..], &lines].concat();
    match text {
        true => BASE64_STANDARD.encode(frame).into(),
        false => frame.into(),
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

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;

    use super::*;

    /// What a stream of this content type ends with when the listener stops.
    async fn end(kind: &str) -> Frame<Bytes> {
        let frames = futures::stream::pending::<std::result::Result<Frame<Bytes>, Status>>();
        let answer = http::Response::builder().header("content-type", kind);
        let answer = answer.body(Body::new(StreamBody::new(frames))).unwrap();
        let (_stopped, stopping) = watch::channel(true);
        let mut answer = Ending::around(answer, stopping);
        let frame = answer.body_mut().frame().await.unwrap().unwrap();
        assert!(answer.body_mut().frame().await.is_none());
        frame
    }

    #[tokio::test]
    async fn a_stream_that_the_listener_ends_says_so_in_its_protocol() {
        let trailers = end("application/grpc").await.into_trailers().unwrap();
        assert_eq!(trailers["grpc-status"], "14");
        let web = end("application/grpc-web+proto").await.into_data().unwrap();
        assert_eq!(
            (web[0], u32::from_be_bytes(web[1..5].try_into().unwrap())),
            (0x80, u32::try_from(web.len() - 5).unwrap())
        );
        assert!(web[5..].starts_with(b"grpc-status:14\r\n"), "{web:?}");
        let text = end("application/grpc-web-text+proto").await;
        let text = BASE64_STANDARD.decode(text.into_data().unwrap()).unwrap();
        assert_eq!(text, web);
    }
}
