//! What became of one request to a webhook.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;

/// How long a receiver may take, with its answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer is kept, in bytes.
const KEPT: usize = 300;

/// What became of an attempt.
pub(super) struct Outcome {
    pub(super) status: Option<u16>,
    /// Nothing if it succeeded.
    pub(super) error: Option<String>,
    /// How long the receiver asked to be left alone, in seconds.
    pub(super) retry_after: Option<i64>,
}

/// What a receiver's answer means.
pub(super) async fn outcome(mut response: Response) -> Outcome {
    let status = response.status();
    if status.is_success() {
        return Outcome {
            status: Some(status.as_u16()),
            error: None,
            retry_after: None,
        };
    }
    let retry_after = response.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let mut body = Vec::new();
    while body.len() < KEPT
        && let Ok(Some(some)) = response.chunk().await
    {
        body.extend_from_slice(&some);
    }
    body.truncate(KEPT);
    // PostgreSQL takes no NUL.
    let body = String::from_utf8_lossy(&body).replace('\0', "");
    Outcome {
        status: Some(status.as_u16()),
        error: Some(format!("answered {status}: {body}")),
        retry_after,
    }
}

/// Why a request failed, without the URL.
pub(super) fn told(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} seconds", TIMEOUT.as_secs());
    }
    // The last cause says most.
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text: String = cause.to_string().chars().take(KEPT).collect();
    format!("can't be reached: {text}")
}
