//! Customers, which are Muster's. A device keeps the id of its own in the
//! attribute `customer_id`.

use std::collections::{BTreeSet, HashMap};

use chassis::peer::Peers;
use chassis::{Error, Result};
use prost_types::FieldMask;
use proto::muster::dialect::device42::v1 as dialect;
use proto::muster::dialect::device42::v1::device42_customer_service_server::{
    Device42CustomerService, Device42CustomerServiceServer, SERVICE_NAME,
};
use proto::registry::{
    CreateCustomerRequest, Customer, Device, ListCustomersRequest, ListDevicesRequest,
    UpdateCustomerRequest,
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::attributes::{self, custom_fields, keep_text, text};
use super::values::{self, Page, Written, changed, deleted};
use super::{Device42, FIELD_PUT, devices, look, refusal};
use crate::dialects::Dialect;
use crate::domain::Domain;

/// The attribute of a device that holds its customer's id.
pub(super) const CUSTOMER_ID: &str = "customer_id";

pub(crate) const DIALECT: Dialect = Dialect {
    service: SERVICE_NAME,
    // Those of the other service.
    prefixes: &[],
    error: refusal::error,
    error_content: None,
};

pub(crate) fn service(peers: &Peers) -> Device42CustomerServiceServer<Device42> {
    Device42CustomerServiceServer::new(Device42 {
        peers: peers.clone(),
    })
}

#[tonic::async_trait]
impl Device42CustomerService for Device42 {
    async fn list_customers(
        &self,
        request: Request<dialect::ListCustomersRequest>,
    ) -> Result<Response<dialect::ListCustomersResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let list = ListCustomersRequest {
            page_size: page.limit,
            skip: page.offset,
            count_total: true,
            display_name: wanted.name,
            ..Default::default()
        };
        let list = domain.request(list);
        let found = domain.customers().list_customers(list).await?.into_inner();
        Ok(Response::new(dialect::ListCustomersResponse {
            customers: found.customers.into_iter().map(shown).collect(),
            total_count: found.total_size,
            limit: page.limit,
            offset: page.offset,
        }))
    }

    async fn get_customer(
        &self,
        request: Request<dialect::GetCustomerRequest>,
    ) -> Result<Response<dialect::Customer>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let customer = by_number(&domain, wanted.id).await?;
        Ok(Response::new(shown(customer)))
    }

    async fn put_customer(
        &self,
        request: Request<dialect::PutCustomerRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let (customer, written) = put(&domain, wanted).await?;
        let text = "customer added or updated";
        Ok(written.response(text, customer.number, &customer.display_name))
    }

    async fn delete_customer(
        &self,
        request: Request<dialect::DeleteCustomerRequest>,
    ) -> Result<Response<dialect::DeleteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let customer = by_number(&domain, wanted.id).await?;
        let delete = proto::registry::DeleteCustomerRequest { id: customer.id };
        let delete = domain.request(delete);
        domain.customers().delete_customer(delete).await?;
        Ok(deleted(customer.number))
    }

    async fn put_customer_field(
        &self,
        request: Request<dialect::PutCustomerFieldRequest>,
    ) -> Result<Response<dialect::WriteResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let before = match wanted.id {
            0 if wanted.name.is_empty() => {
                return Err(Error::invalid("name", "is required").into());
            }
            0 => by_name(&domain, &wanted.name)
                .await?
                .ok_or_else(|| Error::not_found("customer", &wanted.name))?,
            number => by_number(&domain, number).await?,
        };
        let mut customer = before.clone();
        attributes::put(&mut customer.attributes, &field(wanted))?;
        let (customer, written) = update(&domain, before, customer).await?;
        Ok(written.response(FIELD_PUT, customer.number, &customer.display_name))
    }

    async fn list_customer_devices(
        &self,
        request: Request<dialect::ListCustomerDevicesRequest>,
    ) -> Result<Response<dialect::ListAllDevicesResponse>, Status> {
        let (domain, wanted) = self.open(request).await?;
        let page = Page::new(wanted.limit, wanted.offset)?;
        let nulls = values::flag("blankasnull", &wanted.blankasnull)?;
        let customer = by_number(&domain, wanted.customer_id).await?;
        let list = ListDevicesRequest {
            filter: look::kept(&[(CUSTOMER_ID, &customer.id)]),
            ..Default::default()
        };
        let (found, total) = look::walk(&domain, list, page).await?;
        Ok(Response::new(dialect::ListAllDevicesResponse {
            devices: devices::shown(&domain, found, nulls).await?,
            total_count: total,
            limit: page.limit,
            offset: page.offset,
        }))
    }
}

