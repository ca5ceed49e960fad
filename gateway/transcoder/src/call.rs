//! One call: from a request whose rule was found to its answer.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, StatusCode};
use http_body_util::Full;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

use crate::csv::sheet::{self, Sheet};
use crate::fault::Outcome;
use crate::frames::{self, Frames};
use crate::headers::{self, Media};
use crate::json::decode::Decoder;
use crate::problem::{self, ErrorShape, Problem};
use crate::request::{self, Incoming, collect};
use crate::response::{self, Asked};
use crate::route::{BodyPlan, Route};
use crate::stream::{Framing, Heartbeat, Stream};
use crate::transcoder::{Matched, Transcoder};
use crate::uplink::{self, Failure, Uplink};
use crate::{Body, BoxError};

impl Transcoder {
    pub(crate) async fn attempt<S, B, R>(
        &self,
        matched: Matched,
        request: http::Request<B>,
        grpc: S,
        errors: &dyn ErrorShape,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        S: Service<http::Request<Body>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let (mut parts, body) = request.into_parts();
        let mut answering = Answering {
            asked: Asked::of(&parts),
            framing: Framing::of(&matched.route, &parts.headers),
            sheet: None,
            errors,
        };
        let live = uplink::is_live(
            &self.inner.plans,
            &matched.route,
            &parts,
            body.is_end_stream(),
        );
        if live.map_err(|f| f.into_problem())? {
            answering.sheet = self
                .sheet(&matched.route, answering.framing, &[])
                .map_err(|f| f.into_problem())?;
            return Box::pin(self.live(matched, parts, body, grpc, answering)).await;
        }
        let body = collect(body, self.inner.limits.body)
            .await
            .map_err(|f| f.into_problem())?;
        let messages = self
            .messages(&matched, &parts, &body)
            .map_err(|f| f.into_problem())?;
        drop(body);
        answering.sheet = self
            .sheet(&matched.route, answering.framing, &messages)
            .map_err(|f| f.into_problem())?;
        let route = matched.route;
        let call = self.grpc_request(&route, &mut parts);
        let mut call = call.map_err(|f| f.into_problem())?;
        *call.body_mut() = Body::new(Full::new(messages));
        self.answer(route, call, grpc, answering, None).await
    }

    /// A call whose messages go on as they come; its answer may begin before
    /// they end.
    async fn live<S, B, R>(
        &self,
        matched: Matched,
        mut parts: Parts,
        body: B,
        grpc: S,
        answering: Answering<'_>,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        S: Service<http::Request<Body>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let failure = Arc::new(Failure::default());
        let route = matched.route.clone();
        let call = self.grpc_request(&route, &mut parts);
        let mut call = call.map_err(|f| f.into_problem())?;
        let uplink = Uplink::new(self.inner.clone(), matched, parts, body, failure.clone());
        *call.body_mut() = Body::new(uplink);
        let answer = self.answer(route, call, grpc, answering, Some(failure.clone()));
        failure.or(answer).await
    }

    async fn answer<S, R>(
        &self,
        route: Arc<Route>,
        call: http::Request<Body>,
        grpc: S,
        answering: Answering<'_>,
        failure: Option<Arc<Failure>>,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        S: Service<http::Request<Body>, Response = http::Response<R>>,
        S::Error: Into<BoxError>,
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let answer = grpc
            .oneshot(call)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let (answer, body) = answer.into_parts();
        match response::status(&answer.headers) {
            Some(Err(status)) => return Err(failed(status, &answer.headers)),
            None if !is_grpc(&answer) => {
                return Err(Box::new(response::not_grpc(answer.status)));
            }
            _ => {}
        }
        if !route.rule.method.server_streaming {
            return self
                .unary(&route, &answering.asked, answer.headers, body)
                .await;
        }
        let head = answering.asked.method == Method::HEAD;
        let streamed = self.streaming(route, answering, failure, &answer.headers, body);
        let streamed = streamed.await?;
        // The stream may have no end to tell the length of.
        Ok(match head {
            true => streamed.map(|_| Body::empty()),
            false => streamed,
        })
    }

    /// The messages of a call whose body was read whole: one, or none of a
    /// stream that says nothing.
    fn messages(&self, matched: &Matched, parts: &Parts, body: &[u8]) -> Outcome<Bytes> {
        let (inner, route) = (&*self.inner, &*matched.route);
        let streams = route.rule.method.client_streaming && route.body != BodyPlan::None;
        if streams && body.is_empty() {
            return Ok(Bytes::new());
        }
        let media = match body.is_empty() {
            true => Media::Untyped,
            false => request::media(route, parts)?,
        };
        let incoming = Incoming {
            plans: &inner.plans,
            route,
            captures: &matched.captures,
            limits: inner.limits,
            parts,
            body,
            media,
            continues: false,
        };
        let mut out = Vec::with_capacity(64 + body.len());
        incoming.frame(&mut out)?;
        Ok(Bytes::from(out))
    }

    /// The columns of an answer that is a CSV: those that the request names,
    /// or all.
    fn sheet(&self, route: &Route, framing: Framing, messages: &[u8]) -> Outcome<Option<Sheet>> {
        let Some(csv) = route.csv.filter(|_| framing == Framing::Csv) else {
            return Ok(None);
        };
        let plans = &self.inner.plans;
        let message = messages.get(frames::PREFIX..).unwrap_or_default();
        // The message was written here.
        let named = csv
            .columns
            .and_then(|field| sheet::names(message, field).ok());
        let Some(names) = named.filter(|names| !names.is_empty()) else {
            return Ok(Some(Sheet::whole(plans, &route.style, csv.root)));
        };
        let decoder = Decoder {
            plans,
            style: &route.style,
        };
        Sheet::named(&decoder, csv.root, names.into_iter()).map(Some)
    }

