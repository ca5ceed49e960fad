//! What devices are told, and what became of it.

mod batches;
mod calls;
mod deliver;
mod fan_out;
mod list;
mod order;
pub(crate) mod parameters;
mod receive;
mod send;
mod settle;
mod state;
mod sweep;
mod whose;

use std::sync::Arc;
use std::time::Duration;

use chassis::paging::Page;
use chassis::revocation::Revocations;
use chassis::store::{ReadTx, Store};
use chassis::{Caller, Clock, Error, Result, open};
use chrono::TimeDelta;
use proto::registry::device_command::State;
use proto::registry::device_command_service_server::DeviceCommandService;
use proto::registry::{
    AcknowledgeCommandRequest, CancelCommandBatchRequest, CancelDeviceCommandRequest,
    CancelDeviceCommandsRequest, CancelDeviceCommandsResponse, CommandBatch, DeviceCommand,
    FailCommandRequest, GetCommandBatchRequest, GetDeviceCommandRequest, ListCommandBatchesRequest,
    ListCommandBatchesResponse, ListDeviceCommandsRequest, ListDeviceCommandsResponse,
    PullCommandsRequest, PullCommandsResponse, ReceiveCommandsRequest, SendCommandRequest,
    SendCommandsRequest, WaitDeviceCommandRequest,
};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::entity::command_batch;
use crate::entity::device_command::{Column, Entity, Model};
use crate::ids;
use crate::paged::paged;
use calls::Calls;
use order::span;
use receive::{Receiver, Said, Seats};
use settle::End;
use whose::Whose;

/// How long a receiver may take to acknowledge a command, unless it says so.
const PATIENCE: TimeDelta = TimeDelta::minutes(1);
/// How many commands a pull answers, unless it says so.
const PULLED: u64 = 10;
/// How long is waited for the end of a command, unless the caller says so.
const WAIT: Duration = Duration::from_secs(30);
/// How often is looked while somebody waits, though nobody called.
const LOOK: Duration = Duration::from_secs(2);

/// Answers calls about what devices are told.
pub(crate) struct DeviceCommands {
    store: Store,
    clock: Clock,
    revocations: Revocations,
    calls: Calls,
    seats: Seats,
    /// Tells that something is to be sent to many.
    begun: Arc<Notify>,
}

impl DeviceCommands {
    /// Works in the background from now on. Commands are kept for so long
    /// after their end.
    pub(crate) fn new(
        store: Store,
        clock: Clock,
        revocations: Revocations,
        keep: TimeDelta,
    ) -> Self {
        let begun = Arc::new(Notify::new());
        tokio::spawn(fan_out::run(store.clone(), clock.clone(), begun.clone()));
        tokio::spawn(sweep::run(store.clone(), keep));
        Self {
            calls: Calls::follow(&store),
            seats: Seats::default(),
            store,
            clock,
            revocations,
            begun,
        }
    }
}

#[tonic::async_trait]
impl DeviceCommandService for DeviceCommands {
    async fn send_command(
        &self,
        request: Request<SendCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let sent = send::to_one(&self.store, &self.clock, &caller, req).await?;
        Ok(Response::new(sent))
    }

