//! The few ways in which a call can fail, mapped once to gRPC.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use proto::Violation;
use sea_orm::{DbErr, RuntimeErr, SqlErr};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

/// Who defines the reason codes (google.rpc.ErrorInfo.domain).
pub const DOMAIN: &str = "muster";

/// Result of everything that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a call fails. The text is for the client; what it must not see is in
/// [`Error::Internal`], which is logged and not told.
#[derive(Debug)]
pub enum Error {
    /// Fields break the contract's rules; all of them at once.
    Invalid(Vec<Violation>),
    /// No valid credential.
    Unauthenticated {
        /// Stable reason code.
        reason: &'static str,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// The caller may not do this.
    Denied {
        /// Stable reason code.
        reason: &'static str,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// There is no such thing for this caller.
    NotFound {
        /// What kind of thing, such as `device`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// A field that must be unique holds a value that another row has.
    AlreadyExists {
        /// The field.
        field: Cow<'static, str>,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// The request is right, but not in the present state.
    Precondition {
        /// Stable reason code.
        reason: &'static str,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// Somebody else changed the thing in between.
    Aborted {
        /// For a person.
        message: Cow<'static, str>,
    },
    /// Too much at once; try again later.
    Exhausted {
        /// Stable reason code.
        reason: &'static str,
        /// For a person.
        message: Cow<'static, str>,
    },
    /// Another service can't be reached; try again later.
    Unavailable {
        /// Which one.
        what: Cow<'static, str>,
    },
    /// Other changes got in the way each time that this one was tried.
    Contention,
    /// Another service refused; its answer is passed on.
    Peer(Box<Status>),
    /// The database refused a row because of a constraint.
    Constraint(Constraint),
    /// A fault of ours: logged, and told as "internal error" only.
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

/// A constraint of the database that a row broke.
#[derive(Debug)]
pub enum Constraint {
    /// A unique index; the database's text names its columns.
    Unique(String),
    /// A foreign key.
    Reference(String),
}

impl Error {
    /// One field that breaks a rule that the contract can't state.
    pub fn invalid(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation {
            field: field.into(),
            rule: "value",
            description: description.into(),
        }])
    }

    /// No valid token.
    pub fn unauthenticated(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Unauthenticated {
            reason: "UNAUTHENTICATED",
            message: message.into(),
        }
    }

    /// The caller may not do this.
    pub fn denied(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Denied {
            reason,
            message: message.into(),
        }
    }

    /// There is no such thing for this caller.
    pub fn not_found(kind: &'static str, id: impl fmt::Display) -> Self {
        Self::NotFound {
            kind,
            id: id.to_string(),
        }
    }

    /// Not in the present state.
    pub fn precondition(reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::Precondition {
            reason,
            message: message.into(),
        }
    }

    /// A fault of ours.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// Says which field a broken unique index belongs to: pairs of a column
    /// and the request's field. Other errors stay as they are.
    #[must_use]
    pub fn unique(self, columns: &[(&str, &'static str)]) -> Self {
        let Self::Constraint(Constraint::Unique(text)) = &self else {
            return self;
        };
        match columns.iter().find(|(column, _)| text.contains(column)) {
            Some((_, field)) => Self::AlreadyExists {
                field: Cow::Borrowed(field),
                message: format!("{field} is taken by another one").into(),
            },
            None => self,
        }
    }
}

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(text)) => {
                Self::Constraint(Constraint::Unique(text))
            }
            Some(SqlErr::ForeignKeyConstraintViolation(text)) => {
                Self::Constraint(Constraint::Reference(text))
            }
            _ => match (sql_state(&error).as_deref(), &error) {
                // serialization_failure, deadlock_detected
                (Some("40001" | "40P01"), _) => Self::Contention,
                (Some(state), _) if is_outage(state) => database_is_away(&error),
                // undefined_table, undefined_column
                (Some("42P01" | "42703"), _) => {
                    tracing::error!(%error, "the database is not migrated for this version");
                    Self::Unavailable {
                        what: "the tables of this version".into(),
                    }
                }
                // No statement ran: whoever connects later may be let in.
                (_, DbErr::ConnectionAcquire(_) | DbErr::Conn(_)) => database_is_away(&error),
                (None, DbErr::Exec(cause) | DbErr::Query(cause)) if is_lost(cause) => {
                    database_is_away(&error)
                }
                _ => Self::internal(error),
            },
        }
    }
}

/// The SQLSTATE of an error that the database itself reported.
pub(crate) fn sql_state(error: &DbErr) -> Option<String> {
    let (DbErr::Conn(cause) | DbErr::Exec(cause) | DbErr::Query(cause)) = error else {
        return None;
    };
    let RuntimeErr::SqlxError(cause) = cause else {
        return None;
    };
    Some(cause.as_database_error()?.code()?.into_owned())
}

/// States of PostgreSQL that pass without our doing: connection trouble (08),
/// no resources (53), a shutdown or a cancelled statement (57), a lock that
/// was not to be had (55P03), an idle transaction that was ended (25P03), a
/// server that may not write because another one does (25006), a login or a
/// role that is not let in (28).
fn is_outage(state: &str) -> bool {
    ["08", "28", "53", "57"]
        .iter()
        .any(|class| state.starts_with(class))
        || ["55P03", "25P03", "25006"].contains(&state)
}

/// Whether the connection was lost rather than the statement refused.
fn is_lost(cause: &RuntimeErr) -> bool {
    use sea_orm::sqlx::Error as Sqlx;
    let RuntimeErr::SqlxError(cause) = cause else {
        return false;
    };
    matches!(
        **cause,
        Sqlx::Io(_)
            | Sqlx::Tls(_)
            | Sqlx::Protocol(_)
            | Sqlx::PoolTimedOut
            | Sqlx::PoolClosed
            | Sqlx::WorkerCrashed
    )
}

fn database_is_away(error: &DbErr) -> Error {
    tracing::warn!(%error, "the database can't be used");
    Error::Unavailable {
        what: "the database".into(),
    }
}

/// Another service's refusal is passed on; its being away is told as such.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Peer(Box::new(status))
    }
}

