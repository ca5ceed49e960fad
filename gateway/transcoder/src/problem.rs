//! Errors on their way to the client and the shape they take.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::RouteError;
use crate::fault::DOMAIN;
use crate::json::{details, text};
use crate::plan::Plans;

/// One error on its way to the client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Problem {
    /// The status line of the answer.
    pub http_status: StatusCode,
    /// The gRPC status: code, message, encoded details and metadata.
    pub status: Status,
    /// `reason` of the status' `google.rpc.ErrorInfo`, if it has one.
    pub reason: Option<String>,
    /// `domain` of the status' `google.rpc.ErrorInfo`, if it has one.
    pub domain: Option<String>,
    /// HTTP headers the answer must carry, such as `allow` beside a 405.
    pub headers: HeaderMap,
    /// Knows the application's own detail types.
    plans: Option<Arc<Plans>>,
}

impl Problem {
    /// The problem of a gRPC status, with the HTTP status its code maps to.
    pub fn new(status: Status) -> Self {
        let info = match status.details() {
            [] => None,
            _ => status.get_details_error_info(),
        };
        let (reason, domain) = match info {
            Some(info) => (Some(info.reason), Some(info.domain)),
            None => (None, None),
        };
        let http_status = http_status(status.code());
        Self {
            http_status,
            status,
            reason,
            domain,
            headers: HeaderMap::new(),
            plans: None,
        }
    }

    /// Lets the details print the types of the application's descriptors.
    pub(crate) fn with_plans(mut self, plans: &Arc<Plans>) -> Self {
        self.plans = Some(plans.clone());
        self
    }

    /// Of a request with `If-Match`: what its etag is refused with (AIP-154)
    /// is a condition that does not hold (RFC 9110, 13.1.1).
    pub(crate) fn of_condition(&mut self) {
        let mapped = self.http_status == StatusCode::CONFLICT;
        if mapped && self.status.code() == Code::Aborted {
            self.http_status = StatusCode::PRECONDITION_FAILED;
        }
    }

    /// The details of the status (`google.rpc.Status.details`).
    pub fn details(&self) -> Vec<prost_types::Any> {
        match self.status.details() {
            [] => Vec::new(),
            bytes => match tonic_types::pb::Status::decode(bytes) {
                Ok(status) => status.details,
                Err(_) => Vec::new(),
            },
        }
    }

    /// The details as a JSON array, each with its `@type`. A type that is not
    /// known here is `{"@type": ..., "value": base64}`.
    pub fn details_json(&self) -> String {
        details::array(&self.details(), self.plans.as_deref())
    }
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        Self::new(status)
    }
}

impl From<RouteError> for Problem {
    fn from(error: RouteError) -> Self {
        let message = error.to_string();
        match error {
            RouteError::NotFound => own(Code::NotFound, "ROUTE_NOT_FOUND", message),
            RouteError::MethodNotAllowed { allow } => {
                let mut problem = own(Code::Unimplemented, "METHOD_NOT_ALLOWED", message);
                problem.http_status = StatusCode::METHOD_NOT_ALLOWED;
                problem.headers.insert(header::ALLOW, allow_header(&allow));
                problem
            }
        }
    }
}

/// A problem that is nobody's field.
pub(crate) fn own(code: Code, reason: &str, message: impl Into<String>) -> Problem {
    let details = ErrorDetails::with_error_info(reason, DOMAIN, std::collections::HashMap::new());
    Problem::new(Status::with_error_details(code, message, details))
}

/// The methods as an `allow` header.
pub(crate) fn allow_header(methods: &[Method]) -> HeaderValue {
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The HTTP status of a gRPC code, as google/rpc/code.proto lists them.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Gives errors their shape. The transcoder adds the metadata of the status
/// and [`Problem::headers`] to the answer, unless it has them already.
pub trait ErrorShape: Send + Sync {
    /// The whole answer to a request that failed.
    fn shape(&self, problem: &Problem) -> http::Response<Bytes>;

    /// The shape of errors that come after a stream has begun, when this
    /// reference is gone. `None` leaves it to [`Builder::stream_errors`].
    ///
    /// [`Builder::stream_errors`]: crate::Builder::stream_errors
    fn for_stream(&self) -> Option<Arc<dyn ErrorShape>> {
        None
    }
}

/// The default shape, `google.rpc.Status` as JSON: `{"code":5,"message":"...","details":[...]}`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GoogleErrors;

impl ErrorShape for GoogleErrors {
    fn shape(&self, problem: &Problem) -> http::Response<Bytes> {
        let mut body =
            format!("{{\"code\":{},\"message\":", problem.status.code() as i32).into_bytes();
        text::string(problem.status.message(), &mut body);
        body.extend_from_slice(b",\"details\":");
        body.extend_from_slice(problem.details_json().as_bytes());
        body.push(b'}');
        let mut response = http::Response::new(Bytes::from(body));
        *response.status_mut() = problem.http_status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }
}
