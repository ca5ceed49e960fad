//! What the gateway makes of the gRPC that it forwards: nothing. A stand-in in
//! the place of the device registry shows what reaches a service, and answers
//! what no service of ours would.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::support::{Shape, World, eventually};

const LIST: &str = "/muster.registry.v1.DeviceService/ListDevices";
const RECORD: &str = "/muster.registry.v1.DeviceService/RecordSightings";
/// Metadata by which the stand-in is told to answer at once and never to end.
const ENDLESS: &str = "endless";

/// How long anything may take; a busy machine takes its time.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the stand-in has noticed.
#[derive(Debug)]
enum Noticed {
    Request(HeaderMap),
    Data(Bytes),
    /// The request has come to its end, or it was broken off.
    End {
        whole: bool,
    },
    /// Nobody waits for the answer any more.
    Unwanted,
}

type Notice = UnboundedSender<Noticed>;

/// Tells when an answer is let go of.
struct Wanted(Notice);

impl Drop for Wanted {
    fn drop(&mut self) {
        let _ = self.0.send(Noticed::Unwanted);
    }
}

type Frame = http_body::Frame<Bytes>;

fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

/// What is no protobuf, in an encoding that nobody has.
fn strange(message: &[u8]) -> Bytes {
    [frame(1, message), frame(0, b"\xff\xff\xff")]
        .concat()
        .into()
}

async fn answer(notice: Notice, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let at_once = parts.headers.contains_key(ENDLESS);
    let _ = notice.send(Noticed::Request(parts.headers));
    let wanted = Wanted(notice.clone());
    if at_once {
        let frames = endless(wanted);
        return grpc_answer(Body::new(frames));
    }
    let whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => drop(notice.send(Noticed::Data(frame.into_data().unwrap()))),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    let _ = notice.send(Noticed::End { whole });
    if parts.uri.path() == RECORD {
        // Never answered.
        std::future::pending::<()>().await;
    }
    drop(wanted);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("99"));
    trailers.insert("own-trailer", HeaderValue::from_static("t"));
    let frames = [Frame::data(strange(b"answer")), Frame::trailers(trailers)];
    let frames = frames.into_iter().map(Ok::<_, Infallible>);
    grpc_answer(Body::new(StreamBody::new(tokio_stream::iter(frames))))
}

/// One message, and then nothing.
fn endless(wanted: Wanted) -> impl http_body::Body<Data = Bytes, Error = Infallible> {
    let (messages, stream) = mpsc::unbounded_channel();
    messages
        .send(Frame::data(frame(0, b"first").into()))
        .unwrap();
    let stream = UnboundedReceiverStream::new(stream);
    StreamBody::new(tokio_stream::StreamExt::map(stream, move |frame| {
        // Both live as long as the stream does.
        let _ = (&wanted, &messages);
        Ok(frame)
    }))
}

fn grpc_answer(body: Body) -> Response {
    let answer = Response::builder().header("content-type", "application/grpc+proto");
    let answer = answer.header("grpc-encoding", "x-unheard-of");
    answer.header("own-header", "h").body(body).unwrap()
}

/// A world whose device registry is the stand-in, and what that notices; where
/// services are no processes of their own, none can be replaced.
async fn replaced() -> Option<(World, Client, UnboundedReceiver<Noticed>)> {
    if crate::SHAPE != Shape::Split {
        return None;
    }
    let mut world = World::new().await?;
    let parts = world.server.parts();
    let registry = parts.iter().position(|p| p.service == "device-registry");
    let registry = registry.unwrap();
    let address = parts[registry].address.clone();
    world.server.kill_part(registry);
    let (notice, noticed) = mpsc::unbounded_channel();
    let handler = move |request| answer(notice.clone(), request);
    let listener = TcpListener::bind(address).await.unwrap();
    let service = Router::new().fallback(handler);
    tokio::spawn(axum::serve(listener, service).into_future());
    let client = connect(&world.server.url).await;
    let noticed = reached(&world, &client, noticed).await;
    Some((world, client, noticed))
}

/// A client of HTTP/2 that has no opinions of its own on gRPC.
type Client = SendRequest<Body>;