fn shown(customer: Customer) -> dialect::Customer {
    dialect::Customer {
        id: customer.number,
        name: customer.display_name,
        contact_info: customer.contact_info,
        notes: customer.notes,
        groups: text(&customer.attributes, "groups"),
        contacts: Vec::new(),
        custom_fields: custom_fields(&customer.attributes),
        devices_url: format!("/api/1.0/devices/customer_id/{}/", customer.number),
    }
}

/// The same of a building: they take the same.
fn field(wanted: dialect::PutCustomerFieldRequest) -> dialect::PutBuildingFieldRequest {
    dialect::PutBuildingFieldRequest {
        name: wanted.name,
        id: wanted.id,
        key: wanted.key,
        value: wanted.value,
        notes: wanted.notes,
        clear_value: wanted.clear_value,
        clear_notes: wanted.clear_notes,
        bulk_fields: wanted.bulk_fields,
        r#type: wanted.r#type,
        filterable: wanted.filterable,
        mandatory: wanted.mandatory,
        log_for_api: wanted.log_for_api,
        related_field_name: wanted.related_field_name,
        groups: wanted.groups,
    }
}

/// The customer with a number.
async fn by_number(domain: &Domain, number: i64) -> Result<Customer> {
    let missing = || Error::not_found("customer", number);
    // As a filter, 0 would mean any.
    if number <= 0 {
        return Err(missing());
    }
    let list = ListCustomersRequest {
        page_size: 1,
        number,
        ..Default::default()
    };
    first(domain, list).await?.ok_or_else(missing)
}

/// The customer with a name, if there is one.
async fn by_name(domain: &Domain, name: &str) -> Result<Option<Customer>> {
    let list = ListCustomersRequest {
        page_size: 1,
        display_name: name.to_owned(),
        ..Default::default()
    };
    first(domain, list).await
}

async fn first(domain: &Domain, list: ListCustomersRequest) -> Result<Option<Customer>> {
    let list = domain.request(list);
    let found = domain.customers().list_customers(list).await?;
    Ok(found.into_inner().customers.into_iter().next())
}

/// The id of the customer with a name, to filter by: empty for no name, and
/// nothing if there is none with it.
pub(super) async fn id_of(domain: &Domain, name: &str) -> Result<Option<String>> {
    match name {
        "" => Ok(Some(String::new())),
        name => Ok(by_name(domain, name).await?.map(|customer| customer.id)),
    }
}

/// The id of the customer whose a device shall be, who is created as needed;
/// empty if it shall be nobody's, and nothing if it stays whose it is.
pub(super) async fn wanted(
    domain: &Domain,
    wanted: &dialect::PutDeviceRequest,
) -> Result<Option<String>> {
    let name = match (&wanted.customer, wanted.customer_id) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => {
            let why = "can't be given beside customer";
            return Err(Error::invalid("customer_id", why));
        }
        (None, Some(number)) => {
            return match by_number(domain, number).await {
                Err(Error::NotFound { .. }) => {
                    let why = "there is no customer with this id";
                    Err(Error::invalid("customer_id", why))
                }
                found => Ok(Some(found?.id)),
            };
        }
        (Some(name), None) => name,
    };
    if let Some(id) = id_of(domain, name).await? {
        return Ok(Some(id));
    }
    let new = Customer {
        display_name: name.clone(),
        ..Default::default()
    };
    Ok(Some(create(domain, new).await?.id))
}

