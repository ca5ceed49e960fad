//! WebhookService: URLs that are told what changes.
//!
//! [`source`] takes events up from the records of changes, [`send`] delivers
//! them; both keep what they know in the database, so that any process can go
//! on. [`guard`] says where they may be delivered to.

mod attempt;
mod event;
mod forget;
pub(crate) mod guard;
mod kept;
mod pause;
mod replay;
mod row;
mod secret;
mod send;
mod source;

use std::sync::Arc;

use chassis::caller::Caller;
use chassis::paging::Page;
use chassis::peer::{Peers, ServiceName};
use chassis::permissions::Permissions;
use chassis::service_identity::ServiceIdentity;
use chassis::store::{Store, WriteTx};
use chassis::time::date_time;
use chassis::{Clock, Error, Result, open};
use chrono::TimeDelta;
use proto::access::Permission;
use proto::audit::AuditEvent;
use proto::registry::webhook_delivery::State;
use proto::registry::webhook_service_server::WebhookService;
use proto::registry::{
    CreateWebhookRequest, CreateWebhookResponse, DeleteWebhookRequest, DeleteWebhookResponse,
    GetWebhookRequest, ListWebhookDeliveriesRequest, ListWebhookDeliveriesResponse,
    ListWebhooksRequest, ListWebhooksResponse, ReplayWebhookDeliveriesRequest,
    ReplayWebhookDeliveriesResponse, ReplayWebhookDeliveryRequest, RotateWebhookSecretRequest,
    RotateWebhookSecretResponse, SendTestEventRequest, UpdateWebhookRequest, Webhook,
    WebhookDelivery,
};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::{webhook, webhook_delivery as delivery};
use crate::paged::paged;
use crate::{etag, ids};
use guard::Reach;
use row::{FIELDS, delivery_message, event_types, message};

/// How long both secrets count if nobody says.
const OVERLAP: TimeDelta = TimeDelta::days(1);

/// Answers calls about webhooks.
pub(crate) struct Webhooks {
    store: Store,
    clock: Clock,
    reach: Arc<Reach>,
    keeper: kept::Keeper,
}

impl Webhooks {
    /// Delivers from now on.
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        peers: &Peers,
        identity: &ServiceIdentity,
        reach: Reach,
    ) -> Self {
        let reach = Arc::new(reach);
        let keeper = kept::Keeper::new(peers.clone(), identity.clone());
        tokio::spawn(keeper.clone().wrap_plain(store.clone()));
        let sender = send::Sender::new(store.clone(), clock.clone(), reach.clone(), keeper.clone());
        match sender {
            Ok(sender) => drop(tokio::spawn(sender.run())),
            Err(error) => tracing::error!(%error, "webhooks are not delivered"),
        }
        let holder = clock.new_id();
        for service in ServiceName::ALL {
            let source = source::Source {
                store: store.clone(),
                clock: clock.clone(),
                peers: peers.clone(),
                identity: identity.clone(),
                service,
                holder,
            };
            tokio::spawn(source.run());
        }
        tokio::spawn(forget::run(store.clone()));
        Self {
            store,
            clock,
            reach,
            keeper,
        }
    }
}

