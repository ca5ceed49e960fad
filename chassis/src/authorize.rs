//! The layer in front of every service: looks up what the method requires,
//! verifies the token, checks the permission and hands over the caller.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use proto::access::{Requirement, callers, requirement, scope, streamed, streams};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::caller::{Principal, Subject};
use crate::context::{self, Call, Origin};
use crate::error::{Error, Result};
use crate::listen::RemoteAddress;
use crate::metrics;
use crate::peer::ServiceName;
use crate::renewal::Token;
use crate::token::Verifier;
use crate::until::Until;

/// Header of an answer over a wire which says that nothing was made of the
/// call, and what may be tried. The caller's balance takes it off.
pub(crate) const UNTAKEN_ANSWER: &str = "x-muster-untaken";
/// Another process may take the call.
const OTHER_PROCESS: &str = "1";
/// The call may be taken with another token.
pub(crate) const OTHER_TOKEN: &str = "token";

/// Puts [`Authorize`] in front of a service.
#[derive(Clone)]
pub struct AuthorizeLayer(Verifier, Option<ServiceName>);

impl AuthorizeLayer {
    /// A layer that trusts what the verifier verifies, in front of a service
    /// of this name if it is one of the contract.
    pub fn new(verifier: Verifier, name: Option<ServiceName>) -> Self {
        Self(verifier, name)
    }
}

impl<S> Layer<S> for AuthorizeLayer {
    type Service = Authorize<S>;

    fn layer(&self, inner: S) -> Authorize<S> {
        Authorize {
            inner,
            verifier: self.0.clone(),
            name: self.1,
        }
    }
}

/// Lets a call through to the inner service only if it may be made.
#[derive(Clone)]
pub struct Authorize<S> {
    inner: S,
    verifier: Verifier,
    name: Option<ServiceName>,
}

impl<S> Service<http::Request<Body>> for Authorize<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        // The clone stays here: only the service that was polled may be called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let verifier = self.verifier.clone();
        let name = self.name;
        // A caller is what this layer made of a token, never what came in.
        request.extensions_mut().remove::<Subject>();
        let path = request.uri().path().to_owned();
        let mut own = Token::of(request.extensions());
        let this = Call::of(&path, request.headers(), origin(&verifier, &request));
        // Neither the method nor what it calls has any use for it.
        request.headers_mut().remove(context::SERVICE);
        // In memory, there is no other process to try.
        let over_wire = context::current().is_none();
        Box::pin(async move {
            let this = match this {
                Ok(this) => this,
                Err(refusal) => return Ok(tonic::Status::from(refusal).into_http()),
            };
            let deadline = this.deadline;
            let work = async {
                let subject = loop {
                    match admit(&verifier, &path, name, request.headers()).await {
                        Ok(subject) => break subject,
                        Err(Error::Unauthenticated { .. })
                            if own.renew(request.headers_mut()).await? => {}
                        Err(refusal) => return Ok(untaken(refusal, over_wire)),
                    }
                };
                // Who streams may still do so when the token no longer counts.
                let lasts = streamed(&path) || streams(&path);
                let lasting = token(request.headers()).ok().filter(|_| lasts);
                let lasting = lasting.map(str::to_owned);
                let ends = |token: String| {
                    let verifier = verifier.clone();
                    async move { verifier.ends(&token).await.into() }
                };
                if let Some(token) = lasting.clone().filter(|_| streamed(&path)) {
                    request = request.map(|body| Until::around(body, ends(token)));
                }
                let who = subject.as_ref().map(Who::of);
                if let Some(subject) = subject {
                    request.extensions_mut().insert(subject);
                }
                // On a task of its own: a client that goes away, or waits no
                // longer, must not leave a change committed and what follows
                // from it undone.
                let answer = tokio::spawn(context::scope(this, inner.call(request)));
                let Ok(mut response) = answer.await.map_err(Error::internal)?;
                if let Some(token) = lasting.filter(|_| streams(&path) && who.is_some()) {
                    response = response.map(|body| Until::around_answer(body, ends(token)));
                }
                if let Some(who) = who {
                    response.extensions_mut().insert(who);
                }
                Ok::<_, Error>(response)
            };
            Ok(match context::until(deadline, work).await {
                Ok(Ok(response)) => response,
                Ok(Err(refusal)) => tonic::Status::from(refusal).into_http(),
                Err(late) => late.into_http(),
            })
        })
    }
}

/// Who says what a call is part of. What comes through memory is asked for a
/// call that is answered in this process.
fn origin(verifier: &Verifier, request: &http::Request<Body>) -> Origin {
    if context::current().is_some() {
        return Origin::Service;
    }
    let called = ServiceName::of_path(request.uri().path());
    let headers = request.headers();
    let shown = match headers.contains_key(context::SERVICE) {
        true => bearer(headers, context::SERVICE),
        false => token(headers),
    };
    match shown {
        Ok(token) if verifier.is_service(token, called) => Origin::Service,
        _ => {
            let remote = request.extensions().get::<RemoteAddress>();
            Origin::Address(remote.map(|remote| remote.0.ip().to_canonical()))
        }
    }
}

