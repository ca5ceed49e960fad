//! Calls to a service that runs elsewhere.

use tonic::transport::Endpoint;
use tower::ServiceExt;
use tower::util::BoxCloneSyncService;

use crate::error::{Error, Result};
use crate::peer::Stack;

/// The processes of one service.
#[derive(Clone)]
pub struct Balance {
    stack: Stack,
}

impl Balance {
    /// A service at these places: `host:port` each.
    pub fn new(places: &[String]) -> Result<Self> {
        let first = places.first().map(String::as_str).unwrap_or_default();
        let endpoint = Endpoint::from_shared(format!("http://{first}")).map_err(Error::internal)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "the service has its own authorization layer"
        )]
        let stack = BoxCloneSyncService::new(endpoint.connect_lazy().map_err(tower::BoxError::from));
        Ok(Self { stack })
    }

    /// What answers calls.
    pub fn stack(&self) -> Stack {
        self.stack.clone()
    }
}
