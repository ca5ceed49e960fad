//! Where events come from: the records of changes of all services. One process
//! reads each of them; what it found, and how far it has read, is written in
//! one transaction, so that nothing is lost and nothing is taken up twice.

use std::collections::HashMap;
use std::time::Duration;

use chassis::peer::{Peers, ServiceName};
use chassis::service_identity::ServiceIdentity;
use chassis::store::{GlobalTx, Store, in_one_order};
use chassis::{Clock, Error, Result};
use chrono::TimeDelta;
use proto::audit::event_log_service_client::EventLogServiceClient;
use proto::audit::{AuditEvent, FollowEventsRequest, LoggedEvent};
use proto::registry::Device;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter};
use tonic::Code;
use uuid::Uuid;

use super::{event, event_types};
use crate::device_row::message;
use crate::entity::{device, device_tag, webhook, webhook_cursor, webhook_delivery};
use proto::registry::webhook_delivery::State;

/// Kept instead of a position that is lost.
const FROM_NOW: &str = "now";
/// How much older than a webhook an event may be, for clocks that differ.
const OLDER: TimeDelta = TimeDelta::minutes(1);
/// How long a process has a record for itself after each thing that it heard.
const LEASE: TimeDelta = TimeDelta::seconds(15);
/// How long until it is tried again to get it.
const RETRY: Duration = Duration::from_secs(2);
/// How long a record may be silent.
const SILENCE: Duration = Duration::from_secs(12);

/// Takes up what one service records.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) identity: ServiceIdentity,
    pub(crate) service: ServiceName,
    /// Names this process among those that would read the same record.
    pub(crate) holder: Uuid,
}

