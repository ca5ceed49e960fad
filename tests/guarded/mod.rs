//! Services of a user's own, behind the guard; and a wire to Muster that can
//! be cut.

#![allow(unreachable_pub, reason = "as in tests/support")]

use std::net::SocketAddr;
use std::time::Duration;

use axum::{Extension, Router, routing::get};
use guard::{Builder, Guard, Principal};
use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tower::Layer;

use crate::support::{Caller, send};

/// What both services require.
pub const PERMISSION: &str = "devices.read";

/// Longer than any test takes.
pub const VERY_LONG: Duration = Duration::from_secs(3600);

/// A key with which a guard may ask.
pub async fn own_key(owner: &Caller) -> String {
    owner.new_key(&["keys.verify"]).await
}

/// A guard that remembers for as long as the test takes.
pub async fn builder(owner: &Caller) -> Builder {
    Guard::builder(&own_key(owner).await).remember(1000, VERY_LONG)
}

/// A service over HTTP that tells its caller who he is; its URL.
pub async fn web(guard: &Guard) -> String {
    let shown = |Extension(caller): Extension<Principal>| async move { shown(&caller).to_string() };
    let app = Router::new()
        .route("/", get(shown))
        .layer(guard.require(PERMISSION));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    url
}

fn shown(caller: &Principal) -> Value {
    json!({
        "principal": caller.principal,
        "owner": caller.owner,
        "tenant": caller.tenant_id,
        "permissions": caller.permissions,
        "displayName": caller.display_name,
        "metadata": caller.metadata,
        "environment": caller.environment,
        "expires": caller.expire_time.is_some(),
        "superseded": caller.superseded,
    })
}

/// A caller of such a service with an `Authorization` header.
pub fn caller(url: &str, authorization: impl Into<String>) -> Caller {
    Caller {
        url: url.to_owned(),
        authorization: Some(authorization.into()),
    }
}

/// What the service over HTTP answers: status and body, also if it is a fault.
pub async fn asked(url: &str, authorization: &str) -> (u16, Value) {
    let request = caller(url, authorization).request(reqwest::Method::GET, "/");
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// The same with other headers.
pub async fn asked_with(url: &str, headers: HeaderMap) -> (u16, Value) {
    let anybody = Caller {
        url: url.to_owned(),
        authorization: None,
    };
    let request = anybody.request(reqwest::Method::GET, "/").headers(headers);
    let answer = send(request).await;
    (answer.status.as_u16(), answer.json())
}

/// A service over gRPC that tells its caller who he is.
#[derive(Default)]
struct Greeter;

#[tonic::async_trait]
impl Health for Greeter {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let caller = request.extensions().get::<Principal>();
        let caller = caller.ok_or_else(|| Status::internal("who calls is not known"))?;
        let mut response = Response::new(HealthCheckResponse::default());
        let name = caller.principal.parse().unwrap();
        response.metadata_mut().insert("x-principal", name);
        Ok(response)
    }

    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }
}

/// The service over gRPC; a channel to it.
pub async fn greeter(guard: &Guard) -> Channel {
    let greeter = guard.require(PERMISSION).layer(HealthServer::new(Greeter));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = Server::builder().add_service(greeter);
    tokio::spawn(server.serve_with_incoming(incoming));
    crate::support::grpc::connect(&url).await
}

/// Who the service over gRPC says that its caller is.
pub async fn greeted(channel: &Channel, authorization: Option<&str>) -> Result<String, Status> {
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(value) = authorization {
        let value = value.parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    let response = HealthClient::new(channel.clone()).check(request).await?;
    let name = response.metadata().get("x-principal").unwrap();
    Ok(name.to_str().unwrap().to_owned())
}

/// What a wire does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wire {
    /// Passes everything on.
    Whole,
    /// Keeps its connections, and passes nothing on.
    Silent,
    /// Ends connections.
    Cut,
}

/// A wire to a server; its URL.
pub async fn wire(to: &str, begun: Wire) -> (String, watch::Sender<Wire>) {
    let to = to.strip_prefix("http://").unwrap().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (switch, state) = watch::channel(begun);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let (to, state) = (to.clone(), state.clone());
            tokio::spawn(connect(near, to, state));
        }
    });
    (url, switch)
}

async fn connect(near: TcpStream, to: String, mut state: watch::Receiver<Wire>) {
    if *state.borrow() == Wire::Cut {
        return;
    }
    let far = TcpStream::connect(to).await.unwrap();
    let (from_near, to_near) = near.into_split();
    let (from_far, to_far) = far.into_split();
    tokio::select! {
        () = pass(from_near, to_far, state.clone()) => {}
        () = pass(from_far, to_near, state.clone()) => {}
        _ = state.wait_for(|state| *state == Wire::Cut) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<Wire>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let whole = state.wait_for(|state| *state == Wire::Whole).await.is_ok();
        if !whole || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
