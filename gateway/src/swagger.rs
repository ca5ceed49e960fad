//! Swagger UI, which shows the documents of [`crate::openapi`].

use http::{Request, Response};
use tonic::body::Body;

/// The page, script or style at a path.
pub(crate) fn answer(_: &Request<Body>) -> Option<Response<Body>> {
    None
}
