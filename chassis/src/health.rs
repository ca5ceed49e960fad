//! Whether a process is alive, and ready to take calls; and if not, why not.
//!
//! A process is alive as long as it answers. It is ready when all that it
//! needs is there; what it can do without for a while is listed and no more.
//! Nobody's readiness depends on another one's, so that services may start in
//! any order and none waits for another in a circle.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use tonic::body::Body;

use crate::peer::ServiceName;
use crate::store::Store;

/// How often a database is asked whether it is there.
const PING: Duration = Duration::from_secs(1);
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is there or, in words for a person, not.
pub type State = Result<(), String>;

/// What a process depends on. Cheap to clone; clones share.
#[derive(Clone, Default)]
pub struct Health(Arc<Inner>);

#[derive(Default)]
struct Inner {
    parts: RwLock<Vec<Part>>,
    stopping: AtomicBool,
}

struct Part {
    name: String,
    needed: bool,
    state: Box<dyn Fn() -> State + Send + Sync>,
}

/// Whether a process is ready, and what is missing.
#[derive(Clone, Debug)]
pub struct Report {
    /// Whether it takes calls.
    pub ready: bool,
    /// One line for each thing that is missing.
    pub missing: Vec<String>,
}

impl Health {
    /// Names something without which the process is not ready.
    pub fn need(&self, name: &str, state: impl Fn() -> State + Send + Sync + 'static) {
        self.add(name, true, state);
    }

    /// Names something whose absence is told, and is no reason to take no calls.
    pub fn list(&self, name: &str, state: impl Fn() -> State + Send + Sync + 'static) {
        self.add(name, false, state);
    }

    /// Needs a database, and asks in the background whether it is there.
    pub fn need_database(&self, name: &str, store: Store) {
        let state = Arc::new(RwLock::new(Err("not asked yet".to_owned())));
        let told = state.clone();
        self.need(name, move || read(&told));
        let name = name.to_owned();
        tokio::spawn(async move {
            let mut before = None;
            loop {
                let asked = tokio::time::timeout(PATIENCE, store.ready()).await;
                let now = match asked {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("does not answer".to_owned()),
                };
                match news(before.as_ref(), &now) {
                    Some(News::Away(error)) => {
                        tracing::warn!(name, error, "the database can't be used");
                    }
                    Some(News::Back) => tracing::info!(name, "the database can be used again"),
                    None => (),
                }
                *state
                    .write()
                    .unwrap_or_else(std::sync::PoisonError::into_inner) = now.clone();
                before = Some(now);
                tokio::time::sleep(PING).await;
            }
        });
    }

    fn add(&self, name: &str, needed: bool, state: impl Fn() -> State + Send + Sync + 'static) {
        let part = Part {
            name: name.to_owned(),
            needed,
            state: Box::new(state),
        };
        self.0
            .parts
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .push(part);
    }

    /// Says that no more calls are wanted.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Release);
    }

    /// Whether the process is ready now.
    pub fn report(&self) -> Report {
        let parts = self.0.parts.read();
        let parts = parts.unwrap_or_else(std::sync::PoisonError::into_inner);
        let (mut ready, mut missing) = (true, Vec::new());
        if self.0.stopping.load(Ordering::Acquire) {
            ready = false;
            missing.push("the process is stopping".to_owned());
        }
        for part in parts.iter() {
            let Err(why) = (part.state)() else { continue };
            ready &= !part.needed;
            let degraded = if part.needed { "" } else { "degraded: " };
            missing.push(format!("{degraded}{}: {why}", part.name));
        }
        Report { ready, missing }
    }

    /// Whether a service of the contract can be called through this process.
    pub(crate) fn serves(&self, service: &str) -> bool {
        let parts = self.0.parts.read();
        let parts = parts.unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = ServiceName::of_path(&format!("/{service}/")).map(ServiceName::as_str);
        let behind = parts.iter().find(|part| Some(part.name.as_str()) == name);
        behind.is_none_or(|part| (part.state)().is_ok())
    }

    /// The answer to a probe over HTTP; nothing for any other request.
    pub fn probe(&self, method: &Method, path: &str) -> Option<Response<Body>> {
        let report = match path {
            "/healthz" => Report {
                ready: true,
                missing: Vec::new(),
            },
            "/readyz" => self.report(),
            _ => return None,
        };
        Some(answer(&report, method))
    }
}

/// What a log should tell of a dependency.
#[derive(Debug, PartialEq, Eq)]
enum News<'a> {
    /// It is not there, for this reason.
    Away(&'a str),
    /// It was not there, and is now.
    Back,
}

/// What is new about a dependency since it was last asked, if it ever was.
fn news<'a>(before: Option<&State>, now: &'a State) -> Option<News<'a>> {
    match (before, now) {
        (Some(Err(before)), Err(now)) if before == now => None,
        (_, Err(now)) => Some(News::Away(now)),
        (Some(Err(_)), Ok(())) => Some(News::Back),
        (_, Ok(())) => None,
    }
}

fn read(state: &RwLock<State>) -> State {
    state
        .read()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .clone()
}

fn answer(report: &Report, method: &Method) -> Response<Body> {
    let status = match (method, report.ready) {
        (&Method::GET | &Method::HEAD, true) => StatusCode::OK,
        (&Method::GET | &Method::HEAD, false) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::METHOD_NOT_ALLOWED,
    };
    let mut text = String::from(if report.ready { "ok\n" } else { "not ready\n" });
    for line in &report.missing {
        let _ = writeln!(text, "{line}");
    }
    let mut response = Response::new(Body::new(http_body_util::Full::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> State {
        Err("can't be reached".to_owned())
    }

    #[test]
    fn what_is_needed_makes_a_process_unready_and_what_is_listed_does_not() {
        let health = Health::default();
        health.need("database", || Ok(()));
        health.list("tenancy", away);
        let report = health.report();
        assert!(report.ready);
        assert_eq!(report.missing, ["degraded: tenancy: can't be reached"]);
        health.need("revocations", away);
        let report = health.report();
        assert!(!report.ready);
        assert_eq!(report.missing.len(), 2, "{:?}", report.missing);
        assert!(!health.serves("muster.tenancy.v1.TenantService"));
        assert!(health.serves("muster.identity.v1.UserService"));
    }

    #[test]
    fn the_log_tells_what_was_never_there_what_is_wrong_now_and_when_it_is_over() {
        let other = Err("the schema is old".to_owned());
        let told = [away(), away(), other, Ok(()), Ok(()), away()];
        let mut before = None;
        let mut log = Vec::new();
        for now in &told {
            log.push(news(before, now));
            before = Some(now);
        }
        let away = Some(News::Away("can't be reached"));
        let other = Some(News::Away("the schema is old"));
        assert_eq!(log[..3], [away, None, other]);
        assert_eq!(log[3..5], [Some(News::Back), None]);
        assert_eq!(log[5], Some(News::Away("can't be reached")));
        assert_eq!(news(None, &Ok(())), None);
    }

    #[test]
    fn a_process_that_stops_is_alive_and_not_ready() {
        let health = Health::default();
        health.stop();
        let status = |path| health.probe(&Method::GET, path).map(|r| r.status());
        assert_eq!(status("/healthz"), Some(StatusCode::OK));
        assert_eq!(status("/readyz"), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(status("/v1/me"), None);
    }
}
