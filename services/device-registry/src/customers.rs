//! Whom devices belong to.

use chassis::mask::{Fields, field};
use chassis::paging::Page;
use chassis::store::Store;
use chassis::time::timestamp;
use chassis::{Clock, Error, Result, open};
use proto::registry::customer_service_server::CustomerService;
use proto::registry::{
    CreateCustomerRequest, Customer, DeleteCustomerRequest, DeleteCustomerResponse,
    GetCustomerRequest, ListCustomersRequest, ListCustomersResponse, UpdateCustomerRequest,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::customer;
use crate::paged::{paged, paged_few};
use crate::{attributes, etag, ids};

/// What updates may change.
const FIELDS: Fields<Customer> = Fields {
    message: "customer",
    input: &[
        field!(display_name),
        field!(contact_info),
        field!(notes),
        field!(attributes),
    ],
    output: &["id", "number", "create_time", "update_time", "etag"],
};

/// Answers calls about customers.
pub(crate) struct Customers {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
}

#[tonic::async_trait]
impl CustomerService for Customers {
    async fn create_customer(
        &self,
        request: Request<CreateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let (caller, req) = open(request)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("customer_id", &req.customer_id, &self.clock)?;
        let row = customer::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            ..columns(req.customer.unwrap_or_default())?
        };
        let row = self
            .store
            .change(&caller, ("customers", id), async |tx| {
                tx.insert(row).await.map_err(taken)
            })
            .await?;
        Ok(Response::new(message(row)))
    }

    async fn get_customer(
        &self,
        request: Request<GetCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row)))
    }

    async fn list_customers(
        &self,
        request: Request<ListCustomersRequest>,
    ) -> Result<Response<ListCustomersResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let query = matching(&req)?;
        let tx = self.store.read(&caller).await?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let query = match req.ids.is_empty() {
            true => paged(query, customer::Column::Number, &page),
            false => paged_few(query, customer::Column::Number, &page),
        };
        let rows = tx.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        Ok(Response::new(ListCustomersResponse {
            customers: rows.into_iter().map(message).collect(),
            next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn update_customer(
        &self,
        request: Request<UpdateCustomerRequest>,
    ) -> Result<Response<Customer>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .customer
            .ok_or_else(|| Error::invalid("customer", "must be set"))?;
        let id = ids::parse("customer.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("customers", id), async |tx| {
            let row = tx.one(by_id(id)).await?;
            let row = row.ok_or_else(|| missing(id))?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision) = (row.number, row.revision);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, message(row))?;
            tx.update(customer::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                ..columns(merged)?
            })
            .await
        });
        let row = updated.await.map_err(taken)?;
        Ok(Response::new(message(row)))
    }

    async fn delete_customer(
        &self,
        request: Request<DeleteCustomerRequest>,
    ) -> Result<Response<DeleteCustomerResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = customer::Entity::delete_many().filter(customer::Column::Id.eq(id));
        self.store
            .change(&caller, ("customers", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteCustomerResponse {}))
    }
}

fn by_id(id: Uuid) -> Select<customer::Entity> {
    customer::Entity::find().filter(customer::Column::Id.eq(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("customer", id)
}

fn taken(error: Error) -> Error {
    error.unique(&[
        ("display_name", "customer.display_name"),
        ("id", "customer_id"),
    ])
}

/// The customers that a request asks for, on all pages.
fn matching(request: &ListCustomersRequest) -> Result<Select<customer::Entity>> {
    let name = (!request.display_name.is_empty()).then_some(request.display_name.as_str());
    let number = (request.number != 0).then_some(request.number);
    let ids = ids::parse_all("ids", &request.ids)?;
    Ok(customer::Entity::find()
        .apply_if(name, |query, name| {
            query.filter(customer::Column::DisplayName.eq(name))
        })
        .apply_if(number, |query, number| {
            query.filter(customer::Column::Number.eq(number))
        })
        .apply_if((!ids.is_empty()).then_some(ids), |query, ids| {
            query.filter(customer::Column::Id.is_in(ids))
        }))
}

/// The columns that the creator of a customer, or who changes it, sets.
fn columns(customer: Customer) -> Result<customer::ActiveModel> {
    let attributes = attributes::column("customer.attributes", customer.attributes.as_ref())?;
    Ok(customer::ActiveModel {
        display_name: Set(customer.display_name),
        contact_info: Set(customer.contact_info),
        notes: Set(customer.notes),
        attributes: Set(attributes),
        ..Default::default()
    })
}

/// A customer as the contract has it.
fn message(row: customer::Model) -> Customer {
    Customer {
        id: row.id.to_string(),
        number: row.number,
        display_name: row.display_name,
        contact_info: row.contact_info,
        notes: row.notes,
        attributes: row.attributes.as_ref().map(attributes::from_json),
        create_time: Some(timestamp(row.create_time)),
        update_time: Some(timestamp(row.update_time)),
        etag: etag::of(row.revision),
    }
}
