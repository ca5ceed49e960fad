//! Opening a schema of a PostgreSQL database.

use std::time::Duration;

use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr};
use sea_orm_migration::MigratorTrait;

use super::Store;
use super::bell::Bell;
use super::pools::{Connections, Pools};
use super::schema::{self, Schema};
use crate::clock::Clock;
use crate::error::Result;

/// How long a request waits for a connection of the pool.
const ACQUIRE: Duration = Duration::from_secs(3);
/// How long a lock may be waited for.
const LOCK: Duration = Duration::from_secs(5);
/// How long a transaction may be idle: one whose process hangs holds up the others.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// A connection that nobody uses is given back to the database.
const IDLE: Duration = Duration::from_secs(300);

/// A PostgreSQL database, and how it is used.
#[derive(Clone)]
pub struct Postgres {
    /// `postgres://user:password@host:5432/database?sslmode=verify-full`
    pub url: String,
    /// Connections of each kind, for readers and for writers, that a service may open.
    pub connections: u32,
    /// How long one statement may run; zero: for ever.
    pub statement_timeout: Duration,
    /// How long a change is tried again when others get in its way (a
    /// deadlock, a serialization failure).
    pub retry_timeout: Duration,
}

impl Postgres {
    /// A database that is used as most are.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            connections: 10,
            statement_timeout: Duration::from_secs(10),
            retry_timeout: Duration::from_secs(5),
        }
    }
}

impl Store {
    /// A service's schema in a PostgreSQL database. Connects when it is first
    /// used, so a service starts before its database does; [`Store::ready`]
    /// tells whether it is there.
    pub async fn postgres<M: MigratorTrait>(
        database: &Postgres,
        schema: Schema,
        clock: &Clock,
    ) -> Result<Self> {
        let pools = Pools::postgres(database, schema).await?;
        Ok(Self {
            bell: Bell::shared(&pools, schema.name),
            pools,
            clock: clock.clone(),
            migrations: schema::names::<M>(),
        })
    }
}

/// Pools that connect when they are first used.
pub(super) async fn connections(database: &Postgres, schema: Schema) -> Result<Connections, DbErr> {
    // A reader has one snapshot; a writer sees what others have committed as
    // soon as it has their locks.
    let reads = [
        ("default_transaction_isolation", "repeatable read"),
        ("default_transaction_read_only", "on"),
    ];
    let writes = [("default_transaction_isolation", "read committed")];
    Ok(Connections {
        reader: connect(database, schema, database.connections, &reads).await?,
        writer: connect(database, schema, database.connections, &writes).await?,
        // One looks, one listens.
        follower: connect(database, schema, 2, &reads).await?,
    })
}

#[expect(clippy::disallowed_methods, reason = "the one pool")]
async fn connect(
    database: &Postgres,
    schema: Schema,
    connections: u32,
    settings: &[(&'static str, &'static str)],
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(&database.url);
    options
        .max_connections(connections)
        .min_connections(0)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(IDLE)
        .connect_lazy(true)
        .sqlx_logging(false)
        .test_before_acquire(false);
    let millis = |time: Duration| time.as_millis().to_string();
    let mut settings: Vec<(&str, String)> = settings
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    settings.extend([
        ("search_path", schema.name.to_owned()),
        // Whoever logs in: this role owns nothing, and policies bind it.
        ("role", schema.role.to_owned()),
        ("statement_timeout", millis(database.statement_timeout)),
        ("lock_timeout", millis(LOCK)),
        (
            "idle_in_transaction_session_timeout",
            millis(IDLE_IN_TRANSACTION),
        ),
    ]);
    options.map_sqlx_postgres_opts(move |postgres| {
        postgres
            .application_name(schema.role)
            .options(settings.clone())
    });
    Database::connect(options).await
}
