//! A service in a runtime of its own, which can be killed or stopped.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use muster_chassis::balance::Balance;
use muster_chassis::listen;
use muster_chassis::peer::{ServiceName, Stack};
use muster_chassis::server::erase;
use muster_chassis::tls::ServerTls;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tonic::Code;
use tonic::body::Body;
use tower::{ServiceExt, service_fn};

/// A method that the contract says may be called again, and one that may not.
pub(crate) const READ: &str = "/muster.tenancy.v1.TenantService/GetTenant";
pub(crate) const CHANGE: &str = "/muster.tenancy.v1.TenantService/UpdateTenant";
/// One that answers with a stream.
pub(crate) const STREAM: &str = "/muster.keys.v1.CredentialService/WatchRevocations";

/// One that is asked with a stream.
pub(crate) const STREAMED: &str = "/muster.registry.v1.DeviceService/RecordSightings";

/// A process of a service, as good as.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    /// How many calls it has taken.
    pub(crate) taken: Arc<AtomicUsize>,
    runtime: Option<Runtime>,
    stop: Option<oneshot::Sender<()>>,
}

impl Process {
    /// Starts one that takes `life` for each call.
    pub(crate) async fn start(life: Duration) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), life).await
    }

    /// Starts one at an address.
    pub(crate) async fn start_at(address: SocketAddr, life: Duration) -> Self {
        let taken = Arc::new(AtomicUsize::new(0));
        let stack = service(taken.clone(), life);
        Self::serve(address, stack, taken, || None).await
    }

    /// Starts any service.
    pub(crate) async fn serve(
        address: SocketAddr,
        stack: Stack,
        taken: Arc<AtomicUsize>,
        tls: impl FnOnce() -> Option<ServerTls> + Send + 'static,
    ) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            let tls = tls();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let stop = async {
                // Whoever forgets the sender does not stop the service.
                if stopped.await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            listen::serve(listener, stack, tls, stop).await;
        });
        Self {
            address: told.await.unwrap(),
            taken,
            runtime: Some(runtime),
            stop: Some(stop),
        }
    }

    /// Ends it at once, with all its connections.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    /// Tells it to stop.
    pub(crate) fn stop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
    }

    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Answers every call with an empty message after a while.
fn service(taken: Arc<AtomicUsize>, life: Duration) -> Stack {
    stack(move |request: Request<Body>| {
        let taken = taken.clone();
        async move {
            if request.uri().path() == "/healthz" {
                return Response::new(Body::empty());
            }
            taken.fetch_add(1, Ordering::SeqCst);
            if request.uri().path() == STREAM {
                return Response::new(silence());
            }
            let _ = request.into_body().collect().await;
            tokio::time::sleep(life).await;
            answer(Code::Ok)
        }
    })
}

/// A body that neither says anything nor ends.
fn silence() -> Body {
    struct Never;
    impl http_body::Body for Never {
        type Data = bytes::Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, Infallible>>> {
            std::task::Poll::Pending
        }
    }
    Body::new(Never)
}

#[expect(clippy::disallowed_methods, reason = "a service of tests")]
pub(crate) fn stack<F, A>(answer: F) -> Stack
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    erase(service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    }))
}

/// A gRPC answer without a message.
pub(crate) fn answer(code: Code) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let code = HeaderValue::from(code as i32);
    response.headers_mut().insert("grpc-status", code);
    response
}

/// The tenancy service at these addresses.
pub(crate) fn balance(addresses: &[SocketAddr]) -> Balance {
    let places: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    Balance::new(ServiceName::Tenancy, &places, None).unwrap()
}

/// Calls a method; the status, and the text of a refusal.
pub(crate) async fn call(stack: Stack, path: &str) -> (Code, String) {
    let request = Request::post(path).body(Body::empty()).unwrap();
    status(stack.oneshot(request).await.unwrap()).await
}

pub(crate) async fn status(response: Response<Body>) -> (Code, String) {
    let (parts, body) = response.into_parts();
    let trailers = match body.collect().await {
        Ok(body) => body.trailers().cloned().unwrap_or_default(),
        Err(status) => return (status.code(), status.message().to_owned()),
    };
    let status = tonic::Status::from_header_map(&parts.headers)
        .or_else(|| tonic::Status::from_header_map(&trailers))
        .unwrap();
    (status.code(), status.message().to_owned())
}

/// Waits for what will be, within a bound.
pub(crate) async fn eventually<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..400 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it did not come to be");
}

/// A process that is not there yet, or no longer.
pub(crate) fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
