//! What people look at: the documents of the APIs and the pages that show
//! them. Public, and the same for everybody.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tonic::body::Body;
use transcoder::RouteError;

use crate::edge::no_route;
use crate::{openapi, swagger};

/// The document or page at a path, if there is one.
pub(crate) fn answer(request: &Request<Body>) -> Option<Response<Body>> {
    openapi::answer(request).or_else(|| swagger::answer(request))
}

/// Something to look at that stays as it is while the program runs.
pub(crate) struct Page {
    kind: &'static str,
    gzip: Bytes,
    etag: HeaderValue,
}

impl Page {
    /// A page of this content type.
    pub(crate) fn new(kind: &'static str, text: impl AsRef<[u8]>) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail.
        let _ = encoder.write_all(text.as_ref());
        Self::packed(kind, encoder.finish().unwrap_or_default().into())
    }

    /// One that is compressed already (RFC 1952).
    pub(crate) fn packed(kind: &'static str, gzip: Bytes) -> Self {
        // It ends with checksum and length. Weak: the same for both encodings.
        let end = gzip.iter().rev().take(8);
        let end: String = end.map(|byte| format!("{byte:02x}")).collect();
        let etag = HeaderValue::try_from(format!("W/\"{end}\""));
        Self {
            kind,
            gzip,
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")),
        }
    }

    /// Answers GET and HEAD, and refuses the rest.
    pub(crate) fn answer(&self, request: &Request<Body>) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let allow = vec![Method::GET, Method::HEAD];
            return no_route(request, RouteError::MethodNotAllowed { allow });
        }
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        // Kept, and asked for each time whether it is still the same.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        if self.is_known(request.headers()) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        let bytes = match takes_gzip(request.headers()) {
            true => {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                self.gzip.clone()
            }
            false => self.text(),
        };
        headers.insert(CONTENT_LENGTH, bytes.len().into());
        if request.method() == Method::GET {
            *response.body_mut() = Body::new(Full::new(bytes));
        }
        response
    }

    fn text(&self) -> Bytes {
        let mut text = Vec::new();
        // What is in memory is whole.
        let _ = GzDecoder::new(self.gzip.as_ref()).read_to_end(&mut text);
        text.into()
    }

    /// Whether the client has it (RFC 9110, 13.1.2).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let weak = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
        let own = weak(self.etag.to_str().unwrap_or_default());
        words(headers, IF_NONE_MATCH).any(|tag| tag == "*" || weak(tag) == own)
    }
}

/// Whether a client takes compressed answers (RFC 9110, 12.5.3).
fn takes_gzip(headers: &HeaderMap) -> bool {
    words(headers, ACCEPT_ENCODING).any(|word| {
        let (coding, weight) = word.split_once(';').unwrap_or((word, ""));
        let weight = weight.trim().trim_start_matches("q=").parse::<f32>();
        coding.trim().eq_ignore_ascii_case("gzip") && weight.unwrap_or(1.0) > 0.0
    })
}

/// The elements of a header that is a list.
fn words(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    let values = values.filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',').map(str::trim))
}
