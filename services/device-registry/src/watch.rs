//! DeviceWatchService: devices, and what becomes of them.
//!
//! A reader has a [`Place`](place::Place) and nothing else, so that it can go
//! on in any process: first the devices are listed, then what is in the record
//! of changes since the list began is told, each device as it is now. Whoever
//! reads live gets what the [`Hub`] of the process has read already; who is
//! too slow for that reads the record again.

mod hub;
mod place;
mod stream;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chassis::caller::TenantId;
use chassis::store::Store;
use chassis::{Clock, Error, Result, open, paging};
use proto::registry::device_watch_service_server::DeviceWatchService;
use proto::registry::{
    DeviceChange, ListDeviceChangesRequest, ListDeviceChangesResponse, WatchDevicesRequest,
    WatchDevicesResponse, device_change,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::page_key::SealerOnce;
use crate::read_mask::ReadMask;
use hub::Hub;
use place::{Place, Tokens};
use view::{Change, View};

/// How many streams one tenant may have from one process.
const OF_ONE_TENANT: usize = 100;
/// How many all tenants may have: half of what a connection of a gateway bears.
const OF_ALL: usize = 500;
/// Messages that a reader may be behind before its stream waits for it.
const AHEAD: usize = 16;

/// Tells what becomes of devices.
pub(crate) struct Watches {
    store: Store,
    clock: Clock,
    sealer: SealerOnce,
    hub: Hub,
    seats: Seats,
}

impl Watches {
    /// Follows the record of changes from now on.
    pub(crate) fn new(store: Store, clock: Clock) -> Self {
        Self {
            hub: Hub::new(store.clone()),
            store,
            clock,
            sealer: SealerOnce::default(),
            seats: Seats::default(),
        }
    }

    async fn tokens(&self, tenant: TenantId, filter: &str) -> Result<Tokens> {
        let sealer = self.sealer.get(&self.store).await?;
        Ok(Tokens::new(sealer, self.clock.clone(), tenant, filter))
    }
}

#[tonic::async_trait]
impl DeviceWatchService for Watches {
    type WatchDevicesStream = ReceiverStream<Result<WatchDevicesResponse, Status>>;

    async fn watch_devices(
        &self,
        request: Request<WatchDevicesRequest>,
    ) -> Result<Response<Self::WatchDevicesStream>, Status> {
        let last = request.metadata().get("last-event-id");
        let last = last.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let last = last.to_owned();
        let (caller, mut req) = open(request)?;
        if req.resume_token.is_empty() {
            req.resume_token = last;
        }
        let mask = ReadMask::read(req.read_mask.as_ref())?;
        let tokens = self.tokens(caller.tenant(), &req.filter).await?;
        let tx = self.store.read(&caller).await?;
        let view = View::read(&tx, &req.filter, mask).await?;
        let place = match req.resume_token.as_str() {
            "" => Place::begin(&tx).await?,
            token => tokens.open(token)?,
        };
        // A place that this database does not have is told at once.
        view.page(&tx, place.clone(), 1).await?;
        drop(tx);
        let seat = self.seats.seat(caller.tenant())?;
        let (to, stream) = mpsc::channel(AHEAD);
        let heartbeat = req.heartbeat.and_then(|every| every.try_into().ok());
        let stream_of = stream::Stream {
            store: self.store.clone(),
            caller,
            hub: self.hub.clone(),
            view,
            tokens,
            heartbeat: heartbeat.unwrap_or(stream::HEARTBEAT),
            to,
        };
        tokio::spawn(async move {
            let _seat = seat;
            stream_of.run(place).await;
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn list_device_changes(
        &self,
        request: Request<ListDeviceChangesRequest>,
    ) -> Result<Response<ListDeviceChangesResponse>, Status> {
        let (caller, req) = open(request)?;
        let mask = ReadMask::read(req.read_mask.as_ref())?;
        let tokens = self.tokens(caller.tenant(), &req.filter).await?;
        let tx = self.store.read(&caller).await?;
        let view = View::read(&tx, &req.filter, mask).await?;
        let place = match req.resume_token.as_str() {
            "" => Place::begin(&tx).await?,
            token => tokens.open(token)?,
        };
        let page = view.page(&tx, place, paging::size(req.page_size)).await?;
        Ok(Response::new(ListDeviceChangesResponse {
            changes: page.changes.into_iter().map(change).collect(),
            resume_token: tokens.seal(&page.place)?,
            up_to_date: page.all && !page.place.is_list(),
        }))
    }
}

fn change(change: Change) -> DeviceChange {
    let change = match change {
        Change::There(device) => device_change::Change::Device(*device),
        Change::Removed(removed) => device_change::Change::Removed(removed),
    };
    DeviceChange {
        change: Some(change),
    }
}

/// Who watches, by tenant.
#[derive(Clone, Default)]
struct Seats(Arc<Mutex<HashMap<Uuid, usize>>>);

/// A place among the watchers, given back when it is dropped.
struct Seat(Seats, Uuid);

impl Seats {
    fn seat(&self, tenant: TenantId) -> Result<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&tenant.0).copied().unwrap_or_default();
        if own >= OF_ONE_TENANT || all >= OF_ALL {
            return Err(Error::Exhausted {
                reason: "TOO_MANY_WATCHERS",
                message: "too many watch at this process; share one stream, or try again later"
                    .into(),
            });
        }
        taken.insert(tenant.0, own + 1);
        Ok(Seat(self.clone(), tenant.0))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.1) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.1);
            }
        }
    }
}
