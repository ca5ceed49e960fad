//! Which protocol a request speaks, as its content type says, and what there
//! is of it: gRPC and gRPC-Web with protobuf messages, and HTTP.

use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tonic::Status;
use tonic::body::Body;
use transcoder::{GoogleErrors, Problem};

use crate::edge::problem;

const GRPC: &str = "application/grpc";
const WEB: &str = "application/grpc-web";
const TEXT: &str = "application/grpc-web-text";

/// What a request speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    /// HTTP with JSON, forms, or nothing.
    Http,
    /// gRPC (PROTOCOL-HTTP2 of the gRPC project).
    Grpc,
    /// gRPC-Web (PROTOCOL-WEB of the gRPC project).
    Web {
        /// Whether the frames are Base64.
        text: bool,
    },
    /// gRPC or gRPC-Web with messages that are no protobuf.
    Foreign,
}

impl Protocol {
    /// The protocol of a request with these headers. The case of a media type
    /// does not matter, nor do its parameters (RFC 9110, 8.3.1).
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        let begins = |given: &[u8]| {
            given
                .get(..GRPC.len())?
                .eq_ignore_ascii_case(GRPC.as_bytes())
                .then_some(())
        };
        // Most requests are no gRPC.
        if given.and_then(begins).is_none() {
            return Self::Http;
        }
        let kind = media_types(headers, &CONTENT_TYPE)
            .next()
            .unwrap_or_default();
        // The format of messages, after a plus, is protobuf if it is not named.
        let (protocol, format) = kind.split_once('+').unwrap_or((&kind, "proto"));
        match (protocol, format) {
            (GRPC, "proto") => Self::Grpc,
            (WEB, "proto") => Self::Web { text: false },
            (TEXT, "proto") => Self::Web { text: true },
            (GRPC | WEB | TEXT, _) => Self::Foreign,
            _ => Self::Http,
        }
    }

    /// The refusal of what a request gets wrong that speaks gRPC in any form.
    pub(crate) fn refuse(self, request: &Request<Body>) -> Option<Response<Body>> {
        if self == Self::Http {
            return None;
        }
        if request.method() != Method::POST {
            let mut answer = told(StatusCode::METHOD_NOT_ALLOWED, "gRPC is called by POST");
            let allow = HeaderValue::from_static("POST");
            answer.headers_mut().insert(ALLOW, allow);
            return Some(answer);
        }
        match self {
            // Its trailers do not pass there.
            Self::Grpc if request.version() < Version::HTTP_2 => Some(told(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "gRPC needs HTTP/2; over HTTP/1.1, use gRPC-Web or HTTP with JSON",
            )),
            Self::Foreign => {
                let status = Status::unimplemented("messages are protobuf: application/grpc+proto");
                let mut answer = status.into_http();
                // There is no message in it that could be of another kind.
                if let Some(kind) = request.headers().get(CONTENT_TYPE) {
                    answer.headers_mut().insert(CONTENT_TYPE, kind.clone());
                }
                Some(answer)
            }
            _ => None,
        }
    }
}

/// Writes the content types of a gRPC-Web request as the layer compares them.
/// Who sends text, and does not say what it can read, can read text.
pub(crate) fn canonical(mut request: Request<Body>, text: bool) -> Request<Body> {
    let headers = request.headers_mut();
    let named =
        |kind| media_types(headers, &ACCEPT).any(|named| named.split('+').next() == Some(kind));
    let reads_text = named(TEXT) || (text && !named(WEB));
    let kind = |text| HeaderValue::from_static(if text { TEXT } else { WEB });
    headers.insert(CONTENT_TYPE, kind(text));
    headers.insert(ACCEPT, kind(reads_text));
    request
}

/// Media types in a header, in lower case and without parameters.
fn media_types<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = String> + use<'a> {
    let values = headers.get_all(name).into_iter();
    let kinds = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    kinds.map(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().to_ascii_lowercase()
    })
}

/// A refusal before anything of gRPC can be said.
fn told(http_status: StatusCode, message: &str) -> Response<Body> {
    let mut refusal = Problem::new(Status::unimplemented(message));
    refusal.http_status = http_status;
    problem(&GoogleErrors, &refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> Protocol {
        let kind = (CONTENT_TYPE, kind.parse().unwrap());
        Protocol::of(&HeaderMap::from_iter([kind]))
    }

    #[test]
    fn the_media_type_tells_the_protocol() {
        assert_eq!(Protocol::of(&HeaderMap::new()), Protocol::Http);
        for (kind, protocol) in [
            ("application/json", Protocol::Http),
            ("application/grpcs", Protocol::Http),
            ("application/grpc", Protocol::Grpc),
            ("Application/gRPC+Proto ; charset=utf-8", Protocol::Grpc),
            ("application/grpc-web", Protocol::Web { text: false }),
            (
                "application/grpc-web+proto;a=b",
                Protocol::Web { text: false },
            ),
            ("application/grpc-web-text", Protocol::Web { text: true }),
            (
                "application/grpc-web-text+proto",
                Protocol::Web { text: true },
            ),
            ("application/grpc+json", Protocol::Foreign),
            ("application/grpc-web+json", Protocol::Foreign),
            ("application/grpc-web-text+thrift", Protocol::Foreign),
            ("application/grpc-foo", Protocol::Http),
        ] {
            assert_eq!(of(kind), protocol, "{kind}");
        }
    }

    #[test]
    fn whoever_sends_text_reads_text_unless_it_says_otherwise() {
        let reads = |text, accept: &str| {
            let request = Request::builder().header(ACCEPT, accept);
            let request = canonical(request.body(Body::empty()).unwrap(), text);
            request.headers()[ACCEPT].to_str().unwrap().to_owned()
        };
        assert_eq!(reads(true, "*/*"), TEXT);
        assert_eq!(reads(true, "application/grpc-web+proto"), WEB);
        assert_eq!(reads(false, "*/*"), WEB);
        assert_eq!(
            reads(false, "application/grpc-web-text+proto, */*;q=0.1"),
            TEXT
        );
    }
}
