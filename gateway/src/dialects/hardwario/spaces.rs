//! Spaces, which are the tenants that a caller may act for.

use chassis::Error;
use proto::muster::dialect::hardwario::v1::Space;
use proto::tenancy::{ListMyTenantsRequest, MyTenant};
use tonic::Status;

use super::{MOST, shape};
use crate::domain::Domain;

/// All spaces that the caller may act for.
pub(super) async fn spaces(domain: &Domain) -> Result<Vec<Space>, Status> {
    let mut found: Vec<MyTenant> = Vec::new();
    let mut page_token = String::new();
    loop {
        let page = ListMyTenantsRequest {
            page_size: MOST,
            page_token,
        };
        let page = domain
            .tenants()
            .list_my_tenants(domain.request(page))
            .await?
            .into_inner();
        found.extend(page.tenants);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(found.into_iter().map(shape::space).collect());
        }
    }
}

/// Where a space is among others.
pub(super) fn place(spaces: &[Space], id: &str) -> Option<usize> {
    spaces
        .iter()
        .position(|space| space.id.eq_ignore_ascii_case(id))
}

pub(super) fn no_space() -> Error {
    Error::denied("NOT_A_MEMBER", "the caller is a member of no space")
}
