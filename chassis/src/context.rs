//! The call that is being answered: which method, which request, from where
//! and until when. It is there for as long as the call runs, so that what is
//! recorded, and what is asked of others on the way, carries it.

use std::future::Future;
use std::net::IpAddr;
use std::time::Instant;

/// Header that names the client's request in logs and records.
pub const REQUEST_ID: &str = "x-request-id";
/// Header by which the gateway tells the services where a request came from.
pub const SOURCE: &str = "x-muster-source";

/// A call that is being answered.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The method, such as `muster.registry.v1.DeviceService/CreateDevice`.
    pub method: String,
    /// The id of the client's request, which all calls made for it share.
    pub request_id: String,
    /// The address that the client's request came from.
    pub source: Option<IpAddr>,
    /// When the client no longer waits for the answer.
    pub deadline: Option<Instant>,
}

tokio::task_local! {
    static CURRENT: Call;
}

/// The call that the present task answers, if any.
pub fn current() -> Option<Call> {
    CURRENT.try_with(Call::clone).ok()
}

/// Runs what answers a call. Tasks that it starts are not part of it.
pub async fn scope<F: Future>(call: Call, work: F) -> F::Output {
    CURRENT.scope(call, work).await
}
