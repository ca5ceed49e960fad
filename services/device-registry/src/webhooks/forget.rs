//! What became of old deliveries is forgotten.

use std::time::Duration;

use chassis::Result;
use chassis::store::Store;
use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::entity::webhook_delivery as delivery;

/// How long what became of deliveries is kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How often older ones are deleted.
const SWEEP: Duration = Duration::from_secs(600);
/// How many at a time.
const SWEPT: u64 = 500;

/// Deletes what became of old deliveries, for as long as the process lives.
pub(super) async fn run(store: Store) {
    loop {
        match some(&store).await {
            Ok(SWEPT) => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "can't delete old deliveries to webhooks"),
        }
        tokio::time::sleep(SWEEP).await;
    }
}

async fn some(store: &Store) -> Result<u64> {
    // Nobody's thing is changed: there is nothing to record.
    let forget = store.change_global("delete old deliveries to webhooks", None, async |tx| {
        let old = delivery::Entity::find()
            .filter(delivery::Column::CreateTime.lt(tx.begin_time() - KEPT))
            .order_by_asc(delivery::Column::CreateTime)
            .limit(SWEPT);
        let numbers: Vec<_> = tx.all(old).await?.iter().map(|row| row.number).collect();
        let those = delivery::Entity::delete_many().filter(delivery::Column::Number.is_in(numbers));
        tx.delete(those).await
    });
    forget.await
}
