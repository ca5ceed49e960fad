//! Following a log: every row once, and as soon as it is committed.
//!
//! On PostgreSQL, numbers and transactions are handed out before they commit,
//! so a row may appear below others that were read already. A row's
//! transaction tells how far back that can be: whatever is older than the
//! oldest transaction that still runs is complete. Rows above that line are
//! read again, and given out once. The line is never above the last row: a
//! server that crashes may hand out again what only transactions without a
//! row had.

use std::collections::HashMap;
use std::time::Duration;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, QueryFilter,
    QueryOrder, Statement,
};
use tokio::sync::watch;

use super::{Log, READS, Scope, begin};
use crate::error::{Error, Result};

/// How long a row may stay unseen when the bell was not heard.
const POLL: Duration = Duration::from_millis(400);

/// Reads a log as it grows. Made by [`Store::tail`](super::Store::tail).
pub struct Tail<E: Log> {
    pool: DatabaseConnection,
    bell: watch::Receiver<()>,
    /// Everything below is known: a number on SQLite, a transaction on PostgreSQL.
    complete: i64,
    /// Rows above that line that were given out: their numbers and transactions.
    given: HashMap<i64, i64>,
    /// The highest transaction of a row that was given out.
    highest: i64,
    begun: bool,
    log: std::marker::PhantomData<fn() -> E>,
}

impl<E: Log> Tail<E> {
    pub(super) fn new(pool: DatabaseConnection, bell: watch::Receiver<()>) -> Self {
        Self {
            pool,
            bell,
            complete: 0,
            given: HashMap::new(),
            highest: 0,
            begun: false,
            log: std::marker::PhantomData,
        }
    }

    /// The rows that are new, at first all that there are; none if there was
    /// nothing new for a while. After an error, the next call goes on where
    /// this one began.
    pub async fn next(&mut self) -> Result<Vec<E::Model>> {
        if self.begun {
            // The sender lives as long as the store; should it be gone, polling remains.
            let _ = tokio::time::timeout(POLL, self.bell.changed()).await;
        }
        self.bell.mark_unchanged();
        let rows = match self.pool.get_database_backend() {
            DbBackend::Postgres => self.next_of_many().await?,
            _ => self.next_of_one().await?,
        };
        self.begun = true;
        Ok(rows)
    }

    /// With one writer, rows are committed in the order of their numbers.
    async fn next_of_one(&mut self) -> Result<Vec<E::Model>> {
        let rows = E::find()
            .filter(E::NUMBER.gt(self.complete))
            .order_by_asc(E::NUMBER)
            .all(&self.pool)
            .await?;
        if let Some(last) = rows.last() {
            self.complete = E::position(last).0;
        }
        Ok(rows)
    }

    async fn next_of_many(&mut self) -> Result<Vec<E::Model>> {
        let tx = begin(&self.pool, READS, Scope::AllTenants).await?;
        let oldest = oldest_running(&tx).await?;
        let mut rows = E::find()
            .filter(E::TRANSACTION.gte(self.complete))
            .order_by_asc(E::TRANSACTION)
            .order_by_asc(E::NUMBER)
            .all(&tx)
            .await?;
        tx.commit().await?;
        rows.retain(|row| !self.given.contains_key(&E::position(row).0));
        self.given.extend(rows.iter().map(E::position));
        if let Some(last) = rows.last() {
            self.highest = self.highest.max(E::position(last).1);
        }
        // What is below the new line is never read again.
        self.complete = self.complete.max(oldest.min(self.highest + 1));
        self.given
            .retain(|_, transaction| *transaction >= self.complete);
        Ok(rows)
    }
}

/// The oldest transaction that has not ended (`pg_snapshot_xmin`), in the
/// snapshot of this one.
async fn oldest_running(tx: &DatabaseTransaction) -> Result<i64> {
    let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest";
    let query = Statement::from_string(DbBackend::Postgres, sql);
    let row = tx.query_one_raw(query).await?;
    let row = row.ok_or_else(|| Error::internal("the database has no snapshot"))?;
    Ok(row.try_get("", "oldest")?)
}
