//! Content-Encoding over HTTP: bodies may come gzipped, and answers are
//! compressed for those who accept it.
//!
//! gRPC has a compression of its own. Streams are not compressed, for each of
//! their messages is to arrive when it is there; nor are small answers, what
//! does not shrink, and answers that hold secrets: of one that also has
//! something of the request in it, the length tells an observer who chooses
//! requests what the secret is (BREACH).

use std::collections::HashSet;
use std::convert::Infallible;

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};
use tonic::body::Body;
use tower::{Layer, Service, ServiceExt};
use tower_http::CompressionLevel;
use tower_http::compression::{CompressionLayer, Predicate};
use tower_http::decompression::{DecompressionBody, RequestDecompressionLayer};

use crate::protocol::Protocol;

/// Smaller answers fit into one packet anyway.
const SMALLEST: u64 = 1024;
/// What answers can be compressed with.
const OURS: [&str; 2] = ["br", "gzip"];

/// Marks an answer that holds secrets.
#[derive(Clone, Copy)]
pub(crate) struct Secret;

/// The methods whose answers hold secrets.
pub(crate) struct Secrets(HashSet<String>);

impl Secrets {
    /// Reads which they are: those with a `debug_redact` field anywhere below.
    pub(crate) fn read(descriptor_set: &[u8]) -> Result<Self, prost_reflect::DescriptorError> {
        let pool = DescriptorPool::decode(descriptor_set)?;
        let methods = pool.services().flat_map(|service| {
            let methods: Vec<_> = service.methods().collect();
            methods
        });
        let secret = methods.filter(|method| has_secret(&method.output(), &mut HashSet::new()));
        let path = |method: prost_reflect::MethodDescriptor| {
            format!("/{}/{}", method.parent_service().full_name(), method.name())
        };
        Ok(Self(secret.map(path).collect()))
    }

    /// Marks the answer of a method, if it is one of them.
    pub(crate) fn mark(&self, path: &str, answer: &mut Response<Body>) {
        if self.0.contains(path) {
            answer.extensions_mut().insert(Secret);
        }
    }
}

fn has_secret(message: &MessageDescriptor, seen: &mut HashSet<String>) -> bool {
    seen.insert(message.full_name().to_owned())
        && message.fields().any(|field| {
            is_redacted(&field)
                || matches!(field.kind(), Kind::Message(below) if has_secret(&below, seen))
        })
}

fn is_redacted(field: &FieldDescriptor) -> bool {
    let options = field.options();
    let redact = options.get_field_by_name("debug_redact");
    redact.is_some_and(|redact| redact.as_bool() == Some(true))
}

/// Whether a request has anything to do with encodings.
pub(crate) fn is_coded(request: &Request<Body>) -> bool {
    let headers = request.headers();
    let coded = headers.contains_key(CONTENT_ENCODING) || accepts(headers);
    coded && Protocol::of(headers) == Protocol::Http
}

/// Whether a client accepts an encoding that there is.
fn accepts(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).any(|item| {
        let (coding, quality) = item.split_once(';').unwrap_or((item, ""));
        let ours = |ours: &&str| coding.trim().eq_ignore_ascii_case(ours);
        let quality = quality.trim().trim_start_matches(['q', 'Q', '=', ' ']);
        let refused = !quality.is_empty() && quality.bytes().all(|b| matches!(b, b'0' | b'.'));
        OURS.iter().any(ours) && !refused
    })
}

/// What a service answers, with bodies decoded and answers encoded. What is
/// in an encoding that is not known here is the transcoder's to refuse.
pub(crate) fn coded<S>(
    service: S,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let inner =
        service.map_request(|request: Request<DecompressionBody<Body>>| request.map(Body::new));
    let decode = RequestDecompressionLayer::new().pass_through_unaccepted(true);
    let encode = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(Worth);
    encode
        .layer(decode.layer(inner))
        .map_request(|mut request: Request<Body>| {
            if !accepts(request.headers()) {
                // The layer says 406 to the answer of what has been done.
                request.headers_mut().remove(ACCEPT_ENCODING);
            }
            request
        })
        .map_response(|answer| weakened(answer.map(Body::new)))
}

/// An encoded body is not byte by byte what the tag was given for (RFC 9110,
/// 8.8.3).
fn weakened(mut answer: Response<Body>) -> Response<Body> {
    if !answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    if let Some(etag) = answer.headers_mut().get_mut(ETAG)
        && etag.as_bytes().starts_with(b"\"")
        && let Ok(weak) = HeaderValue::try_from([b"W/", etag.as_bytes()].concat())
    {
        *etag = weak;
    }
    answer
}

/// Which answers are worth it.
#[derive(Clone, Copy)]
struct Worth;

impl Predicate for Worth {
    fn should_compress<B: http_body::Body>(&self, answer: &Response<B>) -> bool {
        // Streams do not know how long they will be.
        let size = answer.body().size_hint().exact().unwrap_or_default();
        let kind = answer.headers().get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let shrinks = kind.starts_with("text/")
            || kind.ends_with("json")
            || kind.ends_with("javascript")
            || kind.ends_with("yaml")
            || kind.ends_with("xml");
        size >= SMALLEST && shrinks && answer.extensions().get::<Secret>().is_none()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn who_accepts_what_there_is_is_answered_in_it() {
        for (accept, want) in [
            ("gzip", true),
            ("GZIP", true),
            ("zstd, deflate, br;q=0.1", true),
            ("gzip; q=1.0", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, identity", false),
            ("zstd", false),
            ("identity;q=0", false),
            ("*", false),
            ("", false),
        ] {
            let header = (ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(accepts(&HeaderMap::from_iter([header])), want, "{accept}");
        }
    }

    #[test]
    fn secrets_are_found_wherever_they_are_in_an_answer() {
        let secrets = Secrets::read(proto::DESCRIPTOR_SET).unwrap().0;
        for path in [
            "/muster.identity.v1.AuthService/Login",
            "/muster.keys.v1.ApiKeyService/CreateApiKey",
            "/muster.oauth.v1.OAuthService/Token",
        ] {
            assert!(secrets.contains(path), "{path} of {secrets:?}");
        }
        for path in [
            "/muster.registry.v1.DeviceService/ListDevices",
            "/muster.keys.v1.ApiKeyService/ListApiKeys",
        ] {
            assert!(!secrets.contains(path), "{path}");
        }
    }

    fn answer(size: usize, kind: &'static str) -> Response<Body> {
        let body = Body::new(http_body_util::Full::new(Bytes::from(vec![b'x'; size])));
        Response::builder()
            .header(CONTENT_TYPE, kind)
            .body(body)
            .unwrap()
    }

    #[test]
    fn streams_secrets_and_small_answers_are_not_worth_it() {
        assert!(Worth.should_compress(&answer(1024, "application/json")));
        assert!(Worth.should_compress(&answer(1024, "text/html; charset=utf-8")));
        assert!(!Worth.should_compress(&answer(1023, "application/json")));
        assert!(!Worth.should_compress(&answer(9999, "image/png")));
        let mut secret = answer(9999, "application/json");
        secret.extensions_mut().insert(Secret);
        assert!(!Worth.should_compress(&secret));
        let stream = http_body_util::StreamBody::new(futures::stream::pending::<
            Result<http_body::Frame<Bytes>, Infallible>,
        >());
        let stream = answer(0, "application/json").map(|_| Body::new(stream));
        assert!(!Worth.should_compress(&stream));
    }
}