/// The customers that devices name, by their ids: asked for only if there are
/// any, and all at once.
pub(super) async fn of(domain: &Domain, devices: &[Device]) -> Result<HashMap<String, Customer>> {
    let named = devices.iter().map(|d| text(&d.attributes, CUSTOMER_ID));
    // What else programs keep there names nobody.
    let ids: BTreeSet<_> = named
        .filter(|id| id.parse::<Uuid>().is_ok_and(|uuid| uuid.to_string() == *id))
        .collect();
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let list = ListCustomersRequest {
        page_size: 1000,
        ids: ids.into_iter().collect(),
        ..Default::default()
    };
    let list = domain.request(list);
    let found = domain.customers().list_customers(list).await?.into_inner();
    let found = found.customers.into_iter();
    Ok(found.map(|one| (one.id.clone(), one)).collect())
}

/// Adds a customer, or changes the one with that name.
async fn put(domain: &Domain, wanted: dialect::PutCustomerRequest) -> Result<(Customer, Written)> {
    if wanted.name.is_empty() {
        return Err(Error::invalid("name", "is required"));
    }
    let before = by_name(domain, &wanted.name).await?;
    let customer = after(before.clone().unwrap_or_default(), wanted);
    match before {
        Some(before) => update(domain, before, customer).await,
        None => Ok((create(domain, customer).await?, Written::New)),
    }
}

async fn create(domain: &Domain, customer: Customer) -> Result<Customer> {
    let create = CreateCustomerRequest {
        customer: Some(customer),
        ..Default::default()
    };
    let create = domain.request(create);
    let customer = domain.customers().create_customer(create).await?;
    Ok(customer.into_inner())
}

async fn update(
    domain: &Domain,
    before: Customer,
    customer: Customer,
) -> Result<(Customer, Written)> {
    let paths = differences(&before, &customer);
    if paths.is_empty() {
        return Ok((before, Written::Unchanged));
    }
    let update = UpdateCustomerRequest {
        customer: Some(customer),
        update_mask: Some(FieldMask { paths }),
    };
    let update = domain.request(update);
    let customer = domain.customers().update_customer(update).await?;
    Ok((customer.into_inner(), Written::Updated))
}

/// The customer as it shall be: what is not given stays.
fn after(mut before: Customer, wanted: dialect::PutCustomerRequest) -> Customer {
    if let Some(groups) = &wanted.groups {
        keep_text(&mut before.attributes, "groups", groups);
    }
    Customer {
        display_name: wanted.new_name.unwrap_or(wanted.name),
        contact_info: wanted.contact_info.unwrap_or(before.contact_info),
        notes: wanted.notes.unwrap_or(before.notes),
        ..before
    }
}

fn differences(before: &Customer, after: &Customer) -> Vec<String> {
    changed(&[
        ("display_name", before.display_name != after.display_name),
        ("contact_info", before.contact_info != after.contact_info),
        ("notes", before.notes != after.notes),
        ("attributes", before.attributes != after.attributes),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_stays() {
        let before = Customer {
            display_name: "Waterworks".into(),
            contact_info: "555".into(),
            notes: "old".into(),
            ..Default::default()
        };
        let wanted = dialect::PutCustomerRequest {
            name: "Waterworks".into(),
            notes: Some(String::new()),
            groups: Some("Corp:yes".into()),
            ..Default::default()
        };
        let customer = after(before.clone(), wanted);
        assert_eq!(customer.contact_info, "555");
        assert_eq!(differences(&before, &customer), ["notes", "attributes"]);
        assert_eq!(shown(customer).groups, "Corp:yes");
    }
}
