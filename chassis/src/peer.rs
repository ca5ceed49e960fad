//! How services reach each other: by name, in memory or over a wire.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, RwLock};
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use proto::access::streams;
use tonic::body::Body;
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt};

use crate::authorize::UNTAKEN_ANSWER;
use crate::context;
use crate::error::{Error, Result as Outcome};
use crate::listen::Stops;
use crate::server::erase;
use crate::service_identity::{ServiceIdentity, Unsigned};

/// The services of Muster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceName {
    /// Who is calling.
    Identity,
    /// On whose behalf.
    Tenancy,
    /// Which devices exist.
    DeviceRegistry,
    /// With what credential.
    KeyManagement,
}

impl ServiceName {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Identity,
        Self::Tenancy,
        Self::DeviceRegistry,
        Self::KeyManagement,
    ];

    /// As in a command line and a Kubernetes manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Tenancy => "tenancy",
            Self::DeviceRegistry => "device-registry",
            Self::KeyManagement => "key-management",
        }
    }

    /// The service that answers a gRPC path, such as `/muster.keys.v1.TokenService/GetJwks`.
    pub fn of_path(path: &str) -> Option<Self> {
        let package = path.strip_prefix("/muster.")?;
        Some(match package.split_once('.')?.0 {
            "identity" => Self::Identity,
            "tenancy" => Self::Tenancy,
            "registry" => Self::DeviceRegistry,
            "keys" => Self::KeyManagement,
            _ => return None,
        })
    }
}

/// What answers gRPC requests: a service's stack in memory, or a channel.
pub type Stack = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, tower::BoxError>;

/// Where the services are. Cheap to clone; clones share, so that services
/// which call each other can be assembled in any order.
#[derive(Clone, Default)]
pub struct Peers(Arc<Known>);

#[derive(Default)]
struct Known {
    stacks: RwLock<HashMap<ServiceName, Stack>>,
    own: OnceLock<ServiceIdentity>,
}

impl Peers {
    /// Says who makes the calls of this process, which prove it from now on:
    /// without it, nobody takes their word on the request that they are for.
    pub fn call_as(&self, identity: ServiceIdentity) {
        // The first stays: it is as good as any of the same process.
        let _ = self.0.own.set(identity);
    }

    /// Says where a service is.
    pub fn set(&self, name: ServiceName, stack: Stack) {
        self.0
            .stacks
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(name, stack);
    }

    /// A service, for a generated client to call.
    pub fn get(&self, name: ServiceName) -> Peer {
        Peer {
            peers: self.clone(),
            name,
        }
    }

    /// A service, for requests to be forwarded to.
    #[expect(
        clippy::disallowed_methods,
        reason = "the service has its own authorization layer"
    )]
    pub fn forward(&self, name: ServiceName) -> Stack {
        erase(self.get(name))
    }

    fn stack(&self, name: ServiceName) -> Option<Stack> {
        self.0
            .stacks
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get(&name)
            .cloned()
    }
}

/// One service, wherever it is when a call is made.
#[derive(Clone)]
pub struct Peer {
    peers: Peers,
    name: ServiceName,
}

impl Service<http::Request<Body>> for Peer {
    type Response = http::Response<Body>;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let stack = self.peers.stack(self.name);
        let name = self.name;
        let stops = request.extensions_mut().remove::<Stops>();
        let stops = stops.filter(|_| streams(request.uri().path()));
        let proven = prove(&mut request, name, self.peers.0.own.get());
        Box::pin(async move {
            if let Err(error) = proven {
                return Ok(tonic::Status::from(error).into_http());
            }
            // What is asked for a call is part of it: same request, same
            // source, and no longer than its caller waits.
            let call = context::current();
            if let Some(call) = &call {
                call.write(request.headers_mut());
            }
            let deadline = call.and_then(|call| call.deadline);
            let answer = async {
                match stack {
                    Some(stack) => stack.oneshot(request).await.ok(),
                    None => None,
                }
            };
            Ok(match context::until(deadline, answer).await {
                Ok(Some(mut answer)) => {
                    // Of that service, not of what is answered here meanwhile.
                    answer.headers_mut().remove(UNTAKEN_ANSWER);
                    match stops {
                        Some(stops) => stops.end(answer),
                        None => answer,
                    }
                }
                Ok(None) => tonic::Status::from(Error::Unavailable {
                    what: format!("the {} service", name.as_str()).into(),
                })
                .into_http(),
                Err(late) => late.into_http(),
            })
        })
    }
}

/// Makes a request show which service it comes from; whatever it shows
/// already is a client's.
fn prove(
    request: &mut http::Request<Body>,
    to: ServiceName,
    own: Option<&ServiceIdentity>,
) -> Outcome<()> {
    request.headers_mut().remove(context::SERVICE);
    if let Some(unsigned) = request.extensions_mut().remove::<Unsigned>() {
        let token = unsigned.sign(to.as_str())?;
        request.headers_mut().insert(AUTHORIZATION, token);
    } else if let Some(own) = own {
        let token = own.proof(to.as_str())?;
        request.headers_mut().insert(context::SERVICE, token);
    }
    Ok(())
}
