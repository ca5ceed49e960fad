//! Delivers what waits. What is due is claimed by putting off when it is due:
//! a process that dies gives it back by that, and at least once is kept.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::store::{GlobalTx, Record, Store};
use chassis::wrap::WrappingKey;
use chassis::{Clock, Error, Result};
use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use proto::registry::webhook_delivery::State;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, redirect};
use sea_orm::sea_query::{Expr, LockBehavior, LockType};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, UpdateMany,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::attempt::{Outcome, TIMEOUT, outcome, told};
use super::guard::{Guard, Reach};
use super::kept::{self, Keeper};
use super::pause::pause;
use super::secret::signatures;
use crate::entity::{webhook, webhook_delivery as delivery};

/// How long a claim counts: longer than a receiver may take.
const CLAIM: TimeDelta = TimeDelta::seconds(45);
/// How many deliveries one webhook gets at a time from one process.
const AT_ONCE: u64 = 4;
/// How many webhooks one process serves at a time.
const WEBHOOKS: usize = 256;
/// How many deliveries are looked at to find webhooks that wait.
const LOOKED_AT: u64 = 64;
/// The shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How long to wait after a look that failed.
const RETRY: Duration = Duration::from_secs(1);
/// After how long without a success a webhook is disabled.
const GIVEN_UP: TimeDelta = TimeDelta::days(5);

/// Sends. Cheap to clone; clones share.
#[derive(Clone)]
pub(crate) struct Sender(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Clock,
    reach: Arc<Reach>,
    keeper: Keeper,
    client: Client,
    /// Webhooks that are being served.
    busy: Mutex<HashSet<Named>>,
    room: Arc<Semaphore>,
}

/// A webhook. Tenants choose the ids of theirs, and two may choose the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Named {
    tenant: Uuid,
    id: Uuid,
}

impl Named {
    /// The webhook that a delivery is for.
    fn by(row: &delivery::Model) -> Self {
        Self {
            tenant: row.tenant_id,
            id: row.webhook_id,
        }
    }

    fn webhook(self) -> Select<webhook::Entity> {
        webhook::Entity::find()
            .filter(webhook::Column::TenantId.eq(self.tenant))
            .filter(webhook::Column::Id.eq(self.id))
    }

    /// What is for it.
    fn deliveries(self) -> Condition {
        Condition::all()
            .add(delivery::Column::TenantId.eq(self.tenant))
            .add(delivery::Column::WebhookId.eq(self.id))
    }
}

