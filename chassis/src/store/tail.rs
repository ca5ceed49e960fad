//! Following a log: every row once, and as soon as it is committed.
//!
//! On PostgreSQL, numbers and transactions are handed out before they commit,
//! so a row may appear below others that were read already. A row's
//! transaction tells how far back that can be: whatever is older than the
//! oldest transaction that still runs is complete. Rows above that line are
//! read again, and given out once. The line is never above the last row: a
//! server that crashes may hand out again what only transactions without a
//! row had. And when another server takes over that has not all that the
//! first one had, everything is read anew, and given out again.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryFilter, QueryOrder,
    Statement,
};
use tokio::sync::watch;

use super::pools::Pools;
use super::{Begun, Log, READS, Scope, begin};
use crate::clock::Clock;
use crate::error::Result;

/// How long a row may stay unseen when the bell was not heard.
const POLL: Duration = Duration::from_millis(400);

/// Reads a log as it grows. Made by [`Store::tail`](super::Store::tail).
pub struct Tail<E: Log> {
    pools: Pools,
    bell: watch::Receiver<()>,
    /// Everything below is known: a number on SQLite, a transaction on PostgreSQL.
    complete: i64,
    /// Rows above that line that were given out: their numbers and transactions.
    given: HashMap<i64, i64>,
    /// The highest transaction of a row that was given out.
    highest: i64,
    server: Option<Server>,
    begun: bool,
    /// Whether what was there before the first look is passed over.
    from_now: bool,
    /// How often the log had to be followed anew.
    restarts: u64,
    clock: Clock,
    /// By the clock of the database, a moment after the last look.
    time: DateTime<Utc>,
    log: std::marker::PhantomData<fn() -> E>,
}

impl<E: Log> Tail<E> {
    pub(super) fn new(pools: Pools, clock: Clock, bell: watch::Receiver<()>) -> Self {
        Self {
            time: clock.now(),
            clock,
            pools,
            bell,
            complete: 0,
            given: HashMap::new(),
            highest: 0,
            server: None,
            begun: false,
            from_now: false,
            restarts: 0,
            log: std::marker::PhantomData,
        }
    }

    /// Passes over what was committed before the first look.
    pub(super) fn begin_now(self) -> Self {
        Self {
            from_now: true,
            ..self
        }
    }

    /// Counts how often another server took over that has not all that the
    /// first one had. Whoever follows from now on may have missed something.
    pub fn restarts(&self) -> u64 {
        self.restarts
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
        let rows = match self.pools.get().follower.get_database_backend() {
            DbBackend::Postgres => self.next_of_many().await?,
            _ => self.next_of_one().await?,
        };
        self.begun = true;
        Ok(rows)
    }

    /// A moment by the clock of the database after the last look: whatever did
    /// not see what that gave out began before it.
    pub fn time(&self) -> DateTime<Utc> {
        self.time
    }

    /// With one writer, rows are committed in the order of their numbers.
    async fn next_of_one(&mut self) -> Result<Vec<E::Model>> {
        let pool = self.pools.get().follower;
        if self.from_now && !self.begun {
            let last = E::find().order_by_desc(E::NUMBER).one(&pool).await?;
            self.complete = last.map_or(0, |last| E::position(&last).0);
        }
        let rows = E::find()
            .filter(E::NUMBER.gt(self.complete))
            .order_by_asc(E::NUMBER)
            .all(&pool)
            .await?;
        if let Some(last) = rows.last() {
            self.complete = E::position(last).0;
        }
        self.time = self.clock.now();
        Ok(rows)
    }

    async fn next_of_many(&mut self) -> Result<Vec<E::Model>> {
        let Begun { tx, .. } = begin(
            &self.pools,
            &self.clock,
            |pools| pools.follower,
            READS,
            Scope::AllTenants,
        )
        .await?;
        let server = self.pools.bounded(Server::look(&tx)).await?;
        if self
            .server
            .as_ref()
            .is_some_and(|seen| !server.follows(seen))
        {
            tracing::warn!("the database has gone back in time; reading the log anew");
            (self.complete, self.highest) = (0, 0);
            self.given.clear();
            self.restarts += 1;
        }
        if self.from_now && self.complete == 0 {
            // What commits later is of a transaction that runs still.
            self.complete = server.oldest;
        }
        let rows = E::find()
            .filter(E::TRANSACTION.gte(self.complete))
            .order_by_asc(E::TRANSACTION)
            .order_by_asc(E::NUMBER)
            .all(&tx);
        let mut rows = self.pools.bounded(rows).await?;
        let oldest = server.oldest;
        self.time = self.clock.shifted(server.time);
        self.server = Some(server);
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

/// How far a server is, in the snapshot of a transaction.
struct Server {
    /// The oldest transaction that has not ended (`pg_snapshot_xmin`).
    oldest: i64,
    /// The next transaction (`pg_snapshot_xmax`).
    next: i64,
    /// Changes when another server takes over, or this one is restored.
    timeline: String,
    /// What its clock says, after the snapshot was taken.
    time: DateTime<Utc>,
}

impl Server {
    async fn look(tx: &DatabaseTransaction) -> Result<Self, DbErr> {
        let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest, \
                   pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next, \
                   left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline, \
                   clock_timestamp() AS time";
        let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, sql));
        let row = row.await?;
        let row = row.ok_or_else(|| DbErr::Custom("the database has no snapshot".to_owned()))?;
        Ok(Self {
            oldest: row.try_get("", "oldest")?,
            next: row.try_get("", "next")?,
            timeline: row.try_get("", "timeline")?,
            time: row.try_get("", "time")?,
        })
    }

    /// Whether this is the same server as before, or one that has lost nothing.
    fn follows(&self, before: &Self) -> bool {
        self.timeline == before.timeline && self.next >= before.next
    }
}
