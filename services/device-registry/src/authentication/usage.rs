//! When credentials were last used: kept in memory and written together now
//! and then, never in the path of a call. What a crash takes is a minute.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chassis::Result;
use chassis::store::Store;
use chrono::{DateTime, Utc};
use sea_orm::sea_query::CaseStatement;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::entity::device_credential::{Column, Entity};

/// How often is written.
const FLUSH: Duration = Duration::from_secs(2);
/// How many are written in one statement.
const CHUNK: usize = 500;
/// How many wait to be written; what is beyond is not noted.
const HELD: usize = 200_000;

/// Notes uses. Cheap to clone; clones share.
#[derive(Clone)]
pub(super) struct Usage {
    store: Store,
    pending: Arc<Mutex<BTreeMap<i64, DateTime<Utc>>>>,
}

impl Usage {
    pub(super) fn new(store: Store) -> Self {
        let usage = Self {
            store,
            pending: Arc::default(),
        };
        tokio::spawn(usage.clone().run());
        usage
    }

    /// Notes that a credential, by its number, was used.
    pub(super) fn note(&self, credential: i64, time: DateTime<Utc>) {
        let mut pending = self.pending();
        if pending.len() < HELD || pending.contains_key(&credential) {
            let last = pending.entry(credential).or_insert(time);
            *last = time.max(*last);
        }
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeMap<i64, DateTime<Utc>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self) {
        loop {
            tokio::time::sleep(FLUSH).await;
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "can't write when credentials were used; trying again");
            }
        }
    }

    async fn flush(&self) -> Result<()> {
        loop {
            let chunk = self.take();
            if chunk.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.write(&chunk).await {
                for (credential, time) in chunk {
                    self.note(credential, time);
                }
                return Err(error);
            }
        }
    }

    /// The first ones: always in the order of their numbers, so that two
    /// processes that write at once wait in one direction only.
    fn take(&self) -> BTreeMap<i64, DateTime<Utc>> {
        let mut pending = self.pending();
        let rest = pending.keys().nth(CHUNK).copied();
        let rest = rest.map(|first| pending.split_off(&first));
        std::mem::replace(&mut *pending, rest.unwrap_or_default())
    }

    async fn write(&self, chunk: &BTreeMap<i64, DateTime<Utc>>) -> Result<()> {
        let mut times = CaseStatement::new();
        for (credential, time) in chunk {
            times = times.case(Column::Number.eq(*credential), *time);
        }
        let query = Entity::update_many()
            .col_expr(Column::LastUseTime, times.into())
            .filter(Column::Number.is_in(chunk.keys().copied()));
        // Nobody decided it: it is an observation, as sightings are.
        self.store
            .change_global(
                "note when device credentials were last used",
                None,
                async |tx| tx.update_many(query).await,
            )
            .await
            .map(drop)
    }
}
