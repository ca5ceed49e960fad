//! Transactions that see all tenants: for what has no tenant yet, such as a
//! login or an API key that was just presented.

use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, DatabaseTransaction, DeleteMany, EntityTrait,
    IntoActiveModel, Select, UpdateMany,
};

use super::pools::Pools;
use crate::error::Result;

/// A transaction that sees all tenants.
pub struct GlobalTx(DatabaseTransaction, Pools);

impl GlobalTx {
    pub(super) fn new(tx: DatabaseTransaction, pools: &Pools) -> Self {
        Self(tx, pools.clone())
    }

    /// The first row of a query, if any.
    pub async fn one<E: EntityTrait>(&self, query: Select<E>) -> Result<Option<E::Model>> {
        self.1.bounded(query.one(&self.0)).await
    }

    /// All rows of a query.
    pub async fn all<E: EntityTrait>(&self, query: Select<E>) -> Result<Vec<E::Model>> {
        self.1.bounded(query.all(&self.0)).await
    }

    /// Adds a row.
    pub async fn insert<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        Ok(row.insert(&self.0).await?)
    }

    /// Changes all rows that a query finds; answers how many.
    pub async fn update_many<E: EntityTrait>(&self, query: UpdateMany<E>) -> Result<u64> {
        Ok(query.exec(&self.0).await?.rows_affected)
    }

    /// Deletes all rows that a query finds; answers how many.
    pub async fn delete<E: EntityTrait>(&self, query: DeleteMany<E>) -> Result<u64> {
        Ok(query.exec(&self.0).await?.rows_affected)
    }

    pub(super) fn finish(self) -> DatabaseTransaction {
        self.0
    }
}