    async fn send_commands(
        &self,
        request: Request<SendCommandsRequest>,
    ) -> Result<Response<CommandBatch>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let batch = send::to_many(&self.store, &self.clock, &caller, req).await?;
        self.begun.notify_one();
        Ok(Response::new(batches::message(batch, None)))
    }

    async fn get_device_command(
        &self,
        request: Request<GetDeviceCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let tx = self.store.read(&caller).await?;
        let row = seen(&tx, &caller, id).await?;
        Ok(Response::new(state::message(row, tx.begin_time())))
    }

    async fn list_device_commands(
        &self,
        request: Request<ListDeviceCommandsRequest>,
    ) -> Result<Response<ListDeviceCommandsResponse>, Status> {
        let (caller, req) = open(request)?;
        let page = Page::new(req.page_size, &req.page_token)?.skip(req.skip);
        let tx = self.store.read(&caller).await?;
        let now = tx.begin_time();
        let query = list::matching(&req, &caller, &tx)?;
        let total_size = match req.count_total {
            true => tx.count(query.clone()).await?,
            false => 0,
        };
        let query = match req.order_by.as_str() {
            "create_time desc" => list::newest_first(query, &page),
            _ => paged(query, Column::Number, &page),
        };
        let (rows, next_page_token) = page.finish(tx.all(query).await?, |row| row.number);
        let commands = rows.into_iter().map(|row| state::message(row, now));
        Ok(Response::new(ListDeviceCommandsResponse {
            device_commands: commands.collect(),
            next_page_token,
            total_size: total_size.cast_signed(),
        }))
    }

    async fn wait_device_command(
        &self,
        request: Request<WaitDeviceCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        let id = ids::parse("id", &req.id)?;
        let wait = req.timeout.and_then(|timeout| span(&timeout).to_std().ok());
        let until = Instant::now() + wait.unwrap_or(WAIT);
        let tx = self.store.read(&caller).await?;
        let row = seen(&tx, &caller, id).await?;
        drop(tx);
        // Before it is looked again: what is called in between is not missed.
        let listener = self
            .calls
            .listen(vec![(row.tenant_id, Some(row.device_id))]);
        loop {
            let tx = self.store.read(&caller).await?;
            let now = tx.begin_time();
            let row = seen(&tx, &caller, id).await?;
            drop(tx);
            let left = until.saturating_duration_since(Instant::now());
            if state::is_final(state::at(&row, now)) || left.is_zero() {
                return Ok(Response::new(state::message(row, now)));
            }
            let ends = (row.end_time - now).to_std().unwrap_or_default();
            let pause = left.min(ends).min(LOOK);
            let _ = tokio::time::timeout(pause, listener.called()).await;
        }
    }

    async fn cancel_device_command(
        &self,
        request: Request<CancelDeviceCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let end = End {
            state: State::Cancelled,
            ..Default::default()
        };
        self.settle(&caller, &req.id, end).await
    }

    async fn cancel_device_commands(
        &self,
        request: Request<CancelDeviceCommandsRequest>,
    ) -> Result<Response<CancelDeviceCommandsResponse>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let device = ids::parse("device_id", &req.device_id)?;
        let tx = self.store.read(&caller).await?;
        whose::existing(&tx, &[device]).await?;
        drop(tx);
        let what = ("devices", format!("{device}/commands"));
        let cancelled = self.store.change(&caller, what, async |tx| {
            let which = Column::DeviceId.eq(device).into();
            let cancelled = settle::cancel(tx, which, tx.begin_time()).await?;
            calls::call(tx, device).await?;
            Ok(cancelled)
        });
        Ok(Response::new(CancelDeviceCommandsResponse {
            cancelled_count: cancelled.await?.cast_signed(),
        }))
    }

    type ReceiveCommandsStream = ReceiverStream<Said>;

    async fn receive_commands(
        &self,
        request: Request<ReceiveCommandsRequest>,
    ) -> Result<Response<Self::ReceiveCommandsStream>, Status> {
        let (caller, req) = open(request)?;
        let tx = self.store.read(&caller).await?;
        let whose = Whose::read(&tx, &caller, &req.device_id, &req.device_ids, &req.filter);
        let whose = whose.await?;
        drop(tx);
        let seat = self.seats.take(caller.tenant())?;
        // One ahead: a reader that is slow slows the sender, not the memory.
        let (to, stream) = mpsc::channel(1);
        let receiver = Receiver {
            store: self.store.clone(),
            clock: self.clock.clone(),
            calls: self.calls.clone(),
            revocations: self.revocations.clone(),
            caller,
            whose,
            patience: patience(req.acknowledge_timeout.as_ref()),
        };
        let call = chassis::context::current().unwrap_or_default();
        tokio::spawn(chassis::context::scope(call, async move {
            let _seat = seat;
            receiver.run(to).await;
        }));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn pull_commands(
        &self,
        request: Request<PullCommandsRequest>,
    ) -> Result<Response<PullCommandsResponse>, Status> {
        let (caller, req) = open(request)?;
        let tx = self.store.read(&caller).await?;
        let whose = Whose::read(&tx, &caller, &req.device_id, &req.device_ids, &req.filter);
        let whose = whose.await?;
        drop(tx);
        let patience = patience(req.acknowledge_timeout.as_ref());
        let most = match req.max_commands {
            0 => PULLED,
            most => u64::try_from(most).unwrap_or_default(),
        };
        let handed = deliver::hand_out(&self.store, &caller, &whose, patience, most).await?;
        let commands = handed.rows.into_iter();
        let commands = commands.map(|row| state::message(row, handed.time));
        Ok(Response::new(PullCommandsResponse {
            device_commands: commands.collect(),
        }))
    }

    async fn acknowledge_command(
        &self,
        request: Request<AcknowledgeCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        let end = End {
            state: State::Acknowledged,
            result: parameters::stored(req.result.as_ref(), "result")?,
            error: None,
        };
        self.settle(&caller, &req.id, end).await
    }

    async fn fail_command(
        &self,
        request: Request<FailCommandRequest>,
    ) -> Result<Response<DeviceCommand>, Status> {
        let (caller, req) = open(request)?;
        let end = End {
            state: State::Failed,
            result: parameters::stored(req.result.as_ref(), "result")?,
            error: Some(req.error),
        };
        self.settle(&caller, &req.id, end).await
    }

    async fn get_command_batch(
        &self,
        request: Request<GetCommandBatchRequest>,
    ) -> Result<Response<CommandBatch>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let id = ids::parse("id", &req.id)?;
        Ok(Response::new(self.batch(&caller, id).await?))
    }

    async fn list_command_batches(
        &self,
        request: Request<ListCommandBatchesRequest>,
    ) -> Result<Response<ListCommandBatchesResponse>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let page = Page::new(req.page_size, &req.page_token)?;
        let query = command_batch::Entity::find();
        let query = paged(query, command_batch::Column::Number, &page);
        let rows = self.store.read(&caller).await?.all(query).await?;
        let (rows, next_page_token) = page.finish(rows, |row| row.number);
        let rows = rows.into_iter();
        Ok(Response::new(ListCommandBatchesResponse {
            command_batches: rows.map(|row| batches::message(row, None)).collect(),
            next_page_token,
        }))
    }

    async fn cancel_command_batch(
        &self,
        request: Request<CancelCommandBatchRequest>,
    ) -> Result<Response<CommandBatch>, Status> {
        let (caller, req) = open(request)?;
        whose::refuse_devices(&caller)?;
        let id = ids::parse("id", &req.id)?;
        batches::cancel(&self.store, &caller, id).await?;
        Ok(Response::new(self.batch(&caller, id).await?))
    }
}

