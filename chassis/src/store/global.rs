//! Transactions that see all tenants: for what has no tenant yet, such as a
//! login or an API key that was just presented.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ConnectionTrait, DatabaseTransaction, DbBackend,
    DeleteMany, EntityTrait, FromQueryResult, Insert, IntoActiveModel, PaginatorTrait, Select,
    UpdateMany,
};

use super::pools::Pools;
use super::record::{self, Record};
use super::{Appeared, Begun, Log, Position, Reading};
use crate::clock::Clock;
use crate::error::Result;

/// A transaction that sees all tenants.
pub struct GlobalTx(DatabaseTransaction, Pools, DateTime<Utc>, Clock);

impl GlobalTx {
    pub(super) fn new(begun: Begun, pools: &Pools, clock: &Clock) -> Self {
        Self(begun.tx, pools.clone(), begun.time, clock.clone())
    }

    /// When the transaction began, by the clock of the database: what it did
    /// not see was committed after that.
    pub fn begin_time(&self) -> DateTime<Utc> {
        self.2
    }

    /// The first row of a query, if any.
    pub async fn one<E: EntityTrait>(&self, query: Select<E>) -> Result<Option<E::Model>> {
        self.1.bounded(query.one(&self.0)).await
    }

    /// All rows of a query.
    pub async fn all<E: EntityTrait>(&self, query: Select<E>) -> Result<Vec<E::Model>> {
        self.1.bounded(query.all(&self.0)).await
    }

    /// How many rows a query has.
    pub async fn count<E>(&self, query: Select<E>) -> Result<u64>
    where
        E: EntityTrait,
        E::Model: FromQueryResult + Send + Sync,
    {
        self.1.bounded(query.count(&self.0)).await
    }

    /// Adds a row.
    pub async fn insert<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        Ok(row.insert(&self.0).await?)
    }

    /// Adds many rows, in one statement.
    pub async fn insert_many<A>(&self, rows: Vec<A>) -> Result<()>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
    {
        if rows.is_empty() {
            return Ok(());
        }
        <A::Entity as EntityTrait>::insert_many(rows)
            .exec_without_returning(&self.0)
            .await?;
        Ok(())
    }

    /// Adds a row, or changes the one that is there, as the query says.
    pub async fn upsert<A>(&self, query: Insert<A>) -> Result<()>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
    {
        query.exec_without_returning(&self.0).await?;
        Ok(())
    }

    /// Changes all rows that a query finds; answers how many.
    pub async fn update_many<E: EntityTrait>(&self, query: UpdateMany<E>) -> Result<u64> {
        Ok(query.exec(&self.0).await?.rows_affected)
    }

    /// Deletes all rows that a query finds; answers how many.
    pub async fn delete<E: EntityTrait>(&self, query: DeleteMany<E>) -> Result<u64> {
        Ok(query.exec(&self.0).await?.rows_affected)
    }

    /// Waits for everybody who writes to a table, and lets nobody else until
    /// this is committed. On SQLite that is so in any case.
    pub async fn lock_out_writers<E: EntityTrait>(&self) -> Result<()> {
        if self.0.get_database_backend() == DbBackend::Postgres {
            let table = E::default().table_name().to_owned();
            let sql = format!("LOCK TABLE \"{table}\" IN SHARE MODE");
            self.1.bounded(self.0.execute_unprepared(&sql)).await?;
        }
        Ok(())
    }

    /// Records changes of which only the transaction itself finds out what
    /// they change.
    pub async fn record(&self, records: &[Record]) -> Result<()> {
        Ok(record::write(records, &self.0, &self.3).await?)
    }

    /// Which rows of a log are there, as this transaction sees it.
    pub async fn position<E: Log>(&self) -> Result<Position> {
        self.1.bounded(Position::look::<E>(&self.0)).await
    }

    /// Rows of a query of a log that a reading has not seen yet, at most so many.
    pub async fn appeared<E: Log>(
        &self,
        query: Select<E>,
        reading: Reading,
        limit: u64,
    ) -> Result<Appeared<E::Model>> {
        let now = self.position::<E>().await?;
        let query = reading.query(query, &now, self.0.get_database_backend(), limit)?;
        let rows = self.1.bounded(query.all(&self.0)).await?;
        Ok(reading.took::<E>(rows, now, limit))
    }

    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        &self.0
    }

    pub(super) fn finish(self) -> DatabaseTransaction {
        self.0
    }
}
