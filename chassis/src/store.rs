//! The only way to run SQL. Every statement is confined to the caller's
//! tenant, and every change is recorded.
//!
//! A service can build any query, but it holds nothing that runs one, except
//! a transaction that [`Store`] opened for a verified [`Caller`]; and that
//! adds the tenant to every statement. What must cross tenants goes through
//! [`Store::global`], whose uses are listed and may only shrink.
//!
//! The same code runs on SQLite and PostgreSQL. A reader sees one snapshot. A
//! change locks the row that it reads by itself (`WriteTx::one`) until it is
//! committed, so nothing is overwritten unseen; of many rows, it says which it
//! locks (`lock_exclusive`). SQLite has one writer, so there the lock is the
//! transaction itself. SERIALIZABLE would spare the locks on PostgreSQL; but
//! rows that are created together lie together, so it took changes of
//! different devices for conflicts by the hundred a second.

mod bell;
mod confined;
pub mod copy;
mod found;
mod global;
mod pools;
mod position;
mod postgres;
mod record;
pub mod schema;
mod sqlite;
mod tail;

pub use confined::{ReadTx, WriteTx};
pub use global::GlobalTx;
pub use position::{Appeared, Position, Reading, Wakes};
pub use postgres::Postgres;
pub use record::{Record, Resource, event};
pub use tail::Tail;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait,
    Iterable, Order, PrimaryKeyToColumn, QueryOrder, Select, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait,
};

use crate::caller::{Caller, TenantId};
use crate::clock::Clock;
use crate::error::{Error, Result};
use bell::Bell;
use pools::{Connections, Pools};

/// The longest pause between two attempts, in milliseconds.
const LONGEST_PAUSE: u64 = 64;
/// How long a connection that turns out to be dead is replaced by another one.
const REPLACE: Duration = Duration::from_secs(2);

/// A table whose rows belong to exactly one tenant each. Declared by
/// [`tenant_owned!`](crate::tenant_owned), never by hand.
pub trait TenantOwned: EntityTrait {
    /// The column that holds the tenant.
    const TENANT: Self::Column;
}

/// Declares that a table's rows belong to one tenant, by its column
/// `tenant_id`: no table can name another one.
#[macro_export]
macro_rules! tenant_owned {
    ($module:ident) => {
        impl $crate::store::TenantOwned for $module::Entity {
            const TENANT: $module::Column = $module::Column::TenantId;
        }
    };
}

/// A table of the whole service that any transaction may append to, and none
/// may read but a global one: such as the log of revocations. Declared by
/// [`log!`](crate::log).
pub trait Log: EntityTrait {
    /// Counts the rows, in the order in which they were written.
    const NUMBER: Self::Column;
    /// The transaction that wrote the row; 0 on SQLite.
    const TRANSACTION: Self::Column;
    /// The number and the transaction of a row.
    fn position(row: &Self::Model) -> (i64, i64);
}

/// Declares that a table is a [`Log`](crate::store::Log), by its columns
/// `number` and `transaction`.
#[macro_export]
macro_rules! log {
    ($module:ident) => {
        impl $crate::store::Log for $module::Entity {
            const NUMBER: $module::Column = $module::Column::Number;
            const TRANSACTION: $module::Column = $module::Column::Transaction;
            fn position(row: &$module::Model) -> (i64, i64) {
                (row.number, row.transaction)
            }
        }
    };
}

/// What a query finds by other columns, in one order: two who lock some of it
/// wait for each other, and not both for ever. The sum is for SQLite, which
/// knows no counts and would rather go through all that a tenant has in this
/// order than look for a few.
pub fn in_one_order<E: EntityTrait>(query: Select<E>) -> Select<E> {
    use sea_orm::ExprTrait;
    let keys = E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column);
    keys.fold(query, |query, key| {
        let key = Expr::col((E::default(), key));
        query.order_by(ExprTrait::add(key, 0), Order::Asc)
    })
}

/// A service's database. Holds no method that runs SQL. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pools: Pools,
    clock: Clock,
    /// Rings after each commit.
    bell: Bell,
    /// Tables that the program needs, by the migrations that make them.
    migrations: Arc<[String]>,
}

/// Which rows a transaction may see, where the database enforces it too.
#[derive(Clone, Copy)]
enum Scope {
    Tenant(TenantId),
    AllTenants,
}

impl Store {
    /// A snapshot of the caller's tenant, to read from.
    pub async fn read(&self, caller: &Caller) -> Result<ReadTx> {
        let tx = self.begin_read(Scope::Tenant(caller.tenant())).await?;
        Ok(ReadTx::new(tx, caller.tenant(), &self.pools))
    }

