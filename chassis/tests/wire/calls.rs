//! What a call carries from one service to the next, and who may make it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use muster_chassis::Clock;
use muster_chassis::authorize::AuthorizeLayer;
use muster_chassis::balance::Balance;
use muster_chassis::context::{self, Call, Trace, timeout};
use muster_chassis::peer::{Peers, ServiceName, Stack};
use muster_chassis::renewal::Renewal;
use muster_chassis::revocation::Revocations;
use muster_chassis::server::erase;
use muster_chassis::service_identity::KeyRing;
use muster_chassis::token::Verifier;
use proto::keys::RevokeRequest;
use proto::keys::credential_service_client::CredentialServiceClient;
use proto::tenancy::ResolveMemberRequest;
use proto::tenancy::member_service_client::MemberServiceClient;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, ServiceExt, service_fn};

use crate::balance::{Tokens, token_of_identity};
use crate::server::{Process, answer, eventually, stack, status};

/// Anybody may call it.
const PUBLIC: &str = "/muster.identity.v1.AuthService/Login";

/// A service behind the authorization layer.
#[expect(clippy::disallowed_methods, reason = "a service of tests")]
pub(crate) fn authorized<F, A>(ring: &KeyRing, work: F) -> Stack
where
    F: Fn(Request<Body>) -> A + Clone + Send + Sync + 'static,
    A: Future<Output = http::Response<Body>> + Send + 'static,
{
    let verifier = Verifier::new(
        Peers::default(),
        ring.public().clone(),
        Revocations::default(),
        Clock::system(),
    );
    let inner = service_fn(move |request| {
        let answer = work(request);
        async move { Ok(answer.await) }
    });
    erase(AuthorizeLayer::new(verifier, None).layer(inner))
}

/// The header of a trace.
fn parent() -> (HeaderName, HeaderValue) {
    let value = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let name = HeaderName::from_static("traceparent");
    (name, HeaderValue::from_static(value))
}

async fn post(stack: Stack, path: &str, headers: &[(&'static str, &str)]) -> Code {
    let mut request = Request::post(path).body(Body::empty()).unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    status(stack.oneshot(request).await.unwrap()).await.0
}

#[tokio::test]
async fn a_caller_is_answered_when_its_deadline_passes_and_the_work_goes_on_to_its_end() {
    let done = Arc::new(AtomicBool::new(false));
    let does = done.clone();
    let ring = KeyRing::generate().unwrap();
    let stack = authorized(&ring, move |_| {
        let does = does.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(300)).await;
            does.store(true, Ordering::SeqCst);
            answer(Code::Ok)
        }
    });
    let code = post(stack.clone(), PUBLIC, &[("grpc-timeout", "20m")]).await;
    assert_eq!(code, Code::DeadlineExceeded);
    assert!(!done.load(Ordering::SeqCst));
    eventually(async || done.load(Ordering::SeqCst).then_some(())).await;
    let code = post(stack.clone(), PUBLIC, &[("grpc-timeout", "1M")]).await;
    assert_eq!(code, Code::Ok);
    let code = post(stack, PUBLIC, &[("grpc-timeout", "soon")]).await;
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test]
async fn what_a_call_asks_of_others_carries_its_request_its_source_and_what_is_left_of_its_time() {
    let heard = Arc::new(Mutex::new(HeaderMap::new()));
    let hears = heard.clone();
    let ring = KeyRing::generate().unwrap();
    let peers = Peers::default();
    peers.set(
        ServiceName::Tenancy,
        stack(move |request: Request<Body>| {
            *hears.lock().unwrap() = request.headers().clone();
            async { answer(Code::Ok) }
        }),
    );
    let front = authorized(&ring, move |_| {
        let peer = peers.get(ServiceName::Tenancy);
        async move {
            // What it makes up of its own does not count.
            let asks = Request::post("/muster.tenancy.v1.TenantService/GetTenant")
                .header("x-muster-source", "6.6.6.6")
                .body(Body::empty())
                .unwrap();
            peer.oneshot(asks).await.unwrap()
        }
    });
    let headers = [
        ("x-request-id", "r-1"),
        ("x-muster-source", "192.0.2.7"),
        ("grpc-timeout", "30S"),
    ];
    // Whoever asks in memory answers a call himself.
    let asked = context::scope(Call::default(), post(front, PUBLIC, &headers));
    assert_eq!(asked.await, Code::Ok);
    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard["x-request-id"], "r-1");
    assert_eq!(heard["x-muster-source"], "192.0.2.7");
    let left = timeout(&heard).unwrap().unwrap();
    assert!(left < Duration::from_secs(30), "{left:?}");
    assert!(left > Duration::from_secs(1), "{left:?}");
}