impl Sender {
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        reach: Arc<Reach>,
        keeper: Keeper,
    ) -> Result<Self> {
        let client = Client::builder()
            .user_agent(concat!("Muster-Webhooks/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve names by itself, and behind the guard.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .dns_resolver(Guard(reach.clone()))
            .timeout(TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build()
            .map_err(Error::internal)?;
        Ok(Self(Arc::new(Inner {
            store,
            clock,
            reach,
            keeper,
            client,
            busy: Mutex::default(),
            room: Arc::new(Semaphore::new(WEBHOOKS)),
        })))
    }

    /// Delivers for as long as the process lives.
    pub(crate) async fn run(self) {
        let mut wakes = self.0.store.wakes();
        loop {
            if let Err(error) = self.look().await {
                tracing::warn!(%error, "can't look for what is to be delivered to webhooks");
                tokio::time::sleep(RETRY).await;
            }
            tokio::time::sleep(PAUSE).await;
            wakes.next().await;
        }
    }

    fn busy(&self) -> MutexGuard<'_, HashSet<Named>> {
        self.0.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves every webhook that has something due and is not served yet.
    async fn look(&self) -> Result<()> {
        loop {
            let busy: Vec<_> = self.busy().iter().copied().collect();
            let idle = |webhook: Named| webhook.deliveries().not();
            let idle = busy
                .into_iter()
                .map(idle)
                .fold(Condition::all(), Condition::add);
            let tx = self
                .0
                .store
                .global("find what is to be delivered to webhooks")
                .await?;
            let query = delivery::Entity::find()
                .filter(delivery::Column::DueTime.lte(tx.begin_time()))
                .filter(idle)
                .order_by_asc(delivery::Column::DueTime)
                .limit(LOOKED_AT);
            let due = tx.all(query).await?;
            drop(tx);
            let webhooks: HashSet<_> = due.iter().map(Named::by).collect();
            if webhooks.is_empty() {
                return Ok(());
            }
            // What can't be signed yet waits.
            self.0.keeper.key().await?;
            for webhook in webhooks {
                let Ok(permit) = self.0.room.clone().try_acquire_owned() else {
                    return Ok(());
                };
                self.busy().insert(webhook);
                let sender = self.clone();
                tokio::spawn(async move {
                    if let Err(error) = sender.serve(webhook).await {
                        tracing::warn!(%error, "can't keep what became of deliveries to a webhook");
                    }
                    sender.busy().remove(&webhook);
                    drop(permit);
                });
            }
        }
    }

    /// Delivers what is due to one webhook, until one fails: others come first then.
    async fn serve(&self, named: Named) -> Result<()> {
        let key = self.0.keeper.key().await?;
        loop {
            let Some((webhook, claimed)) = self.claim(named).await? else {
                return Ok(());
            };
            let attempts = claimed.iter().map(|row| self.attempt(key, &webhook, row));
            let outcomes = join_all(attempts).await;
            let failed = outcomes.iter().any(|outcome| outcome.error.is_some());
            self.keep(&webhook, &claimed, &outcomes).await?;
            if failed {
                return Ok(());
            }
        }
    }

    /// Claims some of what is due to a webhook. What waits for one that is
    /// disabled is due when it is enabled again.
    async fn claim(&self, named: Named) -> Result<Option<(webhook::Model, Vec<delivery::Model>)>> {
        // What is on its way is nobody's thing: there is nothing to record.
        let claim = self
            .0
            .store
            .change_global("claim deliveries to a webhook", None, async |tx| {
                let Some(webhook) = tx.one(named.webhook()).await? else {
                    return Ok(None);
                };
                let query = delivery::Entity::find()
                    .filter(named.deliveries())
                    .filter(delivery::Column::DueTime.lte(tx.begin_time()))
                    .order_by_asc(delivery::Column::DueTime)
                    .limit(AT_ONCE)
                    .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
                let mut rows = tx.all(query).await?;
                if rows.is_empty() {
                    return Ok(None);
                }
                let numbers = rows.iter().map(|row| row.number);
                let those =
                    delivery::Entity::update_many().filter(delivery::Column::Number.is_in(numbers));
                if webhook.disabled {
                    let never = Expr::value(None::<DateTime<Utc>>);
                    let put_off = those.col_expr(delivery::Column::DueTime, never);
                    tx.update_many(put_off).await?;
                    return Ok(None);
                }
                let until = Expr::value(tx.begin_time() + CLAIM);
                let attempts = Expr::col(delivery::Column::Attempts);
                let claim = those
                    .col_expr(delivery::Column::DueTime, until)
                    .col_expr(
                        delivery::Column::LastAttemptTime,
                        Expr::value(tx.begin_time()),
                    )
                    .col_expr(
                        delivery::Column::Attempts,
                        sea_orm::sea_query::ExprTrait::add(attempts, 1),
                    );
                tx.update_many(claim).await?;
                for row in &mut rows {
                    row.attempts += 1;
                }
                Ok(Some((webhook, rows)))
            });
        claim.await
    }

    async fn attempt(
        &self,
        key: &WrappingKey,
        webhook: &webhook::Model,
        row: &delivery::Model,
    ) -> Outcome {
        let failed = |error: String| Outcome {
            status: None,
            error: Some(error),
            retry_after: None,
        };
        // What may be called can have changed since it was created.
        let url = match self.0.reach.check(&webhook.url) {
            Ok(url) => url,
            Err(error) => return failed(error.to_string()),
        };
        let now = self.0.clock.now();
        let Ok(secrets) = kept::secrets(key, webhook, now) else {
            return failed("its secret can't be decrypted: rotate it".to_owned());
        };
        let id = row.event_id.to_string();
        let request = self
            .0
            .client
            .post(url)
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now.timestamp().to_string())
            .header(
                "webhook-signature",
                signatures(&secrets, &id, now, &row.body),
            )
            .body(row.body.clone());
        match request.send().await {
            Ok(response) => outcome(response).await,
            Err(error) => failed(told(&error)),
        }
    }

    /// Keeps what became of attempts.
    async fn keep(
        &self,
        webhook: &webhook::Model,
        rows: &[delivery::Model],
        outcomes: &[Outcome],
    ) -> Result<()> {
        // What is disabled is recorded below.
        let keep = self.0.store.change_global(
            "keep what became of deliveries to a webhook",
            None,
            async |tx| {
                for (row, outcome) in rows.iter().zip(outcomes) {
                    tx.update_many(kept(row, outcome, tx.begin_time())).await?;
                }
                note(tx, webhook, outcomes).await
            },
        );
        keep.await
    }
}

/// The change of a delivery after an attempt, unless another one was made.
fn kept(
    row: &delivery::Model,
    outcome: &Outcome,
    now: DateTime<Utc>,
) -> UpdateMany<delivery::Entity> {
    let (state, due) = match &outcome.error {
        None => (State::Delivered, None),
        Some(_) => match pause(row.attempts, outcome.retry_after) {
            Some(pause) => (State::Pending, Some(now + pause)),
            None => (State::Failed, None),
        },
    };
    delivery::Entity::update_many()
        .col_expr(delivery::Column::State, Expr::value(state as i16))
        .col_expr(delivery::Column::DueTime, Expr::value(due))
        .col_expr(
            delivery::Column::StatusCode,
            Expr::value(outcome.status.map(i32::from)),
        )
        .col_expr(
            delivery::Column::Error,
            Expr::value(outcome.error.clone().unwrap_or_default()),
        )
        .filter(delivery::Column::Number.eq(row.number))
        .filter(delivery::Column::Attempts.eq(row.attempts))
}

/// Notes of the webhook whether it fails, and disables one that is gone.
async fn note(tx: &GlobalTx, webhook: &webhook::Model, outcomes: &[Outcome]) -> Result<()> {
    let this = || webhook::Entity::update_many().filter(webhook::Column::Number.eq(webhook.number));
    let failing = webhook::Column::FailingSince;
    if outcomes.iter().any(|outcome| outcome.error.is_none()) {
        let well = this().col_expr(failing, Expr::value(None::<DateTime<Utc>>));
        tx.update_many(well.filter(failing.is_not_null())).await?;
        return Ok(());
    }
    let now = tx.begin_time();
    let since = this().col_expr(failing, Expr::value(now));
    tx.update_many(since.filter(failing.is_null())).await?;
    // 410: the receiver wants no more.
    let gone = outcomes.iter().any(|outcome| outcome.status == Some(410));
    let given_up = webhook
        .failing_since
        .is_some_and(|since| now - since > GIVEN_UP);
    let reason = match (gone, given_up) {
        (true, _) => "GONE",
        (false, true) => "FAILING",
        (false, false) => return Ok(()),
    };
    let disable = this()
        .col_expr(webhook::Column::Disabled, Expr::value(true))
        .col_expr(webhook::Column::DisabledReason, Expr::value(reason))
        .col_expr(webhook::Column::UpdateTime, Expr::value(now))
        .col_expr(
            webhook::Column::Revision,
            sea_orm::sea_query::ExprTrait::add(Expr::col(webhook::Column::Revision), 1),
        )
        .filter(webhook::Column::Disabled.eq(false));
    if tx.update_many(disable).await? > 0 {
        let what = ("webhooks", webhook.id);
        tx.record(&[Record::by_service(
            "device-registry",
            webhook.tenant_id,
            what,
        )])
        .await?;
    }
    Ok(())
}
