//! What people look at: the documents of the APIs and the pages that show
//! them. Public, and the same for everybody.

use http::{Request, Response};
use tonic::body::Body;

use crate::{openapi, swagger};

/// The document or page at a path, if there is one.
pub(crate) fn answer(request: &Request<Body>) -> Option<Response<Body>> {
    openapi::answer(request).or_else(|| swagger::answer(request))
}
