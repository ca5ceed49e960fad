//! Opening a SQLite file and bringing its schema up to date.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection};
use sea_orm_migration::MigratorTrait;

use super::bell::Bell;
use super::pools::{Connections, Pools};
use super::{Store, schema};
use crate::clock::Clock;
use crate::error::{Error, Result};

/// Connections that read from one SQLite file at a time.
const READERS: u32 = 4;
/// How long a writer waits for another process's lock on a SQLite file.
const BUSY: Duration = Duration::from_secs(5);

impl Store {
    /// Opens a SQLite file, makes it if need be, and migrates its schema.
    pub async fn sqlite<M: MigratorTrait>(file: &Path, clock: &Clock) -> Result<Self> {
        // For its owner only, whatever the folder allows; SQLite's other files follow.
        let create = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(file);
        create.map_err(|e| Error::internal(format!("can't open {}: {e}", file.display())))?;
        let writer = connect(file, 1).await?;
        M::up(&writer, None).await.map_err(Error::internal)?;
        let reader = connect(file, READERS).await?;
        Ok(Self {
            pools: Pools::sqlite(Connections {
                follower: reader.clone(),
                reader,
                writer,
            }),
            clock: clock.clone(),
            bell: Bell::local(),
            migrations: schema::names::<M>(),
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one pool")]
async fn connect(file: &Path, connections: u32) -> Result<DatabaseConnection> {
    let mut options = ConnectOptions::new("sqlite://");
    let file = file.to_owned();
    options
        .max_connections(connections)
        .min_connections(1)
        .sqlx_logging(false)
        .test_before_acquire(false);
    // FULL: an acknowledged write survives a power cut too, not only a kill.
    options.map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .filename(&file)
            .pragma("journal_mode", "WAL")
            .pragma("synchronous", "FULL")
            .pragma("foreign_keys", "ON")
            .busy_timeout(BUSY)
    });
    Ok(Database::connect(options).await?)
}
