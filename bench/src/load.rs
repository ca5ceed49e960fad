//! Many calls at once, and how long they take.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};

use crate::{Failure, say};

/// Connections to a server.
pub(crate) async fn connect(url: &str, connections: usize) -> Result<Vec<Channel>, Failure> {
    let mut channels = Vec::with_capacity(connections);
    for _ in 0..connections {
        channels.push(Endpoint::new(url.to_owned())?.connect().await?);
    }
    Ok(channels)
}

/// A request with a credential.
pub(crate) fn with<T>(token: &MetadataValue<Ascii>, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("authorization", token.clone());
    request
}

/// What a run of calls came to.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Figures {
    pub(crate) fn say(&self, what: &str) {
        say(&format!(
            "{what:<44} {:>9.0}/s   p50 {:>7} us   p99 {:>7} us",
            self.per_second,
            self.p50.as_micros(),
            self.p99.as_micros()
        ));
    }
}

/// Makes `calls` calls, `at_once` at a time; each is told which one it is.
pub(crate) async fn run<F>(
    calls: usize,
    at_once: usize,
    call: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) -> Result<Figures, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send,
{
    let (call, next) = (Arc::new(call), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|worker| {
            let (call, next) = (call.clone(), next.clone());
            tokio::spawn(async move {
                let mut took = Vec::with_capacity(calls / at_once + 1);
                loop {
                    let this = next.fetch_add(1, Ordering::Relaxed);
                    if this >= calls {
                        return Ok::<_, Failure>(took);
                    }
                    let begun = Instant::now();
                    call(worker, this).await?;
                    took.push(begun.elapsed());
                }
            })
        })
        .collect();
    let mut took = Vec::with_capacity(calls);
    for worker in workers {
        took.extend(worker.await??);
    }
    let all = begun.elapsed();
    took.sort_unstable();
    let at = |percent: usize| {
        took.get(took.len() * percent / 100)
            .copied()
            .unwrap_or_default()
    };
    Ok(Figures {
        per_second: took.len() as f64 / all.as_secs_f64(),
        p50: at(50),
        p99: at(99),
    })
}

/// The same, of calls that each make something: all of it.
pub(crate) async fn make<T, F>(
    what: &str,
    calls: usize,
    at_once: usize,
    call: impl Fn(usize, usize) -> F + Send + Sync + 'static,
) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let made = Arc::new(Mutex::new(Vec::with_capacity(calls)));
    let into = made.clone();
    let figures = run(calls, at_once, move |worker, this| {
        let (call, into) = (call(worker, this), into.clone());
        async move {
            let one = call.await?;
            into.lock().map_err(|_| "a worker has failed")?.push(one);
            Ok(())
        }
    });
    figures.await?.say(what);
    let mut made = made.lock().map_err(|_| "a worker has failed")?;
    Ok(std::mem::take(&mut *made))
}
