//! How many devices there are of something, asked of the database once for a
//! whole page. Deleted devices don't count.

use std::collections::HashMap;

use chassis::Result;
use chassis::caller::TenantId;
use chassis::store::ReadTx;
use sea_orm::sea_query::{Expr, ExprTrait, SelectStatement};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait};
use uuid::Uuid;

use crate::entity::{device, device_tag};

/// How many devices are at each of some sites; those without any are left out.
pub(crate) async fn at_sites(
    tx: &ReadTx,
    sites: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, u64>> {
    let query = device::Entity::find()
        .filter(device::Column::SiteId.is_in(sites))
        .filter(device::Column::DeleteTime.is_null());
    tx.count_by(query, device::Column::SiteId).await
}

/// How many devices have each of some tags; those without any are left out.
pub(crate) async fn with_tags(
    tx: &ReadTx,
    tags: impl IntoIterator<Item = Uuid>,
) -> Result<HashMap<Uuid, u64>> {
    let query = device_tag::Entity::find()
        .filter(device_tag::Column::TagId.is_in(tags))
        .filter(Expr::not_exists(deleted(tx.tenant())));
    tx.count_by(query, device_tag::Column::TagId).await
}

/// The device of a tag on a device if it is deleted: asked of each, for a list
/// of all deleted devices may not fit into PostgreSQL's memory, and would be
/// gone through for each. The store confines a statement but not what is
/// nested in it, so the tenant is named here.
fn deleted(tenant: TenantId) -> SelectStatement {
    let this = Expr::col((device::Entity, device::Column::Id));
    device::Entity::find()
        .select_only()
        .expr(Expr::value(1))
        .filter(device::Column::TenantId.eq(tenant.0))
        .filter(device::Column::DeleteTime.is_not_null())
        .filter(this.equals((device_tag::Entity, device_tag::Column::DeviceId)))
        .into_query()
}