/// A call as a method saw it, and its headers.
type Seen = Arc<Mutex<Option<(Call, HeaderMap)>>>;

/// Identity on a port of its own, and what it sees.
async fn identity(ring: &KeyRing) -> (Process, Stack, Seen) {
    let seen = Seen::default();
    let sees = seen.clone();
    let service = authorized(ring, move |request: Request<Body>| {
        let sees = sees.clone();
        async move {
            let call = context::current().unwrap();
            *sees.lock().unwrap() = Some((call, request.headers().clone()));
            answer(Code::Ok)
        }
    });
    let port = stack(move |request: Request<Body>| {
        let service = service.clone();
        async move {
            match request.uri().path() {
                "/healthz" => http::Response::new(Body::empty()),
                _ => service.oneshot(request).await.unwrap(),
            }
        }
    });
    let address = "127.0.0.1:0".parse().unwrap();
    let process = Process::serve(address, port, Arc::new(AtomicUsize::new(0)), || None).await;
    let places = [process.address.to_string()];
    let balance = Balance::new(ServiceName::Identity, &places, None).unwrap();
    (process, balance.stack(), seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_service_says_where_a_request_comes_from() {
    let (ring, other) = (KeyRing::generate().unwrap(), KeyRing::generate().unwrap());
    let (_process, wire, seen) = identity(&ring).await;
    let see = || seen.lock().unwrap().take().unwrap();

    // What a service shows to tenancy, and one of another installation to identity.
    let shown = async |ring: &KeyRing, to: ServiceName| {
        let heard = Arc::new(Mutex::new(HeaderMap::new()));
        let hears = heard.clone();
        let peers = Peers::default();
        peers.call_as(ring.identity("gateway", Clock::system()).unwrap());
        peers.set(
            to,
            stack(move |request: Request<Body>| {
                *hears.lock().unwrap() = request.headers().clone();
                async { answer(Code::Ok) }
            }),
        );
        post(peers.forward(to), PUBLIC, &[]).await;
        let shown = heard.lock().unwrap()["x-muster-service"].clone();
        assert!(shown.is_sensitive());
        shown.to_str().unwrap().to_owned()
    };
    let for_tenancy = shown(&ring, ServiceName::Tenancy).await;
    let foreign = shown(&other, ServiceName::Identity).await;
    for proof in ["", "Bearer nonsense", &for_tenancy, &foreign] {
        let headers = [
            ("x-request-id", "r-1"),
            ("x-muster-source", "6.6.6.6"),
            ("x-muster-service", proof),
        ];
        assert_eq!(post(wire.clone(), PUBLIC, &headers).await, Code::Ok);
        let (call, headers) = see();
        assert_eq!(call.source, "127.0.0.1".parse().ok(), "{proof}");
        assert_eq!(call.request_id, "r-1");
        assert!(!headers.contains_key("x-muster-service"));
    }
    let long = "x".repeat(6000);
    post(wire.clone(), PUBLIC, &[("x-request-id", &long)]).await;
    assert_eq!(see().0.request_id, "");

    // The gateway's word is taken, and nothing that a client shows is.
    let peers = Peers::default();
    peers.set(ServiceName::Identity, wire);
    let asked = async || {
        let call = Call {
            request_id: "r-2".to_owned(),
            source: "192.0.2.7".parse().ok(),
            trace: Trace::of(&HeaderMap::from_iter([parent()])),
            ..Call::default()
        };
        let headers = [
            ("tracestate", "of=nobody"),
            ("authorization", "Bearer of-a-user"),
            ("x-muster-service", for_tenancy.as_str()),
        ];
        let asked = post(peers.forward(ServiceName::Identity), PUBLIC, &headers);
        assert_eq!(context::scope(call, asked).await, Code::Ok);
        see()
    };
    assert_eq!(asked().await.0.source, "127.0.0.1".parse().ok());
    peers.call_as(ring.identity("gateway", Clock::system()).unwrap());
    let (call, headers) = asked().await;
    assert_eq!(call.source, "192.0.2.7".parse().ok());
    assert_eq!(call.request_id, "r-2");
    assert!(!headers.contains_key("x-muster-service"));
    // The trace goes on with what is asked for a call, and no other does.
    assert_eq!(headers.get("traceparent"), Some(&parent().1));
    assert!(!headers.contains_key("tracestate"));
    assert_eq!(call.trace, Trace::of(&HeaderMap::from_iter([parent()])));
}

#[tokio::test]
async fn a_service_may_call_what_the_contract_lets_it_call_and_shows_its_token_to_nobody_else() {
    let ring = KeyRing::generate().unwrap();
    let (peers, clock) = (Peers::default(), Clock::system());
    let heard = Arc::new(Mutex::new(HeaderMap::new()));
    let hears = heard.clone();
    let keys = authorized(&ring, move |request: Request<Body>| {
        *hears.lock().unwrap() = request.headers().clone();
        async { answer(Code::Unimplemented) }
    });
    peers.set(ServiceName::KeyManagement, keys.clone());
    let tenancy = authorized(&ring, |_| async { answer(Code::Unimplemented) });
    peers.set(ServiceName::Tenancy, tenancy.clone());

    // Who gets through learns that nothing is behind.
    for (name, code) in [
        ("identity", Code::Unimplemented),
        ("tenancy", Code::Unimplemented),
        ("gateway", Code::PermissionDenied),
        ("device-registry", Code::PermissionDenied),
        ("operator", Code::PermissionDenied),
    ] {
        let identity = ring.identity(name, clock.clone()).unwrap();
        let request = identity.request(RevokeRequest::default()).unwrap();
        let mut client = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
        let refused = client.revoke(request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}: {}", refused.message());
    }

    // Key management may not pass on what identity showed to it.
    let identity = ring.identity("identity", clock).unwrap();
    let request = identity.request(RevokeRequest::default()).unwrap();
    let mut client = CredentialServiceClient::new(peers.get(ServiceName::KeyManagement));
    client.revoke(request).await.unwrap_err();
    let token = heard.lock().unwrap()["authorization"].clone();
    let token = token.to_str().unwrap();
    let path = "/muster.tenancy.v1.MemberService/ResolveMember";
    let code = post(tenancy, path, &[("authorization", token)]).await;
    assert_eq!(code, Code::Unauthenticated);
    let request = identity.request(ResolveMemberRequest::default()).unwrap();
    let mut client = MemberServiceClient::new(peers.get(ServiceName::Tenancy));
    let refused = client.resolve_member(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
}

#[tokio::test]
async fn in_memory_a_service_itself_gets_another_token_for_a_call_whose_own_has_ended() {
    let ring = KeyRing::generate().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = seen.clone();
    let service = authorized(&ring, move |request: Request<Body>| {
        let token = request.headers()["authorization"].clone();
        sees.lock().unwrap().push(token);
        async { answer(Code::Ok) }
    });
    let good = token_of_identity(&ring).await;
    let ask = async |others: Vec<HeaderValue>| {
        let path = "/muster.tenancy.v1.MemberService/ResolveMember";
        let request = Request::post(path).header("authorization", "Bearer ended-0");
        let mut request = request.body(Body::empty()).unwrap();
        let renewal = Renewal::new(Tokens(Mutex::new(others)));
        request.extensions_mut().insert(renewal);
        let asked = service.clone().oneshot(request);
        status(context::scope(Call::default(), asked).await.unwrap()).await
    };
    let (code, text) = ask(Vec::new()).await;
    assert_eq!(
        (code, text.as_str()),
        (Code::Unauthenticated, "the key is revoked")
    );
    assert_eq!(ask(vec![good.clone()]).await.0, Code::Ok);
    // What the method itself asks of others carries it too.
    assert_eq!(*seen.lock().unwrap(), [good]);
}
