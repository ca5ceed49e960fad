//! How a command fails, told so that the reader knows what to do next.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    details: Vec<String>,
    hint: Option<String>,
    code: Option<Code>,
}

impl Failure {
    /// A failure on this side of the connection.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            details: Vec::new(),
            hint: None,
            code: None,
        }
    }

    /// A failure with what caused it, down to the first cause.
    pub(crate) fn caused(message: impl fmt::Display, cause: &dyn Error) -> Self {
        let mut causes = vec![cause.to_string()];
        let mut next = cause.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Errors often repeat the text of what they wrap.
            if !causes.iter().any(|told| told.contains(&text)) {
                causes.push(text);
            }
            next = cause.source();
        }
        Self::new(format!("{message}: {}", causes.join(": ")))
    }

    /// Says what to do next.
    #[must_use]
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// Says what came before.
    #[must_use]
    pub(crate) fn context(self, context: impl fmt::Display) -> Self {
        Self {
            message: format!("{context}: {}", self.message),
            ..self
        }
    }

    /// Whether the server did not accept the credential.
    pub(crate) fn is_unauthenticated(&self) -> bool {
        self.code == Some(Code::Unauthenticated)
    }
}

impl Failure {
    /// Whether the same may succeed in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self.code,
            Some(Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted)
        )
    }
}

impl Failure {
    /// The same, which may succeed in a moment.
    #[must_use]
    pub(crate) fn passing(self) -> Self {
        Self {
            code: Some(Code::Unavailable),
            ..self
        }
    }

    /// Whether a stream that failed so may go on with another connection, and
    /// another token. What breaks a connection has many codes.
    pub(crate) fn may_go_on(&self) -> bool {
        let others = [
            Code::Unknown,
            Code::Internal,
            Code::Aborted,
            Code::Cancelled,
            Code::Unauthenticated,
        ];
        self.is_passing() || self.code.is_some_and(|code| others.contains(&code))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let violations: Vec<String> = details
            .bad_request()
            .map(|bad| &bad.field_violations[..])
            .unwrap_or_default()
            .iter()
            .map(|v| format!("{}: {}", v.field, v.description))
            .collect();
        // The server's message repeats the violations in one line.
        let message = match (violations.is_empty(), status.message()) {
            (false, _) => "the server does not accept the request".to_owned(),
            (true, "") => status.code().description().to_owned(),
            (true, message) => message.to_owned(),
        };
        let message = match details.error_info() {
            Some(info) => format!("{message} ({})", info.reason),
            None => message,
        };
        Self {
            message,
            details: violations,
            hint: hint(&status).map(str::to_owned),
            code: Some(status.code()),
        }
    }
}

/// What usually helps.
fn hint(status: &Status) -> Option<&'static str> {
    // Only a status that was made on this side has a source: the connection failed.
    if status.source().is_some() {
        return Some("is the URL right: https:// or http://, and the port?");
    }
    match status.code() {
        Code::Unauthenticated => Some(
            "check --api-key and MUSTER_API_KEY, or run: muster login --server URL --email EMAIL",
        ),
        Code::PermissionDenied => Some("to see what is allowed, run: muster whoami"),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => {
            Some("try again in a moment")
        }
        Code::Internal => Some("the server's log has the cause"),
        Code::Unimplemented => {
            Some("is the URL that of a Muster gateway, and its version not older than this one?")
        }
        _ => None,
    }
}

/// As it is printed: the message, the details, the hint.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        for detail in &self.details {
            write!(f, "\n  {detail}")?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, FieldViolation};

    use super::*;

    #[test]
    fn violations_are_told_one_a_line_and_once() {
        let mut details = ErrorDetails::with_error_info("INVALID_ARGUMENT", "muster", []);
        details.set_bad_request(vec![
            FieldViolation::new("device.code", "is too short"),
            FieldViolation::new("device.display_name", "is required"),
        ]);
        let message = "device.code: is too short; device.display_name: is required";
        let status = Status::with_error_details(Code::InvalidArgument, message, details);
        assert_eq!(
            Failure::from(status).to_string(),
            "error: the server does not accept the request (INVALID_ARGUMENT)\n  \
             device.code: is too short\n  device.display_name: is required"
        );
    }

    #[test]
    fn the_reason_and_what_to_do_are_told() {
        let details = ErrorDetails::with_error_info("PERMISSION_MISSING", "muster", []);
        let status = Status::with_error_details(Code::PermissionDenied, "needs keys.read", details);
        assert_eq!(
            Failure::from(status).to_string(),
            "error: needs keys.read (PERMISSION_MISSING)\n\
             hint: to see what is allowed, run: muster whoami"
        );
    }

    #[test]
    fn a_bare_status_is_told_by_its_code() {
        let told = Failure::from(Status::new(Code::Aborted, "")).to_string();
        assert_eq!(told, format!("error: {}", Code::Aborted.description()));
    }
}