/// A refusal before anything was made of the call. What is not there now may
/// be there for another process; and a caller whose token has ended may not
/// have heard of it yet.
fn untaken(refusal: Error, over_wire: bool) -> http::Response<Body> {
    let status = tonic::Status::from(refusal);
    let other = match status.code() {
        tonic::Code::Unavailable => Some(OTHER_PROCESS),
        tonic::Code::Unauthenticated => Some(OTHER_TOKEN),
        _ => None,
    };
    let mut answer = status.into_http();
    if let Some(other) = other.filter(|_| over_wire) {
        let other = http::HeaderValue::from_static(other);
        answer.headers_mut().insert(UNTAKEN_ANSWER, other);
    }
    answer
}

/// Who made a call, for the log line.
#[derive(Clone, Debug)]
pub struct Who {
    /// The principal.
    pub principal: String,
    /// The tenant, or nothing.
    pub tenant: String,
}

impl Who {
    fn of(subject: &Subject) -> Self {
        let tenant = subject
            .tenant()
            .map(|t| t.0.to_string())
            .unwrap_or_default();
        Self {
            principal: subject.principal().to_string(),
            tenant,
        }
    }
}

/// The subject of a request that may be made; nobody for public methods.
async fn admit(
    verifier: &Verifier,
    path: &str,
    name: Option<ServiceName>,
    headers: &http::HeaderMap,
) -> Result<Option<Subject>> {
    let Some(required) = requirement(path) else {
        return Err(Error::Peer(Box::new(tonic::Status::unimplemented(
            "there is no such method",
        ))));
    };
    if required == Requirement::Public {
        return Ok(None);
    }
    // What every service has is called by the name of one.
    let called = ServiceName::of_path(path).or(name);
    let token = token(headers).inspect_err(metrics::refused)?;
    let subject = verifier.verify_for(token, called).await?;
    check(required, callers(path), &subject).inspect_err(metrics::refused)?;
    Ok(Some(subject))
}

fn token(headers: &http::HeaderMap) -> Result<&str> {
    bearer(headers, AUTHORIZATION.as_str())
}

fn bearer<'a>(headers: &'a http::HeaderMap, name: &str) -> Result<&'a str> {
    let missing = || {
        Error::unauthenticated("a token is required: send it as `authorization: Bearer <token>`")
    };
    let value = headers
        .get(name)
        .ok_or_else(missing)?
        .to_str()
        .map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(missing())
    }
}

fn check(required: Requirement, callers: &[&str], subject: &Subject) -> Result<()> {
    match required {
        Requirement::Public | Requirement::Authenticated => Ok(()),
        Requirement::Service => match subject.principal() {
            Principal::Service(name) if callers.contains(&name.as_str()) => Ok(()),
            Principal::Service(name) => Err(Error::denied(
                "OTHER_SERVICE_REQUIRED",
                format!("the {name} service may not call this"),
            )),
            _ => Err(Error::denied(
                "SERVICE_REQUIRED",
                "only services of this installation may call this",
            )),
        },
        Requirement::Permission(_) if subject.tenant().is_none() => {
            subject.clone().scoped().map(drop)
        }
        Requirement::Permission(permission) if subject.permissions().holds(permission) => Ok(()),
        Requirement::Permission(permission) => Err(Error::Denied {
            reason: "PERMISSION_DENIED",
            message: format!(
                "the caller does not hold the permission {}",
                scope(permission)
            )
            .into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use proto::access::Permission;
    use uuid::Uuid;

    use super::*;
    use crate::token::Claims;

    fn subject(sub: &str, tid: Option<Uuid>, scope: &str) -> Subject {
        let claims = Claims {
            sub: sub.to_owned(),
            tid,
            scope: scope.to_owned(),
            ..Claims::default()
        };
        Subject::verified(&claims, Principal::parse(sub).unwrap())
    }

    fn user(tid: Option<Uuid>, scope: &str) -> Subject {
        subject(&format!("user:{}", Uuid::nil()), tid, scope)
    }

    #[test]
    fn what_services_may_call_is_refused_to_everybody_else() {
        let owner = user(Some(Uuid::nil()), "devices.read devices.write");
        let required = |who: &Subject| check(Requirement::Service, &["identity"], who);
        assert!(required(&owner).is_err());
        assert!(required(&subject("service:identity", None, "")).is_ok());
        assert!(required(&subject("service:gateway", None, "")).is_err());
    }

    #[test]
    fn a_permission_counts_only_in_a_tenant() {
        let required = Requirement::Permission(Permission::DevicesRead);
        assert!(check(required, &[], &user(Some(Uuid::nil()), "devices.read")).is_ok());
        assert!(check(required, &[], &user(None, "devices.read")).is_err());
        assert!(check(required, &[], &user(Some(Uuid::nil()), "devices.write")).is_err());
    }

    #[test]
    fn a_token_is_taken_from_the_bearer_scheme_only() {
        let of = |value: &str| {
            let headers = http::HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())]);
            token(&headers).map(str::to_owned).ok()
        };
        assert_eq!(of("bearer t"), Some("t".to_owned()));
        assert_eq!(of("Basic t"), None);
        assert_eq!(of("t"), None);
    }
}
