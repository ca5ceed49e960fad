//! What the fuzz targets share: descriptors, the oracle, and a service that
//! shows what it was sent.

use std::convert::Infallible;
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use prost_reflect::{DescriptorPool, MessageDescriptor};
use serde_json::Value;
use tokio::runtime::Runtime;
use tonic_transcoder::{Body, Codec, GoogleErrors, JsonStyle, Transcoder};

/// The descriptors of the crate's tests.
pub const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/library.bin"));
/// One small service without rules of its own.
pub const TINY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tiny.bin"));
/// What only proto2 has.
pub const LEGACY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/legacy.bin"));

/// The messages that targets transcode, and their pools.
pub const MESSAGES: [(&str, &[u8]); 3] = [
    ("library.v1.Everything", LIBRARY),
    ("library.v1.Small", LIBRARY),
    ("legacy.v1.Record", LEGACY),
];

/// One message type, known to the crate and to prost-reflect.
pub struct Subject {
    pub name: &'static str,
    pub codec: Codec,
    pub oracle: MessageDescriptor,
}

impl Subject {
    /// Whether a field mask is in the JSON of a message.
    pub fn has_mask(&self, json: &[u8]) -> bool {
        let text = String::from_utf8_lossy(json);
        text.contains("\"mask\"") || text.contains("google.protobuf.FieldMask")
    }
}

static SUBJECTS: LazyLock<Vec<Subject>> = LazyLock::new(|| {
    let subject = |(name, set): (&'static str, &'static [u8])| Subject {
        name,
        codec: Codec::new(set).expect("the set is good"),
        oracle: DescriptorPool::decode(set)
            .expect("the set is good")
            .get_message_by_name(name)
            .expect("the set has it"),
    };
    MESSAGES.into_iter().map(subject).collect()
});

/// The message type and the style that two bytes choose, and the other bytes.
pub fn chosen(data: &[u8]) -> Option<(&'static Subject, JsonStyle, &[u8])> {
    let ([which, bits], rest) = data.split_first_chunk()?;
    let subject = &SUBJECTS[usize::from(*which) % SUBJECTS.len()];
    let mut style = JsonStyle::default();
    for (bit, flag) in [
        &mut style.proto_field_names,
        &mut style.int64_as_numbers,
        &mut style.print_defaults,
        &mut style.print_nulls,
        &mut style.enums_as_numbers,
        &mut style.case_insensitive_enums,
        &mut style.ignore_unknown,
    ]
    .into_iter()
    .enumerate()
    {
        *flag = bits >> bit & 1 == 1;
    }
    Some((subject, style, rest))
}

/// Whether the oracle, `b`, says the same. Numbers, also those in strings, compare
/// by value and not to the last digit: prost-reflect reads integers that are
/// written with an exponent as doubles, and prints a float as a double.
pub fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.iter()
                .all(|(k, v)| b.get(k).map_or(is_negative_zero(v), |w| same(v, w)))
                && b.keys().all(|k| a.contains_key(k))
        }
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs() || (a - b).abs() < 1e-37,
            _ => a == b,
        },
    }
}

/// Not the default, but prost-reflect takes it for that.
fn is_negative_zero(value: &Value) -> bool {
    let number = value.as_f64();
    number.is_some_and(|number| number == 0.0 && number.is_sign_negative())
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A transcoder of the library.
pub static TRANSCODER: LazyLock<Transcoder> = LazyLock::new(|| {
    Transcoder::builder(LIBRARY)
        .build()
        .expect("the rules are good")
});

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of one thread");
}

/// What came of a request.
pub struct Seen {
    /// The gRPC method and the messages, if the service was called.
    pub call: Option<(String, Vec<Bytes>)>,
    pub status: http::StatusCode,
    pub body: Bytes,
}

/// Sends a request to a service that answers with the first message it gets.
pub fn send<B>(request: http::Request<B>) -> Option<Seen>
where
    B: http_body::Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let matched = TRANSCODER
        .route(request.method(), request.uri().path())
        .ok()?;
    let call = Arc::new(Mutex::new(None));
    let saw = call.clone();
    let grpc = tower::service_fn(move |request: http::Request<Body>| {
        let saw = saw.clone();
        async move {
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await;
            let messages = body.map_or_else(|_| Vec::new(), |body| messages(body.to_bytes()));
            let answer = frame(messages.first().map_or(&[][..], |first| first));
            *saw.lock().expect("no one panics") = Some((path, messages));
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            let body = Full::new(answer).with_trailers(async move { Some(Ok(trailers)) });
            Ok::<_, Infallible>(http::Response::new(Body::new(body)))
        }
    });
    let answer = async {
        let answer = TRANSCODER.call(matched, request, grpc, &GoogleErrors).await;
        let (parts, body) = answer.into_parts();
        (parts, body.collect().await)
    };
    let (parts, body) = RUNTIME.with(|runtime| runtime.block_on(answer));
    let call = call.lock().expect("no one panics").take();
    Some(Seen {
        call,
        status: parts.status,
        body: body.map(|body| body.to_bytes()).unwrap_or_default(),
    })
}

fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("messages are short");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// The messages in their frames; the last may be broken off.
fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while body.len() >= 5 {
        let head = body.split_to(5);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if body.len() < length {
            break;
        }
        messages.push(body.split_to(length));
    }
    messages
}