    /// The request of the gRPC call, with the HTTP request's extensions.
    fn grpc_request(&self, route: &Route, parts: &mut Parts) -> Outcome<http::Request<Body>> {
        let mut request = http::Request::new(Body::empty());
        *request.method_mut() = Method::POST;
        *request.version_mut() = http::Version::HTTP_2;
        *request.uri_mut() = route.uri.clone();
        *request.headers_mut() = headers::request(&parts.headers, &self.inner.forward)?;
        *request.extensions_mut() = std::mem::take(&mut parts.extensions);
        Ok(request)
    }

    async fn unary<R>(
        &self,
        route: &Route,
        asked: &Asked,
        mut metadata: HeaderMap,
        body: R,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let mut frames = Frames::new(body);
        let mut message = None;
        while let Some(next) = frames.next().await {
            let next = next.map_err(|status| Box::new(Problem::new(status)))?;
            if message.replace(next).is_some() {
                return Err(malformed("the service answered with more than one message"));
            }
        }
        if let Some(trailers) = frames.trailers() {
            if let Some(Err(status)) = response::status(trailers) {
                return Err(failed(status, &metadata));
            }
            for (name, value) in trailers {
                metadata.append(name.clone(), value.clone());
            }
        }
        match (response::status(&metadata), message) {
            (Some(_), Some(message)) => {
                response::unary(&self.inner.plans, route, asked, &metadata, &message)
            }
            (Some(_), None) => Err(malformed("the service answered OK without a message")),
            (None, _) => Err(Box::new(response::not_grpc(StatusCode::OK))),
        }
    }

    /// What the stream has at once decides the status: an error that comes
    /// first is an answer like any other. But a quiet stream is not waited
    /// for, since its reader wants to know that it has begun; unless it is raw,
    /// for only its first message has the type.
    async fn streaming<R>(
        &self,
        route: Arc<Route>,
        answering: Answering<'_>,
        failure: Option<Arc<Failure>>,
        metadata: &HeaderMap,
        body: R,
    ) -> Result<http::Response<Body>, Box<Problem>>
    where
        R: http_body::Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let mut frames = Frames::new(body);
        let first = match answering.framing {
            Framing::Raw => Poll::Ready(frames.next().await),
            _ => std::future::poll_fn(|cx| Poll::Ready(frames.poll_next(cx))).await,
        };
        let first = match first {
            Poll::Pending => None,
            Poll::Ready(Some(Ok(message))) => Some(message),
            Poll::Ready(Some(Err(status))) => return Err(failed(status, metadata)),
            Poll::Ready(None) => {
                if let Some(Err(status)) = frames.trailers().and_then(response::status) {
                    return Err(failed(status, metadata));
                }
                None
            }
        };
        let errors = answering.errors.for_stream();
        let beats = answering.framing == Framing::Events;
        let every = self.inner.heartbeat.filter(|_| beats);
        let stream = Stream {
            errors: errors.unwrap_or_else(|| self.inner.stream_errors.clone()),
            inner: self.inner.clone(),
            route,
            framing: answering.framing,
            sheet: answering.sheet,
            frames,
            first,
            failure,
            heartbeat: every.map(Heartbeat::new),
            begun: false,
            done: false,
        };
        Ok(stream.respond(metadata))
    }
}

/// What of a request matters for its answer.
struct Answering<'a> {
    asked: Asked,
    framing: Framing,
    /// The columns of a CSV.
    sheet: Option<Sheet>,
    errors: &'a dyn ErrorShape,
}

/// Whether an answer can be gRPC at all; some services leave out the type.
fn is_grpc(answer: &http::response::Parts) -> bool {
    let content_type = answer.headers.get(header::CONTENT_TYPE);
    let typed = content_type.is_none_or(|value| value.as_bytes().starts_with(b"application/grpc"));
    answer.status == StatusCode::OK && typed
}

/// The problem of a call that failed; its headers' metadata counts too.
fn failed(status: Status, metadata: &HeaderMap) -> Box<Problem> {
    let mut problem = Problem::new(status);
    let trailers = problem.status.metadata().clone().into_headers();
    for headers in [&trailers, metadata] {
        headers::response(headers, &mut problem.headers);
    }
    let chosen = headers::chosen_status(&trailers).or_else(|| headers::chosen_status(metadata));
    if let Some(status) = chosen.filter(|status| status.as_u16() >= 400) {
        problem.http_status = status;
    }
    Box::new(problem)
}

fn malformed(message: &str) -> Box<Problem> {
    Box::new(problem::own(Code::Internal, "MALFORMED_RESPONSE", message))
}

/// The problem of a service that could not be called.
fn unreachable(error: BoxError) -> Box<Problem> {
    Box::new(match Status::try_from_error(error) {
        Ok(status) => Problem::new(status),
        Err(error) => problem::own(
            Code::Unavailable,
            "SERVICE_UNREACHABLE",
            format!("the service cannot be reached: {error}"),
        ),
    })
}
