//! Transactions that see one tenant.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Deref;

use chrono::{DateTime, Utc};
use sea_orm::prelude::Json;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveModelBehavior, ActiveModelTrait, ColumnTrait, ConnectionTrait, DatabaseTransaction,
    DbBackend, DbErr, DeleteMany, EntityTrait, FromQueryResult, IdenStatic, IntoActiveModel,
    Iterable, PaginatorTrait, PrimaryKeyToColumn, QueryFilter, QueryResult, QuerySelect,
    QueryTrait, Select, TryGetable, UpdateMany,
};

use super::pools::Pools;
use super::{Appeared, Begun, Log, Position, Reading, TenantOwned};
use crate::caller::TenantId;
use crate::error::{Error, Result};

/// A transaction that can only read rows of one tenant.
pub struct ReadTx {
    tx: DatabaseTransaction,
    time: DateTime<Utc>,
    tenant: TenantId,
    pools: Pools,
}

/// A transaction that can also write rows of that tenant.
pub struct WriteTx(ReadTx);

impl ReadTx {
    pub(super) fn new(begun: Begun, tenant: TenantId, pools: &Pools) -> Self {
        Self {
            tx: begun.tx,
            time: begun.time,
            tenant,
            pools: pools.clone(),
        }
    }

    fn confine<E: TenantOwned, Q: QueryFilter>(&self, query: Q) -> Q {
        query.filter(E::TENANT.eq(self.tenant.0))
    }

    /// The tenant that it sees.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// When the transaction began, by the clock of the database: what it did
    /// not see was committed after that.
    pub fn begin_time(&self) -> DateTime<Utc> {
        self.time
    }

    /// The first row of a query, if any.
    pub async fn one<E: TenantOwned>(&self, query: Select<E>) -> Result<Option<E::Model>> {
        let answer = self.confine::<E, _>(query).one(&self.tx);
        self.pools.bounded(answer).await
    }

    /// All rows of a query.
    pub async fn all<E: TenantOwned>(&self, query: Select<E>) -> Result<Vec<E::Model>> {
        let answer = self.confine::<E, _>(query).all(&self.tx);
        self.pools.bounded(answer).await
    }

    /// Which rows of a log are there, as this transaction sees it.
    pub async fn position<E: Log>(&self) -> Result<Position> {
        self.pools.bounded(Position::look::<E>(&self.tx)).await
    }

    /// The tenant's rows of a query of a log that a reading has not seen yet,
    /// at most so many.
    pub async fn appeared<E: Log + TenantOwned>(
        &self,
        query: Select<E>,
        reading: Reading,
        limit: u64,
    ) -> Result<Appeared<E::Model>> {
        let now = self.position::<E>().await?;
        let query = self.confine::<E, _>(query);
        let query = reading.query(query, &now, self.tx.get_database_backend(), limit)?;
        let rows = self.pools.bounded(query.all(&self.tx)).await?;
        Ok(reading.took::<E>(rows, now, limit))
    }

    /// How many rows a query has.
    pub async fn count<E>(&self, query: Select<E>) -> Result<u64>
    where
        E: TenantOwned,
        E::Model: FromQueryResult + Send + Sync,
    {
        let answer = self.confine::<E, _>(query).count(&self.tx);
        self.pools.bounded(answer).await
    }

    /// How many rows a query has of each value in a column.
    pub async fn count_by<E, V>(
        &self,
        query: Select<E>,
        column: E::Column,
    ) -> Result<HashMap<V, u64>>
    where
        E: TenantOwned,
        V: TryGetable + Eq + Hash,
    {
        let counts = self
            .confine::<E, _>(query)
            .select_only()
            .column(column)
            .column_as(Expr::cust("COUNT(*)"), "count")
            .group_by(column)
            .into_tuple::<(V, i64)>();
        let counts = self.pools.bounded(counts.all(&self.tx)).await?;
        let counts = counts.into_iter();
        Ok(counts.map(|(value, n)| (value, n.unsigned_abs())).collect())
    }

    /// How the database answers a query, for tests that look whether an index
    /// helps it: on PostgreSQL, which runs the query for that, one text in
    /// JSON; on SQLite a line a step.
    pub async fn explain<E: TenantOwned>(&self, query: Select<E>) -> Result<Vec<String>> {
        let backend = self.tx.get_database_backend();
        let mut statement = self.confine::<E, _>(query).build(backend);
        let (how, column) = match backend {
            DbBackend::Postgres => ("EXPLAIN (ANALYZE, FORMAT JSON)", "QUERY PLAN"),
            _ => ("EXPLAIN QUERY PLAN", "detail"),
        };
        statement.sql = format!("{how} {}", statement.sql);
        let rows = self.tx.query_all_raw(statement);
        let rows = self.pools.bounded(rows).await?;
        let text = |row: &QueryResult| match backend {
            DbBackend::Postgres => Ok(row.try_get::<Json>("", column)?.to_string()),
            _ => row.try_get("", column),
        };
        Ok(rows.iter().map(text).collect::<Result<_, DbErr>>()?)
    }
}

