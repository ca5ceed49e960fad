//! Client streams: the messages of a body that is read as it comes.

use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use http::request::Parts;
use http_body::Frame;
use tonic::Status;

use crate::BoxError;
use crate::csv::rows::Rows;
use crate::documents::Documents;
use crate::fault::{Fault, Outcome};
use crate::headers::{self, Media};
use crate::json::decode::Decoder;
use crate::plan::{Known, MessageId, Plans};
use crate::problem::Problem;
use crate::request::{self, Incoming};
use crate::route::{BodyPlan, Route};
use crate::transcoder::{Inner, Matched};

/// Messages that are ready together are sent together, up to this size.
const CHUNK: usize = 32 << 10;
/// The most bytes of an upload that one message carries.
const PIECE: usize = 1 << 20;

/// Whether the messages of a body can be told apart before it ends.
pub(crate) fn is_live(
    plans: &Plans,
    route: &Route,
    parts: &Parts,
    is_empty: bool,
) -> Outcome<bool> {
    if !route.rule.method.client_streaming || route.body == BodyPlan::None {
        return Ok(false);
    }
    if matches!(route.body, BodyPlan::Raw(_)) {
        return Ok(true);
    }
    if is_empty {
        return Ok(false);
    }
    match request::media(route, parts)? {
        Media::Json => Ok(true),
        Media::Csv if csv_root(plans, route).is_some() => Ok(true),
        Media::Form => Ok(false),
        _ => Err(request::unsupported()),
    }
}

/// The message that a row of a CSV is, where a body can be one.
fn csv_root(plans: &Plans, route: &Route) -> Option<MessageId> {
    match route.body {
        BodyPlan::Whole => Some(route.input),
        BodyPlan::Field(index) => plans.message(route.input).fields[index].singular_message(),
        BodyPlan::None | BodyPlan::Raw(_) => None,
    }
}

/// The body of a gRPC call, made of that of an HTTP request: it reads no
/// further than it is read, and keeps no more than one message.
pub(crate) struct Uplink<B> {
    body: Pin<Box<B>>,
    inner: Arc<Inner>,
    matched: Matched,
    parts: Parts,
    source: Source,
    /// How many messages there were.
    count: usize,
    /// Whether the HTTP request has ended.
    ended: bool,
    state: State,
    failure: Arc<Failure>,
}

/// What the messages are made of.
enum Source {
    Json(Documents),
    Csv(Box<Rows>),
    /// `google.api.HttpBody`: whatever comes.
    Raw(Bytes),
}

enum State {
    Open,
    /// What was read before still has to go.
    Failing(Box<Fault>),
    Done,
}

