//! What was delivered, or not, is delivered once more.

use chassis::Result;
use chassis::store::WriteTx;
use chrono::{DateTime, Utc};
use proto::registry::webhook_delivery::State;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::entity::webhook_delivery as delivery;

/// Makes deliveries due that were taken up since a time; answers how many.
pub(super) async fn since(
    tx: &WriteTx,
    webhook: Uuid,
    start: DateTime<Utc>,
    state: Option<i16>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let mut query = delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::value(State::Pending as i16))
        .col_expr(delivery::Column::Attempts, Expr::value(0_i64))
        .col_expr(delivery::Column::DueTime, Expr::value(now))
        .filter(delivery::Column::WebhookId.eq(webhook))
        .filter(delivery::Column::CreateTime.gte(start));
    if let Some(state) = state {
        query = query.filter(delivery::Column::State.eq(state));
    }
    tx.update_many(query).await
}
