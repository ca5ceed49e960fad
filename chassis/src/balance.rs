//! Calls to a service that runs elsewhere, in as many processes as there are
//! addresses behind its names: one HTTP/2 connection to each, the less busy
//! of two for each call. What is dead is dropped and tried again later. A
//! call that was certainly not taken goes to another process, or to the same
//! with another token if its own has ended; one that may have been carried
//! out is made again only if its connection broke and the contract calls that
//! safe. What a service answers is passed on.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock, Weak};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST};
use http::{Request, Response, Uri, Version, uri};
use hyper::client::conn::http2::SendRequest;
use proto::access::{idempotent, streamed};
use tokio::net::lookup_host;
use tokio::sync::{Notify, watch};
use tonic::body::Body;
use tower::service_fn;

use crate::authorize::{OTHER_TOKEN, UNTAKEN_ANSWER};
use crate::error::{Error, Result};
use crate::peer::{ServiceName, Stack};
use crate::renewal::Token;
use crate::tls::ClientTls;

mod connect;
mod whole;

use connect::keep;
use whole::{Counted, Whole};

/// How often names are resolved; and at once when a connection ends.
const RESOLVE: Duration = Duration::from_secs(1);
/// How long resolving a name may take.
const RESOLVING: Duration = Duration::from_secs(3);
/// How long a call waits for a process to be there.
const WAIT: Duration = Duration::from_secs(1);
/// How often a call that may have been carried out is made again.
const AGAIN: usize = 2;
/// How often a call that nobody has taken is tried elsewhere.
const UNTAKEN: usize = 10;

/// The processes of one service. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Balance(Arc<Inner>);

struct Inner {
    name: ServiceName,
    places: Vec<Place>,
    tls: Option<ClientTls>,
    live: RwLock<Vec<Arc<Live>>>,
    /// Told whenever `live` changes.
    changed: watch::Sender<()>,
    /// A connection has ended: names may stand for others now.
    resolve: Arc<Notify>,
    /// A call waits for a process to be there.
    wanted: Arc<Notify>,
}

/// Where processes of a service are: a name and a port.
#[derive(Clone)]
struct Place {
    authority: uri::Authority,
    host: String,
    port: u16,
}

/// A process that takes calls.
struct Live {
    address: SocketAddr,
    authority: uri::Authority,
    sender: SendRequest<Body>,
    in_flight: AtomicUsize,
}

/// Why a call has no answer.
struct Failed {
    /// Nobody has taken it, and nobody will.
    untaken: bool,
    /// The body, if nothing was read of it.
    unsent: Option<Body>,
    error: String,
}

impl Balance {
    /// A service at these places, `host:port` each. A name stands for all of
    /// its addresses.
    pub fn new(name: ServiceName, places: &[String], tls: Option<ClientTls>) -> Result<Self> {
        let places = places.iter().map(|place| {
            let authority: uri::Authority = place.parse().map_err(Error::internal)?;
            let port = authority.port_u16();
            Ok(Place {
                host: authority.host().trim_matches(['[', ']']).to_owned(),
                port: port.ok_or_else(|| Error::internal(format!("{place} has no port")))?,
                authority,
            })
        });
        let inner = Arc::new(Inner {
            name,
            places: places.collect::<Result<_>>()?,
            tls,
            live: RwLock::default(),
            changed: watch::channel(()).0,
            resolve: Arc::default(),
            wanted: Arc::default(),
        });
        tokio::spawn(discover(Arc::downgrade(&inner)));
        Ok(Self(inner))
    }

    /// Whether there is a process that takes calls.
    pub fn is_live(&self) -> bool {
        !self.0.open().is_empty()
    }

    /// What answers calls.
    pub fn stack(&self) -> Stack {
        let inner = self.0.clone();
        let answer = service_fn(move |request: Request<Body>| {
            let inner = inner.clone();
            async move { Ok(inner.answer(request).await) }
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "the service has its own authorization layer"
        )]
        crate::server::erase(answer)
    }
}

