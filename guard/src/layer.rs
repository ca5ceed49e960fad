//! The layer that stands in front of a service.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{BoxError, Layer, Service};

use crate::credential;
use crate::guard::Guard;
use crate::refusal::Refusal;

/// The layer: what a service requires of its callers.
#[derive(Clone)]
pub struct Require {
    guard: Guard,
    permission: Option<Arc<str>>,
}

impl Require {
    pub(crate) fn new(guard: Guard, permission: Option<&str>) -> Self {
        Self {
            guard,
            permission: permission.map(Arc::from),
        }
    }

    /// Lets a request through and says in it who calls, or refuses it.
    async fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refusal> {
        let admitted = self.guard.admit(request.headers(), request.extensions());
        let principal = admitted.await?;
        if let Some(permission) = &self.permission
            && !principal.holds(permission)
        {
            return Err(Refusal::Permission(permission.to_string()));
        }
        credential::hide(request.headers_mut());
        request.extensions_mut().insert(principal);
        Ok(())
    }
}

impl fmt::Debug for Require {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let permission = self.permission.as_deref();
        f.debug_tuple("Require").field(&permission).finish()
    }
}

impl<S> Layer<S> for Require {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            require: self.clone(),
        }
    }
}

/// A service behind the guard.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    require: Require,
}

/// As a gRPC service, it is the one that it guards.
impl<S: NamedService> NamedService for Guarded<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B, R> Service<Request<B>> for Guarded<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that is ready is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let require = self.require.clone();
        Box::pin(async move {
            match require.admit(&mut request).await {
                Ok(()) => Ok(inner.call(request).await?.map(Body::new)),
                Err(refusal) => Ok(refusal.answer(request.headers())),
            }
        })
    }
}
