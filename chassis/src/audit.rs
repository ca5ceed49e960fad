//! The record of changes, for those who may read it: each service answers for
//! its own, and the gateway for all of them together.
//!
//! Changes have one order across services: by time, and by id where times are
//! equal. So the place of the last change on a page says to every service
//! where to go on, and a page token holds nothing else.

mod log;

pub use log::log;

use std::cmp::Reverse;

use chrono::{DateTime, Utc};
use proto::audit::audit_service_server::{AuditService, AuditServiceServer};
use proto::audit::{AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse};
use sea_orm::sea_query::{Expr, ExprTrait, SimpleExpr};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, Select};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::caller::open;
use crate::error::{Error, Result};
use crate::paging;
use crate::peer::ServiceName;
use crate::store::Store;
use crate::store::event::{Column, Entity, Model};
use crate::time::{date_time, timestamp};

/// Answers for the record of one service.
pub fn service(name: ServiceName, store: Store) -> AuditServiceServer<impl AuditService> {
    AuditServiceServer::new(Audit { name, store })
}

struct Audit {
    name: ServiceName,
    store: Store,
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_audit_events(
        &self,
        request: Request<ListAuditEventsRequest>,
    ) -> Result<Response<ListAuditEventsResponse>, Status> {
        let (caller, req) = open(request)?;
        let query = matching(&req)?;
        if !req.service.is_empty() && req.service != self.name.as_str() {
            return Ok(Response::new(ListAuditEventsResponse::default()));
        }
        let size = paging::size(req.page_size);
        // One more than wanted tells whether there is a next page.
        let query = query.limit(size + 1);
        let rows = self.store.read(&caller).await?.all(query).await?;
        let events = rows.into_iter().map(|row| message(row, self.name));
        Ok(Response::new(page(events.collect(), size)))
    }
}

/// Where a change is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    time: DateTime<Utc>,
    id: Uuid,
}

impl Place {
    fn of(event: &AuditEvent) -> Self {
        Self {
            time: event.time.as_ref().and_then(date_time).unwrap_or_default(),
            id: event.id.parse().unwrap_or_default(),
        }
    }

    /// The token of the page that begins after this place: seconds,
    /// nanoseconds, id.
    fn token(self) -> String {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&self.time.timestamp().to_be_bytes());
        bytes[8..12].copy_from_slice(&self.time.timestamp_subsec_nanos().to_be_bytes());
        bytes[12..].copy_from_slice(self.id.as_bytes());
        paging::write(bytes)
    }

    fn read(token: &str) -> Result<Self> {
        let bytes: [u8; 28] = paging::read(token)?;
        let (seconds, rest) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
        let (nanos, id) = rest.split_first_chunk().unwrap_or((&[0; 4], &[]));
        let time =
            DateTime::from_timestamp(i64::from_be_bytes(*seconds), u32::from_be_bytes(*nanos));
        let id = Uuid::from_slice(id).map_err(Error::internal)?;
        let time = time.ok_or_else(|| Error::invalid("page_token", "holds no time"))?;
        Ok(Self { time, id })
    }

    /// What is older than this, as an index has it.
    fn and_older(self) -> SimpleExpr {
        let place = [Expr::value(self.time), Expr::value(self.id)];
        let columns = [Expr::col(Column::Time), Expr::col(Column::Id)];
        ExprTrait::lt(Expr::tuple(columns), Expr::tuple(place))
    }
}

