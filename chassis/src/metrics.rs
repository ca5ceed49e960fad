//! What a process counts and measures, as Prometheus reads it. Nothing is
//! kept in a process that nobody can ask.

use std::collections::HashMap;
use std::sync::{OnceLock, PoisonError, RwLock};
use std::time::Duration;

use ::metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use proto::access::requirement;
use tonic::Code;
use tonic::body::Body;

use crate::error::{Error, Result};

/// Upper bounds of what is told of durations, in seconds.
const SECONDS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0,
];
/// How often what was measured is put together.
const UPKEEP: Duration = Duration::from_secs(5);
/// How many codes gRPC has.
const CODES: usize = 17;

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Counts and measures from now on.
pub fn start() -> Result<()> {
    if HANDLE.get().is_some() {
        return Ok(());
    }
    let builder = PrometheusBuilder::new().set_buckets(&SECONDS);
    let handle = builder
        .and_then(PrometheusBuilder::install_recorder)
        .map_err(Error::internal)?;
    describe();
    let handle = HANDLE.get_or_init(|| handle);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            handle.run_upkeep();
        }
    });
    Ok(())
}

fn describe() {
    describe_counter!(
        "muster_requests_total",
        "Calls that were answered, by service, method and gRPC code"
    );
    describe_histogram!(
        "muster_request_seconds",
        "How long calls took until their answer began"
    );
    describe_counter!(
        "muster_refused_total",
        "Tokens, and calls with good ones, that were refused"
    );
    describe_histogram!(
        "muster_revocation_lag_seconds",
        "From when a revocation was told until it was known here"
    );
    describe_gauge!(
        "muster_revocation_stream_silence_seconds",
        "Since the stream of revocations was last heard"
    );
    describe_gauge!(
        "muster_revocations_known",
        "Revocations that are known and not yet forgotten"
    );
    describe_gauge!(
        "muster_outbox_oldest_seconds",
        "Age of the oldest change that key management was not told of yet"
    );
}

/// All of it, as text; nothing in a process that keeps none.
pub(crate) fn answer() -> Option<Response<Body>> {
    let text = HANDLE.get()?.render();
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Some(response)
}

/// Counts a token, or a call with a good one, that is refused.
pub(crate) fn refused(refusal: &Error) {
    let reason = match refusal {
        Error::Unauthenticated { reason, .. }
        | Error::Denied { reason, .. }
        | Error::Precondition { reason, .. }
        | Error::Exhausted { reason, .. } => reason,
        Error::Unavailable { .. } => "UNAVAILABLE",
        _ => "OTHER",
    };
    counter!("muster_refused_total", "reason" => reason).increment(1);
}

/// Notes how soon a revocation was known.
pub(crate) fn revocation_known_after(lag: chrono::TimeDelta) {
    // The clocks of two machines may differ by more than it took.
    let lag = lag.to_std().unwrap_or_default();
    histogram!("muster_revocation_lag_seconds").record(lag.as_secs_f64());
}

/// Notes what is known of revocations.
pub(crate) fn revocations(known: usize, silent_for: Option<Duration>) {
    let known = u32::try_from(known).unwrap_or(u32::MAX);
    gauge!("muster_revocations_known").set(f64::from(known));
    let silence = silent_for.map_or(f64::INFINITY, |silence| silence.as_secs_f64());
    gauge!("muster_revocation_stream_silence_seconds").set(silence);
}

/// Notes how old the oldest change is that a service has still to tell.
pub(crate) fn oldest_letter(service: &'static str, age: chrono::TimeDelta) {
    let age = age.to_std().unwrap_or_default();
    gauge!("muster_outbox_oldest_seconds", "service" => service).set(age.as_secs_f64());
}

/// What is kept of the calls of a service. A meter is looked up by its labels
/// once, not for each call.
pub(crate) struct Meters {
    service: &'static str,
    methods: RwLock<HashMap<String, Method>>,
}

struct Method {
    answers: [OnceLock<Counter>; CODES],
    seconds: Histogram,
}

impl Meters {
    pub(crate) fn new(service: &'static str) -> Self {
        Self {
            service,
            methods: RwLock::default(),
        }
    }

    /// Counts a call that was answered.
    pub(crate) fn count(&self, path: &str, code: Code, took: Duration) {
        if HANDLE.get().is_none() {
            return;
        }
        // Anybody can invent paths.
        let method = requirement(path).map_or("unknown", |_| path.trim_start_matches('/'));
        if !self.known(method, code, took) {
            let mut methods = self.methods.write().unwrap_or_else(PoisonError::into_inner);
            methods.entry(method.to_owned()).or_insert_with(|| Method {
                answers: [const { OnceLock::new() }; CODES],
                seconds: histogram!("muster_request_seconds", "service" => self.service),
            });
            drop(methods);
            self.known(method, code, took);
        }
    }

    fn known(&self, method: &str, code: Code, took: Duration) -> bool {
        let methods = self.methods.read().unwrap_or_else(PoisonError::into_inner);
        let Some(meters) = methods.get(method) else {
            return false;
        };
        meters.seconds.record(took.as_secs_f64());
        let number = usize::try_from(i32::from(code)).unwrap_or_default();
        if let Some(answers) = meters.answers.get(number) {
            let counter = answers.get_or_init(|| {
                let (service, method) = (self.service, method.to_owned());
                let code = format!("{code:?}");
                counter!("muster_requests_total", "service" => service, "method" => method, "code" => code)
            });
            counter.increment(1);
        }
        true
    }
}
