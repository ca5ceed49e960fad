//! Tenants between SensorBucket's form and Muster's, and where the caller is.

use chassis::{Error, Result};
use proto::muster::dialect::sensorbucket::v1 as dialect;
use proto::tenancy::{ListMyTenantsRequest, Tenant, tenant};

use crate::domain::Domain;

/// The tenants that the caller may act for, lowest number first.
pub(super) async fn tenants_of(domain: &Domain) -> Result<Vec<Tenant>> {
    let mut tenants = Vec::new();
    let mut page_token = String::new();
    loop {
        let list = ListMyTenantsRequest {
            page_size: 1000,
            page_token,
        };
        let page = domain
            .tenants()
            .list_my_tenants(domain.request(list))
            .await?
            .into_inner();
        tenants.extend(page.tenants.into_iter().filter_map(|mine| mine.tenant));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            tenants.sort_by_key(|tenant| tenant.number);
            return Ok(tenants);
        }
    }
}

/// The domain as seen from one of the caller's tenants.
pub(super) async fn within(domain: &Domain, tenant: &Tenant) -> Result<Domain> {
    domain
        .in_tenant(tenant.id.parse().map_err(Error::internal)?)
        .await
}

/// Where something may be that is named without its tenant: the tenant that
/// the token is scoped to comes first, then a user's others.
pub(super) async fn where_to_look(domain: &Domain) -> Result<Vec<Tenant>> {
    let mut tenants = tenants_of(domain).await?;
    if let Some(scope) = domain.subject()?.tenant() {
        let scope = scope.0.to_string();
        tenants.sort_by_key(|tenant| tenant.id != scope);
    }
    Ok(tenants)
}

/// The domain as seen from the token's tenant, or from a user's first one,
/// and the tenant's number.
pub(super) async fn at_home(domain: &Domain) -> Result<(Domain, i64)> {
    if domain.subject()?.tenant().is_some() {
        return Ok((domain.clone(), domain.tenant_number()?));
    }
    let tenants = tenants_of(domain).await?;
    let first = tenants.first().ok_or_else(no_member)?;
    Ok((within(domain, first).await?, first.number))
}

pub(super) fn no_member() -> Error {
    Error::denied("NOT_A_MEMBER", "the caller is a member of no tenant")
}

pub(super) fn matches(tenant: &Tenant, wanted: &dialect::ListTenantsRequest) -> bool {
    let state = match tenant.state() {
        tenant::State::Suspended => 2,
        _ => 1,
    };
    (wanted.name.is_empty() || wanted.name == tenant.display_name)
        && wanted.state.is_none_or(|wanted| wanted == state)
}

pub(super) fn shown_tenant(tenant: &Tenant, all: &[Tenant]) -> dialect::Tenant {
    let parent = all.iter().find(|other| other.id == tenant.parent);
    dialect::Tenant {
        id: tenant.number,
        name: tenant.display_name.clone(),
        parent_tenant_id: parent.map(|parent| parent.number),
        ..Default::default()
    }
}
