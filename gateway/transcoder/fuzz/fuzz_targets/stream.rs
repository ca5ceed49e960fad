//! Wherever the network cuts a stream of JSON, it is the same messages.

#![no_main]

use bytes::Bytes;
use futures::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use std::convert::Infallible;
use tonic_transcoder_fuzz::send;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: [u8; 8],
    body: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let body = Bytes::copy_from_slice(input.body);
    let whole = send(request(Full::new(body.clone()))).expect("the route is there");
    let cut = StreamBody::new(stream::iter(pieces(body, &input.cuts)));
    let cut = send(request(cut)).expect("the route is there");
    assert_eq!(whole.call, cut.call);
    assert_eq!((whole.status, whole.body), (cut.status, cut.body));
});

fn request<B>(body: B) -> http::Request<B> {
    let request =
        http::Request::post("/v1/books:import").header("content-type", "application/json");
    request.body(body).expect("a request")
}

/// The body in pieces of these lengths, over and over.
fn pieces(mut body: Bytes, cuts: &[u8]) -> Vec<Result<Frame<Bytes>, Infallible>> {
    let mut pieces = Vec::new();
    for cut in cuts.iter().cycle() {
        if body.is_empty() {
            break;
        }
        let length = (usize::from(*cut) % 16 + 1).min(body.len());
        pieces.push(Ok(Frame::data(body.split_to(length))));
    }
    pieces
}
