//! What time takes away: deleted devices whose purge time has come, requests
//! that will not come again, and imports that do not go on.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::Result;
use chassis::caller::TenantId;
use chassis::store::{Record, Store, in_one_order};
use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::{device, import, request};
use crate::quota;

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(60);
/// Devices that are purged at a time.
const BATCH: u64 = 500;
/// How long a request may come again.
const REPEATABLE: TimeDelta = TimeDelta::days(1);
/// How long an import may go on after it was heard of last.
const RESUMABLE: TimeDelta = TimeDelta::days(7);

/// Purges for as long as the process lives.
pub(crate) async fn run(store: Store) {
    loop {
        if let Err(error) = once(&store).await {
            tracing::warn!(%error, "what is to be purged is still there");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(store: &Store) -> Result<()> {
    while devices(store).await? > 0 {}
    // Nobody's thing is changed: there is nothing to record.
    store
        .change_global("forget imports that do not go on", None, async |tx| {
            let old = import::Column::UpdateTime.lt(tx.begin_time() - RESUMABLE);
            tx.delete(import::Entity::delete_many().filter(old)).await
        })
        .await?;
    store
        .change_global(
            "forget requests that will not come again",
            None,
            async |tx| {
                let old = request::Column::CreateTime.lt(tx.begin_time() - REPEATABLE);
                tx.delete(request::Entity::delete_many().filter(old)).await
            },
        )
        .await
        .map(drop)
}

/// Purges some devices; answers how many.
async fn devices(store: &Store) -> Result<u64> {
    let tx = store
        .global("find devices whose purge time has come")
        .await?;
    let due = device::Entity::find()
        .filter(device::Column::PurgeTime.lt(tx.begin_time()))
        .order_by_asc(device::Column::PurgeTime)
        .limit(BATCH);
    let due = tx.all(due).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let mut tenants = BTreeMap::<_, Vec<_>>::new();
    for row in due {
        tenants.entry(row.tenant_id).or_default().push(row.number);
    }
    let mut purged = 0;
    for (tenant, numbers) in tenants {
        let numbers = &numbers;
        // Which ones are purged, only the transaction knows: it records them.
        purged += store
            .change_global("purge devices whose time has come", None, async |tx| {
                // One that was brought back meanwhile has no purge time.
                let query = device::Entity::find()
                    .filter(device::Column::Number.is_in(numbers.iter().copied()))
                    .filter(device::Column::PurgeTime.lt(tx.begin_time()));
                let due = tx.all(in_one_order(query).lock_exclusive()).await?;
                let of = |row: &device::Model| {
                    Record::by_service("device-registry", tenant, ("devices", row.id))
                };
                tx.record(&due.iter().map(of).collect::<Vec<_>>()).await?;
                let numbers = due.iter().map(|row| row.number);
                let query =
                    device::Entity::delete_many().filter(device::Column::Number.is_in(numbers));
                let gone = tx.delete(query).await?;
                quota::give_back_of(tx, TenantId(tenant), gone.cast_signed()).await?;
                Ok(gone)
            })
            .await?;
    }
    Ok(purged)
}
