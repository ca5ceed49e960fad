//! The only way to run SQL. Every statement is confined to the caller's
//! tenant.
//!
//! A service can build any query, but it holds nothing that runs one, except
//! a transaction that [`Store`] opened for a verified [`Caller`]; and that
//! adds the tenant to every statement. What must cross tenants goes through
//! [`Store::global`], whose uses are listed and may only shrink.

mod confined;
mod global;
mod open;

pub use confined::{ReadTx, WriteTx};
pub use global::GlobalTx;

use sea_orm::{
    DatabaseConnection, EntityTrait, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::caller::Caller;
use crate::error::Result;

/// A table whose rows belong to exactly one tenant each. Declared by
/// [`tenant_owned!`](crate::tenant_owned), never by hand.
pub trait TenantOwned: EntityTrait {
    /// The column that holds the tenant.
    const TENANT: Self::Column;
}

/// A table of the whole service that any transaction may append to, and none
/// may read but a global one: such as the log of revocations.
pub trait Log: EntityTrait {}

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

/// A service's database. Holds no method that runs SQL. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    /// Many connections: readers don't wait for each other.
    reader: DatabaseConnection,
    /// One connection on SQLite, which has one writer; the same pool as
    /// `reader` on PostgreSQL.
    writer: DatabaseConnection,
}

impl Store {
    /// A snapshot of the caller's tenant, to read from.
    pub async fn read(&self, caller: &Caller) -> Result<ReadTx> {
        Ok(ReadTx::new(self.reader.begin().await?, caller.tenant()))
    }

    /// Runs `work` in one transaction: commits when it answers `Ok`, rolls
    /// back otherwise.
    pub async fn change<T>(
        &self,
        caller: &Caller,
        work: impl AsyncFnOnce(&WriteTx) -> Result<T>,
    ) -> Result<T> {
        let tx = WriteTx::new(self.begin_write().await?, caller.tenant());
        let done = work(&tx).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// A snapshot of all tenants. `_why` names the use; the list of uses is a
    /// file that a test compares, and may only shrink.
    pub async fn global(&self, _why: &'static str) -> Result<GlobalTx> {
        Ok(GlobalTx::new(self.reader.begin().await?))
    }

    /// Like [`Store::change`], across tenants. `_why` is as in [`Store::global`].
    pub async fn change_global<T>(
        &self,
        _why: &'static str,
        work: impl AsyncFnOnce(&GlobalTx) -> Result<T>,
    ) -> Result<T> {
        let tx = GlobalTx::new(self.begin_write().await?);
        let done = work(&tx).await?;
        tx.commit().await?;
        Ok(done)
    }

    /// On SQLite, takes the write lock at once: a transaction that reads
    /// first and writes later would fail when another one writes in between.
    async fn begin_write(&self) -> Result<sea_orm::DatabaseTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        Ok(self.writer.begin_with_options(options).await?)
    }
}
