//! What the program tells about itself: one line a request, and figures.

use std::convert::Infallible;
use std::future::Future;
use std::io::IsTerminal;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};
use tracing_subscriber::EnvFilter;

use crate::authorize::Who;
use crate::context;
use crate::metrics::Meters;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For programs: one JSON object a line.
    Json,
}

/// Starts logging to standard error. `filter` is as in `RUST_LOG`, such as
/// `info` or `muster=debug`.
pub fn init(format: LogFormat, filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second start in one process, as in tests, keeps the first.
    let _ = match format {
        LogFormat::Text => builder
            .with_ansi(std::io::stderr().is_terminal())
            .with_target(false)
            .try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Logs one line for each call of a service, and counts it.
#[derive(Clone)]
pub struct LogLayer(Arc<Meters>, &'static str);

impl LogLayer {
    /// A layer of the service of this name.
    pub fn new(service: &'static str) -> Self {
        Self(Arc::new(Meters::new(service)), service)
    }
}

impl<S> Layer<S> for LogLayer {
    type Service = Log<S>;

    fn layer(&self, inner: S) -> Log<S> {
        Log {
            inner,
            meters: self.0.clone(),
            service: self.1,
        }
    }
}

/// See [`LogLayer`].
#[derive(Clone)]
pub struct Log<S> {
    inner: S,
    meters: Arc<Meters>,
    service: &'static str,
}

impl<S> Service<http::Request<Body>> for Log<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let begun = Instant::now();
        let (service, meters) = (self.service, self.meters.clone());
        let method = request.uri().path().to_owned();
        let request_id = context::request_id(request.headers());
        let request_id = request_id.unwrap_or_default().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await?;
            let (took, code) = (begun.elapsed(), code(&response));
            meters.count(&method, code, took);
            let who = response.extensions().get::<Who>();
            tracing::debug!(
                service,
                method,
                request_id,
                code = %code,
                principal = who.map(|w| w.principal.as_str()).unwrap_or_default(),
                tenant = who.map(|w| w.tenant.as_str()).unwrap_or_default(),
                micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
                "call"
            );
            Ok(response)
        })
    }
}

/// The gRPC status of an answer without a body; one with a body begins well.
fn code(response: &http::Response<Body>) -> Code {
    let code = response.headers().get("grpc-status");
    code.map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()))
}
