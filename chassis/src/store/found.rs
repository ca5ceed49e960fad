//! Changes that find out themselves what they change.

use crate::caller::Caller;
use crate::error::{Error, Result};

use super::{Contest, Record, Resource, Scope, Store, WriteTx};

impl Store {
    /// Like [`Store::change_many`], of things that only `work` finds: it
    /// answers which ones it changed. What is not recorded is not kept: if it
    /// names none, all that it did is rolled back, which is how a change is
    /// tried without being made.
    pub async fn change_found<T>(
        &self,
        caller: &Caller,
        work: impl AsyncFnOnce(&WriteTx) -> Result<(T, Vec<Resource>)> + Clone,
    ) -> Result<T> {
        let record = |what| Record::new(caller.tenant().0, caller.principal(), what);
        let scope = Scope::Tenant(caller.tenant());
        let mut contest = Contest::begin(self);
        loop {
            let tx = self.begin_write(scope).await?;
            let tx = WriteTx::new(tx, caller.tenant(), &self.pools);
            let done = tokio::time::timeout(self.pools.bound(), work.clone()(&tx)).await;
            let tx = tx.finish();
            let (done, records) = match done {
                Ok(Ok((value, what))) if what.is_empty() => {
                    self.pools.bounded(tx.rollback()).await?;
                    return Ok(value);
                }
                Ok(Ok((value, what))) => {
                    let records: Vec<_> = what.into_iter().map(record).collect();
                    (Ok(Ok(value)), records)
                }
                Ok(Err(error)) => (Ok(Err(error)), Vec::new()),
                Err(late) => (Err(late), Vec::new()),
            };
            match self.end(done, tx, &records).await {
                Err(Error::Contention) if contest.goes_on() => contest.pause().await,
                done => return done,
            }
        }
    }
}