async fn connect(url: &str) -> Client {
    let address = url.strip_prefix("http://").unwrap();
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (client, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until the gateway has found the stand-in.
async fn reached(
    world: &World,
    client: &Client,
    mut noticed: UnboundedReceiver<Noticed>,
) -> UnboundedReceiver<Noticed> {
    let answers = async || {
        let asked = request(world, LIST, Body::empty());
        let answer = send(client, asked).await;
        answer.headers().get("own-header").is_some()
    };
    eventually("the stand-in", answers).await;
    while noticed.try_recv().is_ok() {}
    noticed
}

fn request(world: &World, path: &str, body: Body) -> Request {
    let token = world.alice.authorization.as_deref().unwrap();
    http::Request::post(format!("{}{path}", world.server.url))
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("authorization", token)
        .body(body)
        .unwrap()
}

async fn send(client: &Client, request: Request) -> http::Response<Incoming> {
    let answer = client.clone().send_request(request);
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer.expect("an answer begins").unwrap()
}

/// The next that the stand-in notices.
async fn next(noticed: &mut UnboundedReceiver<Noticed>) -> Noticed {
    let next = tokio::time::timeout(PATIENCE, noticed.recv()).await;
    next.expect("the stand-in notices something").unwrap()
}

async fn next_request(noticed: &mut UnboundedReceiver<Noticed>) -> HeaderMap {
    match next(noticed).await {
        Noticed::Request(headers) => headers,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_forwarded_is_not_decoded_either_way() {
    let (world, client, mut noticed) = need!(replaced().await);
    let mut asked = request(&world, LIST, Body::from(strange(b"question")));
    let headers = asked.headers_mut();
    headers.insert("grpc-encoding", HeaderValue::from_static("x-unheard-of"));
    headers.insert("own-bin", HeaderValue::from_static("/w=="));
    let answer = send(&client, asked).await;

    let headers = next_request(&mut noticed).await;
    assert_eq!(headers["grpc-encoding"], "x-unheard-of");
    assert_eq!(headers["content-type"], "application/grpc+proto");
    assert_eq!(headers["own-bin"], "/w==");
    let mut reached = Vec::new();
    let whole = loop {
        match next(&mut noticed).await {
            Noticed::Data(data) => reached.extend(data),
            Noticed::End { whole } => break whole,
            other => panic!("{other:?}"),
        }
    };
    assert!(whole);
    assert_eq!(reached, strange(b"question"));

    assert_eq!(answer.headers()["grpc-encoding"], "x-unheard-of");
    assert_eq!(answer.headers()["own-header"], "h");
    let answer = answer.into_body().collect().await.unwrap();
    let trailers = answer.trailers().unwrap().clone();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["own-trailer"]),
        (&"99".parse().unwrap(), &"t".parse().unwrap())
    );
    assert_eq!(answer.to_bytes(), strange(b"answer"));
}

#[tokio::test]
async fn a_service_sees_that_a_client_breaks_off() {
    let (world, client, mut noticed) = need!(replaced().await);
    let (messages, stream) = mpsc::unbounded_channel();
    let first: Bytes = frame(0, b"first").into();
    messages.send(Ok::<_, Infallible>(first.clone())).unwrap();
    let body = Body::from_stream(UnboundedReceiverStream::new(stream));
    let asked = request(&world, RECORD, body);
    let call = tokio::spawn({
        let client = client.clone();
        async move { send(&client, asked).await }
    });
    next_request(&mut noticed).await;
    // It is there though the request goes on.
    assert!(matches!(next(&mut noticed).await, Noticed::Data(data) if data == first));
    call.abort();
    loop {
        match next(&mut noticed).await {
            Noticed::End { whole } => assert!(!whole, "half a request is no request"),
            Noticed::Unwanted => break,
            other => panic!("{other:?}"),
        }
    }

    let mut asked = request(&world, RECORD, Body::empty());
    asked
        .headers_mut()
        .insert(ENDLESS, HeaderValue::from_static("1"));
    let mut answer = send(&client, asked).await;
    next_request(&mut noticed).await;
    let first = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(first.into_data().unwrap(), frame(0, b"first"));
    drop(answer);
    assert!(matches!(next(&mut noticed).await, Noticed::Unwanted));
    // Held until here: the request of a client that broke off had not ended.
    drop(messages);
}

#[tokio::test]
async fn a_deadline_goes_on_to_the_service_and_ends_the_call_there() {
    let (world, client, mut noticed) = need!(replaced().await);
    // Before the answer, and in the middle of it; the client itself does nothing.
    for endless in [false, true] {
        let mut asked = request(&world, RECORD, Body::empty());
        let headers = asked.headers_mut();
        headers.insert("grpc-timeout", HeaderValue::from_static("900m"));
        if endless {
            headers.insert(ENDLESS, HeaderValue::from_static("1"));
        }
        let answer = send(&client, asked).await;
        let headers = next_request(&mut noticed).await;
        let told = headers["grpc-timeout"].to_str().unwrap();
        let left: u32 = told.strip_suffix('u').expect(told).parse().unwrap();
        assert!((1..=900_000).contains(&left), "{told}");
        let (parts, body) = answer.into_parts();
        assert_eq!(parts.headers.contains_key("own-header"), endless);
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().cloned().unwrap_or(parts.headers);
        assert_eq!(trailers["grpc-status"], "4");
        while !matches!(next(&mut noticed).await, Noticed::Unwanted) {}
    }
}