/// What a request asks for, from its page on, newest first.
fn matching(req: &ListAuditEventsRequest) -> Result<Select<Entity>> {
    let after = match req.page_token.as_str() {
        "" => None,
        token => Some(Place::read(token)?),
    };
    let start = bound("start_time", req.start_time.as_ref())?;
    let end = bound("end_time", req.end_time.as_ref())?;
    let (things, thing) = match req.resource.contains('/') {
        true => (None, Some(&*req.resource)),
        false => (given(&req.resource), None),
    };
    Ok(Entity::find()
        .apply_if(after, |query, place| query.filter(place.and_older()))
        .apply_if(start, |query, time| query.filter(Column::Time.gte(time)))
        .apply_if(end, |query, time| query.filter(Column::Time.lt(time)))
        .apply_if(given(&req.actor), |q, who| q.filter(Column::Actor.eq(who)))
        .apply_if(thing, |q, name| q.filter(Column::Resource.eq(name)))
        .apply_if(things, |q, name| q.filter(Column::Collection.eq(name)))
        .order_by_desc(Column::Time)
        .order_by_desc(Column::Id))
}

fn given(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A bound in time of a request, if it has one.
fn bound(
    field: &'static str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<DateTime<Utc>>> {
    let read = |time| date_time(time).ok_or_else(|| Error::invalid(field, "is no valid time"));
    time.map(read).transpose()
}

pub(crate) fn message(row: Model, service: ServiceName) -> AuditEvent {
    AuditEvent {
        id: row.id.to_string(),
        time: Some(timestamp(row.time)),
        actor: row.actor,
        method: row.method,
        resource: row.resource,
        request_id: row.request_id,
        source: row.source,
        service: service.as_str().to_owned(),
    }
}

/// The first page of changes that are in order, of which there may be more
/// than fit on it.
fn page(mut events: Vec<AuditEvent>, size: u64) -> ListAuditEventsResponse {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = events.len() > size;
    events.truncate(size);
    let last = events.last().filter(|_| more);
    ListAuditEventsResponse {
        next_page_token: last.map(|last| Place::of(last).token()).unwrap_or_default(),
        audit_events: events,
        unreachable: Vec::new(),
    }
}

/// One page of what several services answered to one request.
pub fn merge(answers: Vec<ListAuditEventsResponse>, page_size: i32) -> ListAuditEventsResponse {
    let more = answers
        .iter()
        .any(|answer| !answer.next_page_token.is_empty());
    let mut events: Vec<_> = answers.into_iter().flat_map(|a| a.audit_events).collect();
    events.sort_by_cached_key(|event| Reverse(Place::of(event)));
    let mut merged = page(events, paging::size(page_size));
    // A service that has more than a page fills this one.
    if let Some(last) = merged.audit_events.last().filter(|_| more) {
        merged.next_page_token = Place::of(last).token();
    }
    merged
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend};
    use sea_orm_migration::MigratorTrait;

    use super::*;

    fn event(seconds: i64, id: u128, service: ServiceName) -> AuditEvent {
        let time = DateTime::from_timestamp(seconds, 123_456_789).unwrap();
        AuditEvent {
            id: Uuid::from_u128(id).to_string(),
            time: Some(timestamp(time)),
            service: service.as_str().to_owned(),
            ..AuditEvent::default()
        }
    }

    /// What a service that has these would answer.
    fn answer(all: &[AuditEvent], token: &str, size: i32) -> ListAuditEventsResponse {
        let after = (!token.is_empty()).then(|| Place::read(token).unwrap());
        let rest = all
            .iter()
            .filter(|e| after.is_none_or(|after| Place::of(e) < after));
        let mut rest: Vec<_> = rest.cloned().collect();
        rest.sort_by_key(|event| Reverse(Place::of(event)));
        page(rest, paging::size(size))
    }

    #[test]
    fn pages_of_many_services_hold_each_change_once_and_the_newest_first() {
        // Many at the same time, in all services alike.
        let of = |service: ServiceName| {
            let ids = (0..40_u128).filter(move |id| id % 4 == service as u128);
            ids.map(|id| {
                event(
                    1_800_000_000 + i64::try_from(id / 13).unwrap(),
                    id * 7 % 40,
                    service,
                )
            })
            .collect::<Vec<_>>()
        };
        let services = ServiceName::ALL.map(of);
        for size in [1, 3, 7, 10, 39, 40, 41] {
            let (mut seen, mut token) = (Vec::new(), String::new());
            loop {
                let answers = services.iter().map(|all| answer(all, &token, size));
                let page = merge(answers.collect(), size);
                assert!(page.audit_events.len() <= usize::try_from(size).unwrap());
                seen.extend(page.audit_events);
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
            }
            let mut all = services.concat();
            all.sort_by_key(|event| Reverse(Place::of(event)));
            assert_eq!(seen, all, "{size}");
        }
    }

    #[test]
    fn a_token_holds_a_place_to_the_nanosecond_and_made_up_ones_are_refused() {
        let place = Place::of(&event(1_800_000_000, 7, ServiceName::Identity));
        assert_eq!(Place::read(&place.token()).unwrap(), place);
        for token in [
            "x",
            "%%%",
            &paging::token_after(7),
            &paging::write([255; 28]),
        ] {
            assert!(Place::read(token).is_err(), "{token}");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a database of its own")]
    async fn database() -> DatabaseConnection {
        let database = Database::connect("sqlite::memory:").await.unwrap();
        migrations::registry::Migrator::up(&database, None)
            .await
            .unwrap();
        database
    }

    #[tokio::test]
    async fn what_happened_stays() {
        let database = database().await;
        let sql =
            "INSERT INTO events (id, time, actor, method, collection, resource, request_id, source)
                   VALUES (x'00', '2027-01-15', '', '', '', '', '', '')";
        database.execute_unprepared(sql).await.unwrap();
        for sql in ["UPDATE events SET actor = 'nobody'", "DELETE FROM events"] {
            let refusal = database.execute_unprepared(sql).await.unwrap_err();
            assert!(
                refusal.to_string().contains("what happened stays"),
                "{refusal}"
            );
        }
        // Going back is no change of the record: it takes the table away.
        migrations::registry::Migrator::down(&database, None)
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_page_is_read_from_an_index_and_in_its_order() {
        let database = database().await;
        let (actor, time) = ("user:x".to_owned(), Some(prost_types::Timestamp::default()));
        let all = ListAuditEventsRequest::default();
        let page_token = Place::of(&event(0, 0, ServiceName::Identity)).token();
        for (wanted, index) in [
            (all.clone(), "events_tenant_id_time_id_idx"),
            (
                ListAuditEventsRequest {
                    end_time: time,
                    start_time: time,
                    ..all.clone()
                },
                "events_tenant_id_time_id_idx",
            ),
            (
                ListAuditEventsRequest {
                    actor,
                    ..all.clone()
                },
                "events_tenant_id_actor_time_id_idx",
            ),
            (
                ListAuditEventsRequest {
                    resource: "devices/x".into(),
                    ..all.clone()
                },
                "events_tenant_id_resource_time_id_idx",
            ),
            (
                ListAuditEventsRequest {
                    resource: "devices".into(),
                    ..all.clone()
                },
                "events_tenant_id_collection_time_id_idx",
            ),
        ] {
            for wanted in [
                wanted.clone(),
                ListAuditEventsRequest {
                    page_token: page_token.clone(),
                    ..wanted
                },
            ] {
                let query = matching(&wanted)
                    .unwrap()
                    .filter(Column::TenantId.eq(Uuid::nil()));
                let mut query = query.limit(51).build(DbBackend::Sqlite);
                query.sql.insert_str(0, "EXPLAIN QUERY PLAN ");
                let plan = database.query_all_raw(query).await.unwrap();
                let steps = plan
                    .iter()
                    .map(|row| row.try_get::<String>("", "detail").unwrap());
                let steps: Vec<_> = steps.collect();
                assert!(
                    steps.len() == 1 && steps[0].contains(index),
                    "{wanted:?}: {steps:?}"
                );
                let place = steps[0].contains("(time,id)<(?,?)");
                assert_eq!(place, !wanted.page_token.is_empty(), "{steps:?}");
            }
        }
    }
}
