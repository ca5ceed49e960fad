//! The record of changes: who did what to which thing, in which request and
//! from where. Written in the transaction of the change itself.

use std::fmt;

use sea_orm::{DatabaseTransaction, DbErr, EntityTrait, Set};
use uuid::Uuid;

use crate::caller::Principal;
use crate::clock::Clock;
use crate::context::{self, Call};
use crate::error::Result;

/// Rows of one statement: each has ten values, and PostgreSQL takes 65,535 of them.
const AT_ONCE: usize = 1000;

/// What is changed, as its resource name (AIP-122), such as `devices/0189…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource(String);

impl<I: fmt::Display> From<(&'static str, I)> for Resource {
    fn from((collection, id): (&'static str, I)) -> Self {
        Self(format!("{collection}/{id}"))
    }
}

impl Resource {
    /// What it belongs to, such as `devices`.
    fn collection(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }
}

/// Who changes what, in which tenant.
#[derive(Clone, Debug)]
pub struct Record {
    tenant: Option<Uuid>,
    actor: String,
    resource: Resource,
}

impl Record {
    /// A change of a thing that belongs to a tenant.
    pub fn new(tenant: Uuid, actor: &Principal, resource: impl Into<Resource>) -> Self {
        Self {
            tenant: Some(tenant),
            actor: actor.to_string(),
            resource: resource.into(),
        }
    }

    /// A change of a thing that belongs to no tenant, made by a service itself.
    pub fn of_installation(service: &str, resource: impl Into<Resource>) -> Self {
        Self {
            tenant: None,
            actor: format!("service:{service}"),
            resource: resource.into(),
        }
    }

    /// A change of a tenant's thing that a service, or the operator, makes by itself.
    pub fn by_service(name: &str, tenant: Uuid, resource: impl Into<Resource>) -> Self {
        Self {
            tenant: Some(tenant),
            actor: format!("service:{name}"),
            resource: resource.into(),
        }
    }

    /// A change of a tenant's thing by whoever proved himself by something else
    /// than a token, such as `claim-key:0189…`.
    pub fn by(actor: String, tenant: Uuid, resource: impl Into<Resource>) -> Self {
        Self {
            tenant: Some(tenant),
            actor,
            resource: resource.into(),
        }
    }

    fn row(&self, call: &Call, clock: &Clock) -> event::ActiveModel {
        event::ActiveModel {
            id: Set(clock.new_id()),
            tenant_id: Set(self.tenant),
            time: Set(clock.now()),
            actor: Set(self.actor.clone()),
            method: Set(call.method.clone()),
            collection: Set(self.resource.collection().to_owned()),
            resource: Set(self.resource.0.clone()),
            request_id: Set(call.request_id.clone()),
            source: Set(call
                .source
                .map(|source| source.to_string())
                .unwrap_or_default()),
            ..Default::default()
        }
    }
}

/// Writes what a change has changed, in its transaction.
pub(super) async fn write(
    records: &[Record],
    tx: &DatabaseTransaction,
    clock: &Clock,
) -> Result<(), DbErr> {
    let call = context::current().unwrap_or_default();
    for some in records.chunks(AT_ONCE) {
        let rows = some.iter().map(|record| record.row(&call, clock));
        event::Entity::insert_many(rows)
            .exec_without_returning(tx)
            .await?;
    }
    Ok(())
}

/// The table, which every service has.
pub mod event {
    use sea_orm::entity::prelude::*;

    /// A change.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        /// Counts the changes.
        #[sea_orm(primary_key)]
        pub number: i64,
        /// Names the change everywhere.
        pub id: Uuid,
        /// The tenant whose thing was changed, if it belongs to one.
        pub tenant_id: Option<Uuid>,
        /// When.
        pub time: DateTimeUtc,
        /// Who, as a token's `sub`.
        pub actor: String,
        /// By which method of the contract; empty if the service did it by itself.
        pub method: String,
        /// The first part of the resource's name.
        pub collection: String,
        /// What, as a resource name.
        pub resource: String,
        /// In which request of the client.
        pub request_id: String,
        /// The address from which the request came; empty if unknown.
        pub source: String,
        /// The transaction that wrote it; 0 on SQLite.
        pub transaction: i64,
    }

    /// None.
    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}

    crate::tenant_owned!(super_event);
    use super::event as super_event;
    crate::log!(super_event);
}