impl Source {
    /// Takes events up for as long as the process lives.
    pub(crate) async fn run(self) {
        let service = self.service.as_str();
        let mut well = true;
        loop {
            let done = self.once().await;
            if let Err(error) = &done {
                if well {
                    tracing::warn!(%error, service, "can't follow what a service records, for webhooks");
                } else {
                    tracing::debug!(%error, service, "still can't follow");
                }
            }
            well = done.is_ok();
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Reads until another process does, or something fails.
    async fn once(&self) -> Result<()> {
        let Some(position) = self.lease().await? else {
            return Ok(());
        };
        let peer = self.peers.get(self.service);
        let mut client = EventLogServiceClient::new(peer).max_decoding_message_size(64 << 20);
        let from_now = position == FROM_NOW;
        let position = if from_now { String::new() } else { position };
        let request = FollowEventsRequest { position, from_now };
        let request = self.identity.request(request)?;
        let stream = client.follow_events(request).await;
        let mut stream = match stream {
            Ok(stream) => stream.into_inner(),
            Err(status) => return self.failed(status).await,
        };
        while let Ok(next) = tokio::time::timeout(SILENCE, stream.message()).await {
            match next {
                Ok(Some(answer)) => {
                    if !self.take(answer.events, &answer.position).await? {
                        return Ok(());
                    }
                }
                Ok(None) => return Ok(()),
                Err(status) => return self.failed(status).await,
            }
        }
        Ok(())
    }

    /// A position that the other service no longer has is given up.
    async fn failed(&self, status: tonic::Status) -> Result<()> {
        if matches!(
            status.code(),
            Code::FailedPrecondition | Code::InvalidArgument
        ) {
            let service = self.service.as_str();
            tracing::error!(
                service,
                "the record of changes is another one; events until now may be missing in webhooks"
            );
            self.take(Vec::new(), FROM_NOW).await?;
        }
        Err(status.into())
    }

    /// Where to go on, if no other process reads this record.
    async fn lease(&self) -> Result<Option<String>> {
        // How far was read is nobody's thing: there is nothing to record.
        let lease = self.store.change_global(
            "be the one who reads a record for webhooks",
            None,
            async |tx| {
                let row = webhook_cursor::ActiveModel {
                    service: Set(self.service.as_str().to_owned()),
                    position: Set(String::new()),
                    ..Default::default()
                };
                let there = OnConflict::column(webhook_cursor::Column::Service)
                    .do_nothing()
                    .to_owned();
                tx.upsert(webhook_cursor::Entity::insert(row).on_conflict(there))
                    .await?;
                let free = Condition::any()
                    .add(webhook_cursor::Column::Holder.is_null())
                    .add(webhook_cursor::Column::Holder.eq(self.holder))
                    .add(webhook_cursor::Column::LeaseTime.lt(tx.begin_time()));
                let query = self
                    .own()
                    .col_expr(webhook_cursor::Column::Holder, Expr::value(self.holder))
                    .filter(free);
                if tx.update_many(self.held(query, tx)).await? == 0 {
                    return Ok(None);
                }
                let own = webhook_cursor::Column::Service.eq(self.service.as_str());
                let row = tx.one(webhook_cursor::Entity::find().filter(own)).await?;
                Ok(row.map(|row| row.position))
            },
        );
        lease.await
    }

    fn own(&self) -> sea_orm::UpdateMany<webhook_cursor::Entity> {
        let own = webhook_cursor::Column::Service.eq(self.service.as_str());
        webhook_cursor::Entity::update_many().filter(own)
    }

    fn held(
        &self,
        query: sea_orm::UpdateMany<webhook_cursor::Entity>,
        tx: &GlobalTx,
    ) -> sea_orm::UpdateMany<webhook_cursor::Entity> {
        let until = Expr::value(tx.begin_time() + LEASE);
        query.col_expr(webhook_cursor::Column::LeaseTime, until)
    }

    /// Takes events up; answers whether this process still has the record.
    async fn take(&self, events: Vec<LoggedEvent>, position: &str) -> Result<bool> {
        let events = by_tenant(events);
        let events = &events;
        // The changes themselves are recorded; this is their consequence.
        let taken = self
            .store
            .change_global("take up events for webhooks", None, async |tx| {
                let query = self
                    .own()
                    .col_expr(webhook_cursor::Column::Position, Expr::value(position))
                    .filter(webhook_cursor::Column::Holder.eq(self.holder));
                if tx.update_many(self.held(query, tx)).await? == 0 {
                    return Ok(false);
                }
                if !events.is_empty() {
                    let rows = self.deliveries(tx, events).await?;
                    for some in rows.chunks(500) {
                        tx.insert_many(some.to_vec()).await?;
                    }
                }
                Ok(true)
            });
        taken.await
    }

    async fn deliveries(
        &self,
        tx: &GlobalTx,
        events: &HashMap<Uuid, Vec<AuditEvent>>,
    ) -> Result<Vec<webhook_delivery::ActiveModel>> {
        let query = webhook::Entity::find()
            .filter(webhook::Column::TenantId.is_in(events.keys().copied()))
            .filter(webhook::Column::Disabled.eq(false));
        let mut rows = Vec::new();
        let mut devices = HashMap::new();
        for webhook in tx.all(query).await? {
            let chosen = event_types(&webhook);
            let tenant = webhook.tenant_id;
            for one in events.get(&tenant).into_iter().flatten() {
                let event_type = event::event_type(one);
                let oldest = (webhook.create_time - OLDER).timestamp();
                if one.time.is_some_and(|time| time.seconds < oldest) {
                    continue;
                }
                if !event::is_chosen(&chosen, &event_type) {
                    continue;
                }
                if let std::collections::hash_map::Entry::Vacant(unread) = devices.entry(tenant) {
                    let ids = event::devices(events.get(&tenant).into_iter().flatten());
                    unread.insert(load(tx, tenant, ids).await?);
                }
                let device = devices.get(&tenant).and_then(|all: &HashMap<_, Device>| {
                    let id = one.resource.strip_prefix("devices/")?;
                    all.get(id).cloned()
                });
                rows.push(webhook_delivery::ActiveModel {
                    id: Set(self.clock.new_id()),
                    tenant_id: Set(tenant),
                    webhook_id: Set(webhook.id),
                    event_id: Set(one.id.parse().map_err(Error::internal)?),
                    event_type: Set(event_type),
                    resource: Set(one.resource.clone()),
                    body: Set(event::body(one, device)?),
                    state: Set(State::Pending as i16),
                    attempts: Set(0),
                    create_time: Set(tx.begin_time()),
                    due_time: Set(Some(tx.begin_time())),
                    error: Set(String::new()),
                    ..Default::default()
                });
            }
        }
        Ok(rows)
    }
}

fn by_tenant(events: Vec<LoggedEvent>) -> HashMap<Uuid, Vec<AuditEvent>> {
    let mut tenants = HashMap::<_, Vec<_>>::new();
    for logged in events {
        // What belongs to no tenant is nobody's event.
        if let (Ok(tenant), Some(event)) = (logged.tenant_id.parse(), logged.event) {
            tenants.entry(tenant).or_default().push(event);
        }
    }
    tenants
}

/// Some devices as they are now, by id.
async fn load(tx: &GlobalTx, tenant: Uuid, ids: Vec<Uuid>) -> Result<HashMap<String, Device>> {
    let query = device::Entity::find()
        .filter(device::Column::TenantId.eq(tenant))
        .filter(device::Column::Id.is_in(ids.iter().copied()));
    let rows = tx.all(query).await?;
    let query = device_tag::Entity::find()
        .filter(device_tag::Column::TenantId.eq(tenant))
        .filter(device_tag::Column::DeviceId.is_in(ids));
    let mut tags = HashMap::<_, Vec<_>>::new();
    for row in tx.all(in_one_order(query)).await? {
        tags.entry(row.device_id).or_default().push(row.tag_id);
    }
    let device = |row: device::Model| {
        let tags = tags.remove(&row.id).unwrap_or_default();
        (row.id.to_string(), message(row, &tags))
    };
    Ok(rows.into_iter().map(device).collect())
}