    /// Runs `work` in one transaction: commits when it answers `Ok`, rolls
    /// back otherwise. It is recorded that the caller changed `what`. `work`
    /// runs again if somebody else's change got in its way.
    pub async fn change<T>(
        &self,
        caller: &Caller,
        what: impl Into<Resource>,
        work: impl AsyncFnOnce(&WriteTx) -> Result<T> + Clone,
    ) -> Result<T> {
        self.change_many(caller, [what.into()], work).await
    }

    /// Like [`Store::change`], of several things at once.
    pub async fn change_many<T>(
        &self,
        caller: &Caller,
        what: impl IntoIterator<Item = Resource>,
        work: impl AsyncFnOnce(&WriteTx) -> Result<T> + Clone,
    ) -> Result<T> {
        let record = |what| Record::new(caller.tenant().0, caller.principal(), what);
        let records: Vec<_> = what.into_iter().map(record).collect();
        self.write(caller.tenant(), &records, work).await
    }

    /// Like [`Store::change`], for what was merely observed of things that
    /// others own: it is overwritten all the time, nobody decided it, and a
    /// record of each would bury who did what. `_why` names the use; a test
    /// compares all uses with a list that may only shrink.
    pub async fn observe<T>(
        &self,
        _why: &'static str,
        caller: &Caller,
        work: impl AsyncFnOnce(&WriteTx) -> Result<T> + Clone,
    ) -> Result<T> {
        self.write(caller.tenant(), &[], work).await
    }

    /// Like [`Store::change`], for whoever proved himself to the service by
    /// something else than a token, such as a claim key. `_why` is as in
    /// [`Store::global`].
    pub async fn change_within<T>(
        &self,
        _why: &'static str,
        tenant: TenantId,
        record: Record,
        work: impl AsyncFnOnce(&WriteTx) -> Result<T> + Clone,
    ) -> Result<T> {
        self.write(tenant, &[record], work).await
    }

    async fn write<T>(
        &self,
        tenant: TenantId,
        records: &[Record],
        work: impl AsyncFnOnce(&WriteTx) -> Result<T> + Clone,
    ) -> Result<T> {
        let scope = Scope::Tenant(tenant);
        let mut contest = Contest::begin(self);
        loop {
            let tx = self.begin_write(scope).await?;
            let tx = WriteTx::new(tx, tenant, &self.pools);
            let done = tokio::time::timeout(self.pools.bound(), work.clone()(&tx)).await;
            match self.end(done, tx.finish(), records).await {
                Err(Error::Contention) if contest.goes_on() => contest.pause().await,
                done => return done,
            }
        }
    }

    /// A snapshot of all tenants. `_why` names the use; the list of uses is a
    /// file that a test compares, and may only shrink.
    pub async fn global(&self, _why: &'static str) -> Result<GlobalTx> {
        let tx = self.begin_read(Scope::AllTenants).await?;
        Ok(GlobalTx::new(tx, &self.pools, &self.clock))
    }

    /// Like [`Store::change`], across tenants. `_why` is as in [`Store::global`].
    /// There is no record only of what is itself a record.
    pub async fn change_global<T>(
        &self,
        _why: &'static str,
        record: impl Into<Option<Record>>,
        work: impl AsyncFnOnce(&GlobalTx) -> Result<T> + Clone,
    ) -> Result<T> {
        let record = record.into();
        let mut contest = Contest::begin(self);
        loop {
            let tx = self.begin_write(Scope::AllTenants).await?;
            let tx = GlobalTx::new(tx, &self.pools, &self.clock);
            let done = tokio::time::timeout(self.pools.bound(), work.clone()(&tx)).await;
            match self.end(done, tx.finish(), record.as_slice()).await {
                Err(Error::Contention) if contest.goes_on() => contest.pause().await,
                done => return done,
            }
        }
    }

    /// What is appended to a log from its first row on, by whichever process.
    pub fn tail<E: Log>(&self) -> Tail<E> {
        Tail::new(self.pools.clone(), self.clock.clone(), self.bell.listen())
    }

    /// Wakes whoever reads a log by its positions, for as long as it is asked.
    pub fn wakes(&self) -> Wakes {
        Wakes::new(self.bell.listen())
    }

    /// What is appended to a log from the first look at it on: for whoever
    /// needs to know nothing of what was there before.
    pub fn tail_from_now<E: Log>(&self) -> Tail<E> {
        self.tail().begin_now()
    }