/// Whoever may write may read.
impl Deref for WriteTx {
    type Target = ReadTx;

    fn deref(&self) -> &ReadTx {
        &self.0
    }
}

impl WriteTx {
    pub(super) fn new(begun: Begun, tenant: TenantId, pools: &Pools) -> Self {
        Self(ReadTx::new(begun, tenant, pools))
    }

    /// The first row of a query, if any: locked until the change is committed,
    /// so that it is still so when something is made of it.
    pub async fn one<E: TenantOwned>(&self, query: Select<E>) -> Result<Option<E::Model>> {
        self.0.one(query.lock_exclusive()).await
    }

    /// Adds a row to the tenant, whatever tenant the row names.
    pub async fn insert<A>(&self, mut row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        row.set(<A::Entity as TenantOwned>::TENANT, self.tenant.0.into());
        Ok(row.insert(&self.0.tx).await?)
    }

    /// Adds many rows to the tenant, in one statement.
    pub async fn insert_many<A>(&self, rows: Vec<A>) -> Result<()>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
    {
        if rows.is_empty() {
            return Ok(());
        }
        <A::Entity as EntityTrait>::insert_many(self.own(rows))
            .exec_without_returning(&self.0.tx)
            .await?;
        Ok(())
    }

    /// The same rows of the tenant, whatever tenant they name.
    fn own<A>(&self, rows: Vec<A>) -> impl Iterator<Item = A>
    where
        A: ActiveModelTrait,
        A::Entity: TenantOwned,
    {
        rows.into_iter().map(|mut row| {
            row.set(<A::Entity as TenantOwned>::TENANT, self.tenant.0.into());
            row
        })
    }

    /// Changes a row of the tenant, found by its primary key.
    pub async fn update<A>(&self, mut row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        // A row stays with its tenant.
        row.not_set(<A::Entity as TenantOwned>::TENANT);
        let query = <A::Entity as EntityTrait>::update(row).validate()?;
        Ok(self.confine::<A::Entity, _>(query).exec(&self.0.tx).await?)
    }

    /// Changes many rows of the tenant, found by their primary keys, in one
    /// statement. Each is given in full and once, and must be there: one that
    /// is not would be added.
    pub async fn replace_many<A>(&self, rows: Vec<A>) -> Result<()>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: TenantOwned,
    {
        type Column<A> = <<A as ActiveModelTrait>::Entity as EntityTrait>::Column;
        if rows.is_empty() {
            return Ok(());
        }
        let tenant = <A::Entity as TenantOwned>::TENANT;
        let keys: Vec<_> = <A::Entity as EntityTrait>::PrimaryKey::iter()
            .map(PrimaryKeyToColumn::into_column)
            .collect();
        let is_key = |column: &Column<A>| keys.iter().any(|key| key.as_str() == column.as_str());
        let others = Column::<A>::iter().filter(|column| !is_key(column));
        let replace = OnConflict::columns(keys.iter().copied())
            .update_columns(others)
            .action_and_where(tenant.eq(self.tenant.0))
            .to_owned();
        <A::Entity as EntityTrait>::insert_many(self.own(rows))
            .on_conflict(replace)
            .exec_without_returning(&self.0.tx)
            .await?;
        Ok(())
    }

    /// Changes all rows of the tenant that a query finds; answers how many.
    pub async fn update_many<E: TenantOwned>(&self, query: UpdateMany<E>) -> Result<u64> {
        Ok(self
            .confine::<E, _>(query)
            .exec(&self.0.tx)
            .await?
            .rows_affected)
    }

    /// Deletes all rows of the tenant that a query finds; answers how many.
    pub async fn delete<E: TenantOwned>(&self, query: DeleteMany<E>) -> Result<u64> {
        Ok(self
            .confine::<E, _>(query)
            .exec(&self.0.tx)
            .await?
            .rows_affected)
    }

    /// Deletes what a query finds; `missing` if that is nothing.
    pub async fn delete_found<E: TenantOwned>(
        &self,
        query: DeleteMany<E>,
        missing: impl FnOnce() -> Error,
    ) -> Result<()> {
        match self.delete(query).await? {
            0 => Err(missing()),
            _ => Ok(()),
        }
    }

    /// Appends to a log of the whole service.
    pub async fn append<A>(&self, row: A) -> Result<<A::Entity as EntityTrait>::Model>
    where
        A: ActiveModelTrait + ActiveModelBehavior + Send,
        A::Entity: Log,
        <A::Entity as EntityTrait>::Model: IntoActiveModel<A>,
    {
        Ok(row.insert(&self.0.tx).await?)
    }

    pub(crate) fn connection(&self) -> &DatabaseTransaction {
        &self.0.tx
    }

    pub(super) fn finish(self) -> DatabaseTransaction {
        self.0.tx
    }
}
