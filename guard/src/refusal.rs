//! Why a request is not let through, as HTTP and gRPC say it.

use std::borrow::Cow;
use std::collections::HashMap;

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use proto::keys::verify_api_key_response::Code as KeyCode;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Who defines the reason codes (google.rpc.ErrorInfo.domain).
const DOMAIN: &str = "muster";

/// Why a request is not let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It presents no credential.
    Missing,
    /// Its credential is not taken.
    Credential {
        /// Stable reason code.
        reason: &'static str,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// Its credential lacks this permission.
    Permission(String),
    /// Nobody can say whether its credential is good.
    Unavailable,
}

impl Refusal {
    pub(crate) fn malformed() -> Self {
        Self::credential("KEY_MALFORMED", "this is no key: was all of it copied?")
    }

    pub(crate) fn token() -> Self {
        let message = "the token has expired, has been revoked, or is none that is taken here";
        Self::credential("TOKEN_INACTIVE", message)
    }

    /// By the same words as Muster's own API: whether there is such a key is
    /// told only to whoever has its secret.
    pub(crate) fn key(code: KeyCode, message: String) -> Self {
        let reason = match code {
            KeyCode::Malformed => "KEY_MALFORMED",
            KeyCode::Unknown | KeyCode::NetworkNotAllowed => "BAD_CREDENTIALS",
            KeyCode::Revoked => "KEY_REVOKED",
            KeyCode::Expired => "KEY_EXPIRED",
            KeyCode::Disabled => "KEY_DISABLED",
            KeyCode::Superseded => "KEY_SUPERSEDED",
            KeyCode::OwnerGone => "OWNER_GONE",
            KeyCode::TenantSuspended => "TENANT_SUSPENDED",
            // Not of a key that is not valid, when no permission was asked for.
            KeyCode::Unspecified | KeyCode::Valid | KeyCode::PermissionMissing => {
                return Self::Unavailable;
            }
        };
        let message = match reason {
            "BAD_CREDENTIALS" => {
                "the credential is wrong, or may not be used from this address".into()
            }
            _ => Cow::Owned(message),
        };
        Self::Credential { reason, message }
    }

    fn credential(reason: &'static str, message: &'static str) -> Self {
        let message = message.into();
        Self::Credential { reason, message }
    }

    /// The answer to a request with these headers.
    pub(crate) fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let kind = request.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
        match kind.is_some_and(|kind| kind.starts_with(b"application/grpc")) {
            true => self.status().into_http(),
            false => self.http(),
        }
    }

    fn status(&self) -> Status {
        let details = ErrorDetails::with_error_info(self.reason(), DOMAIN, HashMap::new());
        Status::with_error_details(self.code(), self.message(), details)
    }

    fn http(&self) -> Response<Body> {
        let body = serde_json::json!({
            "code": i32::from(self.code()),
            "message": self.message(),
            "reason": self.reason(),
        });
        let mut response = Response::new(Body::new(axum::body::Body::from(body.to_string())));
        *response.status_mut() = match self {
            Self::Missing | Self::Credential { .. } => StatusCode::UNAUTHORIZED,
            Self::Permission(_) => StatusCode::FORBIDDEN,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response.headers_mut().extend(self.advice());
        response
    }

    /// What the client may do about it (RFC 6750, section 3; RFC 9110, section 10.2.3).
    fn advice(&self) -> Option<(http::HeaderName, HeaderValue)> {
        let challenge = match self {
            Self::Missing => r#"Bearer realm="muster""#.to_owned(),
            Self::Credential { .. } => r#"Bearer realm="muster", error="invalid_token""#.to_owned(),
            Self::Permission(permission) => format!(
                r#"Bearer realm="muster", error="insufficient_scope", scope="{permission}""#
            ),
            Self::Unavailable => return Some((RETRY_AFTER, HeaderValue::from_static("1"))),
        };
        let challenge = HeaderValue::try_from(challenge).ok()?;
        Some((WWW_AUTHENTICATE, challenge))
    }

    fn code(&self) -> Code {
        match self {
            Self::Missing | Self::Credential { .. } => Code::Unauthenticated,
            Self::Permission(_) => Code::PermissionDenied,
            Self::Unavailable => Code::Unavailable,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "UNAUTHENTICATED",
            Self::Credential { reason, .. } => reason,
            Self::Permission(_) => "PERMISSION_DENIED",
            Self::Unavailable => "UNAVAILABLE",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Missing => "a credential is required, in one of: header `authorization: Bearer \
                              <credential>`, header `authorization: ApiKey <credential>`, header \
                              `x-api-key: <credential>`"
                .to_owned(),
            Self::Credential { message, .. } => message.clone().into_owned(),
            Self::Permission(permission) => {
                format!("the credential lacks the permission {permission}")
            }
            Self::Unavailable => "whether the credential is good can't be found out; try again \
                                  later"
                .to_owned(),
        }
    }
}
