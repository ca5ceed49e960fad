//! One connection to one process, made again whenever it has ended.

use std::net::SocketAddr;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use hyper::client::conn::http2::{Builder, Connection, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::body::Body;

use super::{Inner, Live, Place};
use crate::tls::ClientTls;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long the TLS handshake and the first answer may take.
const GREETING: Duration = Duration::from_secs(3);
/// How often a connection is asked whether the other side is still there.
const PING: Duration = Duration::from_secs(5);
/// How long the answer may take.
const PONG: Duration = Duration::from_secs(3);
/// How long to wait before connecting again: at first, and at most.
const BACKOFF: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(1)];

type Failure = Box<dyn std::error::Error + Send + Sync>;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type Connected = Connection<TokioIo<Box<dyn Io>>, Body, TokioExecutor>;

/// A process that takes calls, listed until this is dropped.
struct Listed {
    balance: Weak<Inner>,
    live: Arc<Live>,
}

impl Listed {
    fn new(balance: &Arc<Inner>, live: Live) -> Self {
        let live = Arc::new(live);
        balance.change(|all| all.push(live.clone()));
        Self {
            balance: Arc::downgrade(balance),
            live,
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        if let Some(balance) = self.balance.upgrade() {
            balance.change(|all| all.retain(|live| !Arc::ptr_eq(live, &self.live)));
        }
    }
}

/// Keeps a connection to an address until it is no longer wanted.
pub(super) async fn keep(
    balance: Weak<Inner>,
    place: Place,
    address: SocketAddr,
    mut unwanted: watch::Receiver<()>,
) {
    let [least, most] = BACKOFF;
    let mut backoff = least;
    loop {
        let Some(inner) = balance.upgrade() else {
            return;
        };
        let (service, tls) = (inner.name.as_str(), inner.tls.clone());
        drop(inner);
        let connected = connect(&place, address, tls.as_ref());
        let connected = tokio::select! {
            connected = connected => connected,
            _ = unwanted.changed() => return,
        };
        match connected {
            Ok((sender, connection)) => {
                tracing::debug!(service, %address, "connected");
                let Some(inner) = balance.upgrade() else {
                    return;
                };
                let listed = Listed::new(
                    &inner,
                    Live {
                        address,
                        authority: place.authority.clone(),
                        sender,
                        in_flight: AtomicUsize::new(0),
                    },
                );
                drop(inner);
                let begun = Instant::now();
                let mut connection = std::pin::pin!(connection);
                tokio::select! {
                    // Done as soon as the other side takes no more calls.
                    _ = &mut connection => (),
                    _ = unwanted.changed() => {
                        drop(listed);
                        // What runs may finish.
                        let _ = connection.await;
                        return;
                    }
                }
                drop(listed);
                tracing::debug!(service, %address, "the connection has ended");
                if begun.elapsed() > most {
                    backoff = least;
                }
            }
            Err(error) => {
                tracing::debug!(service, %address, %error, "can't connect");
            }
        }
        tokio::select! {
            () = pause(&balance, backoff.mul_f64(0.5 + fastrand::f64())) => (),
            _ = unwanted.changed() => return,
        }
        backoff = most.min(backoff * 2);
    }
}

/// Waits before connecting again; not for long if a call waits as well.
async fn pause(balance: &Weak<Inner>, backoff: Duration) {
    let Some(inner) = balance.upgrade() else {
        return;
    };
    inner.resolve.notify_one();
    let wanted = inner.wanted.clone();
    drop(inner);
    let [least, _] = BACKOFF;
    tokio::time::sleep(least.min(backoff)).await;
    let _ = tokio::time::timeout(backoff.saturating_sub(least), wanted.notified()).await;
}

/// A connection whose other side has answered: one that hangs, or refuses our
/// certificate, would accept it and take calls to their death.
async fn connect(
    place: &Place,
    address: SocketAddr,
    tls: Option<&ClientTls>,
) -> Result<(SendRequest<Body>, Connected), Failure> {
    let stream = tokio::time::timeout(CONNECT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    let greeting = async {
        let io: Box<dyn Io> = match tls {
            Some(tls) => Box::new(tls.connect(&place.host, stream).await?),
            None => Box::new(stream),
        };
        let (sender, mut connection) = Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(io))
            .await?;
        let uri = format!("http://{}/healthz", place.authority);
        let alive = Request::get(uri).body(Body::empty())?;
        let mut asks = sender.clone();
        let answer = asks.send_request(alive);
        let answer = tokio::select! {
            answer = answer => answer?,
            ended = &mut connection => {
                ended?;
                return Err("the connection has ended".into());
            }
        };
        match answer.status() {
            StatusCode::OK => Ok((sender, connection)),
            status => Err(format!("no service of ours: {status}").into()),
        }
    };
    tokio::time::timeout(GREETING, greeting).await?
}
