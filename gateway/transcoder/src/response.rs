//! From a gRPC answer to an HTTP response.

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body_util::Full;
use tonic::{Code, Status};

use crate::Body;
use crate::headers;
use crate::json::encode::{Encoder, Stop};
use crate::plan::Plans;
use crate::problem::{self, Problem};
use crate::route::{ResponsePlan, Route};
use crate::wire;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// The status in headers or trailers; `Ok` if it is OK, `None` if there is
/// none.
pub(crate) fn status(headers: &HeaderMap) -> Option<Result<(), Status>> {
    let code = headers.get("grpc-status")?;
    if code == "0" {
        return Some(Ok(()));
    }
    // tonic takes it for granted that the details are base64.
    let details = headers.get("grpc-status-details-bin");
    let broken = details.is_some_and(|value| BASE64.decode(value.as_bytes()).is_err());
    let status = if broken {
        let mut headers = headers.clone();
        headers.remove("grpc-status-details-bin");
        Status::from_header_map(&headers)
    } else {
        Status::from_header_map(headers)
    };
    status.map(|status| {
        if status.code() == Code::Ok {
            Ok(())
        } else {
            Err(status)
        }
    })
}

/// The problem of an answer that is not gRPC at all, by the table of
/// gRPC's http-grpc-status-mapping.md.
pub(crate) fn not_grpc(status: StatusCode) -> Problem {
    let code = match status.as_u16() {
        200 => Code::Internal,
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        _ => Code::Unknown,
    };
    problem::own(
        code,
        "NOT_GRPC",
        format!("the service answered {status} and no gRPC status"),
    )
}

/// One message, printed.
pub(crate) struct Printed {
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Bytes,
}

/// Prints a message as its route wants it.
pub(crate) fn print(plans: &Plans, route: &Route, message: &Bytes) -> Result<Printed, Stop> {
    let fields = &plans.message(route.output).fields;
    let room = Vec::with_capacity(message.len() * 2 + 64);
    match route.response {
        ResponsePlan::Whole => {
            let mut encoder = Encoder::new(plans, &route.style, room);
            encoder.document(route.output, message)?;
            Ok(Printed {
                content_type: JSON,
                body: encoder.into_output().into(),
            })
        }
        ResponsePlan::Field(index) => {
            let mut encoder = Encoder::new(plans, &route.style, room);
            encoder.field_document(route.output, &fields[index], message)?;
            Ok(Printed {
                content_type: JSON,
                body: encoder.into_output().into(),
            })
        }
        ResponsePlan::Text(index) => {
            let text = wire::find_bytes(message, fields[index].number)?.unwrap_or_default();
            Ok(Printed {
                content_type: TEXT,
                body: message.slice_ref(text),
            })
        }
        ResponsePlan::Raw(index) => raw(index.map(|index| fields[index].number), message),
    }
}

/// A `google.api.HttpBody`, which may be a field of the message.
fn raw(field: Option<u32>, message: &Bytes) -> Result<Printed, Stop> {
    let body: &[u8] = match field {
        Some(number) => wire::find_bytes(message, number)?.unwrap_or_default(),
        None => message,
    };
    let content_type = wire::find_bytes(body, 1)?
        .filter(|kind| !kind.is_empty())
        .and_then(|kind| HeaderValue::from_bytes(kind).ok());
    let data = wire::find_bytes(body, 2)?.unwrap_or_default();
    // `slice_ref` wants a part of the message, which an empty default is not.
    let body = if data.is_empty() {
        Bytes::new()
    } else {
        message.slice_ref(data)
    };
    Ok(Printed {
        content_type: content_type.unwrap_or(BYTES),
        body,
    })
}

/// The problem of a message that could not be printed.
pub(crate) fn unprintable(stop: &Stop) -> Problem {
    match stop {
        Stop::Unprintable(what) => problem::own(
            Code::Internal,
            "UNPRINTABLE_RESPONSE",
            format!("the answer holds {what}"),
        ),
        Stop::Malformed | Stop::Disorder => problem::own(
            Code::Internal,
            "MALFORMED_RESPONSE",
            "the answer is not the message it should be",
        ),
    }
}

/// What of the request matters for the response.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) if_none_match: HeaderMap,
}

impl Asked {
    /// Remembers the method and the condition.
    pub(crate) fn of(parts: &http::request::Parts) -> Self {
        let values = parts.headers.get_all(header::IF_NONE_MATCH).iter();
        let if_none_match = values
            .map(|value| (header::IF_NONE_MATCH, value.clone()))
            .collect();
        Self {
            method: parts.method.clone(),
            if_none_match,
        }
    }
}

/// The response to a unary call that went well.
pub(crate) fn unary(
    plans: &Arc<Plans>,
    route: &Route,
    asked: &Asked,
    metadata: &HeaderMap,
    message: &Bytes,
) -> Result<http::Response<Body>, Box<Problem>> {
    let etag = etag(route, message);
    let mut response = http::Response::new(Body::empty());
    let unchanged = etag
        .as_ref()
        .is_some_and(|etag| headers::is_unchanged(&asked.method, &asked.if_none_match, etag));
    if let Some(etag) = etag {
        response.headers_mut().insert(header::ETAG, etag);
    }
    let status = match headers::chosen_status(metadata) {
        Some(status) => status,
        None if unchanged => StatusCode::NOT_MODIFIED,
        None => route.success,
    };
    *response.status_mut() = status;
    if !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    ) {
        let printed = print(plans, route, message).map_err(|stop| Box::new(unprintable(&stop)))?;
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, printed.content_type);
        set_body(&mut response, printed.body, asked.method == Method::HEAD);
    }
    headers::response(metadata, response.headers_mut());
    Ok(response)
}

/// Gives a response its body; to HEAD only the body's length.
pub(crate) fn set_body(response: &mut http::Response<Body>, body: Bytes, head: bool) {
    if head {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, body.len().into());
    } else {
        *response.body_mut() = Body::new(Full::new(body));
    }
}

fn etag(route: &Route, message: &Bytes) -> Option<HeaderValue> {
    let at = route.response_etag?;
    let within: &[u8] = match at.within {
        Some(number) => wire::find_bytes(message, number).ok()??,
        None => message,
    };
    let value = wire::find_bytes(within, at.number).ok()??;
    let value = std::str::from_utf8(value)
        .ok()
        .filter(|value| !value.is_empty())?;
    headers::etag(value)
}

impl Problem {
    /// The whole answer to a request that failed: the shape, the status'
    /// metadata and the problem's headers.
    pub fn respond(&self, errors: &dyn crate::ErrorShape) -> http::Response<Body> {
        self.answer(errors, false)
    }

    pub(crate) fn answer(
        &self,
        errors: &dyn crate::ErrorShape,
        head: bool,
    ) -> http::Response<Body> {
        let (parts, body) = errors.shape(self).into_parts();
        let mut response = http::Response::from_parts(parts, Body::empty());
        let metadata = self.status.metadata().clone().into_headers();
        headers::response(&self.headers, response.headers_mut());
        headers::response(&metadata, response.headers_mut());
        set_body(&mut response, body, head);
        response
    }
}
