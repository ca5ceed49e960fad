//! Places in a log that outlive a process: what was read up to one of them is
//! never missed and never told twice, also when transactions commit out of
//! order.
//!
//! [`Tail`](super::Tail) keeps what it gave out in memory. A position is what a
//! client, or a row, can keep instead: on PostgreSQL a snapshot (which
//! transactions had ended), on SQLite, which has one writer, a number. What is
//! new since then is what the snapshot does not show; of what is new, a page is
//! read up to a second snapshot, so that pages fit each other.

use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, QueryFilter,
    QueryOrder, QuerySelect, Select, Statement,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::Log;
use crate::error::{Error, Result};

/// How long a row may stay unseen when the bell was not heard.
const POLL: Duration = Duration::from_millis(400);
/// The shortest time between two looks, however often the bell rings.
const PAUSE: Duration = Duration::from_millis(10);

/// Which rows of a log were there at some moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Changes when another server takes over, or this one is restored; empty
    /// on SQLite.
    #[serde(rename = "t", default)]
    timeline: String,
    /// Everything below was there: a transaction, or a number on SQLite.
    #[serde(rename = "l")]
    low: i64,
    /// Nothing from here on was there.
    #[serde(rename = "n")]
    next: i64,
    /// What was not there in between.
    #[serde(rename = "r", default)]
    running: Vec<i64>,
}

/// How far somebody has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// What was there then, was read.
    from: Position,
    /// What is being read: what was there then, and the transaction and number
    /// of the last row that was read of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<(Position, (i64, i64))>,
}

/// What a reading found.
#[derive(Debug)]
pub struct Appeared<R> {
    /// Rows, in the order of their transactions.
    pub rows: Vec<R>,
    /// How far is read now.
    pub reading: Reading,
    /// Whether that is all that there is.
    pub all: bool,
}

impl Position {
    pub(super) async fn look<E: Log>(tx: &DatabaseTransaction) -> Result<Self, DbErr> {
        if tx.get_database_backend() != DbBackend::Postgres {
            let last = E::find().order_by_desc(E::NUMBER).one(tx).await?;
            let next = last.map_or(0, |row| E::position(&row).0) + 1;
            return Ok(Self {
                timeline: String::new(),
                low: next,
                next,
                running: Vec::new(),
            });
        }
        let sql = "SELECT pg_snapshot_xmin(now)::text::bigint AS low, \
                   pg_snapshot_xmax(now)::text::bigint AS next, \
                   coalesce((SELECT string_agg(id::text, ',') FROM pg_snapshot_xip(now) AS id), '') \
                   AS running, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline \
                   FROM pg_current_snapshot() AS now";
        let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, sql));
        let row = row.await?;
        let row = row.ok_or_else(|| DbErr::Custom("the database has no snapshot".to_owned()))?;
        let running: String = row.try_get("", "running")?;
        Ok(Self {
            timeline: row.try_get("", "timeline")?,
            low: row.try_get("", "low")?,
            next: row.try_get("", "next")?,
            running: running
                .split(',')
                .filter_map(|id| id.parse().ok())
                .collect(),
        })
    }

    /// The moment at which nothing was there yet.
    #[must_use]
    pub fn beginning(self) -> Self {
        Self {
            low: 0,
            next: 0,
            running: Vec::new(),
            ..self
        }
    }

    /// Whether everything was there that was there at the other one.
    pub fn shows_all_of(&self, other: &Self) -> bool {
        let hidden = |tx: &i64| *tx >= other.next || other.running.contains(tx);
        self.timeline == other.timeline
            && other.next <= self.next
            && self.running.iter().all(hidden)
    }

    /// Rows that were there.
    fn shown<E: Log>(&self, backend: DbBackend) -> Condition {
        let shown = Condition::all().add(at::<E>(backend).lt(self.next));
        match self.running.is_empty() {
            true => shown,
            false => shown.add(at::<E>(backend).is_not_in(self.running.iter().copied())),
        }
    }

    /// Rows that were not.
    fn hidden<E: Log>(&self, backend: DbBackend) -> Condition {
        let at = || at::<E>(backend);
        if self.running.is_empty() {
            return Condition::all().add(at().gte(self.next));
        }
        let hidden = Condition::any()
            .add(at().gte(self.next))
            .add(at().is_in(self.running.iter().copied()));
        // An index can begin here.
        Condition::all().add(at().gte(self.low)).add(hidden)
    }
}

