//! How fast a call is transcoded, compared with the same work done through
//! dynamic messages. Run it with `--release`; the number of threads is the
//! only argument.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use tonic_transcoder::{Body, Transcoder};
use tower::{Service as _, service_fn};

const BOOK: &str = r#"{"name":"shelves/1/books/2","title":"The \"Title\" of a Book","author":{"givenName":"Ada","familyName":"Lovelace"},"tags":["one","two","three"],"labels":{"env":"prod","team":"a"},"etag":"0123456789abcdef","pages":"1234567","published":"2024-02-29T12:34:56.789Z"}"#;
const RUN: Duration = Duration::from_secs(2);

fn main() {
    let threads = std::env::args()
        .nth(1)
        .map_or(1, |text| text.parse().unwrap());
    let mut compiler = protox::Compiler::new(["tests/proto", "proto", "../../proto"]).unwrap();
    compiler
        .include_imports(true)
        .open_file("library.proto")
        .unwrap();
    let set = compiler.encode_file_descriptor_set();
    let pool = DescriptorPool::decode(&set[..]).unwrap();
    let transcoder = Transcoder::builder(set).build().unwrap();
    report(
        "transcoded call",
        run(threads, || calls(transcoder.clone())),
    );
    report("dynamic messages", run(threads, || dynamic(pool.clone())));
}

fn report(name: &str, per_second: f64) {
    println!("{name:18} {per_second:10.0}/s");
}

/// Runs one piece of work on each thread for a while.
fn run<W: FnMut() + 'static>(threads: usize, make: impl Fn() -> W + Sync) -> f64 {
    let each = || {
        let mut work = make();
        let (start, mut count) = (Instant::now(), 0_u32);
        while start.elapsed() < RUN {
            (0..100).for_each(|_| work());
            count += 100;
        }
        f64::from(count) / start.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    })
}

/// JSON to gRPC and back, with a service that sends the book back.
fn calls(transcoder: Transcoder) -> impl FnMut() {
    let grpc = service_fn(|request: http::Request<Body>| async {
        // The book is the second field of the request, behind `parent`.
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let book = field_two(body.slice(5..));
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(book.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&book);
        let mut response = http::Response::new(Full::new(Bytes::from(frame)));
        response
            .headers_mut()
            .insert("grpc-status", "0".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let mut service = transcoder.into_service(grpc);
    move || {
        let request = http::Request::post("/v1/shelves/1/books")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from_static(BOOK.as_bytes())))
            .unwrap();
        futures::executor::block_on(async {
            let response = service.call(request).await.unwrap();
            assert_eq!(response.status(), 201);
            response.into_body().collect().await.unwrap().to_bytes();
        });
    }
}

/// Content of the field 2 that a message begins with.
fn field_two(message: Bytes) -> Bytes {
    let mut rest = &message[..];
    let start = rest.len();
    assert_eq!(
        prost::encoding::decode_varint(&mut rest).unwrap(),
        2 << 3 | 2
    );
    let length = prost::encoding::decode_varint(&mut rest).unwrap() as usize;
    let at = start - rest.len();
    message.slice(at..at + length)
}

/// The same two conversions alone, as they are usually written.
fn dynamic(pool: DescriptorPool) -> impl FnMut() {
    move || {
        let descriptor = pool.get_message_by_name("library.v1.Book").unwrap();
        let mut json = serde_json::Deserializer::from_str(BOOK);
        let wire = DynamicMessage::deserialize(descriptor.clone(), &mut json)
            .unwrap()
            .encode_to_vec();
        let message = DynamicMessage::decode(descriptor, &wire[..]).unwrap();
        serde_json::to_vec(&message).unwrap();
    }
}
