//! Tells readers of the logs that something was committed, in whichever
//! process. Who misses it finds it by polling: the bell saves waiting only.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::pools::Pools;

/// Rings at most this often on PostgreSQL, where a ringing transaction holds
/// up every other one that rings: it is a transaction of its own.
const PAUSE: Duration = Duration::from_millis(20);
/// How long to wait before listening again, or ringing again, after a failure.
const RETRY: Duration = Duration::from_millis(500);

/// Rings after commits. Cheap to clone; clones share.
#[derive(Clone)]
pub(super) struct Bell(Arc<Inner>);

struct Inner {
    heard: watch::Sender<()>,
    /// Tells the other processes.
    pulled: Arc<Notify>,
    _tasks: JoinSet<()>,
}

impl Bell {
    /// Heard in this process.
    pub(super) fn local() -> Self {
        Self(Arc::new(Inner {
            heard: watch::Sender::new(()),
            pulled: Arc::default(),
            _tasks: JoinSet::new(),
        }))
    }

    /// Heard in every process that uses the same channel of a PostgreSQL database.
    pub(super) fn shared(pools: &Pools, channel: &'static str) -> Self {
        let heard = watch::Sender::new(());
        let pulled = Arc::new(Notify::new());
        let mut tasks = JoinSet::new();
        tasks.spawn(tell(pools.clone(), channel, pulled.clone()));
        tasks.spawn(hear(pools.clone(), channel, heard.clone()));
        Self(Arc::new(Inner {
            heard,
            pulled,
            _tasks: tasks,
        }))
    }

    /// Something was committed.
    pub(super) fn ring(&self) {
        self.0.heard.send_replace(());
        self.0.pulled.notify_one();
    }

    /// Changes whenever the bell rings.
    pub(super) fn listen(&self) -> watch::Receiver<()> {
        self.0.heard.subscribe()
    }
}

async fn tell(pools: Pools, channel: &'static str, pulled: Arc<Notify>) {
    let sql = "SELECT pg_notify($1, '')";
    loop {
        pulled.notified().await;
        let notify = Statement::from_sql_and_values(DbBackend::Postgres, sql, [channel.into()]);
        let pause = match pools.bounded(pools.get().writer.execute_raw(notify)).await {
            Ok(_) => PAUSE,
            Err(error) => {
                tracing::debug!(%error, "can't tell the other processes of a change");
                RETRY
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn hear(pools: Pools, channel: &'static str, heard: watch::Sender<()>) {
    loop {
        if let Err(error) = hear_on(&pools.get().follower, channel, &heard).await {
            tracing::debug!(%error, "can't listen to the other processes' changes");
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn hear_on(
    pool: &DatabaseConnection,
    channel: &str,
    heard: &watch::Sender<()>,
) -> Result<(), sea_orm::sqlx::Error> {
    let mut listener = PgListener::connect_with(pool.get_postgres_connection_pool()).await?;
    listener.listen(channel).await?;
    loop {
        // Whatever was missed before is found now.
        heard.send_replace(());
        // None: the connection was lost, and is there again.
        listener.try_recv().await?;
    }
}