/// The column that says when a row came.
fn at<E: Log>(backend: DbBackend) -> E::Column {
    match backend {
        DbBackend::Postgres => E::TRANSACTION,
        _ => E::NUMBER,
    }
}

impl From<Position> for Reading {
    fn from(from: Position) -> Self {
        Self { from, to: None }
    }
}

impl Reading {
    /// Reads no further than this, unless it is on its way to elsewhere.
    #[must_use]
    pub fn until(mut self, to: &Position) -> Self {
        self.to.get_or_insert_with(|| (to.clone(), (0, 0)));
        self
    }

    /// Whether it is on its way to somewhere.
    pub fn is_under_way(&self) -> bool {
        self.to.is_some()
    }

    /// Up to where all is read.
    pub fn position(&self) -> &Position {
        &self.from
    }

    /// Fails if this is no place in the log of this server.
    pub(super) fn query<E: Log>(
        &self,
        query: Select<E>,
        now: &Position,
        backend: DbBackend,
        limit: u64,
    ) -> Result<Select<E>> {
        let seen = std::iter::once(&self.from).chain(self.to.as_ref().map(|to| &to.0));
        for seen in seen {
            if seen.timeline != now.timeline || seen.next > now.next {
                return Err(lost());
            }
        }
        let mut query = query.filter(self.from.hidden::<E>(backend));
        if let Some((to, last)) = &self.to {
            query = query
                .filter(to.shown::<E>(backend))
                .filter(behind::<E>(*last, backend));
        } else {
            // After a restore, rows of another server may bear numbers that
            // this one has not reached.
            query = query.filter(at::<E>(backend).lt(now.next));
        }
        if backend == DbBackend::Postgres {
            query = query.order_by_asc(E::TRANSACTION);
        }
        Ok(query.order_by_asc(E::NUMBER).limit(limit))
    }

    pub(super) fn took<E: Log>(
        self,
        rows: Vec<E::Model>,
        now: Position,
        limit: u64,
    ) -> Appeared<E::Model> {
        let full = u64::try_from(rows.len()).unwrap_or(u64::MAX) >= limit;
        let (to, _) = self.to.unwrap_or((now, (0, 0)));
        let last = rows.last().filter(|_| full).map(E::position);
        let reading = match last {
            Some((number, transaction)) => Self {
                from: self.from,
                to: Some((to, (transaction, number))),
            },
            None => Self { from: to, to: None },
        };
        Appeared {
            rows,
            reading,
            all: last.is_none(),
        }
    }
}

/// Rows behind another one.
fn behind<E: Log>(last: (i64, i64), backend: DbBackend) -> SimpleExpr {
    match backend {
        DbBackend::Postgres => {
            let columns = [Expr::col(E::TRANSACTION), Expr::col(E::NUMBER)];
            let last = [Expr::value(last.0), Expr::value(last.1)];
            ExprTrait::gt(Expr::tuple(columns), Expr::tuple(last))
        }
        _ => E::NUMBER.gt(last.1),
    }
}

/// The log of this server does not have that place: what was there is
/// forgotten, or it is another server.
fn lost() -> Error {
    Error::precondition(
        "RESUME_TOKEN_EXPIRED",
        "the log no longer has the place that this names; begin anew, without a resume token",
    )
}

/// Waits for commits, in whichever process.
pub struct Wakes(watch::Receiver<()>);

impl Wakes {
    pub(super) fn new(bell: watch::Receiver<()>) -> Self {
        Self(bell)
    }

    /// Something was committed since the last time, or may have been.
    pub async fn next(&mut self) {
        tokio::time::sleep(PAUSE).await;
        // The sender lives as long as the store; should it be gone, polling remains.
        let _ = tokio::time::timeout(POLL, self.0.changed()).await;
        self.0.mark_unchanged();
    }
}
