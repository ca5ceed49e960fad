//! One stream: the list, what the record says since, and then what happens.

use std::time::{Duration, Instant};

use chassis::Result;
use chassis::caller::Caller;
use chassis::store::{Reading, Store};
use proto::registry::watch_devices_response::Event;
use proto::registry::{Heartbeat, Synced, WatchDevicesResponse};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tonic::Status;

use super::hub::{Ear, Hub};
use super::place::{Place, Tokens};
use super::view::{Change, View};

/// How long nothing may be told until a heartbeat is.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(20);
/// Devices, or changes, that are looked at at a time.
const PAGE: u64 = 500;

/// One reader.
pub(crate) struct Stream {
    pub(crate) store: Store,
    pub(crate) caller: Caller,
    pub(crate) hub: Hub,
    pub(crate) view: View,
    pub(crate) tokens: Tokens,
    pub(crate) heartbeat: Duration,
    pub(crate) to: mpsc::Sender<Result<WatchDevicesResponse, Status>>,
}

/// Why a stream ends.
enum End {
    /// Nobody reads it.
    Away,
    Failed(chassis::Error),
}

impl From<chassis::Error> for End {
    fn from(error: chassis::Error) -> Self {
        Self::Failed(error)
    }
}

impl Stream {
    /// Tells everything behind a place, until nobody reads it.
    pub(crate) async fn run(self, place: Place) {
        if let Err(End::Failed(error)) = self.tell(place).await {
            // Who is away does not hear it.
            let _ = self.to.send(Err(error.into())).await;
        }
    }

    async fn tell(&self, place: Place) -> Result<(), End> {
        let mut reading = self.list(place).await?;
        loop {
            let (mut ear, joined) = self.hub.join(self.caller.tenant().0).await;
            // First what it was on the way to, then what the hub has read.
            if reading.is_under_way() {
                reading = self.catch_up(reading).await?;
            }
            if !reading.position().shows_all_of(&joined) {
                reading = self.catch_up(reading.until(&joined)).await?;
            }
            reading = self.live(&mut ear, reading).await?;
        }
    }

    /// Tells the devices that there are.
    async fn list(&self, mut place: Place) -> Result<Reading, End> {
        let mut told = Instant::now();
        loop {
            if let Place::Record(reading) = place {
                return Ok(reading);
            }
            let tx = self.store.read(&self.caller).await?;
            let page = self.view.page(&tx, place, PAGE).await?;
            // Nobody knows how long the reader takes: no transaction waits for it.
            drop(tx);
            place = page.place;
            let mut events: Vec<_> = page.changes.into_iter().map(listed).collect();
            if !place.is_list() {
                events.push(Event::Synced(Synced {}));
            } else if events.is_empty() && told.elapsed() > self.heartbeat {
                events.push(Event::Heartbeat(Heartbeat {}));
            }
            if !events.is_empty() {
                told = Instant::now();
            }
            self.send(events, &place).await?;
        }
    }

    /// Tells what the record says, up to where the reading wants to go.
    async fn catch_up(&self, mut reading: Reading) -> Result<Reading, End> {
        while reading.is_under_way() {
            let tx = self.store.read(&self.caller).await?;
            let page = self.view.page(&tx, Place::Record(reading), PAGE).await?;
            drop(tx);
            let events = page.changes.into_iter().map(changed).collect();
            self.send(events, &page.place).await?;
            reading = match page.place {
                Place::Record(reading) => reading,
                Place::List { from, .. } => from.into(),
            };
        }
        Ok(reading)
    }

    /// Tells what happens, until it was too fast for the reader.
    async fn live(&self, ear: &mut Ear, mut reading: Reading) -> Result<Reading, End> {
        loop {
            let next = tokio::select! {
                next = tokio::time::timeout(self.heartbeat, ear.next()) => next,
                () = self.to.closed() => return Err(End::Away),
            };
            let batch = match next {
                Ok(Ok(batch)) => batch,
                Ok(Err(RecvError::Lagged(_))) => return Ok(reading),
                Ok(Err(RecvError::Closed)) => {
                    return Err(End::Failed(chassis::Error::Unavailable {
                        what: "the record of changes".into(),
                    }));
                }
                Err(_) => {
                    if let Some(position) = ear.position()
                        && !reading.position().shows_all_of(&position)
                    {
                        reading = position.into();
                    }
                    let place = Place::Record(reading.clone());
                    self.send(vec![Event::Heartbeat(Heartbeat {})], &place)
                        .await?;
                    continue;
                }
            };
            // The hub may be behind what the stream has read by itself.
            if reading.position().shows_all_of(&batch.position) {
                continue;
            }
            // Of what it has read in part, the record tells the rest.
            let whole = batch.from.shows_all_of(reading.position());
            let Some(all) = batch.changed.as_ref().filter(|_| whole) else {
                return Ok(reading);
            };
            reading = batch.position.clone().into();
            let events = all.iter().map(|one| changed(self.view.change(one)));
            self.send(events.collect(), &Place::Record(reading.clone()))
                .await?;
        }
    }

    /// Sends some events, of which the last one says where to go on.
    async fn send(&self, events: Vec<Event>, place: &Place) -> Result<(), End> {
        let last = events.len();
        for (i, event) in events.into_iter().enumerate() {
            let resume_token = match i + 1 == last {
                true => self.tokens.seal(place)?,
                false => String::new(),
            };
            let message = WatchDevicesResponse {
                event: Some(event),
                resume_token,
            };
            self.to.send(Ok(message)).await.map_err(|_| End::Away)?;
        }
        Ok(())
    }
}

fn listed(change: Change) -> Event {
    match change {
        Change::There(device) => Event::Device(*device),
        Change::Removed(removed) => Event::Removed(removed),
    }
}

fn changed(change: Change) -> Event {
    match change {
        Change::There(device) => Event::Changed(*device),
        Change::Removed(removed) => Event::Removed(removed),
    }
}
