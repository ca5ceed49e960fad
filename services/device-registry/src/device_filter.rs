//! Which devices a list wants.

use chassis::Result;
use chassis::caller::TenantId;
use proto::registry::ListDevicesRequest;
use sea_orm::sea_query::SelectStatement;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QuerySelect, QueryTrait, Select};
use uuid::Uuid;

use crate::entity::device::{Column, Entity};
use crate::entity::device_tag;
use crate::ids;

/// The devices that a request asks for, on all pages.
pub(crate) fn matching(request: &ListDevicesRequest, tenant: TenantId) -> Result<Select<Entity>> {
    let site = ids::parse_optional("site_id", &request.site_id)?;
    let mut query = Entity::find()
        .apply_if(site, |query, site| query.filter(Column::SiteId.eq(site)))
        .apply_if(unless_default(request.number), |query, number| {
            query.filter(Column::Number.eq(number))
        })
        .apply_if(unless_default(request.state), |query, state| {
            query.filter(Column::State.eq(state))
        });
    for (column, text) in [
        (Column::DisplayName, &request.display_name),
        (Column::SerialNumber, &request.serial_number),
        (Column::ExternalId, &request.external_id),
        (Column::Code, &request.code),
    ] {
        if !text.is_empty() {
            query = query.filter(column.eq(text.as_str()));
        }
    }
    for tags in tag_groups(request)? {
        query = query.filter(Column::Id.in_subquery(tagged(tenant, tags)));
    }
    Ok(query)
}

fn unless_default<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

/// Groups of tags: a device must have one of each group.
fn tag_groups(request: &ListDevicesRequest) -> Result<Vec<Vec<Uuid>>> {
    let mut tags = Vec::new();
    for (i, id) in request.tag_ids.iter().enumerate() {
        tags.push(ids::parse(&format!("tag_ids[{i}]"), id)?);
    }
    Ok(match (tags.is_empty(), request.any_tag) {
        (true, _) => Vec::new(),
        (false, true) => vec![tags],
        (false, false) => tags.into_iter().map(|tag| vec![tag]).collect(),
    })
}

/// The ids of devices with one of some tags. The store confines the statement
/// but not what is nested in it, so the tenant is named here.
fn tagged(tenant: TenantId, tags: Vec<Uuid>) -> SelectStatement {
    device_tag::Entity::find()
        .select_only()
        .column(device_tag::Column::DeviceId)
        .filter(device_tag::Column::TenantId.eq(tenant.0))
        .filter(device_tag::Column::TagId.is_in(tags))
        .into_query()
}

#[cfg(test)]
mod tests {
    use sea_orm::DbBackend;

    use super::*;

    fn sql(request: &ListDevicesRequest) -> String {
        let query = matching(request, TenantId(Uuid::nil())).unwrap();
        query.build(DbBackend::Sqlite).to_string()
    }

    #[test]
    fn without_filters_all_devices_match() {
        assert!(!sql(&ListDevicesRequest::default()).contains("WHERE"));
    }

    #[test]
    fn all_tags_take_a_subquery_each_and_any_tag_takes_one() {
        let mut request = ListDevicesRequest {
            tag_ids: vec![Uuid::nil().to_string(), Uuid::max().to_string()],
            ..Default::default()
        };
        assert_eq!(sql(&request).matches("IN (SELECT").count(), 2);
        request.any_tag = true;
        assert_eq!(sql(&request).matches("IN (SELECT").count(), 1);
    }

    #[test]
    fn a_subquery_names_the_tenant() {
        let request = ListDevicesRequest {
            tag_ids: vec![Uuid::max().to_string()],
            ..Default::default()
        };
        assert!(sql(&request).contains(r#""device_tags"."tenant_id" = "#));
    }
}
