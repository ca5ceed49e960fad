//! What time does to commands: those whose time is over are noted as such, and
//! those that ended long ago are deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::Result;
use chassis::store::{GlobalTx, Record, Store};
use chrono::{DateTime, TimeDelta, Utc};
use proto::registry::device_command::State;
use sea_orm::sea_query::{Expr, ExprTrait, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::state::{self, NEVER_ACKNOWLEDGED};
use crate::entity::device_command::{Column, Entity};
use crate::entity::{command_batch, command_call};

/// How often is looked.
const PAUSE: Duration = Duration::from_secs(5);
/// Commands that are looked at in one transaction.
const BATCH: u64 = 500;
/// How long a call is kept: much longer than it takes to be heard.
const HEARD: TimeDelta = TimeDelta::minutes(2);

/// Sweeps for as long as the process lives. Commands are kept for so long
/// after their end.
pub(crate) async fn run(store: Store, keep: TimeDelta) {
    loop {
        if let Err(error) = once(&store, keep).await {
            tracing::warn!(%error, "commands whose time is over are still there");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn once(store: &Store, keep: TimeDelta) -> Result<()> {
    while end(store).await? == BATCH {}
    while forget(store, keep).await? == BATCH {}
    // Nobody's thing is changed: there is nothing to record.
    store
        .change_global(
            "forget calls that were heard",
            None,
            async |tx: &GlobalTx| {
                let old = command_call::Column::CreateTime.lt(tx.begin_time() - HEARD);
                tx.delete(command_call::Entity::delete_many().filter(old))
                    .await
            },
        )
        .await
        .map(drop)
}

/// Notes that the time of some commands is over; answers of how many.
async fn end(store: &Store) -> Result<u64> {
    let tx = store.global("find commands whose time is over").await?;
    let over = Entity::find()
        .filter(Column::NextTime.is_not_null())
        .filter(Column::EndTime.lte(tx.begin_time()))
        .order_by_asc(Column::EndTime)
        .limit(BATCH);
    let over = tx.all(over).await?;
    drop(tx);
    let found = u64::try_from(over.len()).unwrap_or_default();
    let mut tenants = BTreeMap::<_, Vec<_>>::new();
    for row in over {
        tenants.entry(row.tenant_id).or_default().push(row.number);
    }
    for (tenant, numbers) in tenants {
        let record = Record::by_service("device-registry", tenant, ("deviceCommands", "-"));
        let numbers = &numbers;
        store
            .change_global(
                "note that the time of commands is over",
                record,
                async |tx: &GlobalTx| {
                    note(tx, numbers, State::Expired, None).await?;
                    note(tx, numbers, State::Failed, Some(NEVER_ACKNOWLEDGED)).await
                },
            )
            .await?;
    }
    Ok(found)
}

/// Notes the end of those that come to this end.
async fn note(tx: &GlobalTx, numbers: &[i64], end: State, error: Option<&str>) -> Result<()> {
    let end = state::stored(end);
    let query = Entity::update_many()
        .col_expr(Column::State, Expr::value(end))
        .col_expr(Column::Error, Expr::value(error.map(str::to_owned)))
        .col_expr(Column::KeepFrom, Expr::col(Column::EndTime))
        .col_expr(Column::NextTime, Expr::value(None::<DateTime<Utc>>))
        .filter(Column::Number.is_in(numbers.iter().copied()))
        .filter(Column::EndState.eq(end))
        // One that was acknowledged meanwhile has come to another end.
        .filter(Column::NextTime.is_not_null())
        .filter(Column::EndTime.lte(tx.begin_time()));
    tx.update_many(query).await.map(drop)
}

/// Deletes some commands that ended long ago, and batches of which there is
/// none left; answers how many commands.
async fn forget(store: &Store, keep: TimeDelta) -> Result<u64> {
    store
        .change_global(
            "forget commands that ended long ago",
            None,
            async |tx: &GlobalTx| {
                let before = tx.begin_time() - keep;
                let old = Entity::find()
                    .filter(Column::KeepFrom.lt(before))
                    .order_by_asc(Column::KeepFrom)
                    .limit(BATCH);
                let old = tx.all(old).await?;
                let found = u64::try_from(old.len()).unwrap_or_default();
                if found > 0 {
                    let numbers = old.into_iter().map(|row| row.number);
                    let query = Entity::delete_many().filter(Column::Number.is_in(numbers));
                    tx.delete(query).await?;
                }
                use command_batch::Column as Batch;
                let some = Query::select()
                    .expr(Expr::val(1))
                    .from(Entity)
                    .and_where(
                        Expr::col((Entity, Column::TenantId))
                            .equals((command_batch::Entity, Batch::TenantId)),
                    )
                    .and_where(
                        Expr::col((Entity, Column::BatchId))
                            .equals((command_batch::Entity, Batch::Id)),
                    )
                    .to_owned();
                let query = command_batch::Entity::delete_many()
                    .filter(Batch::AfterNumber.is_null())
                    .filter(Batch::UpdateTime.lt(before))
                    .filter(Expr::exists(some).not());
                tx.delete(query).await?;
                Ok(found)
            },
        )
        .await
}