/// For logs; clients see the [`Status`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Internal(cause) => cause.fmt(f),
            Self::Peer(status) => f.write_str(status.message()),
            Self::Unavailable { what } => write!(f, "{what} can't be reached"),
            Self::Unauthenticated { message, .. }
            | Self::Denied { message, .. }
            | Self::Precondition { message, .. }
            | Self::Exhausted { message, .. }
            | Self::AlreadyExists { message, .. }
            | Self::Aborted { message } => f.write_str(message),
            Self::Contention => f.write_str("other changes got in the way"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(violations) => invalid(violations),
            Error::Unauthenticated { reason, message } => {
                status(Code::Unauthenticated, reason, message, &[])
            }
            Error::Denied { reason, message } => {
                status(Code::PermissionDenied, reason, message, &[])
            }
            Error::NotFound { kind, id } => {
                let message = format!("there is no {kind} {id}");
                status(
                    Code::NotFound,
                    "NOT_FOUND",
                    message,
                    &[("kind", kind), ("id", &id)],
                )
            }
            Error::AlreadyExists { field, message } => status(
                Code::AlreadyExists,
                "ALREADY_EXISTS",
                message,
                &[("field", &field)],
            ),
            Error::Precondition { reason, message } => {
                status(Code::FailedPrecondition, reason, message, &[])
            }
            Error::Aborted { message } => status(Code::Aborted, "CONFLICT", message, &[]),
            Error::Exhausted { reason, message } => {
                status(Code::ResourceExhausted, reason, message, &[])
            }
            Error::Unavailable { what } => status(
                Code::Unavailable,
                "UNAVAILABLE",
                format!("{what} can't be reached; try again later"),
                &[],
            ),
            Error::Contention => status(
                Code::Aborted,
                "CONFLICT",
                "other changes got in the way; try again",
                &[],
            ),
            Error::Peer(status) => *status,
            Error::Constraint(Constraint::Unique(_)) => status(
                Code::AlreadyExists,
                "ALREADY_EXISTS",
                "there is one like it already",
                &[],
            ),
            Error::Constraint(Constraint::Reference(_)) => status(
                Code::FailedPrecondition,
                "IN_USE",
                "something else refers to it, or what it refers to is gone",
                &[],
            ),
            Error::Internal(cause) => {
                tracing::error!(error = %cause, "internal error");
                status(
                    Code::Internal,
                    "INTERNAL",
                    "internal error; the server's log has the cause",
                    &[],
                )
            }
        }
    }
}

fn invalid(violations: Vec<Violation>) -> Status {
    let told = violations
        .iter()
        .map(|v| format!("{}: {}", v.field, v.description))
        .collect::<Vec<_>>()
        .join("; ");
    let fields = violations
        .into_iter()
        .map(|v| FieldViolation::new(v.field, v.description))
        .collect::<Vec<_>>();
    let mut details = info("INVALID_ARGUMENT", &[]);
    details.set_bad_request(fields);
    Status::with_error_details(Code::InvalidArgument, told, details)
}

fn status(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: &[(&str, &str)],
) -> Status {
    Status::with_error_details(code, message, info(reason, metadata))
}

fn info(reason: &str, metadata: &[(&str, &str)]) -> ErrorDetails {
    let metadata: HashMap<_, _> = metadata
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect();
    ErrorDetails::with_error_info(reason, DOMAIN, metadata)
}
