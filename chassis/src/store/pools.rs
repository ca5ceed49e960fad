//! The connections of a store, and what becomes of them when the database
//! goes silent: a connection that died without a word would be waited for
//! until the network gives up, a quarter of an hour or so.

use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbErr};

use super::postgres::{self, Postgres};
use super::schema::Schema;
use crate::error::{Error, Result};

/// How much longer than the database itself allows an answer may take.
const GRACE: Duration = Duration::from_secs(5);
/// How long an answer may take where statements have no bound of their own:
/// on SQLite, which waits for a lock for a bounded time.
const ENDLESS: Duration = Duration::from_secs(120);
/// New pools are given this long to be of use.
const REST: Duration = Duration::from_secs(5);

/// The pools of a store.
#[derive(Clone)]
pub(super) struct Connections {
    /// Many connections: readers don't wait for each other.
    pub(super) reader: DatabaseConnection,
    /// One connection on SQLite, which has one writer; many on PostgreSQL.
    pub(super) writer: DatabaseConnection,
    /// For what follows the log: requests must not keep it waiting.
    pub(super) follower: DatabaseConnection,
}

/// The pools of a store, replaced when they hang. Cheap to clone; clones share.
#[derive(Clone)]
pub(super) struct Pools(Arc<Inner>);

struct Inner {
    present: RwLock<(Connections, Instant)>,
    /// How they are made anew; SQLite's never hang.
    origin: Option<(Postgres, Schema)>,
    bound: Duration,
}

impl Pools {
    pub(super) fn sqlite(connections: Connections) -> Self {
        Self::new(connections, None, ENDLESS)
    }

    pub(super) async fn postgres(database: &Postgres, schema: Schema) -> Result<Self, DbErr> {
        let connections = postgres::connections(database, schema).await?;
        let bound = match database.statement_timeout {
            Duration::ZERO => ENDLESS,
            timeout => timeout + GRACE,
        };
        let origin = (database.clone(), schema);
        Ok(Self::new(connections, Some(origin), bound))
    }

    fn new(connections: Connections, origin: Option<(Postgres, Schema)>, bound: Duration) -> Self {
        Self(Arc::new(Inner {
            present: RwLock::new((connections, Instant::now())),
            origin,
            bound,
        }))
    }

    pub(super) fn get(&self) -> Connections {
        let present = self.0.present.read();
        present.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// How long a change is tried again: SQLite's writers wait for each other.
    pub(super) fn retry_timeout(&self) -> Duration {
        let origin = self.0.origin.as_ref();
        origin.map_or(Duration::ZERO, |(database, _)| database.retry_timeout)
    }

    /// How long the database may take to answer.
    pub(super) fn bound(&self) -> Duration {
        self.0.bound
    }

    /// The answer of the database, unless it takes too long.
    pub(super) async fn bounded<T>(
        &self,
        answer: impl Future<Output = Result<T, DbErr>>,
    ) -> Result<T> {
        match tokio::time::timeout(self.0.bound, answer).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(self.hangs().await),
        }
    }

    /// The database has not answered in time. Its connections are left
    /// behind: each of them may hang as well.
    pub(super) async fn hangs(&self) -> Error {
        if let Some((database, schema)) = &self.0.origin {
            let since = |at: Instant| at.elapsed() > REST;
            let old = {
                let present = self.0.present.read();
                since(present.unwrap_or_else(PoisonError::into_inner).1)
            };
            if old && let Ok(connections) = postgres::connections(database, *schema).await {
                tracing::warn!(
                    schema = schema.name,
                    "the database is silent; connecting anew"
                );
                let present = self.0.present.write();
                *present.unwrap_or_else(PoisonError::into_inner) = (connections, Instant::now());
            }
        }
        Error::Unavailable {
            what: "the database".into(),
        }
    }
}
