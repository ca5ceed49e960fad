//! Many processes of one service.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use muster_chassis::Clock;
use muster_chassis::peer::{Peers, ServiceName, Stack};
use muster_chassis::renewal::{Renew, Renewal};
use muster_chassis::service_identity::KeyRing;
use tokio::net::TcpListener;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt;

use crate::calls::authorized;
use crate::server::{
    CHANGE, Process, READ, STREAM, STREAMED, answer, balance, call, eventually, free_address,
    stack, status,
};

const SOON: Duration = Duration::from_millis(2);

/// Calls that go on in many tasks until they are told to end; what went wrong.
struct Calls {
    go_on: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<(usize, Vec<String>)>>,
}

impl Calls {
    fn start(stack: &muster_chassis::peer::Stack, path: &'static str) -> Self {
        let go_on = Arc::new(AtomicBool::new(true));
        let tasks = (0..8).map(|_| {
            let (stack, go_on) = (stack.clone(), go_on.clone());
            tokio::spawn(async move {
                let (mut made, mut failed) = (0, Vec::new());
                while go_on.load(Ordering::SeqCst) {
                    let (code, text) = call(stack.clone(), path).await;
                    made += 1;
                    if code != Code::Ok {
                        failed.push(text);
                    }
                }
                (made, failed)
            })
        });
        let tasks = tasks.collect();
        Self { go_on, tasks }
    }

