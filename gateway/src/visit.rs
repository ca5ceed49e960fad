//! What is learned of a request on its way, and told with its answer.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::futures::TaskLocalFuture;

use crate::limits::Level;

/// Header that says that a credential will soon stop working.
pub(crate) const NOTICE: &str = "muster-credential";

/// A request that is being answered.
#[derive(Default)]
pub(crate) struct Visit {
    /// As the client calls itself.
    pub(crate) user_agent: String,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    /// Of the limit that is closest to being reached.
    level: Option<Level>,
    notice: Option<String>,
}

tokio::task_local! {
    static CURRENT: Arc<Visit>;
}

/// The request that the present task answers, if any.
pub(crate) fn current() -> Option<Arc<Visit>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Runs what answers a request.
pub(crate) fn scope<F: Future>(visit: Arc<Visit>, work: F) -> TaskLocalFuture<Arc<Visit>, F> {
    CURRENT.scope(visit, work)
}

impl Visit {
    /// A request with these headers.
    pub(crate) fn of(headers: &HeaderMap) -> Arc<Self> {
        let agent = headers.get(http::header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok());
        Arc::new(Self {
            user_agent: agent.unwrap_or_default().to_owned(),
            told: Mutex::default(),
        })
    }

    /// Keeps how much is left of a limit, if less is left than of others.
    pub(crate) fn at(&self, level: Level) {
        let mut told = self.told();
        let nearer = told
            .level
            .as_ref()
            .is_none_or(|known| level.is_nearer(known));
        if nearer {
            told.level = Some(level);
        }
    }

    /// Says something of the credential.
    pub(crate) fn notice(&self, notice: String) {
        self.told().notice = Some(notice);
    }

    /// Writes all that into an answer's headers; a refusal has told its limit.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        let told = self.told();
        let level = told.level.iter().flat_map(Level::headers);
        let notice = told.notice.clone().map(|notice| (NOTICE, notice));
        for (name, value) in level.chain(notice) {
            if let Ok(value) = HeaderValue::try_from(value) {
                let name = HeaderName::from_static(name);
                headers.entry(name).or_insert(value);
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
