//! The record of changes for the services of the installation: one service
//! follows that of another, across tenants.

use std::time::{Duration, Instant};

use proto::audit::event_log_service_server::{EventLogService, EventLogServiceServer};
use proto::audit::{FollowEventsRequest, FollowEventsResponse, LoggedEvent};
use sea_orm::EntityTrait;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::message;
use crate::caller::open_subject;
use crate::error::{Error, Result};
use crate::peer::ServiceName;
use crate::store::event::{Entity, Model};
use crate::store::{Reading, Store};

/// Changes of one message.
const BATCH: u64 = 500;
/// How often a follower hears something though nothing happens.
const HEARTBEAT: Duration = Duration::from_secs(4);

/// Answers for the record of one service.
pub fn log(name: ServiceName, store: Store) -> EventLogServiceServer<impl EventLogService> {
    EventLogServiceServer::new(EventLog { name, store })
}

struct EventLog {
    name: ServiceName,
    store: Store,
}

#[tonic::async_trait]
impl EventLogService for EventLog {
    type FollowEventsStream = ReceiverStream<Result<FollowEventsResponse, Status>>;

    async fn follow_events(
        &self,
        request: Request<FollowEventsRequest>,
    ) -> Result<Response<Self::FollowEventsStream>, Status> {
        let (_, req) = open_subject(request)?;
        let reading = match req.position.as_str() {
            "" => {
                let tx = self.store.global("follow the record of changes").await?;
                let now = tx.position::<Entity>().await?;
                match req.from_now {
                    true => now.into(),
                    false => now.beginning().into(),
                }
            }
            position => serde_json::from_str(position)
                .map_err(|_| Error::invalid("position", "is no position of an answer"))?,
        };
        let (to, stream) = mpsc::channel(1);
        let (name, store) = (self.name, self.store.clone());
        tokio::spawn(async move {
            if let Err(error) = follow(name, &store, reading, &to).await {
                // Who is away does not hear it.
                let _ = to.send(Err(error.into())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

async fn follow(
    name: ServiceName,
    store: &Store,
    mut reading: Reading,
    to: &mpsc::Sender<Result<FollowEventsResponse, Status>>,
) -> Result<()> {
    let mut wakes = store.wakes();
    // The first look is told in any case: it says that the position is good.
    let mut told: Option<Instant> = None;
    loop {
        let tx = store.global("follow the record of changes").await?;
        let found = tx.appeared(Entity::find(), reading, BATCH).await?;
        drop(tx);
        reading = found.reading;
        let silent = told.is_none_or(|told| told.elapsed() > HEARTBEAT);
        if silent || !found.rows.is_empty() {
            let position = serde_json::to_string(&reading).map_err(Error::internal)?;
            let answer = FollowEventsResponse {
                events: found
                    .rows
                    .into_iter()
                    .map(|row| logged(row, name))
                    .collect(),
                position,
            };
            if to.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
            told = Some(Instant::now());
        }
        if to.is_closed() {
            return Ok(());
        }
        if found.all {
            wakes.next().await;
        }
    }
}

fn logged(row: Model, name: ServiceName) -> LoggedEvent {
    LoggedEvent {
        tenant_id: row.tenant_id.map(|id| id.to_string()).unwrap_or_default(),
        event: Some(message(row, name)),
    }
}