impl DeviceCommands {
    async fn settle(
        &self,
        caller: &Caller,
        id: &str,
        end: End,
    ) -> Result<Response<DeviceCommand>, Status> {
        let id = ids::parse("id", id)?;
        let ended = settle::one(&self.store, &self.clock, caller, id, end).await?;
        Ok(Response::new(ended))
    }

    async fn batch(&self, caller: &Caller, id: Uuid) -> Result<CommandBatch> {
        let tx = self.store.read(caller).await?;
        let row = batches::by_id(&tx, id).await?;
        let counts = batches::counts(&tx, id).await?;
        Ok(batches::message(row, Some(counts)))
    }
}

fn patience(timeout: Option<&prost_types::Duration>) -> TimeDelta {
    timeout.map_or(PATIENCE, span)
}

/// A command of the tenant.
async fn by_id(tx: &ReadTx, id: Uuid) -> Result<Model> {
    let row = tx.one(Entity::find().filter(Column::Id.eq(id))).await?;
    row.ok_or_else(|| Error::not_found("deviceCommand", id))
}

/// A command that the caller may see: a device sees its own.
async fn seen(tx: &ReadTx, caller: &Caller, id: Uuid) -> Result<Model> {
    let row = by_id(tx, id).await?;
    match whose::own_device(caller.principal()) {
        Some(own) if own != row.device_id => Err(Error::not_found("deviceCommand", id)),
        _ => Ok(row),
    }
}