#[tonic::async_trait]
impl WebhookService for Webhooks {
    async fn create_webhook(
        &self,
        request: Request<CreateWebhookRequest>,
    ) -> Result<Response<CreateWebhookResponse>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req.webhook.unwrap_or_default();
        self.reach.check(&wanted.url)?;
        may_be_told(&caller)?;
        let now = self.clock.now();
        let id = ids::chosen_or_new("webhook_id", &req.webhook_id, &self.clock)?;
        let secret = secret::generate()?;
        let key = self.keeper.key().await?;
        let row = webhook::ActiveModel {
            id: Set(id),
            create_time: Set(now),
            update_time: Set(now),
            revision: Set(1),
            disabled_reason: Set(String::new()),
            secret: Set(kept::wrap(key, caller.tenant().0, id, &secret)?),
            ..row::columns(&wanted)?
        };
        let created = self.store.change(&caller, ("webhooks", id), async |tx| {
            tx.insert(row)
                .await
                .map_err(|e| e.unique(&[("id", "webhook_id")]))
        });
        Ok(Response::new(CreateWebhookResponse {
            webhook: Some(message(created.await?, now)),
            secret,
        }))
    }

    async fn get_webhook(
        &self,
        request: Request<GetWebhookRequest>,
    ) -> Result<Response<Webhook>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = tx.one(by_id(id)).await?.ok_or_else(|| missing(id))?;
        Ok(Response::new(message(row, self.clock.now())))
    }

    async fn list_webhooks(
        &self,
        request: Request<ListWebhooksRequest>,
    ) -> Result<Response<ListWebhooksResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let query = paged(webhook::Entity::find(), webhook::Column::Number, &page);
        let rows = self.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let now = self.clock.now();
        Ok(Response::new(ListWebhooksResponse {
            webhooks: rows.into_iter().map(|row| message(row, now)).collect(),
            next_page_token,
        }))
    }

    async fn update_webhook(
        &self,
        request: Request<UpdateWebhookRequest>,
    ) -> Result<Response<Webhook>, Status> {
        let (caller, req) = open(request)?;
        let wanted = req
            .webhook
            .ok_or_else(|| Error::invalid("webhook", "must be set"))?;
        let id = ids::parse("webhook.id", &wanted.id)?;
        let now = self.clock.now();
        let updated = self.store.change(&caller, ("webhooks", id), async |tx| {
            let row = found(tx, id).await?;
            etag::check(&wanted.etag, row.revision)?;
            let (number, revision, was_disabled) = (row.number, row.revision, row.disabled);
            let current = message(row, now);
            let merged = FIELDS.merge(req.update_mask.as_ref(), &wanted, current.clone())?;
            if (&merged.url, &merged.event_types) != (&current.url, &current.event_types) {
                self.reach.check(&merged.url)?;
                may_be_told(&caller)?;
            }
            // As long as it stays disabled, so does why.
            let why = (was_disabled && merged.disabled).then_some(current.disabled_reason);
            let mut change = webhook::ActiveModel {
                number: Unchanged(number),
                update_time: Set(now),
                revision: Set(revision + 1),
                disabled_reason: Set(why.unwrap_or_default()),
                ..row::columns(&merged)?
            };
            if was_disabled && !merged.disabled {
                change.failing_since = Set(None);
                // What waits is due at once.
                let due = delivery::Entity::update_many()
                    .col_expr(delivery::Column::DueTime, Expr::value(now))
                    .filter(delivery::Column::WebhookId.eq(id))
                    .filter(delivery::Column::State.eq(State::Pending as i16));
                tx.update_many(due).await?;
            }
            Ok(message(tx.update(change).await?, now))
        });
        Ok(Response::new(updated.await?))
    }

    async fn delete_webhook(
        &self,
        request: Request<DeleteWebhookRequest>,
    ) -> Result<Response<DeleteWebhookResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let query = webhook::Entity::delete_many().filter(webhook::Column::Id.eq(id));
        self.store
            .change(&caller, ("webhooks", id), async |tx| {
                tx.delete_found(query, || missing(id)).await
            })
            .await?;
        Ok(Response::new(DeleteWebhookResponse {}))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<RotateWebhookSecretRequest>,
    ) -> Result<Response<RotateWebhookSecretResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let overlap = req
            .overlap
            .map(|overlap| TimeDelta::seconds(overlap.seconds));
        let now = self.clock.now();
        let secret = secret::generate()?;
        let key = self.keeper.key().await?;
        let kept = kept::wrap(key, caller.tenant().0, id, &secret)?;
        let rotated = self.store.change(&caller, ("webhooks", id), async |tx| {
            let row = found(tx, id).await?;
            let change = webhook::ActiveModel {
                number: Unchanged(row.number),
                update_time: Set(now),
                revision: Set(row.revision + 1),
                secret: Set(kept.clone()),
                old_secret: Set(Some(row.secret)),
                old_secret_end_time: Set(Some(now + overlap.unwrap_or(OVERLAP))),
                ..Default::default()
            };
            tx.update(change).await
        });
        let row = rotated.await?;
        Ok(Response::new(RotateWebhookSecretResponse {
            webhook: Some(message(row, now)),
            secret,
        }))
    }

    async fn send_test_event(
        &self,
        request: Request<SendTestEventRequest>,
    ) -> Result<Response<WebhookDelivery>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let now = self.clock.now();
        let (own, event_id) = (self.clock.new_id(), self.clock.new_id());
        let event = AuditEvent {
            id: event_id.to_string(),
            time: Some(chassis::time::timestamp(now)),
            actor: caller.principal().to_string(),
            resource: format!("webhooks/{id}"),
            service: ServiceName::DeviceRegistry.as_str().to_owned(),
            ..Default::default()
        };
        let body = event::test(&event)?;
        let sent = self.store.change(&caller, ("webhooks", id), async |tx| {
            let row = found(tx, id).await?;
            if row.disabled {
                return Err(Error::precondition(
                    "WEBHOOK_DISABLED",
                    "the webhook is disabled; enable it first",
                ));
            }
            tx.insert(delivery::ActiveModel {
                id: Set(own),
                webhook_id: Set(id),
                event_id: Set(event_id),
                event_type: Set(event::TEST.to_owned()),
                resource: Set(event.resource.clone()),
                body: Set(body.clone()),
                state: Set(State::Pending as i16),
                attempts: Set(0),
                create_time: Set(now),
                due_time: Set(Some(now)),
                error: Set(String::new()),
                ..Default::default()
            })
            .await
        });
        Ok(Response::new(delivery_message(sent.await?)))
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<ListWebhookDeliveriesRequest>,
    ) -> Result<Response<ListWebhookDeliveriesResponse>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("webhook_id", &req.webhook_id)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let tx = self.store.read(&caller).await?;
        if tx.one(by_id(id)).await?.is_none() {
            return Err(missing(id).into());
        }
        let state = state(req.state());
        let query = delivery::Entity::find()
            .filter(delivery::Column::WebhookId.eq(id))
            .apply_if(state, |q, state| {
                q.filter(delivery::Column::State.eq(state))
            })
            .apply_if(page.after, |q, last| {
                q.filter(delivery::Column::Number.lt(last))
            })
            .order_by_desc(delivery::Column::Number)
            .limit(page.limit());
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        Ok(Response::new(ListWebhookDeliveriesResponse {
            deliveries: rows.into_iter().map(delivery_message).collect(),
            next_page_token,
        }))
    }

    async fn replay_webhook_delivery(
        &self,
        request: Request<ReplayWebhookDeliveryRequest>,
    ) -> Result<Response<WebhookDelivery>, Status> {
        let (caller, req) = open(request)?;
        let webhook = ids::parse("webhook_id", &req.webhook_id)?;
        let id = ids::parse("id", &req.id)?;
        let now = self.clock.now();
        let replayed = self
            .store
            .change(&caller, ("webhooks", webhook), async |tx| {
                let query = delivery::Entity::find()
                    .filter(delivery::Column::WebhookId.eq(webhook))
                    .filter(delivery::Column::Id.eq(id));
                let row = tx.one(query).await?;
                let row = row.ok_or_else(|| Error::not_found("delivery", id))?;
                tx.update(delivery::ActiveModel {
                    number: Unchanged(row.number),
                    state: Set(State::Pending as i16),
                    attempts: Set(0),
                    due_time: Set(Some(now)),
                    ..Default::default()
                })
                .await
            });
        Ok(Response::new(delivery_message(replayed.await?)))
    }

    async fn replay_webhook_deliveries(
        &self,
        request: Request<ReplayWebhookDeliveriesRequest>,
    ) -> Result<Response<ReplayWebhookDeliveriesResponse>, Status> {
        let (caller, req) = open(request)?;
        let webhook = ids::parse("webhook_id", &req.webhook_id)?;
        let start = req.start_time.as_ref().and_then(date_time);
        let start = start.ok_or_else(|| Error::invalid("start_time", "is no valid time"))?;
        let state = state(req.state());
        let now = self.clock.now();
        let replayed = self
            .store
            .change(&caller, ("webhooks", webhook), async |tx| {
                found(tx, webhook).await?;
                replay::since(tx, webhook, start, state, now).await
            });
        let count = i64::try_from(replayed.await?).unwrap_or(i64::MAX);
        Ok(Response::new(ReplayWebhookDeliveriesResponse { count }))
    }
}

/// A webhook shows what the record of changes and devices show: nobody gets
/// to know by it what he may not see.
fn may_be_told(caller: &Caller) -> Result<()> {
    let needed = [Permission::AuditRead, Permission::DevicesRead];
    caller.may_grant(needed.into_iter().collect::<Permissions>())
}

/// The state that is asked for, if one is.
fn state(state: State) -> Option<i16> {
    (state != State::Unspecified).then_some(state as i16)
}

fn by_id(id: Uuid) -> Select<webhook::Entity> {
    webhook::Entity::find().filter(webhook::Column::Id.eq(id))
}

async fn found(tx: &WriteTx, id: Uuid) -> Result<webhook::Model> {
    tx.one(by_id(id)).await?.ok_or_else(|| missing(id))
}

fn missing(id: Uuid) -> Error {
    Error::not_found("webhook", id)
}