impl Inner {
    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        parts.version = Version::HTTP_2;
        let mut token = Token::of(&parts.extensions);
        parts.extensions.clear();
        parts.headers.remove(HOST);
        parts.headers.remove(CONTENT_LENGTH);
        let repeatable = idempotent(parts.uri.path());
        // What goes on as it comes has no whole that could be sent again.
        let mut body = match streamed(parts.uri.path()) {
            true => Whole::Once(Some(body)),
            false => match Whole::read(body).await {
                Ok(body) => body,
                Err(error) => return tonic::Status::cancelled(error.to_string()).into_http(),
            },
        };
        let (mut tried, mut untaken, mut again) = (Vec::new(), 0, 0);
        // What a process said that has not taken the call.
        let mut refusal = None;
        loop {
            let picked = self.pick(&tried).await;
            let Some((live, sent)) = picked.and_then(|live| Some((live, body.take()?))) else {
                return refusal.unwrap_or_else(|| self.unreachable());
            };
            tried.push(live.address);
            let mut failed = match self.send(&live, &parts, sent, repeatable).await {
                Ok(mut answer) => {
                    let Some(why) = answer.headers_mut().remove(UNTAKEN_ANSWER) else {
                        return answer;
                    };
                    if why == OTHER_TOKEN {
                        if !body.is_there() {
                            return answer;
                        }
                        match token.renew(&mut parts.headers).await {
                            Ok(true) => tried.clear(),
                            Ok(false) => return answer,
                            Err(status) => return status.into_http(),
                        }
                        // It is of a token that no longer matters.
                        refusal = None;
                    } else if again == AGAIN || !self.has_others(&tried) {
                        return answer;
                    } else {
                        again += 1;
                        refusal = Some(answer);
                    }
                    continue;
                }
                Err(failed) => failed,
            };
            if let Some(unsent) = failed.unsent.take() {
                body.put_back(unsent);
            }
            tracing::debug!(service = self.name.as_str(), address = %live.address, error = failed.error, "a call had no answer");
            if failed.untaken && untaken < UNTAKEN {
                untaken += 1;
            } else if repeatable && again < AGAIN {
                again += 1;
            } else if failed.untaken || repeatable {
                return self.unreachable();
            } else {
                let text = format!(
                    "the connection to the {} service broke; what was asked may have been done",
                    self.name.as_str()
                );
                return tonic::Status::unavailable(text).into_http();
            }
        }
    }

    /// Whether there is a process that was not tried yet.
    fn has_others(&self, tried: &[SocketAddr]) -> bool {
        let open = self.open();
        open.iter().any(|live| !tried.contains(&live.address))
    }

    async fn send(
        &self,
        live: &Arc<Live>,
        parts: &http::request::Parts,
        body: Body,
        repeatable: bool,
    ) -> Result<Response<Body>, Failed> {
        let counted = Counted::new(live.clone());
        let mut parts = parts.clone();
        parts.uri = place_of(live, self.tls.is_some(), &parts.uri);
        let request = Request::from_parts(parts, body);
        let answer = live.sender.clone().try_send_request(request).await;
        let answer = answer.map_err(|mut failed| {
            let unsent = failed.take_message().map(Request::into_body);
            Failed {
                untaken: unsent.is_some() || was_refused(failed.error()),
                unsent,
                error: failed.error().to_string(),
            }
        })?;
        let (parts, body) = answer.into_parts();
        let body = counted.until_read(body);
        if !repeatable {
            return Ok(Response::from_parts(parts, body));
        }
        // An answer that breaks off is as bad as none; both can be asked for again.
        let whole = Whole::read(body).await.map_err(|error| Failed {
            untaken: false,
            unsent: None,
            error: error.to_string(),
        })?;
        Ok(Response::from_parts(parts, whole.into_body()))
    }

    /// A process that takes calls; waits a little if there is none.
    async fn pick(&self, tried: &[SocketAddr]) -> Option<Arc<Live>> {
        if let Some(picked) = self.choose(tried) {
            return Some(picked);
        }
        let mut changed = self.changed.subscribe();
        let waited = async {
            loop {
                if let Some(picked) = self.choose(tried) {
                    return picked;
                }
                self.wanted.notify_waiters();
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::time::timeout(WAIT, waited).await.ok()
    }

    /// The less busy of two processes, of those not tried yet if there are any.
    fn choose(&self, tried: &[SocketAddr]) -> Option<Arc<Live>> {
        let open = self.open();
        let fresh: Vec<_> = open
            .iter()
            .filter(|live| !tried.contains(&live.address))
            .collect();
        let chosen = match fresh.len() {
            0 => open.get(fastrand::usize(..open.len().max(1))),
            1 => Some(fresh[0]),
            many => {
                let first = fastrand::usize(..many);
                let second = (first + 1 + fastrand::usize(..many - 1)) % many;
                [fresh[first], fresh[second]]
                    .into_iter()
                    .min_by_key(|live| live.in_flight.load(Ordering::Relaxed))
            }
        };
        chosen.cloned()
    }

    fn open(&self) -> Vec<Arc<Live>> {
        let live = self.live.read();
        let live = live.unwrap_or_else(std::sync::PoisonError::into_inner);
        let open = live.iter().filter(|live| !live.sender.is_closed());
        open.cloned().collect()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Live>>)) {
        let live = self.live.write();
        change(&mut live.unwrap_or_else(std::sync::PoisonError::into_inner));
        self.changed.send_replace(());
    }

    fn unreachable(&self) -> Response<Body> {
        let what = format!("the {} service", self.name.as_str()).into();
        tonic::Status::from(Error::Unavailable { what }).into_http()
    }
}

/// Whether the other side said that it has not looked at the call: a stream
/// that it refused, or one that began after it said that it goes away.
fn was_refused(error: &hyper::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
            let away = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
            return error.is_remote() && (refused || away);
        }
        cause = error.source();
    }
    false
}

fn place_of(live: &Live, tls: bool, uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    let parts = Uri::builder()
        .scheme(if tls { "https" } else { "http" })
        .authority(live.authority.clone())
        .path_and_query(path.unwrap_or_else(|| uri::PathAndQuery::from_static("/")));
    // A scheme, an authority and a path always make one.
    parts.build().unwrap_or_else(|_| uri.clone())
}

/// Keeps a connection to every address of every place, for as long as the
/// balance is there.
async fn discover(balance: Weak<Inner>) {
    let mut kept = HashMap::<(usize, SocketAddr), watch::Sender<()>>::new();
    while let Some(inner) = balance.upgrade() {
        for (index, place) in inner.places.iter().enumerate() {
            let found = lookup_host((place.host.as_str(), place.port));
            // Without an answer, what was known is as good as anything.
            let Ok(Ok(found)) = tokio::time::timeout(RESOLVING, found).await else {
                continue;
            };
            let found: Vec<_> = found.collect();
            // Dropping the sender tells the connection that it is no longer wanted.
            kept.retain(|(of, address), _| *of != index || found.contains(address));
            for address in found {
                kept.entry((index, address)).or_insert_with(|| {
                    let (wanted, unwanted) = watch::channel(());
                    tokio::spawn(keep(balance.clone(), place.clone(), address, unwanted));
                    wanted
                });
            }
        }
        // Whoever waits holds nothing: without its balance, all this ends.
        let ended = inner.resolve.clone();
        drop(inner);
        let _ = tokio::time::timeout(RESOLVE, ended.notified()).await;
    }
}