impl<B> Uplink<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(crate) fn new(
        inner: Arc<Inner>,
        matched: Matched,
        parts: Parts,
        body: B,
        failure: Arc<Failure>,
    ) -> Self {
        let lists = inner.plans.message(matched.route.input).known == Some(Known::ListValue);
        let csv = headers::media(&parts.headers) == Media::Csv;
        let root = csv_root(&inner.plans, &matched.route).filter(|_| csv);
        let source = match (root, matched.route.body) {
            (_, BodyPlan::Raw(_)) => Source::Raw(Bytes::new()),
            (Some(root), _) => Source::Csv(Box::new(Rows::new(root, inner.limits.message))),
            _ => Source::Json(Documents::new(lists, inner.limits.message)),
        };
        Self {
            body: Box::pin(body),
            inner,
            matched,
            parts,
            source,
            count: 0,
            ended: false,
            state: State::Open,
            failure,
        }
    }

    /// Takes the next bytes of the HTTP request in.
    fn push(&mut self, data: Bytes) {
        match &mut self.source {
            Source::Json(documents) => documents.push(&data),
            Source::Csv(rows) => rows.push(&data),
            Source::Raw(rest) => *rest = data,
        }
    }

    /// What the next message is made of, if it is there.
    fn piece(&mut self) -> Outcome<Option<Bytes>> {
        match &mut self.source {
            Source::Json(documents) => match documents.next()? {
                None if self.ended => documents.finish(),
                document => Ok(document),
            },
            Source::Csv(rows) => {
                let decoder = Decoder {
                    plans: &self.inner.plans,
                    style: &self.matched.route.style,
                };
                rows.next(&decoder, self.count, self.ended)
            }
            // An upload of nothing is one nevertheless.
            Source::Raw(rest) if rest.is_empty() => {
                Ok((self.ended && self.count == 0).then(Bytes::new))
            }
            Source::Raw(rest) => {
                let most = PIECE.min(self.inner.limits.message);
                Ok(Some(rest.split_to(most.clamp(1, rest.len()))))
            }
        }
    }

    /// Appends the next message that is there; whether there was one.
    fn message(&mut self, out: &mut Vec<u8>) -> Outcome<bool> {
        let media = match self.source {
            Source::Json(_) => Media::Json,
            Source::Csv(_) => Media::Wire,
            Source::Raw(_) => Media::Other,
        };
        let next = self.piece().and_then(|piece| {
            let Some(piece) = piece else {
                return Ok(false);
            };
            let incoming = Incoming {
                plans: &self.inner.plans,
                route: &self.matched.route,
                captures: &self.matched.captures,
                limits: self.inner.limits,
                parts: &self.parts,
                body: &piece,
                media,
                continues: self.count > 0,
            };
            incoming.frame(out).map(|()| true)
        });
        let next = next.map_err(|fault| match media {
            Media::Json => fault.in_index(self.count),
            _ => fault,
        })?;
        self.count += usize::from(next);
        Ok(next)
    }

    /// Appends messages until there are enough, or the client has to send
    /// more.
    fn fill(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Outcome<Poll<()>> {
        while out.len() < CHUNK {
            let before = out.len();
            match self.message(out) {
                Ok(true) => continue,
                Ok(false) => {}
                Err(fault) => {
                    // Half a message is none.
                    out.truncate(before);
                    return Err(fault);
                }
            }
            if self.ended {
                self.state = State::Done;
                break;
            }
            match self.body.as_mut().poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.ended = true,
                Poll::Ready(Some(Err(error))) => return Err(request::unread(error.into())),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.push(data),
                    Err(_trailers) => {}
                },
            }
        }
        Ok(Poll::Ready(()))
    }
}

impl<B> http_body::Body for Uplink<B>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let mut out = Vec::new();
        if matches!(this.state, State::Open) {
            match this.fill(cx, &mut out) {
                Ok(Poll::Pending) if out.is_empty() => return Poll::Pending,
                Ok(_) => {}
                Err(fault) => this.state = State::Failing(fault),
            }
        }
        if !out.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(out.into()))));
        }
        match std::mem::replace(&mut this.state, State::Done) {
            State::Failing(fault) => {
                // An end would tell the service that this was all.
                let status = this.failure.tell(*fault);
                Poll::Ready(Some(Err(status)))
            }
            State::Open | State::Done => Poll::Ready(None),
        }
    }
}

/// What was wrong with a request after its call had begun.
#[derive(Default)]
pub(crate) struct Failure {
    problem: Mutex<Option<Box<Problem>>>,
    waker: AtomicWaker,
}

impl Failure {
    /// Notes a fault for the client; answers what the service is told.
    fn tell(&self, fault: Fault) -> Status {
        let problem = fault.into_problem();
        let status = problem.status.clone();
        *self.problem() = Some(Box::new(problem));
        self.waker.wake();
        status
    }

    fn problem(&self) -> std::sync::MutexGuard<'_, Option<Box<Problem>>> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The problem, if there is one by now.
    pub(crate) fn take(&self) -> Option<Box<Problem>> {
        self.problem().take()
    }

    /// The problem, or waits for one.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Box<Problem>> {
        self.waker.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Does the work of a call until its request turns out to be wrong: that
    /// says more than what a service makes of a stream that breaks off.
    pub(crate) async fn or<T>(
        &self,
        work: impl Future<Output = Result<T, Box<Problem>>>,
    ) -> Result<T, Box<Problem>> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            if let Poll::Ready(problem) = self.poll(cx) {
                return Poll::Ready(Err(problem));
            }
            let done = work.as_mut().poll(cx);
            done.map(|done| done.map_err(|problem| self.take().unwrap_or(problem)))
        })
        .await
    }
}