    async fn end(self) -> (usize, Vec<String>) {
        self.go_on.store(false, Ordering::SeqCst);
        let (mut made, mut failed) = (0, Vec::new());
        for task in self.tasks {
            let (some, wrong) = task.await.unwrap();
            made += some;
            failed.extend(wrong);
        }
        (made, failed)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_are_spread_over_all_processes() {
    let (a, b) = (Process::start(SOON).await, Process::start(SOON).await);
    let stack = balance(&[a.address, b.address]).stack();
    let calls = Calls::start(&stack, READ);
    eventually(async || (a.taken() > 20 && b.taken() > 20).then_some(())).await;
    assert_eq!(calls.end().await.1, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_a_process_is_killed_and_it_is_used_again_when_it_is_back() {
    let (mut a, b) = (Process::start(SOON).await, Process::start(SOON).await);
    let stack = balance(&[a.address, b.address]).stack();
    let calls = Calls::start(&stack, READ);
    eventually(async || (a.taken() > 20 && b.taken() > 20).then_some(())).await;
    a.kill();
    let before = b.taken();
    eventually(async || (b.taken() > before + 50).then_some(())).await;
    let again = Process::start_at(a.address, SOON).await;
    eventually(async || (again.taken() > 20).then_some(())).await;
    assert_eq!(calls.end().await.1, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_or_is_made_twice_when_a_process_stops_as_it_should() {
    let (mut a, b) = (Process::start(SOON).await, Process::start(SOON).await);
    let stack = balance(&[a.address, b.address]).stack();
    let calls = Calls::start(&stack, CHANGE);
    eventually(async || (a.taken() > 20 && b.taken() > 20).then_some(())).await;
    a.stop();
    let before = b.taken();
    eventually(async || (b.taken() > before + 50).then_some(())).await;
    let (made, failed) = calls.end().await;
    assert_eq!(failed, [""; 0]);
    assert_eq!(a.taken() + b.taken(), made);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_never_made_twice_and_a_read_is_made_again() {
    for (path, code, taken) in [(CHANGE, Code::Unavailable, 1), (READ, Code::Ok, 2)] {
        // Whichever takes the call hangs until it is killed.
        let mut first = Process::start(Duration::from_secs(600)).await;
        let second = free_address();
        let stack = balance(&[first.address, second]).stack();
        let answer = tokio::spawn(call(stack, path));
        eventually(async || (first.taken() == 1).then_some(())).await;
        let second = Process::start_at(second, SOON).await;
        // So that there is another one to make the call again.
        let there = balance(&[second.address]);
        eventually(async || there.is_live().then_some(())).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        first.kill();
        let (answered, text) = answer.await.unwrap();
        assert_eq!(answered, code, "{path}: {text}");
        assert_eq!(first.taken() + second.taken(), taken, "{path}");
        if code == Code::Unavailable {
            assert!(text.contains("may have been done"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_is_told_and_found_when_it_comes() {
    let address = free_address();
    let balance = balance(&[address]);
    assert!(!balance.is_live());
    let (code, text) = call(balance.stack(), CHANGE).await;
    assert_eq!(code, Code::Unavailable);
    assert!(
        text.contains("the tenancy service can't be reached"),
        "{text}"
    );
    let process = Process::start_at(address, SOON).await;
    eventually(async || balance.is_live().then_some(())).await;
    assert_eq!(call(balance.stack(), CHANGE).await.0, Code::Ok);
    assert_eq!(process.taken(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_hangs_gets_no_calls() {
    // It accepts connections, as a stopped process does, and never answers.
    let hangs = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lives = Process::start(SOON).await;
    let stack = balance(&[hangs.local_addr().unwrap(), lives.address]).stack();
    for _ in 0..50 {
        assert_eq!(call(stack.clone(), CHANGE).await.0, Code::Ok);
    }
    assert_eq!(lives.taken(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_when_its_process_stops() {
    let mut process = Process::start(SOON).await;
    let stack = balance(&[process.address]).stack();
    let stream = tokio::spawn(call(stack, STREAM));
    eventually(async || (process.taken() == 1).then_some(())).await;
    process.stop();
    let (code, text) = stream.await.unwrap();
    assert_eq!(code, Code::Unavailable);
    assert!(text.contains("stops"), "{text}");
}

/// A process of a service that counts what it is asked.
async fn counted(service: Stack) -> Process {
    let taken = Arc::new(AtomicUsize::new(0));
    let counts = taken.clone();
    let port = stack(move |request: Request<Body>| {
        let (service, counts) = (service.clone(), counts.clone());
        async move {
            if request.uri().path() == "/healthz" {
                return Response::new(Body::empty());
            }
            counts.fetch_add(1, Ordering::SeqCst);
            service.oneshot(request).await.unwrap()
        }
    });
    Process::serve("127.0.0.1:0".parse().unwrap(), port, taken, || None).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_method_says_is_missing_is_passed_on_and_asked_of_nobody_else() {
    let away = || stack(|_| async { answer(Code::Unavailable) });
    let (a, b) = (counted(away()).await, counted(away()).await);
    let balance = balance(&[a.address, b.address]);
    for (times, path) in [(1, READ), (2, CHANGE)] {
        let (code, _) = call(balance.stack(), path).await;
        assert_eq!(code, Code::Unavailable);
        assert_eq!(a.taken() + b.taken(), times);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_can_not_tell_who_calls_leaves_the_call_to_another_one() {
    const REAL_CHANGE: &str = "/muster.tenancy.v1.MemberService/CreateMember";
    // It knows no keys, and nobody to ask for them.
    let ring = KeyRing::generate().unwrap();
    let unsure = counted(authorized(&ring, |_| async { answer(Code::Ok) })).await;
    let sure = counted(stack(|_| async { answer(Code::Ok) })).await;
    let ask = async |balance: Stack, path: &str| {
        // {"alg":"ES256","kid":"1"}
        let token = "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IjEifQ.e30.AA";
        let request = Request::post(path).header("authorization", token);
        let request = request.body(Body::empty()).unwrap();
        let response = balance.oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key("x-muster-untaken"));
        status(response).await.0
    };
    let alone = balance(&[unsure.address]).stack();
    assert_eq!(ask(alone, READ).await, Code::Unavailable);
    let both = balance(&[unsure.address, sure.address]);
    // Until there is a connection to the sure one, a call has nobody to be left to.
    eventually(async || (ask(both.stack(), READ).await == Code::Ok).then_some(())).await;
    eventually(async || {
        assert_eq!(ask(both.stack(), READ).await, Code::Ok);
        assert_eq!(ask(both.stack(), REAL_CHANGE).await, Code::Ok);
        (unsure.taken() > 10 && sure.taken() > 10).then_some(())
    })
    .await;
}

/// A service that takes one message of a request, and tells so at once.
fn first_message(taken: Arc<AtomicUsize>) -> Stack {
    stack(move |request: Request<Body>| {
        let taken = taken.clone();
        async move {
            let mut body = request.into_body();
            let first = body.frame().await;
            taken.fetch_add(usize::from(matches!(first, Some(Ok(_)))), Ordering::SeqCst);
            match body.collect().await {
                Ok(_) => answer(Code::Ok),
                Err(_) => answer(Code::Aborted),
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_streams_is_sent_on_as_it_comes_and_once() {
    for dies in [false, true] {
        let taken = Arc::new(AtomicUsize::new(0));
        let any = "127.0.0.1:0".parse().unwrap();
        let service = first_message(taken.clone());
        let mut process = Process::serve(any, service, taken.clone(), || None).await;
        let stack = balance(&[process.address]).stack();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let frames = futures::stream::unfold(receiver, |mut receiver| async move {
            let frame: Result<Frame<Bytes>, tonic::Status> = receiver.recv().await?;
            Some((frame, receiver))
        });
        let body = Body::new(StreamBody::new(frames));
        let request = Request::post(STREAMED).body(body).unwrap();
        let answer =
            tokio::spawn(async move { status(stack.oneshot(request).await.unwrap()).await });
        let message = Bytes::from_static(b"\0\0\0\0\0");
        sender.send(Ok(Frame::data(message))).await.unwrap();
        // Though there is more to come.
        eventually(async || (process.taken() == 1).then_some(())).await;
        if dies {
            process.kill();
            assert_eq!(answer.await.unwrap().0, Code::Unavailable);
        } else {
            drop(sender);
            assert_eq!(answer.await.unwrap().0, Code::Ok);
        }
        assert_eq!(taken.load(Ordering::SeqCst), 1);
    }
}

/// What identity shows to tenancy, so that it may call it.
pub(crate) async fn token_of_identity(ring: &KeyRing) -> HeaderValue {
    let shown = Arc::new(Mutex::new(None));
    let sees = shown.clone();
    let peers = Peers::default();
    peers.call_as(ring.identity("identity", Clock::system()).unwrap());
    peers.set(
        ServiceName::Tenancy,
        stack(move |request: Request<Body>| {
            *sees.lock().unwrap() = request.headers().get("x-muster-service").cloned();
            async { answer(Code::Ok) }
        }),
    );
    call(peers.forward(ServiceName::Tenancy), READ).await;
    shown.lock().unwrap().take().unwrap()
}

/// Gets one token after the other, and is refused when there are no more.
pub(crate) struct Tokens(pub(crate) Mutex<Vec<HeaderValue>>);

#[tonic::async_trait]
impl Renew for Tokens {
    async fn renew(&self, refused: &HeaderValue) -> Result<HeaderValue, tonic::Status> {
        let next = self.0.lock().unwrap().pop();
        assert_ne!(Some(refused), next.as_ref());
        next.ok_or_else(|| tonic::Status::unauthenticated("the key is revoked"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_token_has_ended_is_made_again_with_another_one_if_nothing_was_made_of_it() {
    const TAKES_TOKENS: &str = "/muster.tenancy.v1.MemberService/ResolveMember";
    let ring = KeyRing::generate().unwrap();
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let reads = bodies.clone();
    // It says of itself, too, that somebody is not who he says he is.
    let refuses = authorized(&ring, move |request: Request<Body>| {
        let reads = reads.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            reads.lock().unwrap().push(body);
            answer(Code::Unauthenticated)
        }
    });
    let process = counted(refuses).await;
    let stack = balance(&[process.address]).stack();
    let ended = |number: usize| HeaderValue::try_from(format!("Bearer ended-{number}")).unwrap();
    let good = token_of_identity(&ring).await;
    let ask = async |others: Option<Vec<HeaderValue>>| {
        let request = Request::post(TAKES_TOKENS).header("authorization", ended(0));
        let mut request = request.body(Body::new(Full::from("once"))).unwrap();
        if let Some(others) = others {
            let renewal = Renewal::new(Tokens(Mutex::new(others)));
            request.extensions_mut().insert(renewal);
        }
        let before = process.taken();
        let response = stack.clone().oneshot(request).await.unwrap();
        assert!(!response.headers().contains_key("x-muster-untaken"));
        let (code, text) = status(response).await;
        assert_eq!(code, Code::Unauthenticated);
        (process.taken() - before, text)
    };
    let none_were_read = || bodies.lock().unwrap().is_empty();

    let (asked, _) = ask(None).await;
    assert_eq!(asked, 1);
    let (asked, text) = ask(Some(vec![ended(1)])).await;
    assert_eq!((asked, text.as_str()), (2, "the key is revoked"));
    // Each token that there is has ended, and nobody tries for ever.
    let (asked, text) = ask(Some((1..1000).map(ended).collect())).await;
    assert!((3..10).contains(&asked) && text != "the key is revoked");
    assert!(none_were_read());
    let (asked, _) = ask(Some(vec![good, ended(1)])).await;
    assert_eq!(asked, 3);
    // What the method says, it said of the whole request, and once.
    assert_eq!(*bodies.lock().unwrap(), ["once"]);
}