    /// Whether the database answers and has the tables that the program needs.
    pub async fn ready(&self) -> Result<()> {
        let pool = self.pools.get().reader;
        let complete = schema::is_complete(&pool, &self.migrations);
        match tokio::time::timeout(self.pools.bound(), complete).await {
            Ok(complete) => complete,
            Err(_) => Err(self.pools.hangs().await),
        }
    }

    async fn begin_read(&self, scope: Scope) -> Result<Begun> {
        begin(&self.pools, &self.clock, |pools| pools.reader, READS, scope).await
    }

    async fn begin_write(&self, scope: Scope) -> Result<Begun> {
        begin(
            &self.pools,
            &self.clock,
            |pools| pools.writer,
            WRITES,
            scope,
        )
        .await
    }

    /// Ends a change: records it, commits and rings the bell, if it was done
    /// in time.
    async fn end<T>(
        &self,
        done: Result<Result<T>, tokio::time::error::Elapsed>,
        tx: DatabaseTransaction,
        records: &[Record],
    ) -> Result<T> {
        let Ok(done) = done else {
            return Err(self.pools.hangs().await);
        };
        let done = done?;
        let commit = async {
            record::write(records, &tx, &self.clock).await?;
            tx.commit().await
        };
        self.pools.bounded(commit).await?;
        self.bell.ring();
        Ok(done)
    }
}

/// The attempts to make a change that others get in the way of.
struct Contest<'a> {
    begun: Instant,
    timeout: Duration,
    clock: &'a Clock,
    /// In milliseconds.
    pause: u64,
}

impl<'a> Contest<'a> {
    fn begin(store: &'a Store) -> Self {
        Self {
            begun: Instant::now(),
            timeout: store.pools.retry_timeout(),
            clock: &store.clock,
            pause: 1,
        }
    }

    fn goes_on(&self) -> bool {
        self.begun.elapsed() < self.timeout
    }

    /// Waits a little: whoever collided must not collide again in step.
    async fn pause(&mut self) {
        let jitter = u64::from(self.clock.now().timestamp_subsec_micros()) % (self.pause + 1);
        tokio::time::sleep(Duration::from_millis(self.pause + jitter)).await;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
    }
}

/// How SQLite begins a transaction. A writer takes the lock at once: one that
/// reads first and writes later would fail when another one writes in between.
type Mode = Option<SqliteTransactionMode>;
const READS: Mode = None;
const WRITES: Mode = Some(SqliteTransactionMode::Immediate);

/// A transaction, and when it began by the clock of the database, which all
/// processes share: before anything that it sees or does not see.
struct Begun {
    tx: DatabaseTransaction,
    time: DateTime<Utc>,
}

/// Begins a transaction. A connection that died while nobody used it is
/// replaced by another one: nothing was asked of it yet.
async fn begin(
    pools: &Pools,
    clock: &Clock,
    which: fn(Connections) -> DatabaseConnection,
    mode: Mode,
    scope: Scope,
) -> Result<Begun> {
    let begun = Instant::now();
    loop {
        let pool = which(pools.get());
        match pools.bounded(begin_once(&pool, clock, mode, scope)).await {
            Err(Error::Unavailable { .. }) if begun.elapsed() < REPLACE => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            done => return done,
        }
    }
}

async fn begin_once(
    pool: &DatabaseConnection,
    clock: &Clock,
    mode: Mode,
    scope: Scope,
) -> Result<Begun, DbErr> {
    let time = clock.now();
    let options = TransactionOptions {
        sqlite_transaction_mode: mode,
        ..Default::default()
    };
    let tx = pool.begin_with_options(options).await?;
    if tx.get_database_backend() != DbBackend::Postgres {
        return Ok(Begun { tx, time });
    }
    let row = tx.query_one_raw(scope.statement()).await?;
    let row = row.ok_or_else(|| DbErr::Custom("the database has no time".to_owned()))?;
    let time = clock.shifted(row.try_get("", "now")?);
    Ok(Begun { tx, time })
}

impl Scope {
    /// Tells PostgreSQL, until the transaction ends; its policies read it.
    fn statement(self) -> Statement {
        // now() is the time at which the transaction began.
        let sql = "SELECT set_config($1, $2, true), now() AS now";
        let (name, value) = match self {
            Self::Tenant(tenant) => (schema::TENANT, tenant.0.to_string()),
            Self::AllTenants => (schema::ALL_TENANTS, "on".to_owned()),
        };
        Statement::from_sql_and_values(DbBackend::Postgres, sql, [name.into(), value.into()])
    }
}
